"""A page for tests, without a server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ddpm_app.ui import page


def build(runs_dir, public=False):
    """As page.build. In a running loop, since Gradio otherwise makes some of its own and never closes them; in a thread,
    since a browser test may have a loop running in this one."""

    async def inside():
        return page.build(runs_dir, public)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(inside())).result()
