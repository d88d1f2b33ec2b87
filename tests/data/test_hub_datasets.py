"""The Hub's path against a stand-in for the Hub on this machine, through the real process that downloads."""

import hashlib
import io
import json
import re
import subprocess
import sys
import threading

import datasets
import pytest
from kits.hub_server import HubHandler, serving
from kits.pictures import cache_dir, folder_of, noise, png, prepare_here, settings, specimens  # noqa: F401
from kits.problems import expect_problem

from ddpm_app.data import open_source, prepare
from ddpm_app.data.open_source import originals
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text

RUN = open_source._run
COMMIT = "a" * 40


CARD = """---
configs:
- config_name: day
  data_files: [{split: train, path: day/a*}, {split: test, path: day/t*}]
- config_name: night
  data_files: night/*
---
"""
PAIR = {"README.md": CARD.encode(), "day/t.jsonl": b'{"n": 9}'} | {
    f"{name}.jsonl": b'{"n": %d}\n{"n": 2}\n' % k for k, name in enumerate(("day/a0", "day/a1", "night/b"))
}
"""A set of two subsets without a default, of which one has two splits."""


def repository() -> dict[str, bytes]:
    rows = {
        "picture": [{"bytes": png(noise(seed=i)), "path": None} for i in range(6)],
        "kind": [i % 2 for i in range(6)],
        "prompt": [f"number {i}" for i in range(6)],
    }
    kind = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"picture": datasets.Image(), "kind": kind, "prompt": datasets.Value("string")})
    table = io.BytesIO()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(table)
    return {"README.md": b"---\nlicense: cc0-1.0\n---\n# Set\n", "data/train-00000-of-00001.parquet": table.getvalue()}


class DatasetHub(HubHandler):
    """Has the data set some/set, and under pair/ as many more as are asked for, of PAIR; locked/set is gated, closed/set forbidden; bare/set holds
    no file; hanging/set answers when ``server.release`` is set; there are no others. ``server.refusal``: (status, headers) of every answer."""

    def answer(self, path, body):
        files, name = self.server.files, "some/set"
        if self.server.refusal:
            status, headers = self.server.refusal
            return self.reply(status=status, **headers)
        if path == "/":
            return self.reply()
        if "hanging/set" in path:
            self.server.hanging.set()
            self.server.release.wait(30)
        if "locked/set" in path:
            return self.reply(status=403, X_Error_Code="GatedRepo")
        if "closed/set" in path:
            return self.reply(status=403)
        if "bare/set" in path:
            files, path = {}, path.replace("bare/set", "some/set")
        if pair := re.search(r"pair/\w+", path):
            files, name = self.server.pair, pair[0]
        if name not in path:
            return self.reply(status=401, X_Error_Code="RepoNotFound")
        commit = {"X_Repo_Commit": COMMIT}
        if path.startswith(f"/datasets/{name}/resolve/"):
            file = path.split("/", 6)[6]
            if file not in files:
                return self.reply(status=404, X_Error_Code="EntryNotFound", **commit)
            return self.reply(files[file], ETag=f'"{hashlib.sha1(files[file]).hexdigest()}"', **commit)
        if "/tree/" in path or "/paths-info/" in path:
            entries = [{"type": "file", "path": file, "size": len(files[file]), "oid": "0" * 40} for file in files]
            folders = sorted({file.rpartition("/")[0] for file in files} - {""})
            entries += [{"type": "directory", "path": folder, "oid": "1" * 40, "size": 0} for folder in folders]
            inside = next((f"{folder}/" for folder in folders if path.endswith(f"/{folder}")), "")
            return self.reply([entry for entry in entries if entry["path"].startswith(inside)], **commit)
        siblings = [{"rfilename": file} for file in files]
        info = {"id": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
        return self.reply(info, **commit)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(open_source, "_run", RUN)
    events = dict(hanging=threading.Event(), release=threading.Event())
    with serving(DatasetHub, files=repository(), pair=PAIR, refusal=None, **events) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server
        server.release.set()


def test_a_hub_set_is_downloaded_once_and_then_works_offline(hub, monkeypatch):
    reports = []
    source = originals(settings("some/set"), progress=lambda *report: reports.append(report))
    assert (source.kind, len(source), source.image_column, source.label_names, source.license) == (
        "hub",
        6,
        "picture",
        ("a", "b"),
        "cc0-1.0",
    )
    assert source.captions[5] == "number 5" and source.picture(2).tobytes() == noise(seed=2).tobytes()
    assert reports and all(phase == "download" and total is None for phase, _, total in reports)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    half = originals(settings("some/set", split="train[50%:]"))
    assert half.captions == ["number 3", "number 4", "number 5"] and half.fingerprint != source.fingerprint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nobody/nothing", "dataset_not_found"),
        ("nobody", "dataset_not_found"),
        ("locked/set", "dataset_gated"),
        ("closed/set", "hub_forbidden"),
        ("bare/set", "no_pictures"),
    ],
)
def test_what_the_hub_refuses(hub, name, code):
    with expect_problem(code, "dataset_name") as caught:
        originals(settings(name))
    assert name in problem_text(caught.value)


def test_a_split_that_is_not_there(hub):
    with expect_problem("split_missing", "split") as caught:
        originals(settings("some/set", split="test"))
    assert caught.value.values == {"value": "test", "there": "train"}


MANY = """
import json, sys
from ddpm_app.data import prepare
for spec in json.loads(sys.argv[1]):
    try:
        print("ANSWER", json.dumps([[rows for _, *rows in prepare.prepare(**spec)["files"]]]))
    except Exception as error:
        problem = prepare.explain(error)
        print("ANSWER", json.dumps([problem.code, problem.field, problem.values]))
"""


def prepared(*specs):
    """Answers of ``prepare`` in one process that knows of the stand-in: the pieces of rows, or code, field and values of the Problem."""
    child = subprocess.run([sys.executable, "-c", MANY, json.dumps(specs)], capture_output=True, text=True, check=True)
    lines = [line.removeprefix("ANSWER ") for line in child.stdout.splitlines() if line.startswith("ANSWER ")]
    return [json.loads(line) for line in lines]


def test_subsets_and_splits(hub, monkeypatch):
    def spec(name, subset, split="train"):
        return {"path": f"pair/{name}", "split": split, "subset": subset}

    def downloads(name):
        paths = {path for method, path, _ in hub.requests if method == "GET" and f"pair/{name}/" in path}
        return sorted(path.rpartition("/")[2] for path in paths if path.endswith(".jsonl"))

    needed, missing, *answers = prepared(
        spec("a", None), spec("b", "noon"), spec("c", "night"), spec("d", "day"), spec("e", "day", "test[:1]")
    )
    assert needed == ["subset_needed", "subset", {"choices": "day, night"}]
    assert missing == ["subset_missing", "subset", {"value": "noon", "choices": "day, night"}]
    assert answers == [[[[0, 2]]], [[[0, 4]]], [[[0, 1]]]]
    assert (downloads("c"), downloads("d"), downloads("e")) == (["b.jsonl"], ["a0.jsonl", "a1.jsonl"], ["t.jsonl"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again, other = prepared(spec("d", "day", "train[1:3]"), spec("d", "day", "test"))
    assert again == [[[1, 2]]] and other[0] in ("hub_unreachable", "split_missing")


@pytest.mark.parametrize(
    ("status", "headers", "code", "words"),
    [
        (429, {"Retry_After": "77"}, "too_many_requests", ("429", "77 s")),
        (401, {"X_Error_Message": "Invalid credentials in Authorization header"}, "hub_login", ("401", "HF_TOKEN")),
    ],
)
def test_each_refusal_has_words_of_its_own(hub, status, headers, code, words):
    hub.refusal = status, headers
    with expect_problem(code, "dataset_name") as caught:
        originals(settings("some/set"))
    assert all(word in problem_text(caught.value) for word in (*words, hub.address))


@pytest.mark.parametrize(
    ("proxy", "code", "words"),
    [
        ("socks5://name:secret@127.0.0.1:9", "proxy_needs_socks", ("ALL_PROXY", "pip install socksio")),
        ("socks://127.0.0.1:9", "proxy_scheme", ("ALL_PROXY", "socks://127.0.0.1:9")),
        ("127.0.0.1:9", "hub_behind_proxy", ("ALL_PROXY", "http://127.0.0.1:9", "hub.example")),
    ],
)
def test_a_proxy_that_leads_nowhere(hub, monkeypatch, proxy, code, words):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    with expect_problem(code, "dataset_name") as caught:
        originals(settings("some/set"))
    text = problem_text(caught.value)
    assert all(word in text for word in words) and "secret" not in text


@pytest.mark.parametrize("name", ["moths", "someone/moths"])
def test_a_name_is_not_said_to_lie_where_nobody_looked(hub, monkeypatch, name):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with expect_problem("hub_unreachable", "dataset_name") as caught:
        originals(settings(name))
    assert "no such folder" in problem_text(caught.value) and "lies on" not in problem_text(caught.value)


def test_no_network_is_told_calmly_and_names_the_way_out(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with expect_problem("hub_unreachable") as caught:
        originals(settings("some/set"))
    assert "butterflies" in problem_text(caught.value) and "'some/set'" in problem_text(caught.value)


def test_stop_ends_a_hanging_download(hub):
    children = []
    popen = open_source.subprocess.Popen

    def remember(*args, **kwargs):
        children.append(popen(*args, **kwargs))
        return children[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_source.subprocess, "Popen", remember)
        with pytest.raises(Stopped):
            originals(settings("hanging/set"), cancelled=hub.hanging.is_set)
    assert children[0].returncode not in (None, 0)


def test_a_child_ends_when_its_parent_is_gone(hub):
    spec = json.dumps({"path": "hanging/set", "split": "train"})
    child = open_source.subprocess.Popen(
        [open_source.sys.executable, "-m", prepare.__name__, spec], stdin=open_source.subprocess.PIPE
    )
    assert hub.hanging.wait(30)
    child.stdin.close()
    assert child.wait(10) == 1


def test_a_child_that_dies_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setattr(open_source, "_run", RUN)
    monkeypatch.setattr(open_source.sys, "executable", "/bin/false")
    with expect_problem("prepare_died"):
        originals(settings(specimens(tmp_path / "train.parquet").parent))


def test_a_table_through_the_real_process(tmp_path, monkeypatch):
    monkeypatch.setattr(open_source, "_run", RUN)
    monkeypatch.chdir(specimens(tmp_path / "train.parquet").parent)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the working folder was imported')")
    assert len(originals(settings("."))) == 12


def test_stop_ends_the_preparing_of_a_folder(tmp_path, monkeypatch, cache_dir):  # noqa: F811
    monkeypatch.setattr(open_source, "_run", RUN)
    with pytest.raises(Stopped):
        originals(settings(folder_of(tmp_path, ["a.png"])), cancelled=lambda: True)
    assert not [path for path in cache_dir.glob("sources/*") if path.is_dir()]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionError("x"), "hub_unreachable"),
        (datasets.exceptions.DatasetNotFoundError("x"), "dataset_not_found"),
        (OSError(28, "No space left on device", "/cache"), "cache_unwritable"),
        (ValueError("first line\nsecond"), "dataset_unreadable"),
        (ValueError(), "dataset_unreadable"),
    ],
)
def test_errors_of_datasets_become_problems(error, code):
    try:
        raise RuntimeError("wrapped") from error
    except RuntimeError as wrapped:
        problem = prepare.explain(wrapped)
    assert problem.code == code and "\n" not in str(problem)
    problem.values.setdefault("value", "some/set")
    assert problem_text(problem)
