"""The page: Gradio only here. No torch at import.

Gradio writes a .pyi beside every file with a component class whenever the class is made, and parses that file's source for it: half of
the time that ``import gradio`` takes, and litter beside our own components. Here it is told that it can't see the sources.
"""

import inspect
from unittest import mock

_getfile = inspect.getfile


def _getfile_unless_component(item: object) -> str:
    if type(item).__name__ == "ComponentMeta":
        raise OSError  # what Gradio takes for "no file to write beside"
    return _getfile(item)  # type: ignore[arg-type]


with mock.patch.object(inspect, "getfile", _getfile_unless_component):
    from gradio import component_meta

component_meta.create_or_modify_pyi = lambda *args: None  # for component classes made from here on
