"""Publishing, against a stand-in for the Hub on this machine that writes down what it is sent."""

import base64
import json
import threading

import pytest
from kits.hub_server import HubHandler, serving
from kits.problems import expect_problem

from ddpm_app import hub, presets
from ddpm_app.config import PLACEHOLDER_HUB_ID
from ddpm_app.i18n import t
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.train import hub_transfers


class PublishingHub(HubHandler):
    """Answers the calls that huggingface_hub makes for create_repo, model_info and create_commit."""

    def answer(self, path, body):
        server = self.server
        if path == "/api/whoami-v2" and server.status == 200:
            return self.reply(server.user)
        if server.status != 200:
            return self.reply({"error": "no entry"} if self.command == "POST" else {}, server.status)
        if self.command == "GET":
            return self.reply({"id": "me/model", "private": server.private})
        if path.endswith("/create"):
            return self.reply({"url": f"{server.address}/me/model"})
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return self.reply({"files": modes})
        if "/commit/" in path:
            url = f"{server.address}/me/model/commit/1"
            return self.reply({"commitUrl": url, "commitOid": "1" * 40, "success": True})
        return self.reply({"errors": [], "warnings": []})


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the network is this machine's own


@pytest.fixture
def server():
    with serving(PublishingHub, status=200, private=True, user={}) as server:
        yield server


@pytest.fixture
def make_run(tmp_path):
    def make(**changes) -> Run:
        run = registry.create(tmp_path / "runs", presets.build("quick-check", hub_model_id="me/model", **changes))
        run.update_record(plan={"images": 7, "total_steps": 120}, data={"kind": "folder", "fingerprint": "f"})
        for name in (
            "pipeline/model_index.json",
            "pipeline/unet/weights.safetensors",
            "checkpoints/step-0000030/training.pt",
        ):
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (run.path / name).write_text('{"_class_name": "DDPMPipeline"}' if name.endswith(".json") else name)
        run.save_sample(30, b"a picture")
        metrics = run.open_metrics(0)
        metrics.add(1, kind="step", loss=0.5)
        metrics.add(2, kind="step", loss=0.4)
        metrics.add(2, kind="validation", train_loss=0.4, held_out_loss=None)
        metrics.close()
        return run

    return make


def sent(server, part):
    return [body for method, path, body in server.requests if method == "POST" and part in path]


def committed(server) -> dict[str, bytes]:
    lines = [json.loads(line) for line in sent(server, "/commit/")[0].splitlines()]
    return {
        line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
    }


def test_publish_sends_the_pipeline_card_and_pictures_and_nothing_else(server, make_run):
    run = make_run(dataset_name="/home/someone/secret", hub_license="cc0-1.0")
    assert hub.publish(run, "token", server.address) == f"{server.address}/me/model"
    files = committed(server)
    assert set(files) == {
        "README.md",
        "model_index.json",
        "unet/weights.safetensors",
        "images/samples.png",
        "images/loss.png",
    }
    assert files["images/samples.png"] == b"a picture"
    assert files["images/loss.png"].startswith(b"\x89PNG")
    card = files["README.md"].decode()
    assert "license: cc0-1.0" in card and "library_name: diffusers" in card
    assert 'DDPMPipeline.from_pretrained("me/model")' in card
    assert "| learning_rate | 0.001 |" in card
    assert "secret" not in card


def test_card_of_a_hub_data_set_names_it(make_run):
    run = make_run(dataset_name="someone/pictures")
    run.update_record(data={"kind": "hub"})
    card = hub.model_card(run, "me/model", [])
    assert "datasets: someone/pictures" in card and "license:" not in card


@pytest.mark.parametrize(("private", "visibility"), [(None, None), (True, "private"), (False, "public")])
def test_visibility_is_the_one_asked_for(server, make_run, private, visibility):
    hub.publish(make_run(hub_private_repo=private), "token", server.address)
    payload = json.loads(sent(server, "/create")[0])
    sent_visibility = payload.get("visibility", {True: "private", False: "public", None: None}[payload.get("private")])
    assert sent_visibility == visibility


def test_a_public_repository_gets_nothing_when_private_was_asked_for(server, make_run):
    server.private = False
    with expect_problem("hub_not_private"):
        hub.publish(make_run(hub_private_repo=True), "token", server.address)
    assert not sent(server, "/commit/") and not sent(server, "/preupload/")


@pytest.mark.parametrize(
    ("status", "code"), [(401, "hub_login"), (403, "write_forbidden"), (429, "too_many_requests"), (400, "hub_refused")]
)
def test_a_refusal_is_told(server, make_run, monkeypatch, status, code):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client tries again after 429
    server.status = status
    with expect_problem(code) as caught:
        hub.publish(make_run(), "token", server.address)
    assert t(f"notice.{code}", **caught.value.values)  # at the end of a run it is told as a notice


# ---- before the first step --------------------------------------------------------------------------------------------
def user(role="write", orgs=(), **rights):
    """What the Hub says of a token: its role, the user's organisations (name, role), and the rights of a fine-grained one."""
    token = {"role": role, "fineGrained": {"global": [], "scoped": [], **rights}}
    entries = [{"name": name, "roleInOrg": role_there} for name, role_there in orgs]
    return {"type": "user", "name": "Me", "orgs": entries, "auth": {"type": "access_token", "accessToken": token}}


def scope(name, *permissions):
    return {"entity": {"type": "user", "name": name}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    ("repo", "answer", "code"),
    [
        ("me/model", user(), None),
        ("me/model", user("read"), "token_reads"),
        ("other/model", user(), "namespace_closed"),
        ("lab/model", user(orgs=[("lab", "read")]), "namespace_closed"),
        ("lab/model", user(orgs=[("Lab", "contributor")]), None),
        ("lab/model", user("read", orgs=[("lab", "admin")]), "token_reads"),
        ("me/model", user("fineGrained"), "namespace_closed"),
        ("me/model", user("fineGrained", scoped=[scope("me", "repo.content.read")]), "namespace_closed"),
        ("me/model", user("fineGrained", scoped=[scope("other", "repo.write")]), "namespace_closed"),
        ("me/model", user("fineGrained", scoped=[scope("me", "repo.write")]), None),
        ("me/model", user("fineGrained", scoped=[scope("me/model", "repo.write")]), None),
        ("me/model", user("fineGrained", **{"global": ["repo.write"]}), None),
        ("me/model", {}, None),
        ("me/model", 401, "hub_login"),
        ("me/model", 500, None),  # it may be well when the run ends
        ("me/model", None, "not_logged_in"),
        ("no-slash", user(), "hub_placeholder"),
        (PLACEHOLDER_HUB_ID, None, None),  # `check` speaks of it
    ],
)
def test_a_hindrance_is_told_before_the_first_step(server, monkeypatch, repo, answer, code):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: answer and "token")
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: answer and "token")
    if isinstance(answer, int):
        server.status = answer
    else:
        server.user = answer
    config = presets.build("quick-check", hub_model_id=repo, push_to_hub=True)
    notices = list(hub_transfers.check_rights(config))
    assert [notice.code for notice in notices] == ([code] if code else [])
    assert all(t(f"notice.{notice.code}", **notice.values) for notice in notices)
    assert not sent(server, "/create")
    assert not list(hub_transfers.check_rights(presets.changed(config.to_dict(), push_to_hub=False)))


def test_a_silent_hub_holds_no_run_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    monkeypatch.setattr(hub, "missing_right", lambda config: release.wait(60))
    monkeypatch.setattr(hub_transfers, "RIGHTS_SECONDS", 0)
    config = presets.build("quick-check", hub_model_id="me/model", push_to_hub=True)
    assert not list(hub_transfers.check_rights(config))
    release.set()


def test_no_connection_is_told(make_run):
    with expect_problem("hub_offline"):
        hub.publish(make_run(), "token", "http://127.0.0.1:1")


def test_a_run_that_saved_nothing_has_nothing_to_publish(tmp_path):
    run = registry.create(tmp_path, presets.build("quick-check", hub_model_id="me/model"))
    with expect_problem("no_snapshot"):
        hub.publish(run, "token")


def test_without_a_login(make_run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    config = presets.build("quick-check", hub_model_id="me/model")
    assert hub.ready(config).code == "not_logged_in"
    with expect_problem("not_logged_in"):
        hub.publish(make_run())


def test_ready_needs_a_repository_of_your_own(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    assert hub.ready(presets.build("tutorial-128")).code == "hub_placeholder"
    assert hub.ready(presets.build("tutorial-128", hub_model_id="no-slash")).code == "hub_placeholder"
    assert hub.ready(presets.build("tutorial-128", hub_model_id="me/model")) is None
