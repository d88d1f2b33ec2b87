"""The header on every tab: what the run does, and the buttons that start and stop it."""

import html
import secrets
from typing import Any

import gradio as gr

from ddpm_app.errors import as_problem
from ddpm_app.i18n import format_duration, t, text_for_code
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.base import LiveHTML, follow_poll
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import FOLLOW, App, Page, Values, label

MARK = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><path fill="currentColor" d="M15 16C12 5 4 3 2 6s2 11 9 11c-5 1-7 5-5 8s7 2 9-6z"/>'
    '<path fill="currentColor" opacity=".75" d="M17 16C20 5 28 3 30 6s-2 11-9 11c5 1 7 5 5 8s-7 2-9-6z"/></svg>'
)
STATUS = (
    f'<div class="studio-bar"><div class="studio-brand">{MARK}<span>DDPM Studio</span></div>'
    '<div class="studio-now" role="status">${value.line}</div></div>${value.bar}'
)
RESUMABLE = ("stopped", "interrupted", "failed")
BUTTONS = ("start", "go", "resume", "pause", "unpause", "stop")
AT_ONCE = "() => document.querySelector('#status .bar')?.classList.add('asked')"
"""Start moves the bar in the browser, before the server answers."""
ANSWERED = "() => document.querySelector('#status .bar')?.classList.remove('asked')"


def new_visitor() -> str:
    """A random id for a browser: in public mode it tells who started a run."""
    return secrets.token_hex(16)


def build(app: App, shared: Page) -> dict[str, gr.Button]:
    """Draw the header; returns its buttons by name. ``wire`` makes them work once the form exists."""
    with gr.Column(elem_id="header"):
        with gr.Row(elem_id="header-row"):
            gr.HTML(
                {"line": "", "bar": ""},
                html_template=STATUS,
                js_on_load=follow_poll("status"),
                elem_id="status",
                min_width=0,
            )
            with gr.Row(elem_id="buttons"):
                buttons = {
                    name: gr.Button(
                        label(f"ui.header.{name}"),
                        variant="primary" if name in ("start", "go") else "stop" if name == "stop" else "secondary",
                        elem_id=f"button-{name}",
                        min_width=0,
                    )
                    for name in BUTTONS
                }
        shared.message = gr.HTML(elem_id="message")
        LiveHTML(elem_id="notes")

    def draw(snapshot: dict[str, Any], lang: str, visitor: str) -> list[Any]:
        now = running(app, snapshot)
        mine = not now.get("name") or app.access.may_stop(Run(app.runs_dir / now["name"]), visitor)
        shown = visible(now, mine) - ({"pause"} if app.public else set())
        return [status_of(now, lang), notes_html(now, lang, shown), " ".join(sorted(shown))]

    shared.live(draw, ["status", "notes", "can"], [shared.visitor])
    return buttons


def running(app: App, snapshot: dict[str, Any]) -> dict[str, Any]:
    """The run the header is about: the one at work, else the one on show."""
    if snapshot.get("active"):
        return snapshot
    newest = app.monitor.snapshot("")
    return newest if newest.get("active") else snapshot


def visible(now: dict[str, Any], mine: bool) -> set[str]:
    """Names of the buttons to show for a run in this state, and for a visitor who may stop it or not."""
    state = now.get("state")
    if not now.get("active"):
        return {"start", "resume"} if state in RESUMABLE and mine else {"start"}
    if not mine:
        return set()
    return {"training": {"pause", "stop"}, "paused": {"unpause", "stop"}, "waiting": {"go", "stop"}}.get(
        state, {"stop"}
    )


# ---- what it says ------------------------------------------------------------------------------------------------------
def status_of(now: dict[str, Any], lang: str) -> dict[str, str]:
    """What ``STATUS`` shows: "line" with name, state, how far, how long; and the "bar"."""
    return {"line": _line(now, lang), "bar": _bar(now, lang)}


def _line(now: dict[str, Any], lang: str) -> str:
    state = now.get("state")
    if state is None:
        return t("ui.header.idle", lang)
    parts = [f"<b>{html.escape(now['name'])}</b>", f'<span class="state {state}">{t(f"ui.state.{state}", lang)}</span>']
    phase, done, total = now.get("phase"), now.get("done"), now.get("total")
    if now.get("active") and phase not in (None, "training", "paused"):
        amount = (
            t("ui.header.part", lang, done=done, total=total)
            if total
            else t("ui.header.megabytes", lang, done=done / 1e6)
            if phase == "download" and done
            else ""
        )
        parts.append(f"{t(f'ui.phase.{phase}', lang)} {amount}")
    if now.get("total_steps"):
        parts.append(t("ui.header.step", lang, step=now["step"], total=now["total_steps"]))
    if state == "training" and now.get("images_per_second"):
        parts += [
            t("ui.header.left", lang, time=format_duration(now["eta_seconds"], lang)),
            t("ui.header.speed", lang, speed=now["images_per_second"]),
        ]
    return "".join(part if part.startswith("<") else f"<span>{part}</span>" for part in parts)


def _bar(now: dict[str, Any], lang: str) -> str:
    share, kind = _share(now), ""
    if share is None:
        kind, share = ("open", 0.3) if now.get("active") and now.get("state") != "waiting" else ("still", 0)
    return (
        f'<div class="bar {kind}" role="progressbar" aria-label="{t("ui.header.progress", lang)}" aria-valuenow="{share * 100:.0f}">'
        f'<i style="width:{share * 100:.1f}%"></i></div>'
    )


def _share(now: dict[str, Any]) -> float | None:
    """How much of the phase is done, 0 to 1; None where nobody knows or nothing runs."""
    if not now.get("active"):
        return None
    if now.get("state") == "preparing":
        return now["done"] / now["total"] if now.get("total") else None
    return now["step"] / now["total_steps"] if now.get("total_steps") and now.get("state") != "waiting" else None


def notes_html(now: dict[str, Any], lang: str, shown: set[str]) -> str:
    """The question a long run asks, the error with its folded traceback, and what was resolved in the open."""
    parts = []
    if now.get("state") == "waiting":
        plan = now.get("plan") or {}
        asked = t(
            "ui.header.long",
            lang,
            name=now["name"],
            time=format_duration(now.get("estimate_seconds") or 0, lang),
            device=plan.get("device", "cpu"),
        )
        parts.append(f'<div class="note warn" role="alert">{html.escape(asked)}</div>')
    if now.get("state") == "failed" and now.get("error"):
        error = now["error"]
        told = text_for_code(
            f"problem.{error['code']}", lang, {"field": error.get("field"), **error.get("values", {})}, error["code"]
        )
        trace = (
            f"<details><summary>{t('ui.header.traceback', lang)}</summary><pre>{html.escape(now['traceback'])}</pre></details>"
            if now.get("traceback")
            else ""
        )
        parts.append(f'<div class="note bad" role="alert">{html.escape(told)}{trace}</div>')
    if now.get("state") == "interrupted" and "resume" in shown:
        parts.append(f'<div class="note warn">{html.escape(t("ui.header.interrupted", lang, name=now["name"]))}</div>')
    told = [
        text_for_code(f"notice.{one['code']}", lang, one.get("values", {}), one["code"])
        for one in now.get("notices") or []
    ]
    if told:
        lines = "".join(f'<div class="note">{html.escape(line)}</div>' for line in told)
        parts.append(
            f'<details class="notes"><summary>{t("ui.header.notices", lang, count=len(told))}</summary>{lines}</details>'
        )
    return "".join(parts)


# ---- what it does ------------------------------------------------------------------------------------------------------
def wire(app: App, shared: Page, buttons: dict[str, gr.Button]) -> None:
    """Connect the buttons. Each handler is short: the work happens in the job's thread."""
    typed = gr.State("")
    shared.form.components["output_dir"].input(
        lambda name: name, shared.form.components["output_dir"], typed, show_progress="hidden", api_visibility="private"
    )

    def start(data: Values) -> list[Any]:
        visitor, lang = data[shared.visitor], data[shared.lang]
        try:
            config = shared.form.read(data, free=app.public or shared.form.values(data)["output_dir"] != data[typed])
            run = app.jobs.start(app.access.check_config(config, visitor), owner=visitor)
        except Exception as error:
            return [notice(as_problem(error), lang), *[gr.skip()] * (len(outputs) - 1)]
        first = status_of({"name": run.name, "active": True, "state": "preparing", "phase": "start"}, lang)
        news = {"news": {"status": first, "can": "stop"}}
        return ["", FOLLOW, gr.Tabs(selected="train"), registry.free_name(app.runs_dir, run.name), None, news]

    def act(name: str):
        def click(selected: str, visitor: str, lang: str) -> str:
            try:
                now = running(app, app.monitor.snapshot(selected))
                run = registry.find(app.runs_dir, now.get("name", ""))
                app.access.require_owner(run, visitor)
                if name == "pause":  # a paused run keeps everybody else waiting
                    app.access.refuse_in_public()
                ACTIONS[name](app, run, visitor)
            except Exception as error:
                return notice(as_problem(error), lang)
            return notice(t("ui.header.stopping", lang)) if name == "stop" else ""

        return click

    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
    outputs = [
        shared.message,
        shared.selected,
        shared.tabs,
        shared.form.components["output_dir"],
        shared.fingerprints,  # emptied: the next tick sends everything, also where it looks as before Start
        shared.feed,
    ]
    buttons["start"].click(None, js=AT_ONCE, api_visibility="private")
    buttons["start"].click(start, {shared.visitor, shared.lang, typed, *shared.form.inputs}, outputs, **quick).then(
        None, js=ANSWERED, api_visibility="private"
    )
    for name in BUTTONS[1:]:
        buttons[name].click(act(name), [shared.selected, shared.visitor, shared.lang], shared.message, **quick)


ACTIONS = {
    "go": lambda app, run, visitor: run.request(go=True),
    "pause": lambda app, run, visitor: run.request(pause=True),
    "unpause": lambda app, run, visitor: run.request(pause=False),
    "stop": lambda app, run, visitor: run.request(stop=True),
    "resume": lambda app, run, visitor: app.jobs.resume(run.name, owner=visitor),
}
