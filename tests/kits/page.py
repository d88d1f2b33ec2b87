"""A page for tests, without a server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ddpm_app.ui import page


def run(function):
    """The result of an async function. In a thread, since a browser test may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


def build(runs_dir, public=False):
    """As page.build, in a running loop: Gradio otherwise makes some of its own and never closes them."""

    async def inside():
        return page.build(runs_dir, public)

    return run(inside)
