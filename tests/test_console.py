"""Standard streams that can't print what they are given."""

import io
import sys

import pytest

from ddpm_app import console

TEXT = "run \u8774\u8776 \u2713 \udce9"
"""Chinese, a tick, and a byte of a file name that is no UTF-8."""


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("encoding", "errors"),
    [("cp1252", "strict"), ("ascii", "surrogateescape"), ("gbk", "strict"), ("utf-8", "strict")],
)
def test_a_console_of_another_encoding(monkeypatch, name, encoding, errors):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, errors=errors))
    console.make_forgiving()
    print(TEXT, file=getattr(sys, name), flush=True)
    text = raw.getvalue().decode(encoding)
    assert text.startswith("run ") and ("\u8774" in text or "\\u8774" in text) and "\\udce9" in text


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_no_console_at_all(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    console.make_forgiving()
    stream = getattr(sys, name)
    print(TEXT.encode("utf-8", "replace").decode(), file=stream, flush=True)
    assert not stream.isatty()
    stream.close()


def test_a_closed_stream_is_left_alone(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    console.make_forgiving()
