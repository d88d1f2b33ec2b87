"""A page for tests, without a server."""

import asyncio
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
            drawn_page.message = gr.HTML()
            tab = tab_class(app)
            tab.page = drawn_page
        return tab

    return run(inside)
