"""What strangers may do: the rules of public mode, and the check of the Host name."""

import dataclasses
import hashlib
import pathlib
import re
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.problems import Problem
from ddpm_app.runs import Run
from ddpm_app.text import ASSETS
from ddpm_app.ui.studio import Studio

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
NEEDED = ("max_train_minutes", "checkpoints_total_limit")
"""Settings that must be given in public mode: every run ends soon, and so does the room it takes."""
MAX_CHANNELS, MAX_VAE_CHANNELS = 256, 64
LATENT_SIZE = 128
"""The greatest ``image_size`` where a latent is learnt, or an autoencoder, whose network is small."""
MAX_IMAGES, MAX_STEPS = 16, 100
"""Pictures and steps of one request to sample in public mode."""
SHIPPED = ASSETS / "models"
UPLOAD_MB = {False: 2048, True: 64}
UPLOAD_SHARE = 0.1
"""The limits of an upload in public mode, as a share of those at home."""
UPLOADS_KEPT = 3
UPLOADS_BYTES, CACHE_BYTES = 2 * 2**30, 4 * 2**30
"""In public mode: uploads of one visitor, bytes of all uploads, bytes of decoded pictures."""
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/'\"\n]+/)+")


def upload_bytes(public: bool) -> int:
    """The size of the greatest file a browser may send."""
    return UPLOAD_MB[public] * 2**20


# ---- who may do what ---------------------------------------------------------------------------------------------------
def refuse_in_public(studio: Studio) -> None:
    """Raises Problem("public_off") in public mode: for trash, restore, rename, publish and everything with a path."""
    if studio.public:
        raise Problem("public_off")


def may_stop(studio: Studio, run: Run, visitor: str) -> bool:
    """Whether this visitor may stop, pause, resume or confirm the run: anyone at home, in public only who started it."""
    return not studio.public or bool(visitor) and run.wishes["owner"] == visitor


def require_owner(studio: Studio, run: Run, visitor: str) -> None:
    """Raises Problem("not_yours") where ``may_stop`` says no."""
    if not may_stop(studio, run, visitor):
        raise Problem("not_yours", value=run.name)


def require_pictures(studio: Studio, place: pathlib.Path | str, visitor: str) -> None:
    """Raises Problem("not_your_pictures") where, in public mode, a run learnt from what another visitor uploaded."""
    if not studio.public or not (pathlib.Path(place) / "status.json").is_file():
        return
    run = Run(pathlib.Path(place))
    if run.config.dataset_name not in (BUILT_IN, BUILT_IN_256) and not may_stop(studio, run, visitor):
        raise Problem("not_your_pictures", value=run.name)


def uploads_of(studio: Studio, visitor: str) -> pathlib.Path:
    """The folder of a visitor's uploads. The id comes from the browser, so that only its hash becomes part of a path."""
    whose = hashlib.blake2b(visitor.encode(), digest_size=12).hexdigest() if studio.public else "mine"
    return studio.runs_dir / ".uploads" / whose


def check_data(studio: Studio, config: TrainConfig, visitor: str) -> TrainConfig:
    """The settings with a data set that this visitor may use. In public mode that is the built-in one or an own upload,
    chosen by its name from a list made here: no path of a visitor is ever opened. Raises Problem: "public_data", or "public_cap" for
    pictures too large."""
    if not studio.public:
        return config
    _hold_to_cap(config, "image_size", LATENT_SIZE)
    if config.dataset_name == BUILT_IN:
        return config
    own = {path.name: path for path in uploads_of(studio, visitor).glob("upload-*")}
    if not visitor or config.dataset_name not in own:
        raise Problem("public_data", "dataset_name", value=BUILT_IN)
    return dataclasses.replace(config, dataset_name=str(own[config.dataset_name]))


def check_config(studio: Studio, config: TrainConfig, visitor: str) -> TrainConfig:
    """As ``check_data`` and ``check_models``, and raises Problem in public mode for settings beyond the caps."""
    config = check_data(studio, config, visitor)
    check_models(studio, config)
    if not studio.public:
        return config
    for name in NEEDED:
        if getattr(config, name) is None:
            raise Problem("public_needs", name, limit=CAPS[name])
    for name, limit in (CAPS | ({"image_size": LATENT_SIZE} if _is_light(config) else {})).items():
        _hold_to_cap(config, name, limit)
    for width in config.vae_channels:
        if width > MAX_VAE_CHANNELS:
            raise Problem("public_cap", "vae_channels", value=width, limit=MAX_VAE_CHANNELS)
    widest = max(config.unet_shape.block_out_channels)
    if widest > MAX_CHANNELS:
        raise Problem("public_cap", "block_out_channels" if config.block_out_channels else "unet", value=widest, limit=MAX_CHANNELS)
    if config.push_to_hub or config.hub_push_every_save:
        raise Problem("public_hub", "push_to_hub", value=True)
    return config


def check_models(studio: Studio, config: TrainConfig) -> None:
    """Raises Problem("public_model") in public mode for a model that isn't one of those that ship: no path, Hub id or run of
    another visitor is ever opened."""
    shipped = shipped_names() if studio.public else []
    for name in ("vae", "init_from", "text_encoder") if studio.public else ():
        if (value := getattr(config, name)) is not None and value not in shipped:
            raise Problem("public_model", name, value=value, known=", ".join(shipped))


def shipped_names() -> list[str]:
    """Names of the models that came with the app."""
    return sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())


def _is_light(config: TrainConfig) -> bool:
    """Whether the pictures are larger than what the network works on, or the network is an autoencoder."""
    brought = config.init_from and any((SHIPPED / config.init_from / part).is_dir() for part in ("vae", "vqvae"))
    return config.objective == "autoencoder" or bool(brought if config.init_from else config.vae)


def _hold_to_cap(config: TrainConfig, name: str, limit: float) -> None:
    value = getattr(config, name)
    if value is not None and value > limit:
        raise Problem("public_cap", name, value=value, limit=limit)


def without_folders(value: Any) -> Any:
    """A text where of every path its last part stays."""
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def told(studio: Studio, problem: Problem) -> Problem:
    """The problem as this page may tell it: in public mode without paths of this server."""
    if not studio.public:
        return problem
    return Problem(problem.code, problem.field, **{name: without_folders(value) for name, value in problem.values.items()})


def for_strangers(studio: Studio, snapshot: dict[str, Any]) -> dict[str, Any]:
    """A run's snapshot whose error, in public mode, tells no paths of this server."""
    error = snapshot.get("error")
    if not studio.public or not error:
        return snapshot
    values = {name: without_folders(value) for name, value in error.get("values", {}).items()}
    return snapshot | {"error": error | {"values": values}, "traceback": None}


def check_request(num_images: int, num_inference_steps: int) -> None:
    """Raises Problem for a request to sample that a public page refuses."""
    for field, value, most in (("num_images", num_images, MAX_IMAGES), ("num_inference_steps", num_inference_steps, MAX_STEPS)):
        if value > most:
            raise Problem("public_cap", field, value=value, limit=most)


# ---- Host names --------------------------------------------------------------------------------------------------------
class HostCheck:
    """Answers only requests whose Host is one this server was started for. Without it a stranger's web page whose name is
    made to point at this machine (DNS rebinding) counts as the same origin and could drive the studio."""

    NAMES = ("localhost", "127.0.0.1", "[::1]", "testserver")

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self.allowed(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
            await PlainTextResponse("Unknown Host", status_code=421)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def allowed(self, host: str) -> bool:
        name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
        return name in self.NAMES


def host_check(opened: bool) -> list[Any]:
    """The middleware for ``launch(app_kwargs=...)``. A page opened to others goes by names that nobody here knows (a proxy's, a
    Space's), and is guarded by its password or by the rules of public mode: only one for this machine alone is checked."""
    return [] if opened else [Middleware(HostCheck)]
