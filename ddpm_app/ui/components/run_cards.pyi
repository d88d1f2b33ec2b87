"""The runs as cards; a click tells which."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML

from gradio.events import Dependency

class RunCards(ScriptedHTML):
    """Takes {"chosen", "cards", "alt"}; ``thumbnail({"name", "key"})`` gives a run's small picture as a data URI."""

    def __init__(self, thumbnail: Callable[[dict[str, str]], str], **options: Any):
        super().__init__(server_functions=[thumbnail], **options)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component