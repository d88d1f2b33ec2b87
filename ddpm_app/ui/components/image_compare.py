"""Two pictures on top of each other with a slider between them."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class ImageCompare(ScriptedHTML):
    """Takes {"name", "made", "step", "words", "caption"}; ``picture({"name", "key"})`` gives {"before", "after"} as data URIs.
    gr.ImageSlider smooths tiny pictures, and a value on each tick would send both anew."""

    def __init__(self, picture: Callable[[dict[str, str]], dict[str, str]], **options: Any):
        super().__init__(calls={"picture": picture}, **options)
