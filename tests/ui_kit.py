"""A page for tests, without a server."""

import asyncio

from ddpm_app.ui import page


def build(runs_dir, public=False):
    """As page.build. Inside a running loop, since Gradio otherwise makes some of its own and never closes them."""

    async def inside():
        return page.build(runs_dir, public)

    return asyncio.run(inside())
