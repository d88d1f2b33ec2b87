"""Proxies of the environment, and what the Hub's refusals mean."""

import datetime
import email.utils
import os
import sys
import urllib.request

import pytest
from huggingface_hub.utils import httpx

from ddpm_app import network
from ddpm_app.i18n import problem_text


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in (*network.PROXY_VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # so that what a test's code sets is taken back
        monkeypatch.delenv(name)


@pytest.fixture
def without_socks(monkeypatch):
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)


# ---- proxies ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"HTTP_PROXY": "http://p:1"}, "localhost,127.0.0.1,::1,10.0.0.7"),
        (
            {"all_proxy": "socks5://p:1", "no_proxy": "corp.example, ::1"},
            "corp.example,::1,localhost,127.0.0.1,10.0.0.7",
        ),
        ({}, None),
        ({"NO_PROXY": "corp.example"}, "corp.example"),
    ],
)
def test_loopback_goes_past_a_proxy(monkeypatch, before, after):
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    network.exempt_loopback("10.0.0.7")
    assert os.environ.get("NO_PROXY") == after
    if len(before) and "PROXY" in "".join(before) and after != "corp.example":
        assert urllib.request.proxy_bypass("127.0.0.1") and not urllib.request.proxy_bypass("huggingface.co")


def test_the_systems_proxies_stay_in_force(monkeypatch):
    """Windows and macOS have settings of their own, which urllib looks at only where the environment names no proxy, not even NO_PROXY."""
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://system:1"})
    monkeypatch.setattr(urllib.request, "getproxies_environment", dict)
    network.exempt_loopback()
    assert os.environ["HTTPS_PROXY"] == "http://system:1" and "127.0.0.1" in os.environ["NO_PROXY"]


@pytest.mark.parametrize(
    ("name", "address", "code"),
    [
        ("ALL_PROXY", "socks5://me:secret@p:1", "proxy_needs_socks"),
        ("https_proxy", "socks5h://p:1", "proxy_needs_socks"),
        ("all_proxy", "socks://p:1/", "proxy_scheme"),
        ("HTTP_PROXY", "socks4://p:1", "proxy_scheme"),
        ("HTTP_PROXY", "http://p:1", None),
        ("http_proxy", "p:1", None),
        ("HTTPS_PROXY", "https://p:1", None),
        ("HTTPS_PROXY", "", None),
    ],
)
def test_proxies_that_the_client_can_not_use(monkeypatch, without_socks, name, address, code):
    monkeypatch.setenv(name, address)
    problem = network.proxy_problem()
    assert (problem and problem.code) == code
    if problem:
        text = problem_text(problem)
        assert name in text and "p:1" in text and "secret" not in text
    try:  # the client says the same
        httpx.Client().close()
    except (ImportError, ValueError):
        assert code
    else:
        assert code is None


def test_socks_with_its_package(monkeypatch):
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: sys)
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1")
    assert network.proxy_problem() is None


def test_proxies_come_back_after_the_block(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1")
    with network.without_proxies():
        assert "ALL_PROXY" not in os.environ
    assert os.environ["ALL_PROXY"] == "socks5://p:1"


# ---- the Hub's answers ------------------------------------------------------------------------------------------------
def answer(status, **headers):
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (429, {}, "too_many_requests"),
        (401, {}, "hub_login"),
        (401, {"X_Error_Code": "RepoNotFound"}, None),
        (403, {}, "hub_forbidden"),
        (403, {"X_Error_Code": "GatedRepo"}, None),
        (404, {}, None),
        (503, {}, "hub_failing"),
    ],
)
def test_what_a_refusal_says(status, headers, code):
    problem = network.refusal(answer(status, **headers), "vae", value="me/it")
    assert (problem and problem.code) == code
    if problem:
        assert problem.field == "vae" and "me/it" in problem_text(problem) and str(status) in problem_text(problem)


def test_how_long_to_wait():
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    date = email.utils.format_datetime(then, usegmt=True)
    assert network.seconds_to_wait(answer(429, Retry_After="0")) == 0
    assert 7100 < network.seconds_to_wait(answer(429, Retry_After=date)) <= 7200
    assert network.seconds_to_wait(answer(429, RateLimit='"api";r=0;t=55')) == 55
    assert network.seconds_to_wait(answer(429, Retry_After="soon")) is None
    assert network.refusal(answer(429), value="x").values["seconds"] == network.RATE_WINDOW_SECONDS
