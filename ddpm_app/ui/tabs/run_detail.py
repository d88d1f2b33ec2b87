"""The chosen run on the Runs tab: its facts, what can be done with it, and its losses beside another run's."""

import dataclasses
import datetime
import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from markupsafe import Markup

from ddpm_app import access, archive, hub, plots
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, t
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSummary
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.html import facts, notice
from ddpm_app.ui.state import QUICK, App, Page, Updates, Values, label

BUTTONS = ("open", "resume", "longer", "copy", "zip", "rename", "publish", "trash")
NOT_IN_PUBLIC = ("rename", "publish", "trash")
PRESS_ARCHIVE = "() => document.querySelector('#runs-archive, #runs-archive button').click()"
"""A download button downloads what it holds when it is pressed: first the server fills it, then this presses it."""


class RunDetail:
    """Facts, buttons, the questions some of them ask, and the comparison. ``chosen`` is the run's name; each handler finds the run by it
    in the server's own list."""

    def __init__(self, app: App):
        self.app = app
        self.chosen = gr.Textbox("", visible=False)
        with gr.Column(
            scale=2, min_width=300, visible=False, elem_id="runs-detail", elem_classes="card"
        ) as self.column:
            self.facts = gr.HTML(padding=False, elem_id="runs-facts")
            with gr.Row(elem_classes="runs-actions"):
                self.buttons = {name: self._button(name) for name in BUTTONS}
            self.archive = gr.DownloadButton("zip", elem_id="runs-archive", elem_classes="unseen")
            self._draw_questions()
            self.other = gr.Dropdown([], label=label("ui.runs.compare"), elem_id="runs-other")
            self.comparison = Chart(elem_id="runs-compare")

    def _button(self, name: str) -> gr.Button:
        return gr.Button(
            label(f"ui.runs.{name}"),
            size="md",
            min_width=120,
            variant="primary" if name == "open" else "secondary",
            visible=not (self.app.public and name in NOT_IN_PUBLIC),
            elem_id=f"runs-{name}",
        )

    def _draw_questions(self) -> None:
        """What "longer", "rename" and "publish" ask before they do something."""
        with gr.Group(visible=False) as ask_length:
            kinds = [(label("ui.runs.minutes"), "max_train_minutes"), (label("ui.runs.steps"), "max_train_steps")]
            lengths = kinds[:1] if self.app.public else kinds
            self.length_kind = gr.Radio(lengths, value="max_train_minutes", label=label("ui.runs.how_long"))
            self.length = gr.Number(1, label=label("ui.runs.amount"), elem_id="runs-amount")
            self.train_on = gr.Button(label("ui.runs.train_on"), variant="primary", elem_id="runs-train-on")
        with gr.Group(visible=False) as ask_name:
            self.new_name = gr.Textbox(label=label("ui.runs.new_name"), max_lines=1, elem_id="runs-new-name")
            self.give_name = gr.Button(label("ui.runs.give_name"), variant="primary", elem_id="runs-give-name")
        with gr.Group(visible=False) as ask_repository:
            self.repository = gr.Textbox(
                label=label("ui.runs.repository"), placeholder="user/name", max_lines=1, elem_id="runs-repository"
            )
            self.push = gr.Button(label("ui.runs.push"), variant="primary", elem_id="runs-push")
        self.questions = {"longer": ask_length, "rename": ask_name, "publish": ask_repository}

    # ---- what is drawn ----------------------------------------------------------------------------------------------
    def outputs(self) -> list[Block]:
        """What ``draw`` fills."""
        return [self.column, self.facts, self.other, *(self.buttons[name] for name in possible_actions(None))]

    def draw(self, summaries: Sequence[RunSummary], lang: str, chosen: str) -> Updates:
        """The chosen run, or nothing where there is none of that name."""
        run = next((summary for summary in summaries if summary["name"] == chosen), None)
        return {
            self.column: gr.update(visible=run is not None),
            self.facts: facts_of(run, lang) if run else "",
            self.other: gr.update(choices=[summary["name"] for summary in summaries if summary["name"] != chosen]),
            **{self.buttons[name]: gr.update(interactive=possible) for name, possible in possible_actions(run).items()},
        }

    def choose(self, name: str) -> Updates:
        """Another run, with no questions open and nothing compared."""
        closed = {question: gr.update(visible=False) for question in self.questions.values()}
        return {self.chosen: name, self.other: None, self.comparison: None, **closed}

    # ---- what is done -----------------------------------------------------------------------------------------------
    def wire(self, page: Page, then_redraw: Callable[[gr.events.Dependency], None]) -> None:
        """Connect the buttons. ``then_redraw(event)`` draws the tab anew after an event."""
        self.page = page
        elsewhere = {page.message, self.chosen, page.selected, page.tabs}
        for name, question in self.questions.items():
            self.buttons[name].click(lambda: gr.update(visible=True), None, question, **QUICK)
        self.buttons["rename"].click(lambda name: name, self.chosen, self.new_name, **QUICK)
        self.buttons["open"].click(self.open, {self.chosen}, {page.selected, page.tabs}, **QUICK)
        then_redraw(self._on(self.buttons["resume"].click, self.resume, elsewhere))
        then_redraw(self._on(self.train_on.click, self.resume_longer, elsewhere, {self.length_kind, self.length}))
        self._on(self.buttons["copy"].click, self.copy, {page.message, page.tabs, *page.form.components.values()})
        zipped = self.buttons["zip"].click(self.zip, {self.chosen, page.lang}, {page.message, self.archive}, **QUICK)
        zipped.success(None, None, None, js=PRESS_ARCHIVE)
        renamed = {page.message, self.chosen, self.questions["rename"]}
        then_redraw(self._on(self.give_name.click, self.rename, renamed, {self.new_name}))
        published = self.push.click(
            lambda lang: notice(t("ui.runs.publishing", lang)), page.lang, page.message, **QUICK
        )
        self._on(published.then, self.publish, {page.message, self.questions["publish"]}, {self.repository})
        then_redraw(self._on(self.buttons["trash"].click, self.discard, {page.message, self.chosen}))
        for event in (self.other.input, page.language_changed.then):
            event(self.compare, {page.lang, self.chosen, self.other}, self.comparison, **QUICK)

    def _on(
        self,
        event: Callable[..., gr.events.Dependency],
        action: Callable[[Run, Values], Updates],
        outputs: set[Block],
        inputs: Iterable[Component] = (),
    ) -> gr.events.Dependency:
        """Do something with the chosen run when an event happens."""
        values = {self.chosen, self.page.visitor, self.page.lang, *inputs}
        return event(functools.partial(self.attempt, action), values, outputs, **QUICK)

    def attempt(self, action: Callable[[Run, Values], Updates], data: Values) -> Updates:
        """What ``action(run, data)`` gives for the chosen run; where it raises, the message says why and everything else stays."""
        try:
            return action(registry.find(self.app.runs_dir, data[self.chosen]), data)
        except Exception as error:
            return {self.page.message: notice(as_problem(error), data[self.page.lang])}
        finally:
            self.app.monitor.refresh()

    def _outcome(self, sentence: str, data: Values, **values: str) -> dict[Block, object]:
        return {self.page.message: notice(t(f"ui.{sentence}", data[self.page.lang], **values))}

    def open(self, data: Values) -> Updates:
        """Show the run on the Train tab."""
        return {self.page.selected: data[self.chosen], self.page.tabs: gr.Tabs(selected="train")}

    def resume(self, run: Run, data: Values) -> Updates:
        """Go on with the run."""
        return self._resume(run, data)

    def resume_longer(self, run: Run, data: Values) -> Updates:
        """Go on with the run until its new length."""
        kind, length = data[self.length_kind], data[self.length]
        self.app.access.require_owner(run, data[self.page.visitor])
        if length is None:
            raise Problem("string_too_short", kind)
        most = access.CAPS["max_train_minutes"]
        if self.app.public and (kind != "max_train_minutes" or length > most):
            raise Problem("public_needs", "max_train_minutes", limit=most)
        return self._resume(run, data, **{kind: int(length) if kind == "max_train_steps" else length})

    def _resume(self, run: Run, data: Values, **longer: float) -> Updates:
        self.app.access.require_owner(run, data[self.page.visitor])
        self.app.jobs.resume(run.name, data[self.page.visitor], **longer)
        on_train = {self.chosen: run.name, self.page.selected: run.name, self.page.tabs: gr.Tabs(selected="train")}
        return self._outcome("runs.resumed", data, name=run.name) | on_train

    def copy(self, run: Run, data: Values) -> Updates:
        """Put the run's settings into the form."""
        config = run.config
        if self.app.public:  # an upload goes by its name there
            config = dataclasses.replace(config, dataset_name=access.without_folders(config.dataset_name))
        in_form = {self.page.tabs: gr.Tabs(selected="config"), **self.page.form.updates(config)}
        return self._outcome("runs.copied", data, name=run.name) | in_form

    def zip(self, data: Values) -> Iterator[Updates]:
        """Make the model a zip (see archive.write_model); Gradio keeps its own copy until its cache is cleared."""
        try:
            run = registry.find(self.app.runs_dir, data[self.chosen])
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder, f"{run.name}.zip")
                archive.write_model(run, file)
                yield {self.page.message: "", self.archive: str(file)}
        except Exception as error:
            problem = self.app.access.redact(as_problem(error))
            yield {self.page.message: notice(problem, data[self.page.lang]), self.archive: None}

    def rename(self, run: Run, data: Values) -> Updates:
        """Give the run another name."""
        self.app.access.refuse_in_public()
        new = registry.rename(run, data[self.new_name].strip())
        renamed = {self.chosen: new.name, self.questions["rename"]: gr.update(visible=False)}
        return self._outcome("runs.renamed", data, name=run.name, new=new.name) | renamed

    def publish(self, run: Run, data: Values) -> Updates:
        """Upload the run's pipeline, to another repository than its settings say where one is typed."""
        self.app.access.refuse_in_public()
        if run.active:
            raise Problem("run_busy", "output_dir", value=run.name)
        if repository := data[self.repository].strip():
            run.update_record(config=run.config.to_dict() | {"hub_model_id": repository})
        if problem := hub.ready(run.config):
            raise problem
        url = hub.publish(run)
        # the state as it was: update_status names this process as the one at work
        run.update_status(state=run.status["state"], published=url)
        return self._outcome("train.published", data, url=url) | {self.questions["publish"]: gr.update(visible=False)}

    def discard(self, run: Run, data: Values) -> Updates:
        """Move the run to the trash."""
        self.app.access.refuse_in_public()
        registry.discard(run)
        return self._outcome("runs.thrown_away", data, name=run.name) | {self.chosen: ""}

    def compare(self, data: Values) -> Updates:
        """Plot the losses of the chosen run and another."""
        names = [data[self.chosen], data[self.other]]
        curves = [(name, self.app.monitor.series(name)) for name in names] if all(names) else []
        return {self.comparison: plots.comparison(curves, data[self.page.lang]) if curves else None}


def possible_actions(run: RunSummary | None) -> dict[str, bool]:
    """Which buttons make sense for a run, by name; "open" and "copy" always do."""
    idle, saved = bool(run and not run["active"]), bool(run and run["saved"])
    return {
        "resume": bool(run and idle and run["state"] != "finished"),
        "longer": idle,
        "zip": saved,
        "rename": idle,
        "publish": idle and saved,
        "trash": idle,
    }


def facts_of(run: RunSummary, lang: str) -> Markup:
    """The run's name and facts."""
    config, total = run["config"], run.get("total_steps")
    rows = {
        "state": t(f"ui.state.{run['state']}", lang),
        "made": f"{datetime.datetime.fromtimestamp(run['created']):%Y-%m-%d %H:%M}",
        "steps": f"{total:,}" if total else "–",
        "disk": format_bytes(run["bytes"]),
        "target": f"{config.get('prediction_type')} · {config.get('beta_schedule')}",
        "rate": f"{config.get('learning_rate')} · {config.get('train_batch_size')}",
    }
    return Markup('<h3 class="run-name">{}</h3>{}').format(
        run["name"], facts((t(f"ui.runs.fact_{name}", lang), value) for name, value in rows.items())
    )
