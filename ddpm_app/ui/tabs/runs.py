"""The Runs tab: all runs as cards, what can be done with one of them, two loss curves in one plot, the trash."""

from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import access
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, format_duration, labelled, t, text_for_code
from ddpm_app.images import data_uri
from ddpm_app.runs import registry
from ddpm_app.runs.queue import WaitingRun
from ddpm_app.runs.records import RunSnapshot, RunSummary
from ddpm_app.ui.components.run_cards import RunCards
from ddpm_app.ui.components.waiting_runs import WaitingRuns
from ddpm_app.ui.html import empty_state, notice
from ddpm_app.ui.state import QUICK, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.run_detail import RunDetail

CARDS = 24
"""Runs listed before "show all"."""
THUMBNAIL_SIDE = 144


class RunsTab:
    """The cards, beside them the chosen run, below them the trash."""

    def __init__(self, app: App):
        self.app = app
        self.show_all = gr.Checkbox(False, visible=False)
        with gr.Row(elem_classes="runs-row"):
            with gr.Column(scale=3, min_width=320):
                self.waiting = WaitingRuns(elem_id="runs-waiting")
                self.cards = RunCards(self.thumbnail, elem_id="runs-cards")
                self.more = gr.Button(label("ui.runs.all"), visible=False, size="md", elem_id="runs-all")
                self.empty = gr.HTML(visible=False, padding=False)
            self.detail = RunDetail(app)
        with gr.Accordion(label("ui.runs.trash_box"), open=False, visible=not app.public, elem_id="runs-trash-box"):
            self._draw_trash()

    def _draw_trash(self) -> None:
        with gr.Row(equal_height=True, elem_classes="run-bar"):
            self.discarded = gr.Dropdown([], label=label("ui.runs.thrown"), scale=3, elem_id="runs-thrown")
            self.restore_button = gr.Button(label("ui.runs.restore"), size="md", min_width=120, elem_id="runs-restore")
            self.empty_button = gr.Button(label("ui.runs.empty_trash"), size="md", min_width=120, elem_id="runs-empty")
        with gr.Row(visible=False) as self.confirmation:
            self.confirm_button = gr.Button("", variant="stop", size="md", elem_id="runs-really")
            self.keep_button = gr.Button(label("ui.runs.keep"), size="md", elem_id="runs-keep")

    def wire(self, page: Page) -> None:
        """Hang the tab on the page's poll and connect it."""
        self.page = page
        runs = [self.waiting, self.cards, self.more, self.empty, *self.detail.outputs()]
        trash = [self.discarded, self.restore_button, self.empty_button, self.confirm_button]
        page.live(self.draw_latest, ["runs-latest"])
        page.every_tick(self.draw, runs, [self.detail.chosen, self.show_all, page.visitor])
        page.every_tick(self.draw_trash, trash)

        def then_redraw(event: gr.events.Dependency) -> None:
            inputs = {page.lang, page.visitor, self.detail.chosen, self.show_all}
            event.then(self.redraw, inputs, set(runs), **QUICK)

        detail = self.detail
        of_choice = {detail.chosen, detail.other, detail.comparison, *detail.questions.values()}
        then_redraw(self.cards.click(self.choose, None, of_choice, **QUICK))
        then_redraw(self.waiting.click(self.change_queue, [page.visitor, page.lang], page.message, **QUICK))
        then_redraw(self.more.click(lambda: True, None, self.show_all, **QUICK))
        detail.wire(page, then_redraw)
        then_redraw(
            self.restore_button.click(
                self.restore, {self.discarded, page.lang}, {page.message, self.discarded}, **QUICK
            )
        )
        self.empty_button.click(lambda: gr.update(visible=True), None, self.confirmation, **QUICK)
        self.keep_button.click(lambda: gr.update(visible=False), None, self.confirmation, **QUICK)
        emptied = {page.message, self.confirmation, self.discarded}
        then_redraw(self.confirm_button.click(self.empty_trash, {page.lang}, emptied, **QUICK))

    # ---- what is drawn ----------------------------------------------------------------------------------------------
    def draw(self, snapshot: RunSnapshot, lang: str, chosen: str, show_all: bool, visitor: str) -> Updates:
        """The queue, the cards and the chosen run."""
        queue = self.app.jobs.queue.waiting()
        actions = ["remove"] if self.app.public else ["up", "remove"]
        rows = [waiting_row(each, self.app.access.may_cancel(each["owner"], visitor), lang) for each in queue]
        summaries = self.app.monitor.summaries()
        listed = summaries if show_all else summaries[:CARDS]
        words = empty_state(t("ui.runs.empty", lang), t("ui.runs.empty_note", lang))
        return {
            self.waiting: {
                "title": t("ui.runs.waiting", lang),
                "rows": rows,
                "words": {action: t(f"ui.runs.waiting_{action}", lang) for action in actions},
            },
            self.cards: {
                "chosen": chosen,
                "cards": [card(run, lang) for run in listed],
                "alt": t("ui.runs.thumb", lang, name="{}"),
            },
            self.more: gr.update(visible=len(listed) < len(summaries)),
            self.empty: gr.update(value=words, visible=not summaries),
            **self.detail.draw(summaries, lang, chosen),
        }

    def redraw(self, data: Values) -> Updates:
        """As ``draw``, at once after something was done."""
        page = self.page
        return self.draw({}, data[page.lang], data[self.detail.chosen], data[self.show_all], data[page.visitor])

    def draw_latest(self, snapshot: RunSnapshot, lang: str) -> dict[str, Any]:
        """The newest preview of the run at work."""
        run = self.app.monitor.snapshot("")
        previews = run["samples"] if run["active"] else []
        return {"runs-latest": {"name": run["name"], "sample": previews[-1]} if previews else None}

    def draw_trash(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """What can be restored, and the question before all of it goes."""
        runs = [] if self.app.public else registry.trash(self.app.runs_dir)
        enabled = gr.update(interactive=bool(runs))
        return {
            self.discarded: gr.update(choices=[(discarded_label(run.name), run.name) for run in runs]),
            self.restore_button: enabled,
            self.empty_button: enabled,
            self.confirm_button: gr.update(value=t("ui.runs.really", lang, count=len(runs))),
        }

    def thumbnail(self, query: dict[str, str]) -> str:
        """Some of a preview's pictures, small, as a data URI: ``query`` holds the run's "name" and the step as "key"."""
        run = registry.find(self.app.runs_dir, str(query["name"]))
        with Image.open(run.sample_path(int(query["key"]))) as image:
            quarter = image.convert("RGB").crop((0, 0, max(1, image.width // 2), max(1, image.height // 2)))
        quarter.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return data_uri(quarter, small=True)

    # ---- what is done -----------------------------------------------------------------------------------------------
    def choose(self, event: gr.EventData) -> Updates:
        """Show the run whose card was clicked."""
        return self.detail.choose(event._data["name"])

    def change_queue(self, visitor: str, lang: str, event: gr.EventData) -> Updates:
        """Move a waiting run up, or take it out."""
        queue, id = self.app.jobs.queue, str(event._data.get("id"))
        try:
            owners = [each["owner"] for each in queue.waiting() if each["id"] == id]
            if owners and not self.app.access.may_cancel(owners[0], visitor):
                raise Problem("not_yours", value=id)
            if event._data.get("action") == "up":
                self.app.access.refuse_in_public()
                queue.move_up(id)
            else:
                queue.remove(id)
        except Exception as error:
            return {self.page.message: notice(as_problem(error), lang)}
        return {self.page.message: ""}

    def restore(self, data: Values) -> Updates:
        """Bring a run back from the trash."""
        lang = data[self.page.lang]
        try:
            self.app.access.refuse_in_public()
            run = registry.restore(self.app.runs_dir, data[self.discarded] or "")
            return {self.page.message: notice(t("ui.runs.restored", lang, name=run.name)), self.discarded: None}
        except Exception as error:
            return {self.page.message: notice(as_problem(error), lang)}
        finally:
            self.app.monitor.refresh()

    def empty_trash(self, data: Values) -> Updates:
        """Delete what is in the trash."""
        lang, closed = data[self.page.lang], {self.confirmation: gr.update(visible=False)}
        try:
            self.app.access.refuse_in_public()
            size = format_bytes(registry.empty_trash(self.app.runs_dir))
            return {self.page.message: notice(t("ui.runs.emptied", lang, size=size)), self.discarded: None, **closed}
        except Exception as error:
            return {self.page.message: notice(as_problem(error), lang), **closed}


def card(run: RunSummary, lang: str) -> dict[str, Any]:
    """A run's card. Of a run at work it leaves out what changes all the time: see ``RunsTab.draw_latest``, and the header."""
    config = run["config"]
    data = access.without_folders(config.get("dataset_name", "?"))
    lines = [t("ui.runs.card_data", lang, size=config.get("image_size", "?"), data=data, unet=config.get("unet", "?"))]
    if not run["active"]:
        loss = f"{run['loss']:.3g}" if isinstance(run.get("loss"), float) else "–"
        lines.append(t("ui.runs.card_step", lang, step=run["step"], loss=loss))
        lines.append(f"{format_duration(run['seconds'], lang)} · {format_bytes(run['bytes'])}")
    return {
        "name": run["name"],
        "state": run["state"],
        "stateLabel": t(f"ui.state.{run['state']}", lang),
        "lines": lines,
        "sample": None if run["active"] else run["sample"],
        "made": round(run["created"]),
    }


def waiting_row(each: WaitingRun, is_mine: bool, lang: str) -> dict[str, str]:
    """A row of WaitingRuns."""
    config, problem = each["config"], each["problem"]
    data, minutes = access.without_folders(config["dataset_name"]), config.get("max_train_minutes")
    parts = [
        f"{config['image_size']} px",
        data,
        *([t("ui.runs.waiting_minutes", lang, count=minutes)] if minutes else []),
    ]
    return {
        "id": each["id"] if is_mine else "",
        "name": config["output_dir"],
        "note": " · ".join(parts),
        "problem": text_for_code(
            f"problem.{problem['code']}", lang, labelled({"field": problem.get("field"), **problem["values"]}, lang), ""
        )
        if problem
        else "",
    }


def discarded_label(name: str) -> str:
    """ "name~20261120-083412-000001" as people read it."""
    stem, _, stamp = name.rpartition("~")
    return f"{stem} ({stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]})"
