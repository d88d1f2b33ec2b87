"""The Hub's path against a stand-in for the Hub on this machine, through the real process that downloads."""

import hashlib
import io
import json
import threading

import datasets
import pytest
from kits.hub_server import HubHandler, serving
from kits.pictures import cache_dir, folder_of, noise, png, prepare_here, settings, specimens  # noqa: F401
from kits.problems import expect_problem

from ddpm_app.data import image_source, prepare
from ddpm_app.data.image_source import originals
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text

RUN = image_source._run
COMMIT = "a" * 40


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
    """Has the data set some/set; locked/set is gated; bare/set holds no file; hanging/set answers when ``server.release`` is set;
    there are no others."""

    def answer(self, path, body):
        files = self.server.files
        if path == "/":
            return self.reply()
        if "hanging/set" in path:
            self.server.hanging.set()
            self.server.release.wait(30)
        if "locked/set" in path:
            return self.reply(status=403, X_Error_Code="GatedRepo")
        if "bare/set" in path:
            files, path = {}, path.replace("bare/set", "some/set")
        if "some/set" not in path:
            return self.reply(status=401, X_Error_Code="RepoNotFound")
        commit = {"X_Repo_Commit": COMMIT}
        if path.startswith("/datasets/some/set/resolve/"):
            name = path.split("/", 6)[6]
            if name not in files:
                return self.reply(status=404, X_Error_Code="EntryNotFound", **commit)
            return self.reply(files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"', **commit)
        if "/tree/" in path or "/paths-info/" in path:
            entries = [{"type": "file", "path": name, "size": len(files[name]), "oid": "0" * 40} for name in files]
            entries.append({"type": "directory", "path": "data", "oid": "1" * 40, "size": 0})
            inside = "data/" if path.endswith("/data") else ""
            return self.reply([entry for entry in entries if entry["path"].startswith(inside)], **commit)
        siblings = [{"rfilename": name} for name in files]
        info = {"id": "some/set", "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
        return self.reply(info, **commit)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(image_source, "_run", RUN)
    events = dict(hanging=threading.Event(), release=threading.Event())
    with serving(DatasetHub, files=repository(), **events) as server:
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
    [("nobody/nothing", "dataset_not_found"), ("locked/set", "dataset_gated"), ("bare/set", "no_pictures")],
)
def test_what_the_hub_refuses(hub, name, code):
    with expect_problem(code, "dataset_name") as caught:
        originals(settings(name))
    assert repr(name) in problem_text(caught.value)


def test_a_split_that_is_not_there(hub):
    with expect_problem("split_missing", "split") as caught:
        originals(settings("some/set", split="test"))
    assert caught.value.values == {"value": "test", "there": "train"}


def test_no_network_is_told_calmly_and_names_the_way_out(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with expect_problem("hub_unreachable") as caught:
        originals(settings("some/set"))
    assert "butterflies" in problem_text(caught.value) and "'some/set'" in problem_text(caught.value)


def test_stop_ends_a_hanging_download(hub):
    children = []
    popen = image_source.subprocess.Popen

    def remember(*args, **kwargs):
        children.append(popen(*args, **kwargs))
        return children[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_source.subprocess, "Popen", remember)
        with pytest.raises(Stopped):
            originals(settings("hanging/set"), cancelled=hub.hanging.is_set)
    assert children[0].returncode not in (None, 0)


def test_a_child_ends_when_its_parent_is_gone(hub):
    spec = json.dumps({"path": "hanging/set", "split": "train"})
    child = image_source.subprocess.Popen(
        [image_source.sys.executable, "-m", prepare.__name__, spec], stdin=image_source.subprocess.PIPE
    )
    assert hub.hanging.wait(30)
    child.stdin.close()
    assert child.wait(10) == 1


def test_a_child_that_dies_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setattr(image_source, "_run", RUN)
    monkeypatch.setattr(image_source.sys, "executable", "/bin/false")
    with expect_problem("dataset_unreadable"):
        originals(settings(specimens(tmp_path / "train.parquet").parent))


def test_a_table_through_the_real_process(tmp_path, monkeypatch):
    monkeypatch.setattr(image_source, "_run", RUN)
    monkeypatch.chdir(specimens(tmp_path / "train.parquet").parent)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the working folder was imported')")
    assert len(originals(settings("."))) == 12


def test_stop_ends_the_preparing_of_a_folder(tmp_path, monkeypatch, cache_dir):  # noqa: F811
    monkeypatch.setattr(image_source, "_run", RUN)
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
