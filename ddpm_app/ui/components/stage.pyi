"""The stage of the Learn tab: one component that asks the server for a station's panels."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML, script_of
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.components.image_compare import ImageCompare

PANEL_COMPONENTS = {"film": Film, "chart": Chart, "compare": ImageCompare}
"""Components that also draw panels: there their scripts are functions of (element, props, watch, server)."""

from gradio.events import Dependency

class Stage(ScriptedHTML):
    """``calls``: the functions of one dict that the browser may ask, by their names."""

    def __init__(self, calls: list[Callable[[Any], Any]], **options: Any):
        super().__init__(script=_script(), server_functions=list(map(_plain_function, calls)), **options)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def _plain_function(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Gradio marks the functions that a browser may call, and a bound method can't be marked."""

    @functools.wraps(method)
    def call(query: Any) -> Any:
        return method(query)

    return call


@functools.cache
def _script() -> str:
    parts = [
        f"function {name}Part(element, props, watch, server) {{\n{script_of(kind)}\n}}"
        for name, kind in PANEL_COMPONENTS.items()
    ]
    folder = pathlib.Path(__file__).parent
    return "\n".join(
        [*parts, *((folder / f"stage{part}.js").read_text(encoding="utf-8") for part in ("_panels", "_lessons", ""))]
    )