"""A film with a slider that moves in the browser."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class Film(ScriptedHTML):
    """Takes a value of film.film_value. ``picture({"name", "key"})`` gives frames without a picture of their own, as a data URI."""

    def __init__(self, picture: Callable[[dict[str, str]], str] | None = None, **options: Any):
        super().__init__(calls={"picture": picture} if picture else None, **options)
