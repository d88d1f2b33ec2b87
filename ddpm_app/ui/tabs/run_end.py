"""The end of a run, on the Train tab: its pictures large, and what can be done with the model now."""

import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ddpm_app import archive
from ddpm_app.errors import as_problem
from ddpm_app.i18n import format_count, format_duration, t
from ddpm_app.images import data_uri, grid_cells
from ddpm_app.model_choices import makes_pictures
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.base import run_named_in
from ddpm_app.ui.components.run_end import RunEndPictures
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import QUICK, App, Page, Updates, Values, label

BUTTONS = ("draw", "download", "longer", "share", "memory")
LONGER_MINUTES = 2
"""How much longer the button trains."""
NAMED = run_named_in("#run-end-facts")
OPEN_MEMORY = """() => openLearn({ station: "memory", model: "run:" + document.querySelector("#run-end-facts [data-run]").dataset.run })"""


def press(elem_id: str) -> str:
    """The js that presses a download button after the server has filled it."""
    return f"() => document.querySelector('#{elem_id}, #{elem_id} button').click()"


class RunEnd:
    """Shown while the run on show is a finished one that draws; before that it offers to tell of the end."""

    def __init__(self, app: App):
        self.app = app
        with gr.Column(visible=False, elem_id="run-end") as self.sheet:
            self.facts = gr.HTML(padding=False, elem_id="run-end-facts")
            self.pictures = RunEndPictures(self.previews, elem_id="run-end-pictures")
            with gr.Row(elem_classes="end-actions") as self.actions:
                self.buttons = {
                    name: gr.Button(
                        label(f"ui.end.{name}"),
                        variant="primary" if name == "draw" else "secondary",
                        min_width=0,
                        elem_id=f"run-end-{name}",
                    )
                    for name in BUTTONS
                }
            self.files = {
                name: gr.DownloadButton(name, elem_id=f"run-end-{name}-file", elem_classes="unseen")
                for name in ("download", "share")
            }

    def wire(self, page: Page) -> None:
        """Hang the sheet on the page's poll; connect the buttons."""
        self.page = page
        page.every_tick(self.draw, [self.sheet, self.facts, self.pictures, self.actions])
        inputs = {page.selected, page.visitor, page.lang}
        for name, write in (("download", archive.write_model), ("share", write_film)):
            hand_out = functools.partial(self.hand_out, name, write)
            done = self.buttons[name].click(hand_out, inputs, {page.message, self.files[name]}, js=NAMED, **QUICK)
            done.success(None, None, None, js=press(f"run-end-{name}-file"))
        sample = page.parts["sample"]
        draw_outputs = {page.message, page.tabs, sample.source}
        self.buttons["draw"].click(self.draw_more, inputs, draw_outputs, js=NAMED, **QUICK)
        self.buttons["longer"].click(self.train_longer, inputs, {page.message, page.selected}, js=NAMED, **QUICK)
        self.buttons["memory"].click(lambda: gr.Tabs(selected="learn"), None, page.tabs, **QUICK).then(
            None, None, None, js=OPEN_MEMORY
        )

    def draw(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The sheet of a finished run; while one is at work, the offer to tell of its end."""
        is_done = snapshot.get("state") == "finished" and snapshot["saved"] and makes_pictures(snapshot)
        words = {name: t(f"ui.end.{name}", lang) for name in ("ready", "alt")}
        if snapshot.get("active"):
            words["tell"] = t("ui.end.tell", lang)
        value = {
            "name": snapshot["name"] if is_done else "",
            "made": str(snapshot.get("samples", [])[-1:]),
            "count": snapshot["config"].get("preview_images", 0),
            "words": words,
        }
        return {
            self.sheet: gr.update(visible=bool(is_done or snapshot.get("active"))),
            self.facts: facts_line(snapshot, self.app.monitor.series(snapshot["name"])["seconds"], lang)
            if is_done
            else "",
            self.pictures: value,
            self.actions: gr.update(visible=is_done),
        }

    def previews(self, query: dict[str, str]) -> list[str]:
        """The run's newest previews, each as a data URI."""
        run = registry.find(self.app.runs_dir, str(query["name"]))
        if not run.samples:
            return []
        with Image.open(run.samples[-1]) as image:
            grid = image.convert("RGB")
        return [data_uri(image) for image in grid_cells(grid, run.config.image_size, run.config.preview_images)]

    def hand_out(self, name: str, write: Callable[[Run, pathlib.Path], None], data: Values) -> Iterator[Updates]:
        """A file for the browser, written by ``write(run, file)``; Gradio keeps its own copy until its cache is cleared."""
        page = self.page
        try:
            run = registry.find(self.app.runs_dir, data[page.selected])
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder, run.name + {"download": ".zip", "share": ".gif"}[name])
                write(run, file)
                yield {page.message: "", self.files[name]: str(file)}
        except Exception as error:
            # and no file of an earlier click
            yield {page.message: self._problem(error, data[page.lang]), self.files[name]: None}

    def _problem(self, error: Exception, lang: str) -> Markup:
        return notice(self.app.access.redact(as_problem(error)), lang)

    def draw_more(self, data: Values) -> Updates:
        """To the Sample tab, with this model."""
        page = self.page
        return {page.tabs: gr.Tabs(selected="sample"), page.parts["sample"].source: f"run:{data[page.selected]}"}

    def train_longer(self, data: Values) -> Updates:
        """Go on with the run for LONGER_MINUTES."""
        page, lang = self.page, data[self.page.lang]
        try:
            run = registry.find(self.app.runs_dir, data[page.selected])
            self.app.access.require_owner(run, data[page.visitor])
            self.app.jobs.resume(run.name, data[page.visitor], max_train_minutes=LONGER_MINUTES)
            self.app.monitor.refresh()
        except Exception as error:
            return {page.message: self._problem(error, lang)}
        return {page.message: "", page.selected: run.name}


def write_film(run: Run, file: pathlib.Path) -> None:
    """The run's film as a file."""
    file.write_bytes(archive.film(run))


def facts_line(snapshot: RunSnapshot, seconds: float, lang: str) -> Markup:
    """The heading of the sheet, and what the model is, as far as the run's plan says it."""
    plan, line = snapshot["plan"], ""
    if plan.get("parameters") and plan.get("images"):
        line = t(
            "ui.end.facts",
            lang,
            name=snapshot["name"],
            parameters=format_count(plan["parameters"]),
            steps=f"{snapshot['step']:,}",
            images=f"{plan['images']:,}",
            time=format_duration(seconds, lang),
        )
    return Markup('<h2 data-run="{}" role="status">{}</h2><p class="facts-line">{}</p>').format(
        snapshot["name"], t("ui.end.ready", lang), line
    )
