"""The page's HTML before Gradio starts: scripts and tags at its top, the first view before Gradio's own element, and its pictures."""

import gradio
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ddpm_app.i18n import ASSETS
from ddpm_app.ui import first_paint, language

PAGE = (
    '<html><head><meta property="og:title" content="Gradio" />\n<meta name="twitter:creator" content="@Gradio" /><title>数据</title></head>'
    "<body><gradio-app></gradio-app></body></html>"
)


def client(is_training=lambda: False):
    async def page(request):
        return HTMLResponse(PAGE)

    async def pieces(request):
        return StreamingResponse(iter([PAGE[:9], PAGE[9:]]), media_type="text/html; charset=utf-8")

    async def plain(request):
        return PlainTextResponse(PAGE)

    routes = [Route("/page", page), Route("/pieces", pieces), Route("/plain", plain)]
    return TestClient(Starlette(routes=routes, middleware=[first_paint.middleware(is_training)]))


@pytest.mark.parametrize("path", ["/page", "/pieces"])
def test_a_page_begins_with_the_script_and_moves_by_itself(path):
    plain, answer = (client().get(path, headers={"accept-encoding": kind}) for kind in ("identity", "br, gzip"))
    assert "content-encoding" not in plain.headers and int(plain.headers["content-length"]) == len(plain.content)
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"] == "accept-encoding"
    assert answer.text == plain.text and int(answer.headers["content-length"]) < len(plain.content) / 2
    assert answer.text.startswith("<html><head>" + language.script().decode())
    assert "<title>数据</title>" in answer.text
    assert answer.text.index("first_view/film.webp") < answer.text.index("<gradio-app>")


def test_a_link_shows_the_page_s_own_title_and_picture():
    text = client().get("/page").text
    assert "@Gradio" not in text and 'content="Gradio"' not in text
    assert '<meta property="og:title" content="DDPM Studio">' in text
    assert '<meta property="og:image" content="http://testserver/first_view/share.jpg">' in text


def test_the_page_knows_whether_it_opens_on_train():
    assert "opensOnTrain = true" in client(lambda: True).get("/page").text
    assert "opensOnTrain = false" in client().get("/page").text


def test_gradio_s_page_has_the_places_that_are_filled():
    page = (ASSETS.parent / gradio.__path__[0] / "templates" / "frontend" / "index.html").read_bytes()
    assert page.count(first_paint.HEAD) == 1 and page.count(first_paint.BODY) == 1
    assert b"og:" not in first_paint.SHARED.sub(b"", page)


def test_a_request_for_the_head_and_other_files_stay():
    assert client().head("/page").content == b""
    assert client().get("/plain").text == PAGE


def test_only_its_pictures_are_served():
    for name in first_paint.PICTURES:
        assert client().get(f"/prefix/first_view/{name}").content == (ASSETS / "first_view" / name).read_bytes()
    assert client().get("/first_view/../README.md").status_code == 404
    assert client().get("/first_view/other.webp").status_code == 404
