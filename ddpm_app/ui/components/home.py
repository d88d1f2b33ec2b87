"""The first view: a model that draws, a prompt, and the ways into the app."""

from collections.abc import Callable, Mapping
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class Home(ScriptedHTML):
    """Takes {"words", "prompts"}: texts by name and example prompts. ``draw`` is LiveDrawings.draw. Its script triggers "click" with
    {"door", "prompt"} when somebody leaves by a door."""

    def __init__(self, draw: Callable[[Mapping[str, object]], Any], **options: Any):
        super().__init__(calls={"draw": draw}, **options)
