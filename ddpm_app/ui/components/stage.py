"""The stage of the Learn tab: one component that asks the server for a station's panels."""

import functools
import pathlib
from typing import Any

from ddpm_app.ui.components.base import ScriptedHTML, script_of
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.components.image_compare import ImageCompare

PANEL_COMPONENTS = {"film": Film, "chart": Chart, "compare": ImageCompare}
"""Components that also draw panels: there their scripts are functions of (element, props, watch, server)."""
SCRIPTS = ("stage_panels.js", "stage_key_frames.js", "stage_lessons.js", "stage_presenting.js", "stage.js")
"""In one scope, in this order."""


class Stage(ScriptedHTML):
    """Its script triggers "click" with {"tab", "preset", "fields"} to leave the tab, and "select" with {"station", "lang"} when another station or
    language is on the stage. ``calls`` as of ScriptedHTML: "ask" (see learn/sessions.py), "catalog", "thumbnails", "upload",
    "snapshot", "moment_code" (see learn/catalog.py)."""

    def __init__(self, value: Any = None, **options: Any):
        super().__init__(value, script=_script(), **options)


@functools.cache
def _script() -> str:
    functions = [
        f"function {name}Part(element, props, watch, server) {{\n{script_of(component)}\n}}"
        for name, component in PANEL_COMPONENTS.items()
    ]
    folder = pathlib.Path(__file__).parent
    return "\n".join([*functions, *((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)])
