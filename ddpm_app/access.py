"""Who may do what: everything on one's own machine; on a public page, what strangers may do to each other and to the server."""

import dataclasses
import hashlib
import pathlib
import re
from typing import Any

from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.model import locate
from ddpm_app.runs.records import Coded, RunSnapshot
from ddpm_app.runs.run import Run

CAPS: dict[str, float] = {
    "image_size": 64,
    "train_batch_size": 64,
    "eval_batch_size": 32,
    "gradient_accumulation_steps": 4,
    "max_train_minutes": 5,
    "num_train_timesteps": 1000,
    "checkpoints_total_limit": 2,
    "preview_images": 16,
    "preview_inference_steps": 50,
    "layers_per_block": 2,
    "threads": 0,
}
"""The greatest value of a setting in public mode."""
REQUIRED = ("max_train_minutes", "checkpoints_total_limit")
"""Settings that must have a value in public mode: every run ends soon, and so does the room it takes."""
MAX_CHANNELS, MAX_VAE_CHANNELS = 256, 64
LATENT_SIZE = 128
"""The greatest ``image_size`` where a latent is learnt, or an autoencoder, whose network is small."""
MAX_IMAGES, MAX_STEPS = 16, 100
"""Pictures and steps of one request to sample in public mode."""
UPLOAD_MB = {False: 2048, True: 64}
"""The size of the greatest file a browser may send, by whether the page is public."""
UPLOAD_SHARE = 0.1
"""The limits of an upload in public mode, as a share of those at home."""
UPLOADS_PER_VISITOR = 3
MOST_WAITING_PER_VISITOR = 1
"""Runs that one visitor may have in the queue in public mode."""
UPLOADS_BYTES, CACHE_BYTES = 2 * 2**30, 4 * 2**30
"""In public mode: bytes of all uploads, bytes of decoded pictures."""
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/'\"\n]+/)+")


@dataclasses.dataclass(frozen=True)
class AccessPolicy:
    """The rules of one page. ``public``: strangers use it; otherwise every method permits everything."""

    runs_dir: pathlib.Path
    public: bool = False

    def refuse_in_public(self) -> None:
        """Raises Problem("public_off") in public mode: for trash, restore, rename, publish and everything with a path."""
        if self.public:
            raise Problem("public_off")

    # ---- runs -------------------------------------------------------------------------------------------------------
    def may_stop(self, run: Run, visitor: str) -> bool:
        """Whether this visitor may stop, pause, resume or confirm the run: anyone at home, in public only who started it."""
        return self.may_cancel(run.requests["owner"], visitor)

    def may_cancel(self, owner: str | None, visitor: str) -> bool:
        """As ``may_stop``, for a run that waits for its turn and has this owner."""
        return not self.public or bool(visitor) and owner == visitor

    def require_owner(self, run: Run, visitor: str) -> None:
        """Raises Problem("not_yours") where ``may_stop`` says no."""
        if not self.may_stop(run, visitor):
            raise Problem("not_yours", value=run.name)

    def require_pictures(self, folder: pathlib.Path | str, visitor: str) -> None:
        """Raises Problem("not_your_pictures") where, in public mode, the run in ``folder`` learnt from another visitor's upload."""
        if not self.public or not (pathlib.Path(folder) / "status.json").is_file():
            return
        run = Run(pathlib.Path(folder))
        if run.config.dataset_name not in (BUILT_IN, BUILT_IN_256) and not self.may_stop(run, visitor):
            raise Problem("not_your_pictures", value=run.name)

    # ---- settings ---------------------------------------------------------------------------------------------------
    def uploads_folder(self, visitor: str) -> pathlib.Path:
        """The folder of a visitor's uploads. The id comes from the browser, so that only its hash becomes part of a path."""
        name = hashlib.blake2b(visitor.encode(), digest_size=12).hexdigest() if self.public else "mine"
        return self.runs_dir / ".uploads" / name

    def check_data(self, config: TrainConfig, visitor: str) -> TrainConfig:
        """The settings with a data set that this visitor may use. In public mode that is the built-in one or an own upload,
        chosen by its name from a list made here: no path of a visitor is ever opened. Raises Problem: "public_data", "public_autoencoder", or
        "public_cap" for pictures too large."""
        if not self.public:
            return config
        _check_cap(config, "image_size", LATENT_SIZE)
        if config.dataset_name == BUILT_IN:
            return config
        uploads = {path.name: path for path in self.uploads_folder(visitor).glob("upload-*")}
        if not visitor or config.dataset_name not in uploads:
            raise Problem("public_data", "dataset_name", value=BUILT_IN)
        if config.objective == "autoencoder":  # everybody sees its previews
            raise Problem("public_autoencoder", "objective", value=config.objective)
        return dataclasses.replace(config, dataset_name=str(uploads[config.dataset_name]))

    def check_config(self, config: TrainConfig, visitor: str) -> TrainConfig:
        """As ``check_data`` and ``check_models``, and raises Problem in public mode for settings beyond the caps."""
        config = self.check_data(config, visitor)
        self.check_models(config)
        if not self.public:
            return config
        for name in REQUIRED:
            if getattr(config, name) is None:
                raise Problem("public_needs", name, limit=CAPS[name])
        for name, limit in (CAPS | ({"image_size": LATENT_SIZE} if _has_small_network(config) else {})).items():
            _check_cap(config, name, limit)
        for width in config.vae_channels:
            if width > MAX_VAE_CHANNELS:
                raise Problem("public_cap", "vae_channels", value=width, limit=MAX_VAE_CHANNELS)
        widest = max(config.unet_shape.block_out_channels)
        if widest > MAX_CHANNELS:
            field = "block_out_channels" if config.block_out_channels else "unet"
            raise Problem("public_cap", field, value=widest, limit=MAX_CHANNELS)
        if config.push_to_hub or config.hub_push_every_save:
            raise Problem("public_hub", "push_to_hub", value=True)
        return config

    def check_models(self, config: TrainConfig) -> None:
        """Raises Problem("public_model") in public mode for a model that isn't one of those that ship: no path, Hub id or run of
        another visitor is ever opened."""
        names = locate.shipped_names() if self.public else []
        for field in ("vae", "init_from", "text_encoder") if self.public else ():
            if (value := getattr(config, field)) is not None and value not in names:
                raise Problem("public_model", field, value=value, known=", ".join(names))

    def check_sampling(self, num_images: int, num_inference_steps: int) -> None:
        """Raises Problem for a request to sample that a public page refuses."""
        limits = (("num_images", num_images, MAX_IMAGES), ("num_inference_steps", num_inference_steps, MAX_STEPS))
        for field, value, limit in limits if self.public else ():
            if value > limit:
                raise Problem("public_cap", field, value=value, limit=limit)

    # ---- messages ---------------------------------------------------------------------------------------------------
    def redact(self, problem: Problem) -> Problem:
        """The problem as this page may show it: in public mode without paths of this server."""
        if not self.public:
            return problem
        values = {name: without_folders(value) for name, value in problem.values.items()}
        return Problem(problem.code, problem.field, **values)

    def redact_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """A run's snapshot whose error, in public mode, shows no paths of this server."""
        error = snapshot.get("error")
        if not self.public or not error:
            return snapshot
        values = {name: without_folders(value) for name, value in error.get("values", {}).items()}
        redacted: Coded = {**error, "values": values}
        return {**snapshot, "error": redacted, "traceback": None}


def without_folders(value: Any) -> Any:
    """A text where of every path its last part stays."""
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def _has_small_network(config: TrainConfig) -> bool:
    """Whether the pictures are larger than what the network works on, or the network is an autoencoder."""
    if config.objective == "autoencoder":
        return True
    if config.init_from:
        return any((locate.SHIPPED / config.init_from / part).is_dir() for part in ("vae", "vqvae"))
    return bool(config.vae)


def _check_cap(config: TrainConfig, name: str, limit: float) -> None:
    value = getattr(config, name)
    if value is not None and value > limit:
        raise Problem("public_cap", name, value=value, limit=limit)
