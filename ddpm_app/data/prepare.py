"""Let `datasets` prepare a source. A process of its own, so that Stop can end it: ``python -m ddpm_app.data.prepare SPEC``.

Prints one JSON line: {"files": [[arrow file, first row, rows], ...], "license": ...} or {"problem": [code, field, values]}.
"""

import contextlib
import errno
import json
import os
import re
import sys
import threading
from typing import NotRequired, TypedDict

import datasets
from datasets.arrow_reader import make_file_instructions
from datasets.data_files import EmptyDatasetError
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from huggingface_hub import DatasetCard, constants, errors, get_session, try_to_load_from_cache
from huggingface_hub.utils import httpx

from ddpm_app.errors import Problem

PROBE_SECONDS = 10
"""The Hub's client repeats a failed request for 23 s before it gives up; one short request first tells sooner."""


class Spec(TypedDict):
    """The arguments of ``prepare``: as for `datasets.load_dataset`."""

    path: str
    split: str
    data_files: NotRequired[dict[str, str] | dict[str, list[str]]]
    cache_dir: NotRequired[str]


class Prepared(TypedDict):
    """``files``: (arrow file, first row, number of rows) of each piece of the split; ``license`` "" where it is unknown."""

    files: list[tuple[str, int, int]]
    license: str


def prepare(
    path: str,
    split: str,
    data_files: dict[str, str] | dict[str, list[str]] | None = None,
    cache_dir: str | None = None,
) -> Prepared:
    """Download and convert with `datasets`; returns which rows of which arrow files make up ``split``. Raises Problem."""
    datasets.disable_progress_bars()
    if data_files is None and path in _PACKAGED_DATASETS_MODULES:
        # load_dataset("imagefolder") would read the working folder
        raise Problem("dataset_not_found", "dataset_name")
    builder = datasets.load_dataset_builder(path, data_files=data_files, cache_dir=cache_dir)
    _check_split(split, builder.info.splits)
    builder.download_and_prepare()
    _check_split(split, builder.info.splits)
    rows = make_file_instructions(
        builder.dataset_name, list(builder.info.splits.values()), split, "arrow", builder.cache_dir
    )
    files = [(part["filename"], part["skip"], part["take"]) for part in rows.file_instructions]
    return {"files": files, "license": builder.info.license or _card_license(path)}


def _check_split(split: str, splits: datasets.SplitDict | None) -> None:
    """The split may be sliced and added up as in `datasets`: train[:10%]+test."""
    for name in re.findall(r"(?:^|\+)\s*([\w.-]+)", split):
        if splits and name not in splits:
            raise Problem("split_missing", "split", value=name, there=", ".join(splits))


def _card_license(path: str) -> str:
    with contextlib.suppress(Exception):  # a card is a courtesy: without one the licence is unknown
        card = try_to_load_from_cache(path, "README.md", repo_type="dataset")
        return str(DatasetCard.load(card).data.license or "") if isinstance(card, str) else ""
    return ""


def explain(error: BaseException) -> Problem:
    """The Problem behind whatever `datasets` raised."""
    causes = [error]
    while following := causes[-1].__cause__ or (None if causes[-1].__suppress_context__ else causes[-1].__context__):
        causes.append(following)
    for cause in causes:
        if isinstance(cause, Problem):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Problem("cache_unwritable", folder=cause.filename or "", reason=cause.strerror)
    for cause in causes:
        if code := _problem_code(cause):
            return Problem(code, "dataset_name")
    reason = str(causes[-1]).strip() or type(causes[-1]).__name__
    return Problem("dataset_unreadable", "dataset_name", reason=reason.splitlines()[0][:300])


def _problem_code(error: BaseException) -> str | None:
    if isinstance(
        error, (ConnectionError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx.TransportError)
    ):
        return "hub_unreachable"
    if isinstance(error, errors.EntryNotFoundError):  # a set without a README is a set
        return None
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        return "dataset_gated" if error.response.status_code == 403 else "dataset_not_found"
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        # `datasets` keeps no cause here: its words alone tell
        return "dataset_gated" if "gated dataset" in str(error) else "dataset_not_found"
    if isinstance(error, (EmptyDatasetError, datasets.exceptions.DataFilesNotFoundError)):
        return "no_pictures"
    return None


def _end_with_parent() -> None:
    sys.stdin.read()  # the parent holds the other end: it closes when the parent is gone
    os._exit(1)


def _go_offline_unless_reachable() -> None:
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (httpx.HTTPError, errors.OfflineModeIsEnabled):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True  # both then use what is cached


def main() -> None:
    """The child's entry: does what ``prepare`` says with the JSON of its arguments in argv[1]."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    spec = json.loads(sys.argv[1])
    if not spec.get("cache_dir"):
        _go_offline_unless_reachable()
    try:
        print(json.dumps(prepare(**spec)), flush=True)
    except Exception as error:
        problem = explain(error)
        print(json.dumps({"problem": [problem.code, problem.field, problem.values]}), flush=True)


if __name__ == "__main__":
    main()
