"""Let `datasets` prepare a source. A process of its own, so that Stop can end it: ``python -m ddpm_app.data.prepare SPEC``.

Prints one JSON line: {"files": [[arrow file, first row, rows], ...], "license": ...} or {"problem": [code, field, values]}.
"""

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

import datasets
from datasets.data_files import EmptyDatasetError
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from huggingface_hub import DatasetCard, constants, errors, get_session, try_to_load_from_cache
from huggingface_hub.utils import httpx

from ddpm_app.data import hub_part
from ddpm_app.errors import Problem
from ddpm_app.network import UNUSABLE_PROXY, refusal, seconds_to_wait, unreachable

PROBE_SECONDS = 10
"""The Hub's client repeats a failed request for 23 s before it gives up; one short request first tells sooner."""
UNANSWERED = (ConnectionError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx.TransportError)


class Spec(TypedDict):
    """The arguments of ``prepare``: as for `datasets.load_dataset`."""

    path: str
    split: str
    data_files: NotRequired[dict[str, str] | dict[str, list[str]]]
    cache_dir: NotRequired[str]
    subset: NotRequired[str | None]


class Prepared(TypedDict):
    """``files``: (arrow file, first row, number of rows) of each piece of the split; ``license`` "" where it is unknown."""

    files: list[tuple[str, int, int]]
    license: str


def prepare(
    path: str,
    split: str,
    data_files: dict[str, str] | dict[str, list[str]] | None = None,
    cache_dir: str | None = None,
    subset: str | None = None,
) -> Prepared:
    """Download and convert with `datasets`; returns which rows of which arrow files make up ``split``. Raises Problem."""
    datasets.disable_progress_bars()
    if data_files is None and path in _PACKAGED_DATASETS_MODULES:
        # load_dataset("imagefolder") would read the working folder
        raise Problem("dataset_not_found", "dataset_name")
    hub_set = (path, subset) if data_files is None and cache_dir is None else None
    if hub_set and constants.is_offline_mode() and (part := hub_part.find(hub_set, split)):
        return _prepared_part(part, path)
    try:
        builder = datasets.load_dataset_builder(path, name=subset, data_files=data_files, cache_dir=cache_dir)
    except ValueError as error:
        raise (_subset_problem(path, subset) if hub_set else None) or error from error
    _check_split(split, builder.info.splits or builder.config.data_files)
    if hub_set and (choice := hub_part.choose(builder, split)):
        return _prepared_part(hub_part.prepare(builder, choice, hub_set, split), path)
    builder.download_and_prepare()
    _check_split(split, builder.info.splits)
    return _prepared(builder.info, split, builder.cache_dir, path)


def _prepared_part(part: dict[str, str], path: str) -> Prepared:
    return _prepared(datasets.DatasetInfo.from_directory(part["folder"]), part["slices"], part["folder"], path)


def _prepared(info: datasets.DatasetInfo, split: str, folder: str, path: str) -> Prepared:
    return {"files": hub_part.row_ranges(info, split, folder), "license": info.license or _card_license(path)}


def _subset_problem(path: str, subset: str | None) -> Problem | None:
    """What is wrong with the subset of a Hub data set: it has several and none is chosen, or not this one; None where it is something else."""
    if constants.is_offline_mode():  # the cache has some of them at best
        return unreachable("hub_unreachable", "dataset_name")
    try:
        names = datasets.get_dataset_config_names(path)
    except Exception:  # whatever it is, the first error says it
        return None
    if subset is not None and subset not in names:
        return Problem("subset_missing", "subset", value=subset, choices=", ".join(names))
    if subset is None and len(names) > 1:
        return Problem("subset_needed", "subset", choices=", ".join(names))
    return None


def _check_split(split: str, splits: Iterable[str] | None) -> None:
    """Raises Problem: "split_unreadable", or "split_missing" where one of its names isn't among ``splits``."""
    for name in hub_part.split_names(split):
        if splits and name not in splits:
            raise Problem("split_missing", "split", value=name, there=", ".join(map(str, splits)))


def _card_license(path: str) -> str:
    with contextlib.suppress(Exception):  # a card is a courtesy: without one the licence is unknown
        card = try_to_load_from_cache(path, "README.md", repo_type="dataset")
        return str(DatasetCard.load(card).data.license or "") if isinstance(card, str) else ""
    return ""


def explain(error: BaseException, refusals: Sequence[httpx.Response] = ()) -> Problem:
    """The Problem behind whatever `datasets` raised. ``refusals``: what the Hub refused meanwhile, of which `datasets` keeps nothing."""
    causes = [error]
    while following := causes[-1].__cause__ or (None if causes[-1].__suppress_context__ else causes[-1].__context__):
        causes.append(following)
    for cause in causes:
        if isinstance(cause, Problem):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Problem("cache_unwritable", folder=cause.filename or "", reason=cause.strerror)
    for cause in causes:
        if problem := _hub_problem(cause, refusals):
            return problem
        if code := _problem_code(cause):
            return Problem(code, "dataset_name")
    reason = str(causes[-1]).strip() or type(causes[-1]).__name__
    return Problem("dataset_unreadable", "dataset_name", reason=reason.splitlines()[0][:300])


def _hub_problem(error: BaseException, refusals: Sequence[httpx.Response]) -> Problem | None:
    # `datasets` makes a FileNotFoundError without a cause of it: its words alone tell
    is_unanswered = isinstance(error, FileNotFoundError) and errors.LocalEntryNotFoundError.__name__ in str(error)
    if is_unanswered or isinstance(error, UNANSWERED):  # the client says so of refusals too
        cause = error.__cause__
        answers = [cause.response] if isinstance(cause, errors.HfHubHTTPError) else []
        problems = (refusal(answer, "dataset_name") for answer in (*answers, *reversed(refusals)))
        return next(filter(None, problems), None) or unreachable("hub_unreachable", "dataset_name")
    if isinstance(error, errors.HfHubHTTPError) and not isinstance(error, errors.EntryNotFoundError):
        return refusal(error.response, "dataset_name")
    return None


def _problem_code(error: BaseException) -> str | None:
    if isinstance(error, errors.EntryNotFoundError):  # a set without a README is a set
        return None
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        return "dataset_gated" if isinstance(error, errors.GatedRepoError) else "dataset_not_found"
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        # `datasets` keeps no cause here: its words alone tell
        return "dataset_gated" if "gated dataset" in str(error) else "dataset_not_found"
    if isinstance(error, (EmptyDatasetError, datasets.exceptions.DataFilesNotFoundError)):
        return "no_pictures"
    return None


def _end_with_parent() -> None:
    sys.stdin.read()  # the parent holds the other end: it closes when the parent is gone
    os._exit(1)


def _go_offline_unless_reachable(refusals: list[httpx.Response]) -> None:
    """One short request to the Hub. Where nobody answers, `datasets` uses what is cached; else ``refusals`` gets what it refuses from now
    on. Raises Problem("too_many_requests")."""
    try:
        session = get_session()
        answer = session.head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (httpx.HTTPError, errors.OfflineModeIsEnabled, *UNUSABLE_PROXY):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        return

    def refuse_crowd(answer: httpx.Response) -> None:
        if answer.status_code == 429 and (problem := refusal(answer, "dataset_name")):
            raise problem

    def note(answer: httpx.Response) -> None:
        if (seconds_to_wait(answer) or 0) > PROBE_SECONDS:
            refuse_crowd(answer)  # for which the client would wait in silence
        if answer.status_code >= 400 and answer.url.host == httpx.URL(constants.ENDPOINT).host:
            refusals.append(answer)

    session.event_hooks = {**session.event_hooks, "response": [note]}
    refuse_crowd(answer)


def main() -> None:
    """The child's entry: does what ``prepare`` says with the JSON of its arguments in argv[1]."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    spec = json.loads(sys.argv[1])
    refusals: list[httpx.Response] = []
    try:
        if not spec.get("cache_dir"):
            _go_offline_unless_reachable(refusals)
        print(json.dumps(prepare(**spec)), flush=True)
    except Exception as error:
        problem = explain(error, refusals)
        print(json.dumps({"problem": [problem.code, problem.field, problem.values]}), flush=True)


if __name__ == "__main__":
    main()
