"""What stands between this machine and the Hugging Face Hub: proxies, and what the Hub's refusals mean."""

import contextlib
import datetime
import email.utils
import importlib.util
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator

from huggingface_hub import constants
from huggingface_hub.utils import httpx, parse_ratelimit_headers

from ddpm_app.errors import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXY_VARIABLES = ("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
SOCKS = ("socks5", "socks5h")
"""Schemes that the Hub's client and Gradio's (httpx) take once the package socksio is there."""
UNUSABLE_PROXY = (ImportError, ValueError)
"""What they raise as they are made, of a proxy without that package or of an unknown kind."""
RATE_WINDOW_SECONDS = 300
"""The Hub counts requests over five minutes: so long a wait where its answer names none."""


# ---- proxies --------------------------------------------------------------------------------------------------------
def exempt_loopback(*hosts: str) -> None:
    """Have this process and its children reach this machine's own addresses, and ``hosts``, without a proxy."""
    proxies = urllib.request.getproxies()
    if not proxies.keys() - {"no"}:
        return
    if not urllib.request.getproxies_environment():  # the system's settings, which NO_PROXY alone would switch off
        os.environ.update({f"{scheme.upper()}_PROXY": address for scheme, address in proxies.items() if scheme != "no"})
    exempt = dict.fromkeys([*filter(None, map(str.strip, proxies.get("no", "").split(","))), *LOOPBACK, *hosts])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(exempt)


def proxy_problem() -> Problem | None:
    """The first proxy of the environment that can't be used, as Problem "proxy_needs_socks" (a package is missing) or "proxy_scheme"
    (an address of another kind); None where all can."""
    for name, address in _proxies().items():
        scheme = urllib.parse.urlsplit(address).scheme
        if scheme in SOCKS and importlib.util.find_spec("socksio") is None:
            return Problem("proxy_needs_socks", variable=name, proxy=_without_password(address))
        if scheme not in ("http", "https", *SOCKS):
            return Problem("proxy_scheme", variable=name, proxy=_without_password(address))
    return None


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """The block runs as if no proxy were set."""
    proxies = {name: os.environ.pop(name) for name in PROXY_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(proxies)


def _proxies() -> dict[str, str]:
    """The proxies of the environment by variable, with a scheme: an address without one is meant as http."""
    values = {name: os.environ.get(name, "").strip() for name in PROXY_VARIABLES}
    return {name: value if "://" in value else f"http://{value}" for name, value in values.items() if value}


def _without_password(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


# ---- the Hub's answers ----------------------------------------------------------------------------------------------
def unreachable(code: str, field: str | None = None, **values: str) -> Problem:
    """Why nobody answers: a proxy that can't be used or doesn't lead there, else Problem(``code``). ``values`` go into either."""
    if problem := proxy_problem():
        return Problem(problem.code, field, **values, **problem.values)
    hub = urllib.parse.urlsplit(constants.ENDPOINT)
    for name, address in _proxies().items():
        is_taken = name.lower() in ("all_proxy", f"{hub.scheme}_proxy")
        if is_taken and not urllib.request.proxy_bypass(hub.hostname or ""):
            proxy = _without_password(address)
            return Problem("hub_behind_proxy", field, **values, hub=constants.ENDPOINT, variable=name, proxy=proxy)
    return Problem(code, field, **values, hub=constants.ENDPOINT)


def refusal(answer: httpx.Response, field: str | None = None, **values: str) -> Problem | None:
    """What an answer of the Hub says beside "there is no such thing" and "gated": "too_many_requests", "hub_login" (it doesn't take the
    token, or wants one), "hub_forbidden", "hub_failing"; None for any other."""
    status, values = answer.status_code, values | {"hub": constants.ENDPOINT}
    if status == 429:
        wait = seconds_to_wait(answer)
        seconds = RATE_WINDOW_SECONDS if wait is None else max(wait, 1)
        return Problem("too_many_requests", field, **values, seconds=seconds)
    if status >= 500:
        return Problem("hub_failing", field, **values, status=status)
    if answer.headers.get("X-Error-Code"):  # it names what is missing
        return None
    code = {401: "hub_login", 403: "hub_forbidden"}.get(status)
    return Problem(code, field, **values) if code else None


def seconds_to_wait(answer: httpx.Response) -> int | None:
    """How long an answer 429 asks to wait, by Retry-After (seconds or a date) or the Hub's RateLimit; None where it doesn't say."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return int(text)
    with contextlib.suppress(ValueError):
        then = email.utils.parsedate_to_datetime(text)
        return max(0, round((then - datetime.datetime.now(then.tzinfo)).total_seconds()))
    limit = parse_ratelimit_headers(answer.headers)
    return limit.reset_in_seconds if limit else None
