"""A film with a slider that moves in the browser."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML

from gradio.events import Dependency

class Film(ScriptedHTML):
    """Takes a value of film.film_value. ``picture({"name", "key"})`` gives frames without a picture of their own, as a data URI."""

    def __init__(self, picture: Callable[[dict[str, str]], str] | None = None, **options: Any):
        super().__init__(server_functions=[picture] if picture else None, **options)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component