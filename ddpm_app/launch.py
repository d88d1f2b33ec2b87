"""The page's command line: what address it listens on, who may use it, and the launch."""

import argparse
import contextlib
import importlib
import importlib.util
import os
import sys
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddpm_app import console, network
from ddpm_app.access import UPLOAD_MB
from ddpm_app.device_lock import on_zero_gpu
from ddpm_app.i18n import problem_text, t

HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
"""Host names of a page for this machine alone."""
WARM_AFTER_SECONDS = 3
"""torch is imported this long after the page is up, so that the first page doesn't wait for it."""


def options(argv: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """The command line. Exits with 2 and one line when the page would be open to strangers without being asked for."""
    environment = os.environ
    host, port = environment.get("GRADIO_SERVER_NAME", "127.0.0.1"), environment.get("GRADIO_SERVER_PORT", 7860)
    parser = argparse.ArgumentParser(prog, description="Train a diffusion model in the browser and watch it learn.")
    parser.add_argument("--host", default=host, help="address to listen on")
    parser.add_argument("--port", type=int, default=port, help="first port to try")
    parser.add_argument("--runs_dir", default="runs", help="folder that holds the runs")
    parser.add_argument("--share", action="store_true", help="make a public gradio.live link")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for a name and a password")
    parser.add_argument(
        "--public",
        action="store_true",
        help="strangers may use it: limited to small runs on the built-in data or an upload",
    )
    parser.add_argument(
        "--root_path",
        default=environment.get("GRADIO_ROOT_PATH", ""),
        metavar="/PREFIX",
        help="path under which a reverse proxy (nginx, JupyterHub) serves the page, or the whole address of it",
    )
    args = parser.parse_args(argv)
    args.public |= "SPACE_ID" in os.environ
    if args.auth and not all(args.auth.partition(":")):
        _refuse("--auth needs a name and a password, as user:password")
    if not 0 < args.port < 65536:
        _refuse(f"--port is {args.port}: it must be between 1 and 65535")
    beyond_this_machine = args.share or args.host not in ("127.0.0.1", "localhost", "::1", "[::1]")
    args.root_path = _prefix(args.root_path)
    args.open_to_others = beyond_this_machine or bool(args.auth) or args.public
    if beyond_this_machine and not (args.auth or args.public):
        _refuse(
            "--share and a --host other than this machine open the page to others: add --auth user:password or --public"
        )
    return args


def _prefix(path: str) -> str:
    """A root path as Gradio takes it: an address as it is, a path with a slash before it and none behind."""
    path = path.strip().rstrip("/")
    return path if not path or "://" in path else "/" + path.lstrip("/")


def _refuse(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise SystemExit(2)


def host_check(opened: bool) -> list[Middleware]:
    """The middleware for ``launch(app_kwargs=...)`` that answers only requests whose Host is this machine. Without it a stranger's
    web page whose name is made to point at this machine (DNS rebinding) counts as the same origin and could drive the studio.

    A page opened to others goes by names that nobody here knows (a proxy's, a Space's), and is guarded by its password or by the
    rules of public mode: only one for this machine alone is checked."""
    return [] if opened else [Middleware(HostCheck)]


class HostCheck:
    """Starlette's check for HOSTS, with an answer that says which options open the page."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = _refusal(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else self.app

        async def let_in(*_: object) -> None:
            nonlocal answer
            answer = self.app

        async def discard(_: Message) -> None:
            pass

        await TrustedHostMiddleware(let_in, allowed_hosts=HOSTS, www_redirect=False)(scope, receive, discard)
        await answer(scope, receive, send)


def _refusal(headers: Headers) -> PlainTextResponse:
    lang = headers.get("accept-language", "")[:2].lower()
    return PlainTextResponse(t("launch.unknown_host", lang, host=headers.get("host", "")[:200]), status_code=400)


def mark_for_zero_gpu() -> None:
    """A Space on ZeroGPU stops at its start where no function is marked as using the GPU. The GPU is lent to single calls, each in a process of
    its own, while runs and drawings go on in threads of this one: they compute on the Space's CPU cores, and the mark is all there is."""
    if on_zero_gpu() and importlib.util.find_spec("spaces"):
        importlib.import_module("spaces").GPU(lambda: None)


def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Serve the page until it is stopped. ``argv``: see ``options``; ``prog``: the command's name in its help."""
    console.make_forgiving()
    args = options(argv, prog)
    os.environ["MPLBACKEND"] = "agg"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # gradio tries the ports from here on
    os.environ["GRADIO_SERVER_NAME"], os.environ["GRADIO_SERVER_PORT"] = args.host, str(args.port)
    network.exempt_loopback(args.host)
    mark_for_zero_gpu()
    proxy = network.proxy_problem()
    if proxy:
        print(t("launch.without_proxy", problem=problem_text(proxy)), file=sys.stderr, flush=True)
    # Gradio makes a client of its own as it is imported, and asks its own page: neither must meet a proxy that can't be used
    with network.without_proxies() if proxy else contextlib.nullcontext():
        from ddpm_app.ui import first_paint, page, theme

        demo, app = page.build(args.runs_dir, args.public)
        demo.launch(
            share=args.share,
            auth=tuple(args.auth.split(":", 1)) if args.auth else None,
            root_path=args.root_path,
            max_file_size=UPLOAD_MB[args.public] * 2**20,
            app_kwargs={"middleware": [*host_check(args.open_to_others), first_paint.middleware(app.is_training)]},
            run_history=False,
            ssr_mode=False,
            show_error=True,
            quiet=True,
            prevent_thread_lock=True,
            **theme.look(),
        )
    for address in filter(None, (demo.local_url, demo.share_url)):
        print(f"DDPM Studio is at {address}", flush=True)
    app.warm_up(WARM_AFTER_SECONDS)
    demo.block_thread()
