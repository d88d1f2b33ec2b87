"""What one can draw with: runs, shipped models and, on one's own machine, any diffusers pipeline."""

import dataclasses
import pathlib

from ddpm_app import presets
from ddpm_app.access import AccessPolicy
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.model import locate
from ddpm_app.model.describe import ModelInfo, describe_cached, describe_folder, pipeline_folder
from ddpm_app.runs import registry
from ddpm_app.runs.monitor import RunMonitor
from ddpm_app.runs.records import RunSnapshot, RunSummary
from ddpm_app.runs.run import Run

WORDS_MODEL = "butterflies-words"
"""The shipped model that draws by words."""
EXAMPLE_PROMPTS = (
    "a large blue morpho butterfly with black margins",
    "an orange butterfly with black veins and white spots",
    "a green luna moth with long tails",
    "a yellow tiger swallowtail with black stripes",
    "a purple butterfly with four large eyespots",
    "a zebra longwing with white stripes",
)
"""What it can be asked for: each word is one that it knows."""
OTHER = "other"
"""The choice of what is typed beside it: a folder or a Hub id."""


@dataclasses.dataclass(frozen=True)
class ModelChoices:
    """The models of one page. A choice is "run:NAME", "shipped:NAME" or, not on a public page, OTHER with what is typed."""

    monitor: RunMonitor
    access: AccessPolicy

    def options(self, lang: str) -> list[tuple[str, str]]:
        """(label, choice) of everything one can draw with: the best that ships, then runs, then what else there is."""
        names = sorted(locate.shipped_pipelines(), key=lambda name: name != WORDS_MODEL)
        shipped = [(t("ui.sample.shipped", lang, name=name), f"shipped:{name}") for name in names]
        saved = []
        for run in self.monitor.summaries():
            if makes_pictures(run) and (run["saved"] or run["active"]):
                name, size = run["name"], run["config"].get("image_size", "?")
                saved.append((t("ui.sample.run", lang, name=name, size=size), f"run:{name}"))
        return [
            *shipped[:1],
            *saved,
            *shipped[1:],
            *([] if self.access.public else [(t("ui.sample.another", lang), OTHER)]),
        ]

    def default(self, visitor: str) -> str | None:
        """The newest finished run of this visitor with enough steps, else the best that ships, else the first there is."""
        for run in self.monitor.summaries():
            is_done = run["state"] == "finished" and run["saved"] and run.get("step", 0) >= presets.FEWEST_STEPS
            if (
                is_done
                and makes_pictures(run)
                and self.access.may_stop(Run(self.access.runs_dir / run["name"]), visitor)
            ):
                return f"run:{run['name']}"
        choices = [choice for _, choice in self.options("en")]
        return choices[0] if choices else None

    def location(self, choice: str | None, other: str | None) -> pathlib.Path | str:
        """Where the choice lies: a folder, or a Hub id. Raises Problem: "no_source", "run_missing", "model_missing", "public_off",
        "checkpoint_missing"."""
        kind, _, name = (choice or "").partition(":")
        if kind == "run":
            return registry.find(self.access.runs_dir, name).path
        if kind == "shipped":
            if name not in locate.shipped_pipelines():
                raise Problem("model_missing", value=name)
            return locate.SHIPPED / name
        typed = (other or "").strip()
        if kind != OTHER or not typed:
            raise Problem("no_source")
        self.access.refuse_in_public()
        locate.checkpoint(typed, self.access.runs_dir)
        return locate.find_local(typed, self.access.runs_dir) or typed

    def has_raw_weights(self, choice: str | None) -> bool:
        """Whether the choice holds raw weights beside the averaged ones."""
        kind, _, name = (choice or "").partition(":")
        try:
            run = registry.find(self.access.runs_dir, name) if kind == "run" else None
        except Problem:
            return False
        return bool(run and run.checkpoints and run.record.get("config", {}).get("use_ema"))

    def info(self, choice: str | None, other: str | None) -> ModelInfo:
        """What is chosen, as far as this machine can tell; nothing is downloaded."""
        try:
            location = self.location(choice, other)
        except Problem:
            return ModelInfo()
        if isinstance(location, str):
            return describe_cached(location)
        run = Run(location)
        if (location / "status.json").is_file() and not run.pipeline.is_dir():  # it has saved nothing yet
            config = run.record.get("config", {})
            if origin := locate.find_local(config.get("init_from") or "", self.access.runs_dir):
                return describe_folder(pipeline_folder(origin))
            return ModelInfo(config.get("conditioning", "none"), latent=bool(config.get("vae")))
        return describe_folder(pipeline_folder(location))


def makes_pictures(run: RunSnapshot | RunSummary) -> bool:
    """Whether this run (a snapshot or a summary) makes a model that draws: an autoencoder only gives pictures back."""
    return run["config"].get("objective") != "autoencoder"
