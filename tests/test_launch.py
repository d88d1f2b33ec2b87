"""Who may open the page: its command line, and the names that it answers to."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import types
import urllib.request

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ddpm_app import __main__, launch


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch):
    for name in ("SPACE_ID", "SPACE_HOST", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_the_page_is_private_by_default():
    options = launch.options([])
    assert (options.host, options.port, options.share, options.public, options.auth) == (
        "127.0.0.1",
        7860,
        False,
        False,
        None,
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["--share"],
        ["--host", "0.0.0.0"],
        ["--host", "192.168.1.5"],
        ["--auth", "nobody"],
        ["--auth", ":x"],
        ["--port", "0"],
    ],
)
def test_an_open_page_has_to_be_asked_for(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        launch.options(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["--share", "--auth", "me:a:b"], ["--host", "0.0.0.0", "--public"], ["--host", "localhost"]]
)
def test_an_open_page_that_is_asked_for(argv):
    launch.options(argv)


def test_a_space_is_public_and_sets_its_address(monkeypatch):
    for name, value in (
        ("SPACE_ID", "someone/studio"),
        ("GRADIO_SERVER_NAME", "0.0.0.0"),
        ("GRADIO_SERVER_PORT", "7861"),
    ):
        monkeypatch.setenv(name, value)
    options = launch.options([])
    assert (options.public, options.host, options.port) == (True, "0.0.0.0", 7861)


# ---- Host names ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def status_for():
    """The status that a page for this machine alone answers a Host with."""
    page = Route("/", lambda request: PlainTextResponse("the page"))
    with TestClient(Starlette(routes=[page], middleware=launch.host_check(opened=False))) as client:
        yield lambda host: client.get("/", headers={"host": host}, follow_redirects=False).status_code


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "LocalHost:1", "[::1]:7860", "[::1]"]
)
def test_this_machine_is_let_in(status_for, host):
    assert status_for(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "[::1].evil.example",
        "evil@localhost",
        "x.gradio.live",
        "192.168.1.5",
        "",
        "127.0.0.1.nip.io",
    ],
)
def test_a_rebound_name_is_not(status_for, host):
    assert status_for(host) == 400


@pytest.mark.parametrize(
    "argv", [["--public"], ["--auth", "me:a"], ["--share", "--auth", "me:a"], ["--host", "0.0.0.0", "--auth", "me:a"]]
)
def test_an_open_page_answers_to_any_name(argv):
    """A proxy or a domain of one's own: who comes in is up to the password, or to the rules of public mode."""
    assert launch.host_check(launch.options(argv).open_to_others) == []
    assert launch.host_check(launch.options(["--host", "localhost"]).open_to_others)


@pytest.mark.parametrize(
    ("language", "words"), [("en-GB,en;q=0.9", "its own machine alone"), ("zh-CN", "\u672c\u673a"), ("", "alone")]
)
def test_a_refused_name_is_told_the_way_in(language, words):
    with TestClient(Starlette(middleware=launch.host_check(opened=False))) as client:
        answer = client.get("/any", headers={"host": "studio.lab", "accept-language": language})
    assert answer.headers["content-type"].startswith("text/plain")  # the name comes from a stranger
    assert all(word in answer.text for word in ("studio.lab", "--auth", "--public", "--root_path", words))


@pytest.mark.parametrize(
    ("typed", "variable", "path"),
    [
        ([], "", ""),
        (["--root_path", "/studio"], "", "/studio"),
        (["--root_path", "user/me/studio/"], "", "/user/me/studio"),
        (["--root_path", "https://lab.example/studio/"], "", "https://lab.example/studio"),
        ([], "/lab", "/lab"),
        (["--root_path", "/"], "/lab", ""),
    ],
)
def test_the_path_under_a_proxy(monkeypatch, typed, variable, path):
    monkeypatch.setenv("GRADIO_ROOT_PATH", variable)
    assert launch.options(typed).root_path == path


# ---- ZeroGPU, proxies, consoles ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "marks"), [("true", 1), ("1", 1), ("", 0), ("false", 0), (None, 0)])
def test_zero_gpu_gets_its_mark(monkeypatch, value, marks):
    functions = []
    module = types.ModuleType("spaces")
    module.__spec__ = importlib.machinery.ModuleSpec("spaces", None)
    module.GPU = functions.append
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if value is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", value)
    launch.mark_for_zero_gpu()
    assert len(functions) == marks and all(map(callable, functions))


def test_zero_gpu_without_its_package(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    launch.mark_for_zero_gpu()


def test_the_page_comes_up_behind_proxies_that_lead_nowhere(tmp_path):
    """In a process of its own, with a console that can print nothing but ASCII."""
    surroundings = os.environ | {
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "socks4://127.0.0.1:9",
        "PYTHONIOENCODING": "ascii",
        "DDPM_CACHE": str(tmp_path / "\u8774"),
    }
    surroundings = {name: value for name, value in surroundings.items() if name.upper() != "NO_PROXY"}
    command = [sys.executable, "-m", "ddpm_app", "app", "--runs_dir", str(tmp_path / "\u8776"), "--port", "7951"]
    command += ["--root_path", "/studio"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=surroundings
    ) as child:
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "DDPM Studio is at" in line:
                address = line.split()[-1]
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(address) as answer:
                    page = answer.read().decode()
                child.terminate()
    assert "ALL_PROXY is socks4://127.0.0.1:9" in lines[0] and "Traceback" not in "".join(lines)
    assert "/studio" in page


# ---- the console script --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "options"), [([], []), (["--port", "7999"], ["--port", "7999"]), (["app", "--public"], ["--public"])]
)
def test_without_a_verb_it_is_the_page(monkeypatch, typed, options):
    launched = []
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/ddpm-studio", *typed])
    monkeypatch.setattr(launch, "main", lambda argv, prog: launched.append((argv, prog)))
    assert __main__.studio() == 0 and launched == [(options, "ddpm-studio app")]


def test_with_a_verb_it_is_the_terminal(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["ddpm-studio", "runs", "--runs_dir", str(tmp_path)])
    assert __main__.studio() == 0 and str(tmp_path) in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["ddpm-studio", "--help"])
    with pytest.raises(SystemExit):
        __main__.studio()
    assert "usage: ddpm-studio" in capsys.readouterr().out
