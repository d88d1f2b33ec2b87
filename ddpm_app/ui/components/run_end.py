"""The pictures of a run that has ended, large; and a word of the browser when a run ends behind another window."""

from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML


class RunEndPictures(ScriptedHTML):
    """Takes {"name", "made", "count", "words"}; ``pictures({"name"})`` gives a run's newest previews, each as a data URI. With "name" "" it shows none,
    and watches the run in the header for its end."""

    def __init__(self, pictures: Callable[[dict[str, str]], list[str]], **options: Any):
        super().__init__(calls={"pictures": pictures}, **options)
