"""Standard streams that never raise: a console of another encoding, or none at all, ends no run that went well."""

import contextlib
import io
import os
import sys


def make_forgiving() -> None:
    """Characters that stdout and stderr can't print become escapes (\\u8774); where there is no stream, what is written goes nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # pythonw, or a parent that closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))
        elif isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):  # a stream that somebody has closed
                stream.reconfigure(errors="backslashreplace")
