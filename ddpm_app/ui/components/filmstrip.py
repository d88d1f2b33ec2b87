"""The previews of a run: one large, and all of them as a strip that is the slider."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class Filmstrip(ScriptedHTML):
    """Takes {"name", "made", "alt", "steps", "coming", "caption", "pace", "words"}: the steps of the previews, how many more are planned,
    and a caption where {} stands for the step. ``picture({"name", "key"})`` gives a preview, ``thumbs({"name", "keys"})`` a small picture
    of each of several by its key, both as data URIs."""

    def __init__(
        self,
        picture: Callable[[dict[str, str]], str],
        thumbs: Callable[[dict[str, str]], dict[str, str]],
        **options: Any,
    ):
        super().__init__(calls={"picture": picture, "thumbs": thumbs}, **options)
