"""The real app on a free port with an empty runs folder, and a Chromium to look at it."""

import shutil

import pytest
from kits import browser as browser_kit
from kits.browser import CHROMIUM_ARGS, PATIENCE_MS, StudioPage
from playwright.sync_api import expect, sync_playwright


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The address of a running app and its runs folder."""
    runs_dir = tmp_path_factory.mktemp("runs")
    with browser_kit.start_app(runs_dir) as url:
        yield url, runs_dir


@pytest.fixture(scope="session")
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("no Chromium installed: apt-get install chromium", pytrace=False)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def new_context(chromium):
    """Makes browser contexts, closed at the end."""
    contexts = []

    def make(**options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context):
    return new_context()


@pytest.fixture
def page(context, studio):
    """The first page."""
    return StudioPage(context, studio[0])
