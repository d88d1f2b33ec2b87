"""The app for a browser to look at, and its page with the words of the tests."""

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time

from playwright.sync_api import expect

from ddpm_app.ui import first_paint, theme
from kits import ROOT
from kits import page as ui_kit

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OF_A_CLOSED_PAGE = ("AbortError", "Connection errored out", "Unexpected error 404: Not Found")
"""What Gradio says in the console of a page that is left or reloaded."""
STARTING_SECONDS = 120
PATIENCE_MS = 60_000
"""How long an expectation may take on a busy machine."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def start_app(runs_dir, *options):
    """The app as a process of its own: its address, which it prints once the page answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "app.py", "--port", str(port), "--runs_dir", str(runs_dir), *options]
    app = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "2"}, stdout=subprocess.PIPE, encoding="utf-8"
    )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read():  # to its end, so that the app never waits for somebody to read
        for line in app.stdout:
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while url not in (line := lines.get(timeout=STARTING_SECONDS)):
            assert line, "the app ended before its page came up"
        yield url
    finally:
        app.terminate()
        app.wait(30)
        reader.join(30)
        app.stdout.close()


@contextlib.contextmanager
def launch(runs_dir):
    """The app in this process: its address and the App behind it."""
    demo, app = ui_kit.build(runs_dir)
    middleware = [first_paint.middleware(app.is_training)]
    options = {"prevent_thread_lock": True, "quiet": True, "ssr_mode": False, "app_kwargs": {"middleware": middleware}}
    demo.launch(server_name="127.0.0.1", **options, **theme.look())
    yield demo.local_url, app
    demo.close()


class StudioPage:
    """The app's page in a browser context, opened on ``tab`` unless the ``url`` asks for something itself: a first view that draws takes time
    that other tests don't need. What it doesn't define itself is Playwright's page. ``complaints``: console errors."""

    def __init__(self, context, url, tab="dataset"):
        self.complaints = []
        self._page = context.new_page()
        self._page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._page.goto(url if "?" in url else f"{url}?tab={tab}")

    def __getattr__(self, name):
        return getattr(self._page, name)

    def open_tab(self, name):
        self.get_by_role("tab", name=name, exact=True).click()

    def field(self, name):
        """The text box of a setting."""
        return self.locator(f"#field-{name} input, #field-{name} textarea").first

    def choose(self, elem_id, option):
        """Choose from a menu."""
        self.locator(f"#{elem_id} input").click()
        self.get_by_role("option", name=option, exact=True).first.click()

    def button(self, name):
        return self.get_by_role("button", name=name, exact=True)

    def expect_status(self, text):
        """Wait until the header says so of the run."""
        expect(self.locator("#status")).to_contain_text(text)

    def wait_until(self, is_true):
        """Wait until the server's side is as it should be."""
        give_up = time.monotonic() + PATIENCE_MS / 1000
        while not is_true():
            assert time.monotonic() < give_up
            self.wait_for_timeout(20)
