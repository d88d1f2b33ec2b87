"""The runs as cards; a click tells which."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class RunCards(ScriptedHTML):
    """Takes {"chosen", "cards", "alt"}; ``thumbnail({"name", "key"})`` gives a run's small picture as a data URI."""

    def __init__(self, thumbnail: Callable[[dict[str, str]], str], **options: Any):
        super().__init__(calls={"thumbnail": thumbnail}, **options)
