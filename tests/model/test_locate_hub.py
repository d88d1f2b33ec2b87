"""Parts by Hub id: a model to go on from, an autoencoder, a text encoder; from the Hub's cache, from a stand-in for the Hub on this
machine, and calm words where there is no network."""

import hashlib
import pathlib
import shutil
import threading

import pytest
import torch
from huggingface_hub import constants
from kits import models as parts_kit
from kits.engine import Hand, new, objective, train
from kits.hub_server import HubHandler, serving
from kits.problems import expect_problem

from ddpm_app import presets, sample
from ddpm_app.data import image_dataset as data
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text
from ddpm_app.model import loaded, locate, pipeline
from ddpm_app.model.codec import Vae
from ddpm_app.train import events

HUB_ID, COMMIT = "someone/model", "c" * 40
SETTINGS = {
    "vae": dict(vae=HUB_ID),
    "text_encoder": dict(conditioning="text", text_encoder=HUB_ID),
    "init_from": dict(init_from=HUB_ID),
    "init_from of an autoencoder": dict(objective="autoencoder", init_from=HUB_ID),
}
every_case = pytest.mark.parametrize("case", SETTINGS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The Hub's cache, empty, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def right(case: str, it) -> bool:
    """Whether the objective stands on the weights of parts_kit's Stable Diffusion."""
    stock = parts_kit.stable_diffusion()
    if case == "vae":
        return it.model.codec.fingerprint == Vae(stock.vae).fingerprint
    if case == "text_encoder":
        return it.model.conditioning.fingerprint == pipeline.Text(stock.tokenizer, stock.text_encoder).fingerprint
    theirs = (stock.vae if "autoencoder" in case else stock.unet).state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in it.module.state_dict().items())


def configured(tiny_of, case: str):
    return tiny_of("pixels", **dict(dataset_name=tiny_of("words").dataset_name, output_dir="hub") | SETTINGS[case])


# ---- while it is fetched -------------------------------------------------------------------------------------------
@every_case
def test_a_download_leaves_the_device_to_others_and_hears_stop(
    cache, tiny_of, runs_dir, monkeypatch, no_rehearsal, case
):
    going, never, held = threading.Event(), threading.Event(), []

    def download(source, field):
        held.append((source, field, hand.held))
        going.set()
        never.wait(60)

    def act(hand):
        if going.is_set():
            hand.request(stop=True)

    hand = Hand(act)
    monkeypatch.setattr(locate, "download", download)
    with pytest.raises(Stopped):
        train(new(runs_dir, configured(tiny_of, case)), hand)
    assert held == [(HUB_ID, case.split()[0], False)] and "download" in hand.phases
    never.set()


# ---- no network ------------------------------------------------------------------------------------------------------
def no_network(call, field) -> None:
    with expect_problem("no_network", field) as caught:
        call()
    assert caught.value.values["value"] == HUB_ID
    assert HUB_ID in problem_text(caught.value) and "built-in" in problem_text(caught.value)


@every_case
def test_no_network(cache, tiny_of, case):
    no_network(lambda: objective(configured(tiny_of, case)), case.split()[0])


@pytest.mark.parametrize("offline", [True, False])
def test_nobody_answers(cache, tiny_of, monkeypatch, offline):
    """Told to stay offline, or with an address at which nobody is."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    no_network(lambda: locate.resolve(HUB_ID, field="vae"), "vae")


def test_the_preset_of_a_real_id_says_it_too(cache, drawn):
    """Its settings are those that would fetch Stable Diffusion."""
    config = presets.build("stable-diffusion", dataset_name=str(drawn), image_size=64)
    with expect_problem("no_network", "init_from") as caught:
        pipeline.make(config, data.load(config))
    assert caught.value.values["value"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "some one/model", "a//b"])
def test_neither_place_nor_id(cache, tiny, name):
    with expect_problem("model_missing", "vae") as caught:
        objective(tiny(vae=name))
    assert problem_text(caught.value)


# ---- from the cache --------------------------------------------------------------------------------------------------
@every_case
def test_from_the_cache_without_a_network(cache, parts, tiny_of, case):
    home = cache / "models--someone--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(parts / "stable-diffusion", home / "snapshots" / COMMIT)
    assert right(case, objective(configured(tiny_of, case)))


# ---- from a Hub ------------------------------------------------------------------------------------------------------
class ModelHub(HubHandler):
    """Answers what huggingface_hub asks for to download a repository: its list of files, then each file."""

    def answer(self, path, body):
        server = self.server
        if path.startswith(f"/api/models/{HUB_ID}"):
            files = [file for file in sorted(server.folder.rglob("*")) if file.is_file()]
            names = [file.relative_to(server.folder).as_posix() for file in files]
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0" * 40}
                for name, file in zip(names, files, strict=True)
            ]
            info = {"id": HUB_ID, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return self.reply(tree if "/tree/" in path else info, server.status, **server.headers)
        name = path.partition(f"/{HUB_ID}/resolve/{COMMIT}/")[2]
        if not name or not (server.folder / name).is_file():
            return self.reply(b"{}", 404, X_Error_Code="EntryNotFound" if name else "RepoNotFound")
        content = (server.folder / name).read_bytes()
        if self.command == "GET":
            server.fetched.add(name)
        self.reply(content, X_Repo_Commit=COMMIT, ETag=f'"{hashlib.sha1(content).hexdigest()}"')


@pytest.fixture
def server(cache, parts, tmp_path, monkeypatch):
    """A Hub that has parts_kit's Stable Diffusion as someone/model, with what such repositories have beside it."""
    folder = tmp_path / "repository"
    shutil.copytree(parts / "stable-diffusion", folder)
    for name in (
        "README.md",
        "pipeline.py",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "v1-5-pruned.ckpt",
        "model-v1-5-pruned.safetensors",
        "safety_checker/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "unet/modeling.py",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"evil")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving(ModelHub, folder=folder, fetched=set(), status=200, headers={}) as server:
        set_endpoint(monkeypatch, server.address)
        yield server


def set_endpoint(monkeypatch, address: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@every_case
def test_from_the_hub(server, tiny_of, case):
    assert right(case, objective(configured(tiny_of, case)))


def test_only_settings_vocabulary_and_plain_weights_are_fetched(server):
    folder = locate.resolve(HUB_ID)
    files = {str(file.relative_to(folder)) for file in pathlib.Path(folder).rglob("*") if file.is_file()}
    assert (
        files
        == server.fetched
        == {
            "model_index.json",
            "scheduler/scheduler_config.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/tokenizer.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/merges.txt",
        }
    )


def test_trained_saved_and_drawn(server, runs_dir, tiny_of, no_rehearsal):
    """The whole way; afterwards the run stands on its own feet."""
    run = new(runs_dir, tiny_of("tuned-words", init_from=HUB_ID, max_train_steps=1))
    assert train(run)[-1] == events.Ended(1, "finished")
    server.status, server.folder = 500, pathlib.Path("/nowhere")
    *_, (_, pictures) = sample.draw(
        loaded.load_model(run.path), sample.Request(num_images=1, num_inference_steps=2, prompt=("red bug",))
    )
    assert pictures[0].size == (8, 8) and not any(
        b"someone" in file.read_bytes() for file in run.pipeline.rglob("*.json")
    )


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, "RepoNotFound", "model_missing"),
        (401, "RepoNotFound", "model_missing"),
        (403, "GatedRepo", "model_gated"),
        (401, "GatedRepo", "model_gated"),
        (401, "", "hub_login"),
        (403, "", "hub_forbidden"),
        (429, "", "too_many_requests"),
        (500, "", "hub_failing"),
    ],
)
def test_what_the_hub_refuses(server, status, error, code, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # its client tries a busy server again
    server.status, server.headers = status, {"X_Error_Code": error}
    with expect_problem(code, "init_from") as caught:
        locate.resolve(HUB_ID, field="init_from")
    assert problem_text(caught.value)
