"""Where a model lies: a shipped part, a run, a folder, or the Hub."""

import pathlib
import re

from huggingface_hub import errors, snapshot_download
from huggingface_hub.utils import httpx

from ddpm_app.errors import Problem
from ddpm_app.i18n import ASSETS
from ddpm_app.model.describe import pipeline_folder, run_of_checkpoint
from ddpm_app.network import UNUSABLE_PROXY, proxy_problem, refusal, unreachable

SHIPPED = ASSETS / "models"
DOWNLOADED = ["*.json", "*/*.json", "*/merges.txt", "merges.txt", "*/*model*.safetensors", "*model*.safetensors"]
IGNORED = ["*fp16*", "*non_ema*", "*nonema*", "safety_checker/*", "*pruned*", "*.bin*"]
"""Of a repository: settings, vocabulary and the plain weights; never code, pickles, or the same weights in other formats."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""How the name of a repository looks: user/name."""


def resolve(source: str | pathlib.Path, runs_dir: pathlib.Path | None = None, field: str | None = None) -> pathlib.Path:
    """The folder of a pipeline or of one of its parts: the name of a shipped one, of a run in ``runs_dir``, a folder, or a Hub id.
    Of a run's checkpoint it is the run's pipeline, which holds the other parts (see ``checkpoint``).

    Raises Problem about ``field``: "no_snapshot" (the run has saved nothing yet), and those of ``checkpoint`` and ``download``.
    """
    checkpoint(source, runs_dir, field)
    local = find_local(source, runs_dir)
    if local is None:
        return download(str(source), field)
    folder = pipeline_folder(local)
    if not folder.is_dir():
        raise Problem("no_snapshot", field, value=local.name)
    return folder


def find_local(source: str | pathlib.Path, runs_dir: pathlib.Path | None = None) -> pathlib.Path | None:
    """The folder of that name on this machine; None for what only the Hub can have. A run's is the run's own folder, and one of its
    checkpoints goes by RUN/checkpoints/step-..."""
    name = str(source)
    plain = bool(name) and pathlib.PurePath(name).name == name and not name.startswith(".")
    places = [SHIPPED / name, *([runs_dir / name] if runs_dir else [])] if plain else []
    places += [place for place in _checkpoint_places(name, runs_dir) if run_of_checkpoint(place)]
    return next((path for path in (*places, pathlib.Path(name).expanduser()) if name and path.is_dir()), None)


def _checkpoint_places(name: str, runs_dir: pathlib.Path | None) -> list[pathlib.Path]:
    """Where a checkpoint of that name may lie."""
    return [pathlib.Path(name).expanduser(), *([runs_dir / name] if runs_dir else [])]


def checkpoint(
    source: str | pathlib.Path, runs_dir: pathlib.Path | None = None, field: str | None = None
) -> pathlib.Path | None:
    """The folder of a run's checkpoint that ``source`` names; None where it names anything else.

    Raises Problem("checkpoint_missing") about ``field`` for one that the run hasn't, or hasn't any more."""
    for place in _checkpoint_places(str(source), runs_dir):
        run = run_of_checkpoint(place) or run_of_checkpoint(place / "step-")
        if run:
            if place.absolute() in run.checkpoints:
                return place
            steps = ", ".join(path.name for path in run.checkpoints)
            raise Problem("checkpoint_missing", field, value=str(source), run=run.name, known=steps or "-")
    return None


def display_name(source: str | pathlib.Path) -> str:
    """What a model is called where others read it, without the folders of this machine: a Hub id, a run's or a folder's name,
    RUN/checkpoints/step-... For a source as it was typed, or the folder that it is loaded from."""
    path = pathlib.PurePath(source)
    if path.parent.name == "checkpoints":
        return "/".join(path.parts[-3:])
    if HUB_ID.fullmatch(str(source)):
        return str(source)
    if path.parent.name == "snapshots":  # where the Hub's client puts user/name: models--user--name/snapshots/COMMIT
        return path.parent.parent.name.removeprefix("models--").replace("--", "/")
    return path.parent.name if path.name == "pipeline" else path.name


def download(hub_id: str, field: str | None = None) -> pathlib.Path:
    """The folder of a repository downloaded from the Hub, or taken from its cache: settings and safetensors, never code or pickles.

    Raises Problem: "model_missing", "model_gated" (its owners ask for something first), "model_unreadable", those of ``network.refusal``,
    and "no_network" or a proxy's."""
    if not HUB_ID.fullmatch(hub_id):
        raise Problem("model_missing", field, value=hub_id)
    try:
        return pathlib.Path(snapshot_download(hub_id, allow_patterns=DOWNLOADED, ignore_patterns=IGNORED))
    except errors.GatedRepoError as error:  # one kind of RepositoryNotFoundError
        raise Problem("model_gated", field, value=hub_id) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise Problem("model_missing", field, value=hub_id) from error
    except (
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        ConnectionError,
        httpx.TransportError,
    ) as error:
        cause = error.__cause__  # the client calls a refusal so too
        problem = refusal(cause.response, field, value=hub_id) if isinstance(cause, errors.HfHubHTTPError) else None
        raise problem or unreachable("no_network", field, value=hub_id) from error
    except errors.HfHubHTTPError as error:
        problem = refusal(error.response, field, value=hub_id)
        reason = str(error).splitlines()[0]
        raise problem or Problem("model_unreadable", field, value=hub_id, reason=reason) from error
    except UNUSABLE_PROXY as error:
        if problem := proxy_problem():
            raise Problem(problem.code, field, value=hub_id, **problem.values) from error
        raise


def shipped_names() -> list[str]:
    """Names of the models that came with the app."""
    return sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())


def shipped_pipelines() -> list[str]:
    """Those of ``shipped_names`` that draw: whole pipelines."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/model_index.json"))
