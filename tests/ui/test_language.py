"""The script that decides the language stands first on the page, and leaves everything else as it is."""

import re

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ddpm_app import i18n
from ddpm_app.ui import language
from ddpm_app.ui.state import label

PAGE = "<html><head><title>数据</title></head><body></body></html>"


def client():
    async def page(request):
        return HTMLResponse(PAGE)

    async def pieces(request):
        return StreamingResponse(iter([PAGE[:9], PAGE[9:]]), media_type="text/html; charset=utf-8")

    async def plain(request):
        return PlainTextResponse(PAGE)

    app = Starlette(
        routes=[Route("/page", page), Route("/pieces", pieces), Route("/plain", plain)],
        middleware=[language.middleware()],
    )
    return TestClient(app)


def test_a_page_begins_with_the_script():
    for path in ("/page", "/pieces"):
        answer = client().get(path)
        assert answer.text == PAGE.replace("<head>", "<head>" + language.script().decode())
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_request_for_the_head_and_other_files_stay():
    assert client().head("/page").content == b""
    assert client().get("/plain").text == PAGE


def test_gradio_knows_all_languages_and_the_page_says_which_it_shows():
    assert tuple(language.CODES) == i18n.LANGUAGES
    assert label.translations.keys() == language.CODES.keys()
    assert all(table["ui.language"] == lang for lang, table in label.translations.items())
    assert re.search(r'const codes = \{"en": "en", "zh": "zh-CN"\}', language.script().decode())
