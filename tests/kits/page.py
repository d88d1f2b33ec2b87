"""A page for tests, without a server."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor

import gradio as gr

from ddpm_app.ui import page
from ddpm_app.ui.state import Page


def run(function):
    """The result of an async function. In a thread, since a browser test may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


def build(runs_dir, public=False):
    """As page.build, in a running loop: Gradio otherwise makes some of its own and never closes them."""

    async def inside():
        return page.build(runs_dir, public)

    return run(inside)


def draw(app, tab_class):
    """A tab drawn for ``app`` on a page without others, not wired: its page is ``tab.page``."""

    async def inside():
        with gr.Blocks():
            drawn_page = Page(app)
            drawn_page.message, drawn_page.tabs = gr.HTML(), gr.Tabs()
            tab = tab_class(app)
            tab.page = drawn_page
        return tab

    return run(inside)


def listener(demo, name, *arguments):
    """The listener whose function is the method ``name`` ("Header.start"), with ``arguments`` bound by functools.partial."""

    def matches(function):
        bound = function.args if isinstance(function, functools.partial) else ()
        function = function.func if isinstance(function, functools.partial) else function
        return getattr(function, "__qualname__", "") == name and bound == arguments

    return next(fn for fn in demo.fns.values() if matches(fn.fn))


def call(demo, name, *arguments, **values):
    """What a method answers a browser, by component. Its inputs are ``values`` by elem_id or by their name in the tab or in Page (``lang``),
    else as the page holds them first."""
    fn = listener(demo, name, *arguments)
    method = fn.fn.func if isinstance(fn.fn, functools.partial) else fn.fn
    tab = method.__self__
    data = {component: component.value for component in fn.inputs}
    for key, value in values.items():
        own = getattr(tab, key, None) or getattr(tab.page, key, None)
        data[own or next(component for component in fn.inputs if component.elem_id == key)] = value
    return fn.fn(data)


class Viewer:
    """A browser that has the page open: what it holds of the poll."""

    def __init__(self, demo):
        self.poller = listener(demo, "Poller.load").fn.__self__
        self.data = {component: component.value for component in listener(demo, "Poller.load").inputs}
        self.data |= {self.poller.live_version: "", self.poller.version: ""}

    def poll(self):
        """The poll's answer, and then holds its version."""
        answer = self.poller.poll(self.data)
        self.data[self.poller.live_version] = answer[self.poller.live_version]
        return answer[self.poller.feed]

    def redraw(self):
        """The other parts that are news, by component, and then holds their version."""
        answer = self.poller.redraw(self.data)
        self.data[self.poller.version] = answer.pop(self.poller.version)
        return answer
