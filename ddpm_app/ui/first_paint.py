"""The page's HTML before Gradio has started: the language and the theme are decided, links show a picture of their own, and the first view
moves. The page itself appears when all of it has its place."""

import gzip
import json
import pathlib
import re
from collections.abc import Callable, Mapping

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddpm_app.i18n import ASSETS, LANGUAGES, t
from ddpm_app.ui import language
from ddpm_app.ui.html import brand

FOLDER = "first_view"
PICTURES = {
    "film.webp": "image/webp",
    "still.webp": "image/webp",
    "minute.webp": "image/webp",
    "share.jpg": "image/jpeg",
}
"""Pictures of assets/first_view that this page serves, also before anybody has logged in."""
CACHED = {"cache-control": "public, max-age=3600"}
SHARED = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
"""What Gradio's page says of itself to those who preview a link."""
TITLE = "DDPM Studio"
HEAD, BODY = b"<head>", b"<gradio-app"
PACKING = 5
"""Of gzip: Gradio sends the whole page's description, most of a megabyte, in the HTML."""
WORDS = ("title", "lead")
STYLES = (ASSETS / "styles" / "base.css", pathlib.Path(__file__).parent / "components" / "home.css")


def _file(suffix: str) -> str:
    return pathlib.Path(__file__).with_suffix(suffix).read_text(encoding="utf-8")


def meta_tags(address: str) -> str:
    """What a link to the page shows: title, description and picture. ``address`` of the page, with a slash at its end."""
    description, picture = t("ui.first.description"), f"{address}{FOLDER}/share.jpg"
    shared = {"title": TITLE, "description": description, "image": picture, "url": address, "type": "website"}
    tags = [f'<meta property="og:{name}" content="{content}">' for name, content in shared.items()]
    return "".join(
        [
            *tags,
            '<meta name="twitter:card" content="summary_large_image">',
            f'<meta name="description" content="{description}">',
        ]
    )


def opening() -> str:
    """What stands on the page until it is ready."""
    words = {lang: {name: t(f"ui.home.{name}", lang) for name in WORDS} for lang in LANGUAGES}
    styles = "\n".join(sheet.read_text(encoding="utf-8") for sheet in STYLES) + _file(".css")
    script = _file(".js").replace("WORDS", json.dumps(words, ensure_ascii=False), 1)
    stage = (
        '<figure class="home-stage"><div class="home-screen"><picture>'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{FOLDER}/still.webp">'
        f'<img src="{FOLDER}/film.webp" width="128" height="128" alt=""></picture></div></figure>'
    )
    return (
        f'<style>{styles}</style><div id="first-paint"><div class="studio-bar">{brand()}</div><div class="tab-line"></div>'
        f'<div class="home">{stage}<div class="home-words"><h2></h2><p class="home-lead"></p><div class="rest"></div></div>'
        f'<div class="home-doors"></div></div></div><script>{script}</script>'
    )


class FirstPaint:
    """Puts the scripts and tags at the top of each HTML page and ``opening`` before Gradio's own, and packs it; serves the pictures of them.
    ``is_training``: whether the page will open on the Train tab."""

    def __init__(self, app: ASGIApp, is_training: Callable[[], bool]):
        self.app, self.is_training = app, is_training
        self.script, self.opening = language.script(), opening().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if name := _picture(scope):
            answer = FileResponse(ASSETS / FOLDER / name, media_type=PICTURES[name], headers=CACHED)
            await answer(scope, receive, send)
            return
        start: Message | None = None
        body = b""
        packs = _takes_gzip(scope)

        async def send_changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = self.changed(body, str(Request(scope).base_url)) if body else body
                    headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                    if packs and body:
                        page = gzip.compress(page, PACKING)
                        headers += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
                    length = (b"content-length", str(len(page)).encode()) if body else None
                    await send(start | {"headers": [*headers, *([length] if length else [])]})
                    await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_changed)

    def changed(self, page: bytes, address: str) -> bytes:
        """The HTML of a page at ``address`` with what is put into it."""
        state = b"<script>window.opensOnTrain = " + json.dumps(self.is_training()).encode() + b";</script>"
        top = HEAD + self.script + state + meta_tags(address).encode()
        return SHARED.sub(b"", page).replace(HEAD, top, 1).replace(BODY, self.opening + BODY, 1)


def _picture(scope: Scope) -> str:
    """The name of the picture that a request wants; "" for all others."""
    parts = pathlib.PurePosixPath(scope.get("path", "")).parts[-2:] if scope["type"] == "http" else ()
    return parts[1] if len(parts) == 2 and parts[0] == FOLDER and parts[1] in PICTURES else ""


def _takes_gzip(scope: Scope) -> bool:
    return scope["type"] == "http" and b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")


def _is_page(start: Mapping[str, object]) -> bool:
    headers = dict(start["headers"])  # type: ignore[call-overload]
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers


def middleware(is_training: Callable[[], bool]) -> Middleware:
    """For ``launch(app_kwargs=...)``."""
    return Middleware(FirstPaint, is_training=is_training)
