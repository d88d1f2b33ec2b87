"""Saved models: plain diffusers loads and draws them where this project isn't, and our own loader takes only data from a folder."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from kits import models as parts_kit
from kits.engine import new, train
from kits.problems import expect_problem
from PIL import Image

from ddpm_app import hub, sample
from ddpm_app.data import image_dataset
from ddpm_app.data.preprocess import to_display, to_images
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text
from ddpm_app.images import image_grid
from ddpm_app.model import loaded, locate, pipeline
from ddpm_app.runs import registry
from ddpm_app.train import denoising

STEPS, SEED, GUIDANCE = 5, 7, 3.0
WORDS, LABELS = ("red bug", "blue bug"), (2, 0)
CLASSES = {
    "pixels": "DDPMPipeline",
    "latents": "LDMPipeline",
    "words": "StableDiffusionPipeline",
    "tuned-pixels": "DDPMPipeline",
    "tuned-words": "StableDiffusionPipeline",
    "labels": "ConditionalPipeline",
    "labels-in-latents": "ConditionalPipeline",
    "words-in-pixels": "ConditionalPipeline",
}
every_kind = pytest.mark.parametrize("kind", CLASSES)
latent_kinds = pytest.mark.parametrize(
    "kind", [kind for kind in CLASSES if kind not in ("pixels", "labels", "words-in-pixels", "tuned-pixels")]
)

STRANGER = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ddpm_app":
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import json, warnings
import numpy, torch, diffusers, transformers

warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
asked, out = json.loads(sys.argv[1]), {}
torch.set_num_threads(1)
for kind, (name, folder) in asked["kinds"].items():
    own = dict(custom_pipeline=folder, trust_remote_code=True) if name == "ConditionalPipeline" else {}
    loader = diffusers.DiffusionPipeline if own else getattr(diffusers, name)
    pipeline = loader.from_pretrained(folder, **own)
    assert type(pipeline).__name__ == name, type(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(asked["seed"] + k) for k in range(2)]
    options = dict(num_inference_steps=asked["steps"])
    if own:
        side, channels = pipeline.unet.config.sample_size, pipeline.unet.config.in_channels
        noise = torch.cat([torch.randn((1, channels, side, side), generator=g) for g in generators])
        options |= dict(latents=noise, guidance_scale=asked["guidance"])
        names = getattr(pipeline.config, "id2label", None)
        options |= dict(labels=[names[str(asked["labels"][0])], asked["labels"][1]]) if names else dict(prompt=asked["words"])
    elif name == "StableDiffusionPipeline":
        options |= dict(prompt=asked["words"], guidance_scale=asked["guidance"], generator=generators, output_type="np")
        against = [torch.Generator().manual_seed(asked["seed"] + k) for k in range(2)]
        out[kind + " against green"] = pipeline(**options | dict(generator=against), negative_prompt=["green"] * 2).images
    else:
        options |= dict(batch_size=2, generator=generators, output_type="np")
    out[kind] = numpy.stack([numpy.asarray(picture) for picture in pipeline(**options).images])
vae = diffusers.AutoencoderKL.from_pretrained(asked["autoencoder"])
x = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)
with torch.no_grad():
    z = vae.encode(x).latent_dist.mode() * vae.config.scaling_factor
    out["autoencoder latents"], out["autoencoder"] = z, vae.decode(z / vae.config.scaling_factor).sample
numpy.savez(asked["out"], **out)
assert not [name for name in sys.modules if name.startswith("ddpm_app")]
"""


@pytest.fixture(scope="module")
def stranger(trained, tmp_path_factory):
    """(what plain diffusers draws with the pipeline of each kind, what it said) in a process that can't import ddpm_app."""
    folder = tmp_path_factory.mktemp("stranger")
    kinds = {kind: (name, str(trained(kind).pipeline)) for kind, name in CLASSES.items()}
    asked = dict(
        kinds=kinds,
        autoencoder=str(trained("autoencoder").pipeline),
        words=WORDS,
        labels=LABELS,
        steps=STEPS,
        seed=SEED,
        guidance=GUIDANCE,
        out=str(folder / "out.npz"),
    )
    env = os.environ | {"HF_HOME": str(folder / "hub")}
    command = [sys.executable, "-I", "-c", STRANGER, json.dumps(asked)]
    child = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-3000:]
    return np.load(folder / "out.npz"), child.stdout + child.stderr


def ours(run, sampler="ddim", **request) -> np.ndarray:
    """What our sampler draws, in [0, 1]: [2, H, W, C]."""
    it = loaded.load_model(run.path)
    asked = dict(
        num_images=2,
        sampler=sampler,
        num_inference_steps=STEPS,
        seed=SEED,
        prompt=WORDS,
        labels=LABELS,
        guidance_scale=GUIDANCE,
    )
    *_, last = sample.sample(it, sample.Request(**asked | request))
    return (it.codec.decode(last.x) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


# ---- where this project isn't ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["pixels", "tuned-pixels"])
def test_ddpm_pipeline_draws_the_same(stranger, trained, kind):
    assert np.abs(ours(trained(kind), "ddpm") - stranger[0][kind]).max() < 1e-5


@pytest.mark.parametrize("kind", ["latents", "words", "tuned-words"])
def test_latent_pipelines_draw_the_same(stranger, trained, kind):
    theirs = stranger[0][kind]
    assert theirs.shape == (2, 8, 8, 3) and np.abs(ours(trained(kind)) - theirs).max() < 1e-4
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01


@pytest.mark.parametrize("kind", ["words", "tuned-words"])
def test_negative_prompts_too(stranger, trained, kind):
    theirs = stranger[0][f"{kind} against green"]
    assert np.abs(ours(trained(kind), negative_prompt="green") - theirs).max() < 1e-4
    assert np.abs(theirs - stranger[0][kind]).max() > 1e-4


@pytest.mark.parametrize("kind", ["labels", "labels-in-latents", "words-in-pixels"])
def test_own_pipeline_draws_the_same(stranger, trained, kind):
    theirs = stranger[0][kind].astype(int)
    assert theirs.shape == (2, 8, 8, 3) and np.abs(np.round(ours(trained(kind)) * 255).astype(int) - theirs).max() <= 1
    assert np.abs(theirs - np.round(ours(trained(kind), guidance_scale=1) * 255)).max() > 1, (
        "guidance is not a plain pass"
    )


def test_autoencoder_gives_the_same(stranger, trained):
    codec = pipeline.load_vae(str(trained("autoencoder").path))
    z = codec.encode(torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8))
    assert np.abs(z.numpy() - stranger[0]["autoencoder latents"]).max() < 1e-5
    assert np.abs(codec.decode(z).numpy() - stranger[0]["autoencoder"]).max() < 1e-5


def test_nothing_is_rewritten_or_found_odd(stranger):
    """StableDiffusionPipeline rewrites schedulers that it finds outdated, and says so."""
    said = stranger[1].lower()
    assert not re.search(
        r"steps_offset|clip_sample|outdated|deprecat|not expected|were not used|newly initialized|error", said
    ), said


# ---- what lies in the folder -----------------------------------------------------------------------------------------
@every_kind
def test_layout(trained, kind):
    folder = trained(kind).pipeline
    index = json.loads((folder / "model_index.json").read_text())
    name, own = index["_class_name"], CLASSES[kind] == "ConditionalPipeline"
    assert (
        name == (["pipeline", "ConditionalPipeline"] if own else CLASSES[kind])
        and (folder / "pipeline.py").exists() == own
    )
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        part for part, value in index.items() if isinstance(value, list) and value[0] and part != "_class_name"
    }
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    if own:
        assert (folder / "pipeline.py").read_bytes() == pipeline.OWN_PIPELINE.read_bytes()
    assert index.get("id2label") == ({"0": "blue", "1": "green", "2": "red"} if kind.startswith("labels") else None)


@latent_kinds
def test_scheduler_that_stock_pipelines_leave_alone(trained, kind):
    run = trained(kind)
    saved = json.loads((run.pipeline / "scheduler" / "scheduler_config.json").read_text())
    assert saved["_class_name"] == "DDIMScheduler"
    assert (saved["steps_offset"], saved["clip_sample"], saved["set_alpha_to_one"]) == (1, False, False), (
        "as Stable Diffusion has them"
    )
    wanted = ("scaled_linear", "v_prediction") if kind == "tuned-words" else ("linear", "epsilon")
    assert (saved["beta_schedule"], saved["prediction_type"], saved["num_train_timesteps"]) == (*wanted, 1000)


@pytest.mark.parametrize("kind", ["labels", "words-in-pixels"])
def test_scheduler_of_conditions_in_pixels(trained, kind):
    saved = json.loads((trained(kind).pipeline / "scheduler" / "scheduler_config.json").read_text())
    assert (saved["_class_name"], saved["steps_offset"], saved["clip_sample"]) == ("DDIMScheduler", 1, True)


def test_scheduler_of_a_schedule_that_ddim_does_not_know(tiny_of):
    """The sigmoid one is spelled out, and read back equal, also by a model that goes on from it."""
    trained = pipeline.diffusion.scheduler(
        tiny_of("latents", beta_schedule="sigmoid", prediction_type="sample"), clip_sample=False
    )
    stock = pipeline.stock_scheduler(trained)
    again = pipeline.stock_scheduler(pipeline.DDPMScheduler.from_config(stock.config))
    for one in (stock, again):
        torch.testing.assert_close(one.alphas_cumprod, trained.alphas_cumprod, rtol=1e-6, atol=0)
        assert one.config.prediction_type == "sample"


@pytest.mark.parametrize("kind", [*CLASSES, "autoencoder"])
def test_no_machine_path_in_it(trained, kind, parts, told):
    for file in trained(kind).pipeline.rglob("*"):
        if file.is_file():
            text = file.read_bytes()
            assert not any(
                str(path).encode() in text for path in (parts, told, trained(kind).path, pathlib.Path.home())
            ), file
            assert b"_name_or_path" not in text, file


def test_no_machine_path_of_a_tuned_autoencoder(trained, runs_dir, tiny_of, no_rehearsal):
    run = new(runs_dir, tiny_of("autoencoder", init_from=str(trained("autoencoder").pipeline), max_train_steps=1))
    train(run)
    text = (run.pipeline / "config.json").read_text()
    assert "_name_or_path" not in text and str(trained("autoencoder").path) not in text


# ---- the model card --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [*CLASSES, "autoencoder"])
def test_the_cards_lines_name_the_class_that_loads_it(trained, kind):
    card = hub.model_card(trained(kind), "me/model", [])
    lines = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    compile(lines, "card", "exec")
    own = CLASSES.get(kind) == "ConditionalPipeline"
    assert f"import {'DiffusionPipeline' if own else CLASSES.get(kind, 'AutoencoderKL')}\n" in lines
    assert ("trust_remote_code" in lines) == own and "me/model" in lines
    assert ("pipeline(labels=" in lines) == kind.startswith("labels") and ('pipeline("' in lines) == ("words" in kind)


@pytest.mark.parametrize("kind", ["latents", "words", "tuned-words"])
def test_the_card_names_no_folder_of_this_machine(trained, kind, parts):
    card = hub.model_card(trained(kind), "me/model", [])
    assert str(parts) not in card and str(trained(kind).path.parent) not in card
    assert ("| init_from | stable-diffusion |" if kind == "tuned-words" else "| vae | vae |") in card


# ---- reading it ------------------------------------------------------------------------------------------------------
def problem_of(code, source, **options) -> str:
    """The words for why ``source`` can't be loaded."""
    with expect_problem(code, None) as caught:
        loaded.load_model(source, **options)
    return problem_text(caught.value)


@every_kind
def test_read_back_as_it_was(trained, kind):
    run, it = trained(kind), loaded.load_model(trained(kind).path)
    conditioning = "labels" if kind.startswith("labels") else "text" if "words" in kind else "none"
    assert it.conditioning.kind == conditioning and it.image_size == 8
    assert it.shape == (
        (3, 8, 8) if CLASSES[kind] == "DDPMPipeline" or kind in ("labels", "words-in-pixels") else (4, 4, 4)
    )
    assert it.codec.clips == (it.shape[0] == 3) == it.scheduler.config.clip_sample
    assert not it.unet.training and not any(p.requires_grad for p in it.unet.parameters())
    if conditioning == "labels":
        assert it.conditioning.names == ("blue", "green", "red") and it.unet.config.num_class_embeds == 4
    raw = loaded.load_model(run.path, "raw")
    assert any(not torch.equal(a, b) for a, b in zip(raw.unet.parameters(), it.unet.parameters(), strict=True))
    assert raw.shape == it.shape and raw.conditioning.kind == it.conditioning.kind


@every_kind
def test_drawn_pictures(trained, kind):
    it = loaded.load_model(trained(kind).path)
    request = sample.Request(num_images=3, num_inference_steps=3, prompt=WORDS, batch_size=2)
    *_, (frame, pictures) = sample.draw(it, request)
    assert [picture.size for picture in pictures] == [(8, 8)] * 3 and (frame.step, frame.total) == (6, 6)
    assert np.array_equal(np.asarray(pictures[2]), to_display(it.codec.decode(frame.x))[0])


@every_kind
def test_previews_can_be_drawn_again(trained, kind):
    """The last preview is what the pipeline of that step draws from the run's preview noise."""
    run, it = trained(kind), loaded.load_model(trained(kind).path)
    config = run.config
    texts = ("red bug", "blue bug", "green bug")
    asked = it.conditioning.conditional(2, _held_out_texts(run) if it.conditioning.kind == "text" else texts, ())
    guided = sample.CFGDenoiser(it.unet, asked, it.conditioning.unconditional(2), config.preview_guidance_scale)
    sampler = sample.make_sampler(config.preview_sampler, it.scheduler)
    *_, last = sample.denoise(
        guided, denoising.preview_noise(config, it.shape), sampler, config.preview_inference_steps
    )
    drawn = np.asarray(image_grid(to_images(it.codec.decode(last.x)))).astype(int)
    with Image.open(run.samples[-1]) as kept:
        assert np.abs(drawn - np.asarray(kept)).max() <= 1


def _held_out_texts(run) -> tuple[str, ...]:
    pictures = image_dataset.load(run.config)
    return tuple(dict.fromkeys(pictures.captions[i] for i in pictures.held_out))


@pytest.mark.parametrize("kind", ["pixels", "labels", "words"])
def test_code_in_a_folder_is_never_run(trained, kind, tmp_path, monkeypatch):
    """Not that of the folder's own pipeline, nor what its settings call the place of their code."""
    folder, evil = tmp_path / "pipeline", f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n"
    shutil.copytree(trained(kind).pipeline, folder)
    for part in (".", "unet", "scheduler", "text_encoder", "tokenizer", "vae"):
        if (folder / part).is_dir():
            for name in ("pipeline.py", "modeling.py", f"{part}.py", "__init__.py"):
                (folder / part / name).write_text(evil)
            for file in (folder / part).glob("*config.json"):
                told = {"auto_map": dict.fromkeys(("AutoModel", "AutoTokenizer", "AutoConfig"), "modeling.Evil")}
                told["auto_map"]["AutoTokenizer"] = ["modeling.Evil", "modeling.Evil"]
                file.write_text(json.dumps(json.loads(file.read_text()) | told))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps(index | {"_class_name": ["pipeline", "Evil"], "unet": ["modeling", "Evil"]})
    )
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail("nobody is asked either"))
    monkeypatch.syspath_prepend(str(folder))
    try:
        assert loaded.load_model(folder).image_size == 8
    except Problem as problem:  # where the library takes the settings for a wish to run code, it is refused
        assert problem.code == "model_unreadable" and kind == "words"
    assert not (tmp_path / "ran").exists()


def test_settings_of_our_own_pipeline_are_data(trained, tmp_path):
    """The pipeline.py of a label run may be anything: it is not read at all."""
    folder = tmp_path / "pipeline"
    shutil.copytree(trained("labels").pipeline, folder)
    (folder / "pipeline.py").write_text("this is no Python")
    assert loaded.load_model(folder).conditioning.names == ("blue", "green", "red")


def test_an_autoencoder_draws_nothing(trained):
    assert "vae" in problem_of("model_is_autoencoder", trained("autoencoder").path)


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ("vae", "config.json"),
        ("vae", "diffusion_pytorch_model.safetensors"),
        ("text_encoder", "config.json"),
        ("text_encoder", "model.safetensors"),
        ("tokenizer", "tokenizer.json"),
        ("scheduler", "scheduler_config.json"),
        ("unet", "diffusion_pytorch_model.safetensors"),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_damaged_parts_are_told(trained, tmp_path, part, file, damage):
    folder = tmp_path / "pipeline"
    shutil.copytree(trained("words").pipeline, folder)
    victim = folder / part / file
    victim.unlink() if damage == "gone" else victim.write_bytes(victim.read_bytes()[: 40 if damage == "cut" else 0])
    problem_of("model_unreadable", folder)


@pytest.mark.parametrize(
    ("kind", "wants", "reason"),
    [
        ("words", dict(in_channels=9), "9 channels"),
        ("words", dict(in_channels=5, out_channels=5), "5 channels"),
        ("pixels", dict(out_channels=6), "6 that it gives"),
        ("words", dict(class_embed_type="timestep"), "class_embed_type"),
        ("pixels", dict(num_class_embeds=4), "id2label"),
    ],
)
def test_unets_of_other_kinds(trained, tmp_path, kind, wants, reason):
    """For inpainting, with a learned variance, with classes that nobody named: said when it is read, and not when it draws."""
    folder = tmp_path / "pipeline"
    shutil.copytree(trained(kind).pipeline, folder)
    unet = loaded.load_model(folder).unet
    type(unet).from_config(dict(unet.config) | wants).save_pretrained(folder / "unet")
    assert reason in problem_of("model_unreadable", folder)


def test_words_without_their_encoder(trained, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(trained("words").pipeline, folder)
    shutil.rmtree(folder / "text_encoder")
    problem_of("model_unreadable", folder)


# ---- places ----------------------------------------------------------------------------------------------------------
def test_names_mean_shipped_then_runs_then_folders(trained, tmp_path, monkeypatch):
    runs_dir = trained("pixels").path.parent
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "alone").mkdir()
    assert locate.resolve("butterflies-64", runs_dir) == locate.SHIPPED / "butterflies-64"
    assert (
        locate.resolve("tiny", runs_dir) == trained("pixels").pipeline
        and locate.find_local("tiny", runs_dir) == trained("pixels").path
    )
    assert locate.resolve("alone", runs_dir) == pathlib.Path("alone") and locate.resolve("tiny") == pathlib.Path("tiny")
    assert (
        locate.resolve(str(trained("latents").path))
        == trained("latents").pipeline
        == locate.resolve(trained("latents").pipeline)
    )


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "nothing", "a/b/c", "/nowhere", "~nobody/x"])
def test_what_is_no_place(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # whatever lies beside the project
    if name in (".", ".."):  # a folder, but no model
        problem_of("model_unreadable", name)
    else:
        problem_of("model_missing", name, runs_dir=tmp_path)


def test_run_that_saved_nothing(runs_dir, tiny):
    run = registry.create(runs_dir, tiny())
    for field in ("vae", "init_from", "text_encoder"):
        with expect_problem("no_snapshot", field) as caught:
            locate.resolve("tiny", runs_dir, field)
        assert run.name in problem_text(caught.value)


# ---- parts that don't fit --------------------------------------------------------------------------------------------
def misfit(config, code, field, pictures) -> Problem:
    with expect_problem(code, field) as caught:
        pipeline.make(config, pictures)
    assert str(caught.value.values["value"]) in problem_text(caught.value)
    return caught.value


def test_impossible_combinations_are_refused_with_the_remedy(tiny, tiny_of, parts):
    bare = image_dataset.load(tiny())
    odd = image_dataset.load(tiny(image_size=10, block_out_channels=(8,)))
    no_labels = misfit(tiny(conditioning="labels"), "no_labels", "conditioning", bare)
    assert "label_column" in problem_text(no_labels) and "sub-folders" in problem_text(no_labels)
    factor = misfit(tiny_of("latents", image_size=9, block_out_channels=(8,)), "vae_factor", "image_size", odd)
    assert factor.values["suggestion"] == 8 and "vae" in problem_text(factor)
    depth = misfit(tiny_of("latents", image_size=10), "size_depth", "image_size", odd)
    assert (depth.values["divisor"], depth.values["suggestion"]) == (4, 8)
    size = misfit(tiny(init_from=str(parts / "ddpm"), image_size=16), "size_differs", "image_size", odd)
    assert size.values["known"] == 8
    grey = image_dataset.load(tiny(channels=1))
    for place in ("ddpm", "stable-diffusion"):
        channels = misfit(tiny(init_from=str(parts / place), channels=1), "channels_differ", "channels", grey)
        assert channels.values["known"] == 3 and "3" in problem_text(channels)
    misfit(tiny(vae=str(parts / "ddpm" / "unet")), "model_unreadable", "vae", bare)
    misfit(tiny(init_from=str(parts / "vae")), "model_is_autoencoder", "init_from", bare)
    misfit(tiny(conditioning="text", text_encoder=str(parts / "vae")), "model_unreadable", "text_encoder", bare)


@pytest.mark.parametrize("size", [10, 12, 14, 18, 22])
def test_suggested_size_fits(tiny_of, size):
    """What the refusal names can be trained."""
    codec = pipeline.Vae(parts_kit.vae())
    try:
        pipeline.denoised_shape(tiny_of("latents", image_size=size), codec)
    except Problem as problem:
        assert pipeline.denoised_shape(tiny_of("latents", image_size=problem.values["suggestion"]), codec)
