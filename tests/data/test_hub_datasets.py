"""The Hub's path against a stand-in for the Hub on this machine, through the real process that downloads."""

import hashlib
import http.server
import io
import json
import threading

import datasets
import pytest
from kits.pictures import cache_dir, folder_of, noise, png, prepare_here, settings  # noqa: F401

from ddpm_app.data import image_source, prepare
from ddpm_app.data.image_source import originals
from ddpm_app.errors import Problem, Stopped
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


class Hub(http.server.ThreadingHTTPServer):
    """Knows the data set some/set; locked/set is gated; bare/set holds no file; hanging/set answers when ``release`` is set;
    others aren't there."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked, self.hanging, self.release = repository(), [], threading.Event(), threading.Event()


class Answer(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        status, body, headers = self.answer(path, asked)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def answer(self, path, asked):
        files = self.server.files
        if path == "/":
            return 200, b"", {}
        if "hanging/set" in path:
            self.server.hanging.set()
            self.server.release.wait(30)
        if "locked/set" in path:
            return 403, b"", {"X-Error-Code": "GatedRepo"}
        if "bare/set" in path:
            files, path = {}, path.replace("bare/set", "some/set")
        if "some/set" not in path:
            return 401, b"", {"X-Error-Code": "RepoNotFound"}
        if path.startswith("/datasets/some/set/resolve/"):
            name = path.split("/", 6)[6]
            if name not in files:
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
            return 200, files[name], {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'}
        entries = [{"type": "file", "path": name, "size": len(body), "oid": "0" * 40} for name, body in files.items()]
        if "/tree/" in path or "/paths-info/" in path:
            inside = "data/" if path.endswith("/data") else ""
            entries.append({"type": "directory", "path": "data", "oid": "1" * 40, "size": 0})
            return 200, json.dumps([entry for entry in entries if entry["path"].startswith(inside)]).encode(), {}
        siblings = [{"rfilename": name} for name in files]
        return (
            200,
            json.dumps({"id": "some/set", "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}).encode(),
            {},
        )


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(image_source, "_run", RUN)
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


def test_a_hub_set_is_downloaded_once_and_then_works_offline(hub, monkeypatch):
    told = []
    found = originals(settings("some/set"), progress=lambda *what: told.append(what))
    assert (found.kind, len(found), found.image_column, found.label_names, found.license) == (
        "hub",
        6,
        "picture",
        ("a", "b"),
        "cc0-1.0",
    )
    assert found.captions[5] == "number 5" and found.picture(2).tobytes() == noise(seed=2).tobytes()
    assert told and all(phase == "download" and total is None for phase, _, total in told)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    half = originals(settings("some/set", split="train[50%:]"))
    assert half.captions == ["number 3", "number 4", "number 5"] and half.fingerprint != found.fingerprint


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody/nothing", "dataset_not_found"), ("locked/set", "dataset_gated"), ("bare/set", "no_pictures")],
)
def test_what_the_hub_refuses(hub, name, code):
    with pytest.raises(Problem) as caught:
        originals(settings(name))
    assert (caught.value.code, caught.value.field) == (code, "dataset_name") and repr(name) in problem_text(
        caught.value
    )


def test_a_split_that_is_not_there(hub):
    with pytest.raises(Problem) as caught:
        originals(settings("some/set", split="test"))
    assert (caught.value.code, caught.value.field, caught.value.values) == (
        "split_missing",
        "split",
        {"value": "test", "there": "train"},
    )


def test_no_network_is_told_calmly_and_names_the_way_out(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Problem) as caught:
        originals(settings("some/set"))
    assert caught.value.code == "hub_unreachable"
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
    with pytest.raises(Problem, match="dataset_unreadable"):
        originals(settings(folder_of(tmp_path, ["a.png"])))


def test_a_folder_through_the_real_process(tmp_path, monkeypatch):
    monkeypatch.setattr(image_source, "_run", RUN)
    monkeypatch.chdir(folder_of(tmp_path / "pics", ["a.png", "b.png"]))
    (tmp_path / "pics/json.py").write_text("raise SystemExit('a file of the working folder was imported')")
    assert originals(settings(".")).names == ["a.png", "b.png"]


def test_stop_ends_the_preparing_of_a_folder(tmp_path, monkeypatch, cache_dir):  # noqa: F811
    monkeypatch.setattr(image_source, "_run", RUN)
    with pytest.raises(Stopped):
        originals(settings(folder_of(tmp_path, ["a.png"])), cancelled=lambda: True)
    assert not [path for path in (cache_dir / "sources").iterdir() if path.is_dir()]


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
