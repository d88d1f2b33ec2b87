"""What the Runs tab does with a run: handlers that find it by name in the server's own list."""

import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import access, hub, plots
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, t
from ddpm_app.images import data_uri
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App, Page

THUMB_SIDE = 144


def doing(app: App, act: Callable[..., list[Any]], outputs: list) -> Callable[..., list[Any]]:
    """A handler (run's name, visitor, lang, ...) for ``outputs``, of which the first is the message. ``act(app, run, lang,
    visitor, ...)`` gives all values; where it raises, the message says why and the others stay."""

    def click(name: str, visitor: str, lang: str, *given: Any) -> list[Any]:
        try:
            return act(app, registry.find(app.runs_dir, name), lang, visitor, *given)
        except Exception as error:
            return [notice(as_problem(error), lang), *[gr.skip()] * (len(outputs) - 1)]
        finally:
            app.monitor.refresh()

    return click


def resume(
    app: App, run: Run, lang: str, visitor: str, kind: str | None = None, amount: float | None = None
) -> list[Any]:
    """Go on with a run, for longer where ``kind`` names the setting and ``amount`` its value."""
    app.access.require_owner(run, visitor)
    if kind and amount is None:
        raise Problem("string_too_short", kind)
    most = access.CAPS["max_train_minutes"]
    if app.public and kind and (kind != "max_train_minutes" or amount > most):
        raise Problem("public_needs", "max_train_minutes", limit=most)
    app.jobs.resume(run.name, visitor, **({kind: int(amount) if kind == "max_train_steps" else amount} if kind else {}))
    return [notice(t("ui.runs.resumed", lang, name=run.name)), run.name, run.name, gr.Tabs(selected="train")]


def copier(shared: Page) -> Callable[..., list[Any]]:
    """The action that puts a run's settings into the form."""

    def copy(app: App, run: Run, lang: str, visitor: str) -> list[Any]:
        config = run.config
        if app.public:  # an upload goes by its name there
            config = dataclasses.replace(config, dataset_name=access.without_folders(config.dataset_name))
        return [notice(t("ui.runs.copied", lang, name=run.name)), gr.Tabs(selected="config"), *shared.form.fill(config)]

    return copy


def zipper(app: App) -> Callable[[str, str], Iterator[list[Any]]]:
    """The handler that makes the pipeline folder a zip; Gradio keeps its own copy until its cache is cleared."""

    def zipped(name: str, lang: str) -> Iterator[list[Any]]:
        try:
            run = registry.find(app.runs_dir, name)
            if not run.pipeline.is_dir():
                raise Problem("no_snapshot", value=run.name)
            with tempfile.TemporaryDirectory() as folder:
                yield ["", shutil.make_archive(str(pathlib.Path(folder, run.name)), "zip", run.path, "pipeline")]
        except Problem as problem:
            yield [notice(problem, lang), gr.skip()]

    return zipped


def rename(app: App, run: Run, lang: str, visitor: str, name: str) -> list[Any]:
    """Give the run another name."""
    app.access.refuse_in_public()
    new = registry.rename(run, name.strip())
    return [notice(t("ui.runs.renamed", lang, name=run.name, new=new.name)), new.name, gr.update(visible=False)]


def publish(app: App, run: Run, lang: str, visitor: str, repository: str) -> list[Any]:
    """Upload the run's pipeline, to ``repository`` where one is given."""
    app.access.refuse_in_public()
    if run.active:
        raise Problem("run_busy", "output_dir", value=run.name)
    if repository.strip():
        run.update_record(config=run.config.to_dict() | {"hub_model_id": repository.strip()})
    if problem := hub.ready(run.config):
        raise problem
    url = hub.publish(run)
    run.update_status(state=run.status["state"], published=url)  # tell() names this process as the one at work
    return [notice(t("ui.train.published", lang, url=url)), gr.update(visible=False)]


def throw_away(app: App, run: Run, lang: str, visitor: str) -> list[Any]:
    """Move the run to the trash."""
    app.access.refuse_in_public()
    registry.discard(run)
    return [notice(t("ui.runs.thrown_away", lang, name=run.name)), ""]


def restorer(app: App) -> Callable[[str, str], list[Any]]:
    """The handler that brings a run back from the trash."""

    def restore(name: str | None, lang: str) -> list[Any]:
        try:
            app.access.refuse_in_public()
            return [notice(t("ui.runs.restored", lang, name=registry.restore(app.runs_dir, name or "").name)), None]
        except Exception as error:
            return [notice(as_problem(error), lang), gr.skip()]
        finally:
            app.monitor.refresh()

    return restore


def emptier(app: App) -> Callable[[str], list[Any]]:
    """The handler that deletes what is in the trash."""

    def empty(lang: str) -> list[Any]:
        try:
            app.access.refuse_in_public()
            return [
                notice(t("ui.runs.emptied", lang, size=format_bytes(registry.empty_trash(app.runs_dir)))),
                gr.update(visible=False),
                None,
            ]
        except Exception as error:
            return [notice(as_problem(error), lang), gr.update(visible=False), gr.skip()]

    return empty


def comparer(app: App) -> Callable[..., dict[str, Any] | None]:
    """The handler that plots the losses of two runs."""

    def compare(lang: str, chosen: str, other: str | None) -> dict[str, Any] | None:
        return (
            plots.comparison([(name, app.monitor.series(name)) for name in (chosen, other)], lang)
            if chosen and other
            else None
        )

    return compare


def thumbnailer(app: App) -> Callable[[dict[str, str]], str]:
    """The cards' source of pictures: from a run's name and a step to a small data URI of some of its pictures."""

    def thumbnail(wish: dict[str, str]) -> str:
        path = registry.find(app.runs_dir, str(wish["name"])).path / "samples" / f"step-{int(wish['key']):07}.png"
        with Image.open(path) as image:
            quarter = image.convert("RGB").crop((0, 0, max(1, image.width // 2), max(1, image.height // 2)))
        quarter.thumbnail((THUMB_SIDE, THUMB_SIDE))
        return data_uri(quarter, small=True)

    return thumbnail
