"""The Runs tab: all runs as cards, what can be done with one of them, two loss curves in one plot, the trash."""

import datetime
import html
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import hub, plots, runs
from ddpm_app.problems import Problem
from ddpm_app.text import t
from ddpm_app.ui import guard
from ddpm_app.ui.film import data_uri, scripted
from ddpm_app.ui.header import said
from ddpm_app.ui.studio import Shared, Studio, lasting, problem_of, words
from ddpm_app.ui.train import spell_bytes

CARDS = 24
"""Runs listed before "show all"."""
THUMB_SIDE = 144
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(studio: Studio, shared: Shared) -> None:
    """Draw the tab. Every file and folder is chosen by a run's name from the server's own list."""
    chosen, everything = gr.State(""), gr.State(False)
    with gr.Row(elem_classes="runs-row"):
        with gr.Column(scale=3, min_width=320):
            cards = scripted("cards.js", server_functions=[thumbnail(studio)], elem_id="runs-cards")
            more = gr.Button(words("ui.runs.all"), visible=False, size="md", elem_id="runs-all")
            empty = gr.HTML(visible=False, padding=False)
        with gr.Column(scale=2, min_width=300, visible=False, elem_id="runs-detail", elem_classes="card") as detail:
            facts = gr.HTML(padding=False, elem_id="runs-facts")
            with gr.Row(elem_classes="runs-actions"):
                open_, resume, longer, copy, zip_, rename, publish, trash = (
                    gr.Button(words(f"ui.runs.{name}"), size="md", min_width=120, variant="primary" if name == "open" else "secondary", elem_id=f"runs-{name}",
                              visible=not (studio.public and name in ("rename", "publish", "trash")))
                    for name in ("open", "resume", "longer", "copy", "zip", "rename", "publish", "trash")
                )
            archive = gr.DownloadButton("zip", elem_id="runs-archive", elem_classes="unseen")
            with gr.Group(visible=False) as ask_longer:
                kind = gr.Radio([(words("ui.runs.minutes"), "max_train_minutes"), (words("ui.runs.steps"), "max_train_steps")], value="max_train_minutes", label=words("ui.runs.how_long"))
                amount = gr.Number(1, label=words("ui.runs.amount"), elem_id="runs-amount")
                train_on = gr.Button(words("ui.runs.train_on"), variant="primary", elem_id="runs-train-on")
            with gr.Group(visible=False) as ask_name:
                name = gr.Textbox(label=words("ui.runs.new_name"), max_lines=1, elem_id="runs-new-name")
                give_name = gr.Button(words("ui.runs.give_name"), variant="primary", elem_id="runs-give-name")
            with gr.Group(visible=False) as ask_repository:
                repository = gr.Textbox(label=words("ui.runs.repository"), placeholder="user/name", max_lines=1)
                push = gr.Button(words("ui.runs.push"), variant="primary")
            other = gr.Dropdown([], label=words("ui.runs.compare"), elem_id="runs-other")
            compare = scripted("chart.js", elem_id="runs-compare")
    thrown, restore, ask_empty, confirm, really, keep = _trash_box(studio)

    def draw(lang: str, chosen: str, everything: bool) -> list[Any]:
        briefs = studio.board.briefs()
        run = next((one for one in briefs if one["name"] == chosen), None)
        shown = briefs if everything else briefs[:CARDS]
        names = [one["name"] for one in briefs if one["name"] != chosen]
        thrown_names = [] if studio.public else [(thrown_label(one.name), one.name) for one in runs.trash(studio.runs_dir)]
        return [
            {"chosen": chosen, "cards": [card(one, lang) for one in shown]}, gr.update(visible=len(shown) < len(briefs)),
            gr.update(value=empty_state(lang), visible=not briefs), gr.update(visible=run is not None), facts_of(run, lang) if run else "",
            gr.update(interactive=bool(run and not run["active"] and run["state"] != "finished")), gr.update(interactive=bool(run and not run["active"])),
            gr.update(interactive=bool(run and run["saved"])), gr.update(interactive=bool(run and not run["active"])), gr.update(interactive=bool(run and run["saved"])),
            gr.update(interactive=bool(run and not run["active"])), gr.update(choices=names), gr.update(choices=thrown_names), gr.update(interactive=bool(thrown_names)),
            gr.update(interactive=bool(thrown_names)),
        ]

    drawn = [cards, more, empty, detail, facts, resume, longer, zip_, rename, publish, trash, other, thrown, restore, ask_empty]
    shared.each_tick(lambda shot, lang, *given: draw(lang, *given), drawn, [chosen, everything])

    def then_draw(event: Any) -> None:
        event.then(draw, [shared.lang, chosen, everything], drawn, **QUICK)

    def choose(event: gr.EventData) -> list[Any]:
        return [event._data["name"], None, None, *[gr.update(visible=False)] * 3]

    then_draw(cards.click(choose, None, [chosen, other, compare, ask_longer, ask_name, ask_repository], **QUICK))
    then_draw(more.click(lambda: True, None, everything, **QUICK))
    other.input(lambda lang, *names: comparison(studio, names, lang), [shared.lang, chosen, other], compare, **QUICK)

    who = [chosen, shared.visitor, shared.lang]
    open_.click(lambda name: [name, gr.Tabs(selected="train")], chosen, [shared.selected, shared.tabs], **QUICK)
    for button, panel in ((longer, ask_longer), (rename, ask_name), (publish, ask_repository)):
        button.click(lambda: gr.update(visible=True), None, panel, **QUICK)
    rename.click(lambda chosen: chosen, chosen, name, **QUICK)

    away = [shared.message, chosen, shared.selected, shared.tabs]
    then_draw(resume.click(doing(studio, resume_run, 3), who, away, **QUICK))
    then_draw(train_on.click(doing(studio, resume_run, 3), [*who, kind, amount], away, **QUICK))
    copy.click(doing(studio, lambda studio, run, lang, visitor: copied(shared, run, lang), 1 + len(shared.form.inputs)), who, [shared.message, shared.tabs, *shared.form.inputs], **QUICK)
    zip_.click(zipper(studio), [chosen, shared.lang], [shared.message, archive], **QUICK).success(None, None, None, js=PRESS_ARCHIVE)
    then_draw(give_name.click(doing(studio, renamed, 2), [*who, name], [shared.message, chosen, ask_name], **QUICK))
    push.click(lambda lang: said(t("ui.runs.publishing", lang)), shared.lang, shared.message, **QUICK).then(
        doing(studio, published, 1), [*who, repository], [shared.message, ask_repository], **QUICK)
    then_draw(trash.click(doing(studio, thrown_away, 1), who, [shared.message, chosen], **QUICK))

    then_draw(restore.click(restorer(studio), [thrown, shared.lang], [shared.message, thrown], **QUICK))
    ask_empty.click(lambda lang: [gr.update(visible=True), gr.update(value=t("ui.runs.really", lang, count=len(runs.trash(studio.runs_dir))))], shared.lang, [confirm, really], **QUICK)
    keep.click(lambda: gr.update(visible=False), None, confirm, **QUICK)
    then_draw(really.click(emptier(studio), shared.lang, [shared.message, confirm, thrown], **QUICK))


PRESS_ARCHIVE = "() => { const box = document.getElementById('runs-archive'); (box.matches('button, a') ? box : box.querySelector('button, a')).click(); }"


def _trash_box(studio: Studio) -> tuple[Any, ...]:
    with gr.Accordion(words("ui.runs.trash_box"), open=False, visible=not studio.public, elem_id="runs-trash-box"):
        with gr.Row(equal_height=True, elem_classes="run-bar"):
            thrown = gr.Dropdown([], label=words("ui.runs.thrown"), scale=3, elem_id="runs-thrown")
            restore = gr.Button(words("ui.runs.restore"), size="md", min_width=120, elem_id="runs-restore")
            ask_empty = gr.Button(words("ui.runs.empty_trash"), size="md", min_width=120, elem_id="runs-empty")
        with gr.Row(visible=False) as confirm:
            really = gr.Button("", variant="stop", size="md", elem_id="runs-really")
            keep = gr.Button(words("ui.runs.keep"), size="md", elem_id="runs-keep")
    return thrown, restore, ask_empty, confirm, really, keep


# ---- what is done ---------------------------------------------------------------------------------------------------------
def doing(studio: Studio, act: Callable[..., list[Any]], outputs: int) -> Callable[..., list[Any]]:
    """A handler (run's name, visitor, lang, ...) whose first output is the message: ``act(studio, run, lang, visitor, ...)`` gives all
    outputs; where it raises, the message says why and the other ``outputs`` stay."""
    def click(name: str, visitor: str, lang: str, *given: Any) -> list[Any]:
        try:
            return act(studio, runs.find(studio.runs_dir, name), lang, visitor, *given)
        except Exception as error:
            return [said(problem_of(error), lang), *[gr.skip()] * outputs]
        finally:
            studio.board.refresh()

    return click


def resume_run(studio: Studio, run: runs.Run, lang: str, visitor: str, kind: str | None = None, amount: float | None = None) -> list[Any]:
    """Go on with a run, for longer where ``kind`` names the setting and ``amount`` its value."""
    guard.require_owner(studio, run, visitor)
    if studio.public and kind and amount > guard.CAPS[kind]:
        raise Problem("public_cap", kind, value=amount, limit=guard.CAPS[kind])
    studio.jobs.resume(run.name, visitor, **({kind: int(amount) if kind == "max_train_steps" else amount} if kind else {}))
    return [said(t("ui.runs.resumed", lang, name=run.name)), run.name, run.name, gr.Tabs(selected="train")]


def copied(shared: Shared, run: runs.Run, lang: str) -> list[Any]:
    return [said(t("ui.runs.copied", lang, name=run.name)), gr.Tabs(selected="config"), *shared.form.fill(run.config)]


def zipper(studio: Studio) -> Callable[[str, str], Iterator[list[Any]]]:
    """The handler that makes the pipeline folder a zip; Gradio keeps its own copy until its cache is cleared."""
    def zipped(name: str, lang: str) -> Iterator[list[Any]]:
        try:
            run = runs.find(studio.runs_dir, name)
            if not run.pipeline.is_dir():
                raise Problem("no_snapshot", value=run.name)
            with tempfile.TemporaryDirectory() as folder:
                yield ["", shutil.make_archive(str(pathlib.Path(folder, run.name)), "zip", run.path, "pipeline")]
        except Problem as problem:
            yield [said(problem, lang), gr.skip()]

    return zipped


def renamed(studio: Studio, run: runs.Run, lang: str, visitor: str, name: str) -> list[Any]:
    guard.refuse_in_public(studio)
    new = runs.rename(run, name.strip())
    return [said(t("ui.runs.renamed", lang, name=run.name, new=new.name)), new.name, gr.update(visible=False)]


def published(studio: Studio, run: runs.Run, lang: str, visitor: str, repository: str) -> list[Any]:
    guard.refuse_in_public(studio)
    if repository.strip() and not run.active:
        run.note(config=run.config.to_dict() | {"hub_model_id": repository.strip()})
    if problem := hub.ready(run.config):
        raise problem
    url = hub.publish(run)
    run.tell(published=url)
    return [said(t("ui.train.published", lang, url=url)), gr.update(visible=False)]


def thrown_away(studio: Studio, run: runs.Run, lang: str, visitor: str) -> list[Any]:
    guard.refuse_in_public(studio)
    runs.discard(run)
    return [said(t("ui.runs.thrown_away", lang, name=run.name)), ""]


def restorer(studio: Studio) -> Callable[[str, str], list[Any]]:
    def restore(name: str | None, lang: str) -> list[Any]:
        try:
            guard.refuse_in_public(studio)
            return [said(t("ui.runs.restored", lang, name=runs.restore(studio.runs_dir, name or "").name)), None]
        except Exception as error:
            return [said(problem_of(error), lang), gr.skip()]
        finally:
            studio.board.refresh()

    return restore


def emptier(studio: Studio) -> Callable[[str], list[Any]]:
    def empty(lang: str) -> list[Any]:
        try:
            guard.refuse_in_public(studio)
            return [said(t("ui.runs.emptied", lang, size=spell_bytes(runs.empty_trash(studio.runs_dir)))), gr.update(visible=False), None]
        except Exception as error:
            return [said(problem_of(error), lang), gr.update(visible=False), gr.skip()]

    return empty


def comparison(studio: Studio, names: tuple[str, str | None], lang: str) -> dict[str, Any] | None:
    """The plot of both runs' losses."""
    return plots.comparison([(name, studio.board.series(name)) for name in names], lang) if all(names) else None


def thumbnail(studio: Studio):
    """The cards' source of pictures: from a run's name and a step to a small data URI."""
    def thumbnail(wish: dict[str, str]) -> str:
        path = runs.find(studio.runs_dir, str(wish["name"])).path / "samples" / f"step-{int(wish['key']):07}.png"
        with Image.open(path) as image:
            quarter = image.convert("RGB").crop((0, 0, max(1, image.width // 2), max(1, image.height // 2)))
        quarter.thumbnail((THUMB_SIDE, THUMB_SIDE))
        return data_uri(quarter, small=True)

    return thumbnail


# ---- what is drawn --------------------------------------------------------------------------------------------------------
def card(one: dict[str, Any], lang: str) -> dict[str, Any]:
    """A run's card. Of a run at work it leaves out what changes with every step: the header shows that."""
    config = one["config"]
    lines = [t("ui.runs.card_data", lang, size=config.get("image_size", "?"), data=config.get("dataset_name", "?"), unet=config.get("unet", "?"))]
    if not one["active"]:
        loss = f"{one['loss']:.3g}" if isinstance(one.get("loss"), float) else "–"
        lines.append(t("ui.runs.card_step", lang, step=one["step"], loss=loss))
        lines.append(f"{lasting(one['seconds'], lang)} · {spell_bytes(one['bytes'])}")
    return {"name": one["name"], "state": one["state"], "told": t(f"ui.state.{one['state']}", lang), "lines": lines, "sample": one["sample"], "made": one["created"],
            "alt": t("ui.runs.thumb", lang, name=one["name"])}


def facts_of(one: dict[str, Any], lang: str) -> str:
    """The chosen run's name and facts."""
    config = one["config"]
    created = f"{datetime.datetime.fromtimestamp(one['created']):%Y-%m-%d %H:%M}"
    rows = [
        ("state", t(f"ui.state.{one['state']}", lang)), ("made", created), ("steps", f"{one['total_steps']:,}" if one.get("total_steps") else "–"), ("disk", spell_bytes(one["bytes"])),
        ("target", f"{config.get('prediction_type')} · {config.get('beta_schedule')}"), ("rate", f"{config.get('learning_rate')} · {config.get('train_batch_size')}"),
    ]
    cells = "".join(f"<dt>{html.escape(t(f'ui.runs.fact_{name}', lang))}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    return f'<h3 class="run-name">{html.escape(one["name"])}</h3><dl class="facts">{cells}</dl>'


def thrown_label(name: str) -> str:
    """"name~20261120-083412-000001" as people read it."""
    stem, _, stamp = name.rpartition("~")
    return f"{stem} ({stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]})"


def empty_state(lang: str) -> str:
    return f'<div class="empty"><h3>{html.escape(t("ui.runs.empty", lang))}</h3><p>{html.escape(t("ui.runs.empty_note", lang))}</p></div>'
