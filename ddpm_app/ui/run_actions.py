"""What the Runs tab does with a run: handlers that find it by name in the server's own list."""

import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import hub, plots, runs
from ddpm_app.problems import Problem
from ddpm_app.text import spell_bytes, t
from ddpm_app.ui import guard
from ddpm_app.ui.film import data_uri
from ddpm_app.ui.header import said
from ddpm_app.ui.studio import Shared, Studio, problem_of

THUMB_SIDE = 144


def doing(studio: Studio, act: Callable[..., list[Any]], outputs: list) -> Callable[..., list[Any]]:
    """A handler (run's name, visitor, lang, ...) for ``outputs``, of which the first is the message. ``act(studio, run, lang,
    visitor, ...)`` gives all values; where it raises, the message says why and the others stay."""

    def click(name: str, visitor: str, lang: str, *given: Any) -> list[Any]:
        try:
            return act(studio, runs.find(studio.runs_dir, name), lang, visitor, *given)
        except Exception as error:
            return [said(problem_of(error), lang), *[gr.skip()] * (len(outputs) - 1)]
        finally:
            studio.board.refresh()

    return click


def resume(studio: Studio, run: runs.Run, lang: str, visitor: str, kind: str | None = None, amount: float | None = None) -> list[Any]:
    """Go on with a run, for longer where ``kind`` names the setting and ``amount`` its value."""
    guard.require_owner(studio, run, visitor)
    if kind and amount is None:
        raise Problem("string_too_short", kind)
    most = guard.CAPS["max_train_minutes"]
    if studio.public and kind and (kind != "max_train_minutes" or amount > most):
        raise Problem("public_needs", "max_train_minutes", limit=most)
    studio.jobs.resume(run.name, visitor, **({kind: int(amount) if kind == "max_train_steps" else amount} if kind else {}))
    return [said(t("ui.runs.resumed", lang, name=run.name)), run.name, run.name, gr.Tabs(selected="train")]


def copier(shared: Shared) -> Callable[..., list[Any]]:
    """The action that puts a run's settings into the form."""

    def copy(studio: Studio, run: runs.Run, lang: str, visitor: str) -> list[Any]:
        config = run.config
        if studio.public:  # an upload goes by its name there
            config = dataclasses.replace(config, dataset_name=guard.without_folders(config.dataset_name))
        return [said(t("ui.runs.copied", lang, name=run.name)), gr.Tabs(selected="config"), *shared.form.fill(config)]

    return copy


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


def rename(studio: Studio, run: runs.Run, lang: str, visitor: str, name: str) -> list[Any]:
    """Give the run another name."""
    guard.refuse_in_public(studio)
    new = runs.rename(run, name.strip())
    return [said(t("ui.runs.renamed", lang, name=run.name, new=new.name)), new.name, gr.update(visible=False)]


def publish(studio: Studio, run: runs.Run, lang: str, visitor: str, repository: str) -> list[Any]:
    """Upload the run's pipeline, to ``repository`` where one is given."""
    guard.refuse_in_public(studio)
    if run.active:
        raise Problem("run_busy", "output_dir", value=run.name)
    if repository.strip():
        run.note(config=run.config.to_dict() | {"hub_model_id": repository.strip()})
    if problem := hub.ready(run.config):
        raise problem
    url = hub.publish(run)
    run.tell(state=run.status["state"], published=url)  # tell() names this process as the one at work
    return [said(t("ui.train.published", lang, url=url)), gr.update(visible=False)]


def throw_away(studio: Studio, run: runs.Run, lang: str, visitor: str) -> list[Any]:
    """Move the run to the trash."""
    guard.refuse_in_public(studio)
    runs.discard(run)
    return [said(t("ui.runs.thrown_away", lang, name=run.name)), ""]


def restorer(studio: Studio) -> Callable[[str, str], list[Any]]:
    """The handler that brings a run back from the trash."""
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
    """The handler that deletes what is in the trash."""
    def empty(lang: str) -> list[Any]:
        try:
            guard.refuse_in_public(studio)
            return [said(t("ui.runs.emptied", lang, size=spell_bytes(runs.empty_trash(studio.runs_dir)))), gr.update(visible=False), None]
        except Exception as error:
            return [said(problem_of(error), lang), gr.update(visible=False), gr.skip()]

    return empty


def comparer(studio: Studio) -> Callable[..., dict[str, Any] | None]:
    """The handler that plots the losses of two runs."""

    def compare(lang: str, chosen: str, other: str | None) -> dict[str, Any] | None:
        return plots.comparison([(name, studio.board.series(name)) for name in (chosen, other)], lang) if chosen and other else None

    return compare


def thumbnailer(studio: Studio) -> Callable[[dict[str, str]], str]:
    """The cards' source of pictures: from a run's name and a step to a small data URI of some of its pictures."""

    def thumbnail(wish: dict[str, str]) -> str:
        path = runs.find(studio.runs_dir, str(wish["name"])).path / "samples" / f"step-{int(wish['key']):07}.png"
        with Image.open(path) as image:
            quarter = image.convert("RGB").crop((0, 0, max(1, image.width // 2), max(1, image.height // 2)))
        quarter.thumbnail((THUMB_SIDE, THUMB_SIDE))
        return data_uri(quarter, small=True)

    return thumbnail
