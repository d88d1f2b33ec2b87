"""The real app on a free port with an empty runs folder, and a Chromium to look at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from kits import ROOT

ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STARTING_SECONDS = 120
PATIENCE_MS = 60_000
"""How long an expectation may take on a busy machine."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(runs_dir, *options):
    """Start the app; returns the process and its address once the page answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "app.py", "--port", str(port), "--runs_dir", str(runs_dir), *options]
    app = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "2"})
    give_up = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < give_up and app.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
            return app, url
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    app.kill()
    raise RuntimeError("the app didn't start")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The address of a running app and its runs folder."""
    runs_dir = tmp_path_factory.mktemp("runs")
    app, url = serve(runs_dir)
    yield url, runs_dir
    app.terminate()
    app.wait(30)


@pytest.fixture(scope="session")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("no Chromium installed: apt-get install chromium", pytrace=False)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium):
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def page(context, studio):
    """The first page, with what the browser complained of in ``page.complaints``."""
    made = context.new_page()
    made.complaints = []
    made.on("console", lambda message: made.complaints.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.goto(studio[0])
    return made
