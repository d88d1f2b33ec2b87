"""Publishing a run's pipeline on the Hugging Face Hub, with a model card. Checkpoints and training pictures never leave."""

import contextlib
import io
import pathlib
from collections.abc import Iterator
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from ddpm_app.config import PLACEHOLDER_HUB_ID, TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.model.describe import describe_folder, is_autoencoder
from ddpm_app.model.locate import HUB_ID, display_name
from ddpm_app.network import UNUSABLE_PROXY, proxy_problem, refusal, unreachable
from ddpm_app.runs.run import Run

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
    if config.hub_model_id == PLACEHOLDER_HUB_ID or not HUB_ID.fullmatch(config.hub_model_id):
        return Problem("hub_placeholder", "hub_model_id", value=config.hub_model_id)
    if huggingface_hub.get_token() is None:
        return Problem("not_logged_in")
    return None


def publish(run: Run, token: str | None = None, endpoint: str | None = None) -> str:
    """Upload the pipeline folder, the card and its two pictures; returns the address. ``token`` None takes the login's.

    The repository is made if there is none, private as ``hub_private_repo`` says (None: as the organisation's default). One
    that exists keeps its visibility; where it is public and should be private, nothing is uploaded.
    Raises Problem: "no_snapshot", "hub_not_private", and those of ``hub_errors``.
    """
    config = run.config
    if not run.pipeline.is_dir():
        raise Problem("no_snapshot", value=run.name)
    token = token or huggingface_hub.get_token()
    if token is None:
        raise Problem("not_logged_in")
    api = HfApi(endpoint=endpoint, token=token)
    with hub_errors(config.hub_model_id):
        url = api.create_repo(config.hub_model_id, private=config.hub_private_repo, exist_ok=True)
        if config.hub_private_repo and not api.model_info(url.repo_id).private:
            raise Problem("hub_not_private", "hub_private_repo", value=url.repo_id)
        pictures = _pictures(run)
        files: dict[str, pathlib.Path | bytes] = {
            path.relative_to(run.pipeline).as_posix(): path
            for path in sorted(run.pipeline.rglob("*"))
            if path.is_file()
        }
        files |= pictures
        files["README.md"] = model_card(run, url.repo_id, list(pictures)).encode()
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(url.repo_id, operations, commit_message=t("hub.commit", step=run.status["step"]))
    return str(url)


def missing_right(config: TrainConfig) -> Problem | None:
    """What the Hub says when it is asked whether this login may publish under these settings: "hub_login" (it doesn't take the token),
    "token_reads" (it may only read), "namespace_closed" (it may not write there); None where nothing speaks against it.

    Raises Problem as ``hub_errors``. Asks over the network; a repository is not made."""
    with hub_errors(config.hub_model_id):
        user = HfApi().whoami()
    namespace = config.hub_model_id.partition("/")[0]
    token = user.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        return Problem("token_reads", "hub_model_id", value=config.hub_model_id)
    roles = {entry["name"].lower(): entry.get("roleInOrg") for entry in user.get("orgs", [])}
    roles[user.get("name", namespace).lower()] = "admin"
    is_closed = roles.get(namespace.lower(), "read") == "read"
    if is_closed or token.get("role") == "fineGrained" and not _grants(token.get("fineGrained", {}), namespace):
        return Problem("namespace_closed", "hub_model_id", value=config.hub_model_id, name=namespace)
    return None


def _grants(rights: dict[str, Any], namespace: str) -> bool:
    """Whether the rights of a fine-grained token let it write something of the namespace."""
    permissions = [*rights.get("global", [])]
    for scope in rights.get("scoped", []):
        if scope.get("entity", {}).get("name", "").partition("/")[0].lower() == namespace.lower():
            permissions += scope.get("permissions", [])
    return "repo.write" in permissions


@contextlib.contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turns what the Hub or the network answers into a Problem: "not_logged_in", "hub_login", "write_forbidden", "too_many_requests",
    "hub_failing", "hub_refused", or that it can't be reached: "hub_offline" or a proxy's."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise Problem("not_logged_in") from error
    except HfHubHTTPError as error:
        problem = refusal(error.response, "hub_model_id", value=repo_id)
        if problem and problem.code == "hub_forbidden":
            problem.code = "write_forbidden"
        raise problem or Problem("hub_refused", "hub_model_id", reason=_first_line(error)) from error
    except HFValidationError as error:
        raise Problem("hub_refused", "hub_model_id", reason=_first_line(error)) from error
    except (HTTPError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:  # HTTPError: no answer at all
        raise unreachable("hub_offline", value=repo_id, reason=_first_line(error)) from error
    except UNUSABLE_PROXY as error:
        if problem := proxy_problem():
            raise problem from error
        raise


def _first_line(error: Exception) -> str:
    message = (getattr(error, "server_message", None) or str(error)).strip()
    return message.splitlines()[0] if message else type(error).__name__


def model_card(run: Run, repo_id: str, pictures: list[str]) -> str:
    """README.md of the repository: licence, data, pictures, how to load it, and the settings."""
    config, plan = run.config, run.plan or {}
    data_kind = run.record.get("data", {}).get("kind", "folder")
    info = describe_folder(run.pipeline)
    coder = is_autoencoder(run.pipeline)
    meta = ModelCardData(
        license=config.hub_license or None,
        library_name="diffusers",
        pipeline_tag=None if coder else TASKS[info.conditioning],
        tags=TAGS,
        datasets=config.dataset_name if data_kind == "hub" else None,
    )
    rows = [
        f"| {name} | {display_name(value) if name in PART_FIELDS else value} |"
        for name, value in config.to_dict().items()
        if value is not None and name not in LOCAL_FIELDS and "hub" not in name
    ]
    use = "autoencoder" if coder else info.conditioning if info.own else info.pipeline
    loader, more, call = (part.format(repo=repo_id, prompt="a butterfly") for part in USES[use])
    text = t(
        "hub.card",
        repo=repo_id,
        name=run.name,
        size=config.image_size,
        what=t(f"hub.what_{'autoencoder' if coder else info.conditioning}"),
        loader=loader,
        more=more,
        call=call,
        data=t(f"hub.data_{data_kind}", value=config.dataset_name),
        images=plan.get("images", "?"),
        step=run.status["step"],
        steps=plan.get("total_steps", "?"),
        pictures="\n\n".join(f"![{name}]({name})" for name in pictures),
        settings="\n".join(rows),
    )
    return str(ModelCard(f"---\n{meta.to_yaml()}\n---\n\n{text}"))


def _pictures(run: Run) -> dict[str, bytes]:
    """The newest preview grid and the loss curves, as PNG, by their name in the repository."""
    pictures = {}
    if run.samples:
        pictures["images/samples.png"] = run.samples[-1].read_bytes()
    if curves := loss_curves(run):
        pictures["images/loss.png"] = curves
    return pictures


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
