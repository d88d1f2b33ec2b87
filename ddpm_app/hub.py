"""Publishing a run's pipeline on the Hugging Face Hub, with a model card. Checkpoints and training pictures never leave."""

import contextlib
import io
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from ddpm_app.config import PLACEHOLDER_HUB_ID, TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.runs.run import Run

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TAGS = ["diffusion-models-class", "ddpm-studio"]
TASKS = {"text": "text-to-image", "labels": "unconditional-image-generation", "none": "unconditional-image-generation"}
OWN = ', custom_pipeline="{repo}", trust_remote_code=True'
USES = {
    "DDPMPipeline": ("DDPMPipeline", "", "pipeline().images[0]"),
    "LDMPipeline": ("LDMPipeline", "", "pipeline().images[0]"),
    "StableDiffusionPipeline": ("StableDiffusionPipeline", "", 'pipeline("{prompt}", guidance_scale=3).images[0]'),
    "labels": ("DiffusionPipeline", OWN, "pipeline(labels=[0], guidance_scale=3).images[0]"),
    "text": ("DiffusionPipeline", OWN, 'pipeline("{prompt}", guidance_scale=3).images[0]'),
    "autoencoder": ("AutoencoderKL", "", "pipeline(pictures).sample  # [N, 3, H, W] in [-1, 1]"),
}
"""How a pipeline is loaded and called, by its class, or by its condition where it brings its own class."""
PART_FIELDS = ("vae", "init_from", "text_encoder")
"""Settings that may name a folder of this machine: the card shows its last name alone."""
LOCAL_FIELDS = ("output_dir", "dataset_name", "device", "threads")
"""Settings that say more of the machine than of the model: left out of the card."""


def ready(config: TrainConfig) -> Problem | None:
    """Why nothing can be published under these settings: "hub_placeholder" or "not_logged_in"; None when nothing hinders.
    The code has words both as a problem and as a notice."""
    from huggingface_hub import get_token

    if config.hub_model_id == PLACEHOLDER_HUB_ID or not HUB_ID.fullmatch(config.hub_model_id):
        return Problem("hub_placeholder", "hub_model_id", value=config.hub_model_id)
    if get_token() is None:
        return Problem("not_logged_in")
    return None


def publish(run: Run, token: str | None = None, endpoint: str | None = None) -> str:
    """Upload the pipeline folder, the card and its two pictures; returns the address. ``token`` None takes the login's.

    The repository is made if it isn't there, private as ``hub_private_repo`` says (None: as the organisation's default). One
    that exists keeps its visibility; where it is public and private was asked for, nothing is uploaded.
    Raises Problem: "no_snapshot", "not_logged_in", "hub_not_private", "hub_refused", "hub_offline".
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    config = run.config
    if not run.pipeline.is_dir():
        raise Problem("no_snapshot", value=run.name)
    token = token or get_token()
    if token is None:
        raise Problem("not_logged_in")
    api = HfApi(endpoint=endpoint, token=token)
    with _told():
        url = api.create_repo(config.hub_model_id, private=config.hub_private_repo, exist_ok=True)
        if config.hub_private_repo and not api.model_info(url.repo_id).private:
            raise Problem("hub_not_private", "hub_private_repo", value=url.repo_id)
        files = {p.relative_to(run.pipeline).as_posix(): p for p in sorted(run.pipeline.rglob("*")) if p.is_file()}
        files |= _pictures(run)
        files["README.md"] = model_card(
            run, url.repo_id, [name for name in files if name.startswith("images/")]
        ).encode()
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(url.repo_id, operations, commit_message=t("hub.commit", step=run.status["step"]))
    return str(url)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what the Hub or the network answers into a Problem."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise Problem("not_logged_in") from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise Problem("hub_refused", "hub_model_id", reason=_first_line(error)) from error
    except (HTTPError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:  # HTTPError: no answer at all
        raise Problem("hub_offline", reason=_first_line(error)) from error


def _first_line(error: Exception) -> str:
    said = getattr(error, "server_message", None) or str(error)
    return said.strip().splitlines()[0] if said.strip() else type(error).__name__


def model_card(run: Run, repo_id: str, pictures: list[str]) -> str:
    """README.md of the repository: licence, data, pictures, how to load it, and the settings."""
    from huggingface_hub import ModelCard, ModelCardData

    config, data = run.config, run.record.get("data", {})
    kind, plan = data.get("kind", "folder"), run.plan or {}
    index = _index(run)
    condition = "text" if index.get("tokenizer", [None])[0] else "labels" if "id2label" in index else "none"
    meta = ModelCardData(
        license=config.hub_license or None,
        library_name="diffusers",
        pipeline_tag=TASKS[condition] if index else None,
        tags=TAGS,
        datasets=config.dataset_name if kind == "hub" else None,
    )
    rows = [
        f"| {name} | {_last_name(value) if name in PART_FIELDS else value} |"
        for name, value in config.to_dict().items()
        if value is not None and name not in LOCAL_FIELDS and "hub" not in name
    ]
    name = index.get("_class_name", "autoencoder")
    loader, more, call = (
        part.format(repo=repo_id, prompt="a butterfly") for part in USES[condition if isinstance(name, list) else name]
    )
    text = t(
        "hub.card",
        repo=repo_id,
        name=run.name,
        size=config.image_size,
        what=t(f"hub.what_{condition if index else 'autoencoder'}"),
        loader=loader,
        more=more,
        call=call,
        data=t(f"hub.data_{kind}", value=config.dataset_name),
        images=plan.get("images", "?"),
        step=run.status["step"],
        steps=plan.get("total_steps", "?"),
        pictures="\n\n".join(f"![{name}]({name})" for name in pictures),
        settings="\n".join(rows),
    )
    return str(ModelCard(f"---\n{meta.to_yaml()}\n---\n\n{text}"))


def _last_name(place: str) -> str:
    return place if HUB_ID.fullmatch(place) else pathlib.PurePath(place).name


def _index(run: Run) -> dict[str, Any]:
    """model_index.json of the run's pipeline; an autoencoder has none."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((run.pipeline / "model_index.json").read_text(encoding="utf-8"))
    return {}


def _pictures(run: Run) -> dict[str, bytes]:
    """The newest preview grid and the loss curves, as PNG, by their name in the repository."""
    found = {}
    if run.samples:
        found["images/samples.png"] = run.samples[-1].read_bytes()
    if curves := loss_curves(run):
        found["images/loss.png"] = curves
    return found


def loss_curves(run: Run) -> bytes | None:
    """The run's losses over its steps as a PNG; None before the first one."""
    from matplotlib.figure import Figure

    rows, _, _ = run.read_metrics()
    steps = [row for row in rows if row["kind"] == "step"]
    validations = [row for row in rows if row["kind"] == "validation"]
    if not steps:
        return None
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([r["step"] for r in steps], [r["loss"] for r in steps], color="0.75", linewidth=0.8, label=t("hub.loss"))
    for key in ("train_loss", "held_out_loss"):
        points = [(r["step"], r[key]) for r in validations if r[key] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=t(f"hub.{key}"))
    axes.set(xlabel=t("hub.step"), yscale="log")
    axes.legend()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()
