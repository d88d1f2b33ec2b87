"""The Runs tab: all runs as cards, what can be done with one of them, two loss curves in one plot, the trash."""

import datetime
import html
import types
from typing import Any

import gradio as gr

from ddpm_app import access
from ddpm_app.i18n import format_bytes, format_duration, t
from ddpm_app.runs import registry
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.run_cards import RunCards
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs import runs_handlers as actions
from ddpm_app.ui.tabs.runs_handlers import doing

CARDS = 24
"""Runs listed before "show all"."""
BUTTONS = ("open", "resume", "longer", "copy", "zip", "rename", "publish", "trash")
AT_HOME = ("rename", "publish", "trash")
"""Buttons that a public page doesn't have."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
PRESS_ARCHIVE = "() => document.querySelector('#runs-archive, #runs-archive button').click()"
"""A download button downloads what it holds when it is pressed: first the server fills it, then this presses it."""


def build(app: App, shared: Page) -> None:
    """Draw the tab. Every file and folder is chosen by a run's name from the server's own list."""
    chosen, everything = gr.State(""), gr.State(False)
    with gr.Row(elem_classes="runs-row"):
        with gr.Column(scale=3, min_width=320):
            cards = RunCards(actions.thumbnailer(app), elem_id="runs-cards")
            more = gr.Button(label("ui.runs.all"), visible=False, size="md", elem_id="runs-all")
            empty = gr.HTML(visible=False, padding=False)
        with gr.Column(scale=2, min_width=300, visible=False, elem_id="runs-detail", elem_classes="card") as detail:
            parts = _detail(app)

    def draw(lang: str, chosen: str, everything: bool) -> list[Any]:
        briefs = app.monitor.summaries()
        run = next((one for one in briefs if one["name"] == chosen), None)
        shown = briefs if everything else briefs[:CARDS]
        return [
            {"chosen": chosen, "cards": [card(one, lang) for one in shown], "alt": t("ui.runs.thumb", lang, name="{}")},
            gr.update(visible=len(shown) < len(briefs)),
            gr.update(value=empty_state(lang), visible=not briefs),
            gr.update(visible=run is not None),
            facts_of(run, lang) if run else "",
            gr.update(choices=[one["name"] for one in briefs if one["name"] != chosen]),
            *(gr.update(interactive=possible) for possible in able(run).values()),
        ]

    buttons = [parts.buttons[name] for name in able(None)]
    drawn = [cards, more, empty, detail, parts.facts, parts.other, *buttons]

    def latest(shot: dict[str, Any], lang: str) -> list[Any]:
        """The newest preview of the run at work."""
        shot = app.monitor.snapshot("")
        return [{"name": shot["name"], "sample": shot["samples"][-1]} if shot["active"] and shot["samples"] else None]

    shared.live(latest, ["runs-latest"])
    shared.every_tick(lambda shot, lang, *given: draw(lang, *given), drawn, [chosen, everything])

    def redrawn(event: Any) -> None:
        event.then(draw, [shared.lang, chosen, everything], drawn, **QUICK)

    def choose(event: gr.EventData) -> list[Any]:
        return [event._data["name"], None, None, *[gr.update(visible=False)] * len(parts.panels)]

    redrawn(cards.click(choose, None, [chosen, parts.other, parts.compare, *parts.panels.values()], **QUICK))
    redrawn(more.click(lambda: True, None, everything, **QUICK))
    _wire(app, shared, parts, chosen, redrawn)
    _trash(app, shared, redrawn)


def able(run: dict[str, Any] | None) -> dict[str, bool]:
    """Which buttons make sense for a run, by name; "open" and "copy" always do."""
    idle, saved = bool(run and not run["active"]), bool(run and run["saved"])
    return {
        "resume": idle and run["state"] != "finished",
        "longer": idle,
        "zip": saved,
        "rename": idle,
        "publish": idle and saved,
        "trash": idle,
    }


def _detail(app: App) -> types.SimpleNamespace:
    """The chosen run's facts, buttons, the questions some of them ask, and the comparison."""
    parts = types.SimpleNamespace(panels={})
    parts.facts = gr.HTML(padding=False, elem_id="runs-facts")
    with gr.Row(elem_classes="runs-actions"):
        parts.buttons = {
            name: gr.Button(
                label(f"ui.runs.{name}"),
                size="md",
                min_width=120,
                variant="primary" if name == "open" else "secondary",
                visible=not (app.public and name in AT_HOME),
                elem_id=f"runs-{name}",
            )
            for name in BUTTONS
        }
    parts.archive = gr.DownloadButton("zip", elem_id="runs-archive", elem_classes="unseen")
    with gr.Group(visible=False) as parts.panels["longer"]:
        kinds = [(label("ui.runs.minutes"), "max_train_minutes"), (label("ui.runs.steps"), "max_train_steps")]
        lengths = kinds[:1] if app.public else kinds
        parts.kind = gr.Radio(lengths, value="max_train_minutes", label=label("ui.runs.how_long"))
        parts.amount = gr.Number(1, label=label("ui.runs.amount"), elem_id="runs-amount")
        parts.train_on = gr.Button(label("ui.runs.train_on"), variant="primary", elem_id="runs-train-on")
    with gr.Group(visible=False) as parts.panels["rename"]:
        parts.name = gr.Textbox(label=label("ui.runs.new_name"), max_lines=1, elem_id="runs-new-name")
        parts.give_name = gr.Button(label("ui.runs.give_name"), variant="primary", elem_id="runs-give-name")
    with gr.Group(visible=False) as parts.panels["publish"]:
        parts.repository = gr.Textbox(
            label=label("ui.runs.repository"), placeholder="user/name", max_lines=1, elem_id="runs-repository"
        )
        parts.push = gr.Button(label("ui.runs.push"), variant="primary", elem_id="runs-push")
    parts.other = gr.Dropdown([], label=label("ui.runs.compare"), elem_id="runs-other")
    parts.compare = Chart(elem_id="runs-compare")
    return parts


def _wire(app: App, shared: Page, parts: types.SimpleNamespace, chosen: gr.State, redrawn: Any) -> None:
    """Connect the buttons of the chosen run."""
    buttons, who = parts.buttons, [chosen, shared.visitor, shared.lang]
    away = [shared.message, chosen, shared.selected, shared.tabs]
    form = [shared.message, shared.tabs, *shared.form.inputs]
    for name, panel in parts.panels.items():
        buttons[name].click(lambda: gr.update(visible=True), None, panel, **QUICK)
    buttons["rename"].click(lambda chosen: chosen, chosen, parts.name, **QUICK)
    buttons["open"].click(
        lambda name: [name, gr.Tabs(selected="train")], chosen, [shared.selected, shared.tabs], **QUICK
    )
    redrawn(buttons["resume"].click(doing(app, actions.resume, away), who, away, **QUICK))
    redrawn(parts.train_on.click(doing(app, actions.resume, away), [*who, parts.kind, parts.amount], away, **QUICK))
    buttons["copy"].click(doing(app, actions.copier(shared), form), who, form, **QUICK)
    zipped = buttons["zip"].click(actions.zipper(app), [chosen, shared.lang], [shared.message, parts.archive], **QUICK)
    zipped.success(None, None, None, js=PRESS_ARCHIVE)
    named = [shared.message, chosen, parts.panels["rename"]]
    redrawn(parts.give_name.click(doing(app, actions.rename, named), [*who, parts.name], named, **QUICK))
    pushed = [shared.message, parts.panels["publish"]]
    begun = parts.push.click(lambda lang: notice(t("ui.runs.publishing", lang)), shared.lang, shared.message, **QUICK)
    begun.then(doing(app, actions.publish, pushed), [*who, parts.repository], pushed, **QUICK)
    gone = [shared.message, chosen]
    redrawn(buttons["trash"].click(doing(app, actions.throw_away, gone), who, gone, **QUICK))
    for event in (parts.other.input, shared.language_changed.then):
        event(actions.comparer(app), [shared.lang, chosen, parts.other], parts.compare, **QUICK)


def _trash(app: App, shared: Page, redrawn: Any) -> None:
    """The trash: restore one run, or delete all for good after a second question."""
    with gr.Accordion(label("ui.runs.trash_box"), open=False, visible=not app.public, elem_id="runs-trash-box"):
        with gr.Row(equal_height=True, elem_classes="run-bar"):
            thrown = gr.Dropdown([], label=label("ui.runs.thrown"), scale=3, elem_id="runs-thrown")
            restore = gr.Button(label("ui.runs.restore"), size="md", min_width=120, elem_id="runs-restore")
            ask = gr.Button(label("ui.runs.empty_trash"), size="md", min_width=120, elem_id="runs-empty")
        with gr.Row(visible=False) as confirm:
            really = gr.Button("", variant="stop", size="md", elem_id="runs-really")
            keep = gr.Button(label("ui.runs.keep"), size="md", elem_id="runs-keep")

    def draw(shot: dict[str, Any], lang: str) -> list[Any]:
        found = [] if app.public else [(thrown_label(one.name), one.name) for one in registry.trash(app.runs_dir)]
        question = t("ui.runs.really", lang, count=len(found))
        return [gr.update(choices=found), *[gr.update(interactive=bool(found))] * 2, gr.update(value=question)]

    shared.every_tick(draw, [thrown, restore, ask, really])
    redrawn(restore.click(actions.restorer(app), [thrown, shared.lang], [shared.message, thrown], **QUICK))
    ask.click(lambda: gr.update(visible=True), None, confirm, **QUICK)
    keep.click(lambda: gr.update(visible=False), None, confirm, **QUICK)
    redrawn(really.click(actions.emptier(app), shared.lang, [shared.message, confirm, thrown], **QUICK))


# ---- what is drawn --------------------------------------------------------------------------------------------------------
def card(one: dict[str, Any], lang: str) -> dict[str, Any]:
    """A run's card. Of a run at work it leaves out what changes all the time: see ``latest``, and the header."""
    config = one["config"]
    data = access.without_folders(config.get("dataset_name", "?"))
    lines = [t("ui.runs.card_data", lang, size=config.get("image_size", "?"), data=data, unet=config.get("unet", "?"))]
    if not one["active"]:
        loss = f"{one['loss']:.3g}" if isinstance(one.get("loss"), float) else "–"
        lines.append(t("ui.runs.card_step", lang, step=one["step"], loss=loss))
        lines.append(f"{format_duration(one['seconds'], lang)} · {format_bytes(one['bytes'])}")
    return {
        "name": one["name"],
        "state": one["state"],
        "told": t(f"ui.state.{one['state']}", lang),
        "lines": lines,
        "sample": None if one["active"] else one["sample"],
        "made": round(one["created"]),
    }


def facts_of(one: dict[str, Any], lang: str) -> str:
    """The chosen run's name and facts."""
    config = one["config"]
    created = f"{datetime.datetime.fromtimestamp(one['created']):%Y-%m-%d %H:%M}"
    rows = [
        ("state", t(f"ui.state.{one['state']}", lang)),
        ("made", created),
        ("steps", f"{one['total_steps']:,}" if one.get("total_steps") else "–"),
        ("disk", format_bytes(one["bytes"])),
        ("target", f"{config.get('prediction_type')} · {config.get('beta_schedule')}"),
        ("rate", f"{config.get('learning_rate')} · {config.get('train_batch_size')}"),
    ]
    cells = "".join(
        f"<dt>{html.escape(t(f'ui.runs.fact_{name}', lang))}</dt><dd>{html.escape(value)}</dd>" for name, value in rows
    )
    return f'<h3 class="run-name">{html.escape(one["name"])}</h3><dl class="facts">{cells}</dl>'


def thrown_label(name: str) -> str:
    """ "name~20261120-083412-000001" as people read it."""
    stem, _, stamp = name.rpartition("~")
    return f"{stem} ({stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]})"


def empty_state(lang: str) -> str:
    """What the tab says before the first run."""
    return f'<div class="empty"><h3>{html.escape(t("ui.runs.empty", lang))}</h3><p>{html.escape(t("ui.runs.empty_note", lang))}</p></div>'
