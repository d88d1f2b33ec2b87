"""The header on every tab: what the run does, and the buttons that start and stop it."""

import functools

import gradio as gr
from markupsafe import Markup

from ddpm_app.access import MOST_WAITING_PER_VISITOR
from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_duration, labelled, t, text_for_code
from ddpm_app.runs import registry
from ddpm_app.runs.queue import MOST_WAITING, WaitingRun, seconds_ahead
from ddpm_app.runs.records import Coded, RunSnapshot
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.base import LiveHTML, follow_poll, run_named_in
from ddpm_app.ui.components.menu import Menu
from ddpm_app.ui.components.message import Message
from ddpm_app.ui.html import bar, brand, join, note, notice
from ddpm_app.ui.state import FOLLOW, PARALLEL, QUICK, App, Page, Updates, Values, label

STATUS = (
    f'<div class="studio-bar">{brand()}<div class="studio-now" role="status">${{value.line}}</div></div>${{value.bar}}'
)
RESUMABLE = ("stopped", "interrupted", "failed")
BUTTONS = ("start", "next", "leave", "go", "resume", "pause", "unpause", "stop")
REQUESTS = {"go": {"go": True}, "pause": {"pause": True}, "unpause": {"pause": False}, "stop": {"stop": True}}
"""What the buttons ask of the process that trains."""
START_BAR = "() => document.querySelector('#status .bar')?.classList.add('starting')"
"""Start moves the bar in the browser, before the server answers."""
END_BAR = "() => document.querySelector('#status .bar')?.classList.remove('starting')"
NEW_VISITOR = """(visitor) => visitor || [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")"""
"""A random id for a browser that has none: in public mode it tells who started a run. Made there, so that no click is faster."""
MENU = "menu language theme light dark system presenting on off".split()


class Header:
    """The status line, the buttons, the outcome of the last click, and what a run has to say."""

    def __init__(self, app: App):
        self.app = app
        self.typed_name = gr.State("")
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
                    self.buttons = {name: self._button(name) for name in BUTTONS}
                self.menu = Menu(elem_id="menu", min_width=0)
            self.message = Message(label=label("ui.message.close"), elem_id="message")
            LiveHTML(elem_id="notes")

    def _button(self, name: str) -> gr.Button:
        kind = "primary" if name in ("start", "go") else "stop" if name == "stop" else "secondary"
        return gr.Button(label(f"ui.header.{name}"), variant=kind, elem_id=f"button-{name}", min_width=0)

    def wire(self, page: Page) -> None:
        """Connect the buttons. Each handler is short: the work happens in the job's thread."""
        self.page = page
        page.language_ready.then(None, page.visitor, page.visitor, js=NEW_VISITOR, api_visibility="private")
        name = page.form.components["output_dir"]
        name.input(lambda typed: typed, name, self.typed_name, **QUICK)
        # the next poll sends everything, also where it looks as before Start
        outputs = {page.message, page.selected, page.tabs, name, page.feed, page.live_version}
        start = self.buttons["start"]
        start.click(None, js=START_BAR, api_visibility="private")
        settings = {page.visitor, page.lang, self.typed_name, *page.form.components.values()}
        start.click(self.start, settings, outputs, **PARALLEL).then(None, js=END_BAR, api_visibility="private")
        self.buttons["next"].click(self.wait_turn, settings, page.message, **PARALLEL)
        self.buttons["leave"].click(self.leave, {page.visitor, page.lang}, page.message, **PARALLEL)
        for action in BUTTONS[BUTTONS.index("go") :]:
            self.buttons[action].click(
                functools.partial(self.act, action),
                {page.selected, page.visitor, page.lang},
                page.message,
                js=run_named_in("#status"),
                **PARALLEL,
            )
        page.live(self.draw, ["status", "notes", "can"], [page.visitor])
        page.every_tick(self.draw_words, [self.menu, self.buttons["start"], self.buttons["next"]])

    def draw(self, snapshot: RunSnapshot, lang: str, visitor: str) -> dict[str, str | dict[str, str]]:
        """The live parts: the status line, the notes, and which buttons are shown ("can")."""
        run, public = run_in_header(self.app, snapshot), self.app.public
        mine = not run.get("name") or self.app.access.may_stop(Run(self.app.runs_dir / run["name"]), visitor)
        queue = self.app.jobs.queue.waiting()
        place = next((k for k, each in enumerate(queue) if public and each["owner"] == visitor), None)
        buttons = buttons_for(run, mine) - ({"pause"} if public else set())
        if place is not None:
            buttons = buttons - {"start", "next"} | {"leave"}
        line = status(run, lang, yours=public and mine, waiting=len(queue))
        others = turn(run, queue, place, lang) if public and run.get("active") and not (mine and place is None) else ""
        return {"status": line, "notes": others + notes(run, lang, buttons), "can": " ".join(sorted(buttons))}

    def draw_words(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The words of the menu, and of Start: where a run has ended it trains again."""
        has_ended = snapshot.get("state") == "finished" and not snapshot.get("active")
        return {
            self.menu: {"words": {name: t(f"ui.menu.{name}", lang) for name in MENU}},
            self.buttons["start"]: gr.update(value=t("ui.header.again" if has_ended else "ui.header.start", lang)),
            self.buttons["next"]: gr.update(value=t(f"ui.header.next{'_mine' if self.app.public else ''}", lang)),
        }

    def start(self, data: Values) -> Updates:
        """Begin a run with the settings in the form, and go to the Train tab."""
        page = self.page
        visitor, lang, name = data[page.visitor], data[page.lang], page.form.components["output_dir"]
        try:
            run = self.app.jobs.start(self._settings(data), owner=visitor)
            self.app.monitor.refresh()
        except Exception as error:
            if self.app.public and isinstance(error, Problem) and error.code == "busy":  # somebody was a moment faster
                return self.wait_turn(data)
            return {page.message: notice(as_problem(error), lang)}
        starting: RunSnapshot = {"name": run.name, "active": True, "state": "preparing", "phase": "start"}
        return {
            page.message: "",
            page.selected: FOLLOW,
            page.tabs: gr.Tabs(selected="train"),
            name: registry.free_name(self.app.runs_dir, run.name),
            page.feed: {"news": {"status": status(starting, lang), "can": "stop"}},
            page.live_version: "",
        }

    def _settings(self, data: Values) -> TrainConfig:
        """Those in the form, as this visitor may use them. A name that was typed is meant: where a run has it, that is said."""
        typed = data[self.page.form.components["output_dir"]] == data[self.typed_name]
        config = self.page.form.read(data, free=self.app.public or not typed)
        return self.app.access.check_config(config, data[self.page.visitor])

    def wait_turn(self, data: Values) -> Updates:
        """Put a run with the settings in the form into the queue."""
        page, visitor, lang = self.page, data[self.page.visitor], data[self.page.lang]
        most = MOST_WAITING_PER_VISITOR if self.app.public else MOST_WAITING
        try:
            place = self.app.jobs.wait_turn(self._settings(data), visitor, most)
        except Exception as error:
            return {page.message: notice(as_problem(error), lang)}
        return {page.message: notice(t("ui.header.waits", lang, place=place))}

    def leave(self, data: Values) -> Updates:
        """Take this visitor's runs out of the queue."""
        page, queue = self.page, self.app.jobs.queue
        try:
            for each in queue.waiting():
                if each["owner"] == data[page.visitor]:
                    queue.remove(each["id"])
        except Problem as problem:
            return {page.message: notice(self.app.access.redact(problem), data[page.lang])}
        return {page.message: notice(t("ui.header.left_queue", data[page.lang]))}

    def act(self, action: str, data: Values) -> Updates:
        """Do what a button other than Start says to the run named beside it (see run_named_in)."""
        page, lang, visitor = self.page, data[self.page.lang], data[self.page.visitor]
        try:
            run = registry.find(self.app.runs_dir, data[page.selected])
            self.app.access.require_owner(run, visitor)
            if action == "pause":  # a paused run keeps everybody else waiting
                self.app.access.refuse_in_public()
            if action == "resume":
                self.app.jobs.resume(run.name, owner=visitor)
            else:
                run.request(**REQUESTS[action])
        except Exception as error:
            return {page.message: notice(as_problem(error), lang)}
        return {page.message: notice(t("ui.header.stopping", lang)) if action == "stop" else ""}


def run_in_header(app: App, snapshot: RunSnapshot) -> RunSnapshot:
    """The run the header is about: the one at work, else the one on show."""
    if snapshot.get("active"):
        return snapshot
    newest = app.monitor.snapshot("")
    return newest if newest.get("active") else snapshot


def buttons_for(run: RunSnapshot, mine: bool) -> set[str]:
    """Names of the buttons to show for a run in this state, and for a visitor who may stop it or not."""
    state = run.get("state", "")
    if not run.get("active"):
        return {"start", "resume"} if state in RESUMABLE and mine else {"start"}
    if not mine:
        return {"next"}
    special = {"training": {"pause", "stop"}, "paused": {"unpause", "stop"}, "waiting": {"go", "stop"}}
    return {"next", *special.get(state, {"stop"})}


# ---- what it says ------------------------------------------------------------------------------------------------------
def status(run: RunSnapshot, lang: str, yours: bool = False, waiting: int = 0) -> dict[str, str]:
    """What ``STATUS`` shows: "line" with name, state, how far, how long, and how many runs are ``waiting``; and the "bar". ``yours``: whether
    to tell it from those of other visitors."""
    return {"line": _line(run, lang, yours, waiting), "bar": _bar(run, lang)}


def _line(run: RunSnapshot, lang: str, yours: bool, waiting: int) -> str:
    state = run.get("state")
    if state is None:
        return t("ui.header.idle", lang)
    parts = []
    phase = run.get("phase")
    if run.get("active") and phase not in (None, "training", "paused"):
        parts.append(f"{t(f'ui.phase.{phase}', lang)} {phase_amount(phase, run.get('done'), run.get('total'), lang)}")
    if run.get("total_steps"):
        parts.append(t("ui.header.step", lang, step=run["step"], total=run["total_steps"]))
    if state == "training" and run.get("images_per_second"):
        parts += [
            t("ui.header.left", lang, time=format_duration(run["eta_seconds"], lang)),
            t("ui.header.speed", lang, speed=run["images_per_second"]),
        ]
    if waiting:
        parts.append(t("ui.header.waiting", lang, count=waiting))
    mark = Markup('<span class="yours">{}</span>').format(t("ui.header.yours", lang)) if yours else ""
    return Markup('<b data-run="{}">{}</b>{}<span class="state {}">{}</span>{}').format(
        run["name"],
        run["name"],
        mark,
        state,
        t(f"ui.state.{state}", lang),
        join(Markup("<span>{}</span>").format(part) for part in parts),
    )


def phase_amount(phase: str | None, done: int | None, total: int | None, lang: str) -> str:
    """How far a phase is: "3 / 10", of a download of unknown length "3.1 MB", else nothing."""
    if total:
        return t("ui.header.part", lang, done=done, total=total)
    return t("ui.header.megabytes", lang, done=done / 1e6) if phase == "download" and done else ""


def _bar(run: RunSnapshot, lang: str) -> Markup:
    share, words = _share(run), t("ui.header.progress", lang)
    if share is None and (not run.get("active") or run.get("state") == "waiting"):
        return bar(0, "still", words)
    return bar(share, label=words)


def _share(run: RunSnapshot) -> float | None:
    """How much of the phase is done, 0 to 1; None where nobody knows or nothing runs."""
    if not run.get("active"):
        return None
    if run.get("state") == "preparing":
        return run["done"] / run["total"] if run.get("total") else None
    return run["step"] / run["total_steps"] if run.get("total_steps") and run.get("state") != "waiting" else None


def turn(run: RunSnapshot, queue: list[WaitingRun], place: int | None, lang: str) -> Markup:
    """What a visitor of a public page reads while a run is at work: how long others take, and which place theirs has in the queue."""
    ahead = queue if place is None else queue[:place]
    seconds = seconds_ahead(run.get("eta_seconds"), ahead)
    time = t("ui.header.turn_time", lang, time=format_duration(seconds, lang)) if seconds else ""
    if place is None:
        return note(t("ui.header.turn_others", lang, time=time), role="status")
    return note(t("ui.header.turn_mine", lang, place=place + 1, time=time), "good", "status")


def notes(run: RunSnapshot, lang: str, buttons: set[str]) -> Markup:
    """The question a long run asks, the error with its folded traceback, and what was resolved in the open."""
    parts = []
    if run.get("state") == "waiting":
        device = (run.get("plan") or {}).get("device", "cpu")
        time = format_duration(run.get("estimate_seconds") or 0, lang)
        parts.append(note(t("ui.header.long", lang, name=run["name"], time=time, device=device), "warn", "alert"))
    if run.get("state") == "failed" and (error := run.get("error")):
        parts.append(note(error_text(error, lang) + _traceback(run.get("traceback"), lang), "bad", "alert"))
    if run.get("state") == "interrupted" and "resume" in buttons:
        parts.append(note(t("ui.header.interrupted", lang, name=run["name"]), "warn"))
    if notices := notice_texts(run, lang):
        summary = t("ui.header.notices", lang, count=len(notices))
        parts.append(
            Markup('<details class="notes"><summary>{}</summary>{}</details>').format(summary, join(map(note, notices)))
        )
    return join(parts)


def _traceback(text: str | None, lang: str) -> Markup:
    folded = Markup("<details><summary>{}</summary><pre>{}</pre></details>")
    return folded.format(t("ui.header.traceback", lang), text) if text else Markup()


def error_text(error: Coded, lang: str) -> Markup:
    """The error of a run in words, escaped."""
    values = labelled({"field": error.get("field"), **error.get("values", {})}, lang)
    return Markup.escape(text_for_code(f"problem.{error['code']}", lang, values, error["code"]))


def notice_texts(run: RunSnapshot, lang: str) -> list[str]:
    """What a run has to say, in words."""
    return [
        text_for_code(f"notice.{notice['code']}", lang, notice.get("values", {}), notice["code"])
        for notice in run.get("notices") or []
    ]
