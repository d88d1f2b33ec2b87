"""A gr.HTML that a JavaScript file of the same name draws."""

import functools
import inspect
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr


class ScriptedHTML(gr.HTML):
    """Draws its value by the .js file beside the subclass's own file (``script`` names another). The script's globals are Gradio's:
    ``element``, ``props.value``, ``watch``, ``trigger``, ``server``. ``calls``: what it may ask as ``server.name(query)``.
    ``live``: the value comes with the page's poll (Page.live), after which the script's ``draw()`` is called."""

    def __init__(
        self,
        value: Any = None,
        *,
        script: str | None = None,
        calls: Mapping[str, Callable[[Any], Any]] | None = None,
        live: bool = False,
        **options: Any,
    ):
        code = script if script is not None else script_of(type(self))
        if live:
            code += follow_poll(options["elem_id"], "draw();")
        if calls:
            options["server_functions"] = [_server_function(name, call) for name, call in calls.items()]
        super().__init__(value, html_template="", js_on_load=code, apply_default_css=False, **options)


class LiveHTML(gr.HTML):
    """HTML whose value comes with the page's poll (see Page.live)."""

    def __init__(self, value: Any = None, *, elem_id: str, **options: Any):
        super().__init__(value, js_on_load=follow_poll(elem_id), elem_id=elem_id, **options)


def _server_function(name: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of that name: Gradio marks what a browser may call, and a bound method can't be marked."""

    @functools.wraps(call)
    def answer(query: Any) -> Any:
        return call(query)

    answer.__name__ = name
    return answer


@functools.cache
def script_of(component: type) -> str:
    """The JavaScript beside the file of a component's class."""
    return pathlib.Path(inspect.getfile(component)).with_suffix(".js").read_text(encoding="utf-8")


def follow_poll(elem_id: str, then: str = "") -> str:
    """The js_on_load that takes a component's value from what the page's poll brings (see polling.js)."""
    take = f"if (news && {json.dumps(elem_id)} in news) {{ props.value = news[{json.dumps(elem_id)}]; {then} }}"
    return f"const take = (news) => {{ {take} }};\naddEventListener('live', (event) => take(event.detail));\ntake(window.liveParts);\n"


def run_named_in(place: str) -> str:
    """The js of a listener with the inputs ``Page.selected``, ``Page.visitor`` and ``Page.lang`` (Gradio orders a set of them by their
    making): the name that stands in ``place``, as its data-run, is sent in the place of the first. A click is meant for the run that the
    person sees, whatever has become the newest meanwhile."""
    name = f"document.querySelector({json.dumps(place + ' [data-run]')})?.dataset.run ?? ''"
    return f"(selected, visitor, lang) => [{name}, visitor, lang]"
