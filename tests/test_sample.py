import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler
from kits import engine as engine_kit
from kits.problems import problem_of
from PIL import Image

from ddpm_app import diffusion, sample
from ddpm_app.config import from_dict
from ddpm_app.data import image_dataset
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text
from ddpm_app.images import image_grid, joint_info, save_png
from ddpm_app.model import pipeline
from ddpm_app.model.loaded import load_model
from ddpm_app.model.pipeline import Model
from ddpm_app.model.unet import build_unet
from ddpm_app.runs import registry
from ddpm_app.train import events
from ddpm_app.train.denoising import preview_noise

TYPES = ("epsilon", "v_prediction", "sample")
every_type = pytest.mark.parametrize("kind", TYPES)
every_sampler = pytest.mark.parametrize("name", sample.SAMPLERS)


def loaded(kind="epsilon", schedule="squaredcos_cap_v2", channels=3) -> Model:
    config = from_dict(engine_kit.NETWORK | dict(prediction_type=kind, beta_schedule=schedule, channels=channels))
    return Model(build_unet(config).eval().requires_grad_(False), diffusion.scheduler(config))


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + k) for k in range(count)]


def draw(model, **request) -> torch.Tensor:
    """The finished pictures [N, C, H, W]."""
    request = sample.Request(**request)
    frames = list(sample.sample(model, request))
    per_batch = frames[0].total // -(-request.num_images // request.batch_size)
    return torch.cat([frame.x for frame in frames[per_batch - 1 :: per_batch]])


def as_theirs(x: torch.Tensor) -> np.ndarray:
    """What a pipeline returns for output_type="np"."""
    return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# ---- against the pipelines of diffusers ------------------------------------------------------------------------------
@every_type
def test_ddpm_is_the_pipeline(kind):
    it = loaded(kind)
    theirs = quiet(DDPMPipeline(it.unet, it.scheduler))(
        3, generators(3), num_inference_steps=20, output_type="np"
    ).images
    assert np.array_equal(as_theirs(draw(it, num_images=3, sampler="ddpm", num_inference_steps=20)), theirs)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@every_type
def test_ddim_is_the_pipeline(kind, eta):
    it = loaded(kind)
    theirs = quiet(DDIMPipeline(it.unet, it.scheduler))(
        3, generators(3), eta=eta, num_inference_steps=10, output_type="np"
    ).images
    assert np.array_equal(as_theirs(draw(it, num_images=3, sampler="ddim", eta=eta, num_inference_steps=10)), theirs)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2", "scaled_linear", "sigmoid"])
@every_type
def test_dpmpp_is_diffusers(kind, schedule):
    it = loaded(kind, schedule)
    if schedule == "sigmoid":  # diffusers' solver doesn't know the name
        solver = DPMSolverMultistepScheduler(trained_betas=it.scheduler.betas.tolist(), prediction_type=kind)
    else:
        solver = DPMSolverMultistepScheduler.from_config(it.scheduler.config)
    set_timesteps = solver.set_timesteps
    solver.set_timesteps = lambda count: set_timesteps(timesteps=[k * 1000 // 13 for k in range(count, 0, -1)])
    pipeline = quiet(DDPMPipeline(it.unet, solver))
    pipeline.scheduler = solver  # the pipeline loads and saves any scheduler with this interface
    theirs = pipeline(3, generators(3), num_inference_steps=12, output_type="np").images
    assert np.array_equal(as_theirs(draw(it, num_images=3, sampler="dpmpp_2m", num_inference_steps=12)), theirs)


def test_all_thousand_steps_are_the_pipelines(monkeypatch):
    """The tutorial's own way of drawing, on a network that costs nothing."""
    it = loaded()
    monkeypatch.setattr(
        it.unet, "forward", lambda x, t, **_: _Out(0.1 * x) if _.get("return_dict", True) else (0.1 * x,)
    )
    theirs = quiet(DDPMPipeline(it.unet, it.scheduler))(2, generators(2), output_type="np").images
    assert np.array_equal(as_theirs(draw(it, num_images=2, sampler="ddpm", num_inference_steps=1000)), theirs)


class _Out:
    def __init__(self, tensor):
        self.sample = tensor


# ---- against the truth -----------------------------------------------------------------------------------------------
class Oracle(torch.nn.Module):
    """The network that has learnt one picture by heart: its output is exact for every x_t."""

    def __init__(self, kind, scheduler, picture):
        super().__init__()
        self.kind, self.abar, self.picture = kind, scheduler.alphas_cumprod, picture

    def forward(self, x, t):
        a = self.abar[t]
        eps = (x - a.sqrt() * self.picture) / (1 - a).sqrt()
        v = a.sqrt() * eps - (1 - a).sqrt() * self.picture
        return _Out({"epsilon": eps, "sample": self.picture.expand_as(x), "v_prediction": v}[self.kind])


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
@every_sampler
@every_type
def test_oracle_is_followed(name, kind, schedule):
    trained = DDPMScheduler(beta_schedule=schedule, prediction_type=kind)
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    frames = list(
        sample.denoise(Oracle(kind, trained, picture), noise, sample.make_sampler(name, trained), 25, generators(2))
    )
    for frame in frames:
        torch.testing.assert_close(frame.x0, picture.expand_as(noise), rtol=0, atol=2e-3)
    torch.testing.assert_close(frames[-1].x, picture.expand_as(noise), rtol=0, atol=1e-4)
    assert [f.step for f in frames] == list(range(1, 26)) and {f.total for f in frames} == {25}
    assert [f.timestep for f in frames] == sorted((f.timestep for f in frames), reverse=True)


@every_sampler
@every_type
def test_guess_of_each_frame(name, kind):
    """x0 is what the network's output means at that x_t, by the formulas of the papers; DDPM and DDIM clamp it."""
    it, seen = loaded(kind), []
    it.unet.register_forward_hook(lambda module, args, output: seen.append((args[0], int(args[1]), output.sample)))
    frames = list(sample.sample(it, sample.Request(num_images=2, sampler=name, num_inference_steps=6)))
    starts = [x for x, _, _ in seen]
    assert all(torch.equal(frame.x, start) for frame, start in zip(frames, starts[1:], strict=False))
    for frame, (x, t, output) in zip(frames, seen, strict=True):
        a = it.scheduler.alphas_cumprod[t].double()
        by_eps, by_v = (x - (1 - a).sqrt() * output) / a.sqrt(), a.sqrt() * x - (1 - a).sqrt() * output
        x0 = {"epsilon": by_eps, "sample": output, "v_prediction": by_v}[kind]
        x0 = x0 if name == "dpmpp_2m" else x0.clamp(-1, 1)
        assert frame.timestep == t
        torch.testing.assert_close(frame.x0.double(), x0.double(), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 1])
@every_sampler
def test_timesteps_are_the_models_own(name, offset):
    """As many as asked for, from noise downwards, none beyond the last, whatever latent pipelines set as steps_offset."""
    trained = DDPMScheduler(num_train_timesteps=50, steps_offset=offset)
    for count in range(1, 51):
        got = sample.timesteps(sample.make_sampler(name, trained), count, "cpu").tolist()
        assert len(got) == count and got == sorted(set(got), reverse=True) and 0 <= got[-1] and got[0] < 50
        if name == "dpmpp_2m":
            assert got[0] >= 50 * count // (count + 1), "it begins where there is nothing but noise"
        elif count < 50:
            theirs = sample.make_sampler(name, trained)
            theirs.set_timesteps(count)
            assert got == theirs.timesteps.tolist()


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@every_sampler
@every_type
def test_a_schedule_that_ends_in_pure_noise_is_followed(name, kind, spacing):
    """Zero terminal SNR, up to as many steps as there are: no picture is divided by nothing."""
    trained = DDPMScheduler(
        num_train_timesteps=40,
        rescale_betas_zero_snr=True,
        timestep_spacing=spacing,
        prediction_type=kind,
        steps_offset=1,
        beta_end=0.2,
    )
    assert trained.alphas_cumprod[-1] == 0
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    oracle, noise = Oracle(kind, trained, picture), torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    for count in (1, 3, 8, 20, 40):
        frames = list(sample.denoise(oracle, noise, sample.make_sampler(name, trained), count, generators(2)))
        assert len(frames) == count and all(frame.x.isfinite().all() for frame in frames)
        torch.testing.assert_close(frames[-1].x0, picture.expand_as(noise), rtol=0, atol=2e-3)
        if kind == "epsilon" and name != "dpmpp_2m":
            assert frames[0].timestep < 39, "there the noise says nothing of the picture"


def test_eta_is_a_share_of_fresh_noise():
    it = loaded()
    still = draw(it, num_images=2, sampler="ddim", num_inference_steps=5)
    assert torch.equal(still, draw(it, num_images=2, sampler="ddim", num_inference_steps=5, eta=0.0))
    assert not torch.equal(still, draw(it, num_images=2, sampler="ddim", num_inference_steps=5, eta=0.5))


# ---- each picture has its own generator ------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "eta"), [("ddpm", 0.0), ("ddim", 0.7), ("dpmpp_2m", 0.0)])
def test_picture_does_not_depend_on_its_neighbours(name, eta):
    it = loaded("sample")
    alone = [draw(it, num_images=1, sampler=name, eta=eta, num_inference_steps=5, seed=9 + k)[0] for k in range(5)]
    for batch_size in (1, 2, 3, 5, 16):
        together = draw(it, num_images=5, sampler=name, eta=eta, num_inference_steps=5, seed=9, batch_size=batch_size)
        torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-5)
    assert torch.equal(
        draw(it, num_images=2, sampler=name, eta=eta, num_inference_steps=5, seed=9, batch_size=1),
        torch.stack(alone[:2]),
    )
    assert len({float(x.sum()) for x in alone}) == 5


def test_global_generator_is_neither_used_nor_moved():
    it = loaded()
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    one = draw(it, num_images=2, sampler="ddpm", num_inference_steps=3)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.equal(one, draw(it, num_images=2, sampler="ddpm", num_inference_steps=3))


def test_largest_seed():
    assert torch.isfinite(draw(loaded("sample"), num_images=2, seed=2**32 - 1, num_inference_steps=2)).all()


# ---- frames and pictures ---------------------------------------------------------------------------------------------
def test_frames_count_over_all_batches():
    frames = list(sample.sample(loaded(), sample.Request(num_images=5, batch_size=2, num_inference_steps=3)))
    assert [f.step for f in frames] == list(range(1, 10)) and {f.total for f in frames} == {9}
    assert [len(f.x) for f in frames] == [2, 2, 2, 2, 2, 2, 1, 1, 1]


def test_draw_hands_out_finished_pictures():
    it, request = loaded("sample"), sample.Request(num_images=3, batch_size=2, num_inference_steps=3)
    told = list(sample.draw(it, request))
    assert [len(done) for _, done in told] == [0, 0, 2, 2, 2, 3]
    wanted = to_images(draw(it, num_images=3, batch_size=2, num_inference_steps=3))
    assert [np.asarray(a).tobytes() for a in told[-1][1]] == [np.asarray(b).tobytes() for b in wanted]


# ---- what a picture says of itself -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "asked", "texts"),
    [
        ("pixels", dict(sampler="ddim", eta=0.25), [dict(eta="0.25"), dict(eta="0.25")]),
        ("labels", dict(labels=(2, -1), guidance_scale=2.0), [dict(label="red", guidance_scale="2.0"), dict(label="")]),
        (
            "words",
            dict(prompt=("röd bug", "蓝"), negative_prompt="green"),
            [dict(prompt="röd bug", negative_prompt="green"), dict(prompt="蓝", guidance_scale="3.0")],
        ),
    ],
)
def test_a_picture_file_says_how_it_was_drawn(trained, tmp_path, kind, asked, texts):
    run = trained(kind)
    request = sample.Request(num_images=2, num_inference_steps=2, seed=77, **asked)
    *_, (_, images) = sample.draw(load_model(run.path), request)
    for k, (image, wanted) in enumerate(zip(images, texts, strict=True)):
        save_png(image, tmp_path / "one.png")
        with Image.open(tmp_path / "one.png") as file:
            shared = dict(model=run.name, weights="ema", seed=str(77 + k), num_inference_steps="2")
            wanted = wanted | shared | dict(sampler=request.sampler)
            assert {name: file.info[name] for name in wanted} == wanted
            assert ("prompt" in file.info, "label" in file.info) == (kind == "words", kind == "labels")
    assert joint_info(images)["seed"] == "77\n78" and joint_info(images)["sampler"] == request.sampler


def test_the_text_of_a_picture_draws_it_again(undisturbed):
    request = sample.Request(num_images=3, num_inference_steps=2, seed=5, sampler="ddpm")
    *_, (_, images) = sample.draw(load_model(undisturbed.path), request)
    info = images[2].info
    again = sample.Request(1, info["sampler"], int(info["num_inference_steps"]), seed=int(info["seed"]))
    *_, (_, (image,)) = sample.draw(load_model(info["model"], runs_dir=undisturbed.path.parent), again)
    assert image.tobytes() == images[2].tobytes()


def test_no_gradients_are_kept():
    it = loaded()
    it.unet.requires_grad_(True)
    frames = list(sample.sample(it, sample.Request(num_images=1, num_inference_steps=2)))
    assert not any(frame.x.requires_grad or frame.x0.requires_grad for frame in frames)
    assert torch.is_grad_enabled()


def test_pictures_are_clamped():
    red = torch.tensor([9.0, -9.0, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert to_images(red)[0].getpixel((0, 0)) == (255, 0, 0)
    assert to_images(torch.zeros(2, 1, 2, 2))[1].mode == "L"


def test_grid():
    sheet = image_grid([Image.new("RGB", (4, 3), colour) for colour in ("red", "green", "blue", "black", "white")])
    assert sheet.size == (3 * 4 + 2 * 2, 2 * 3 + 2)
    assert sheet.getpixel((0, 0)) == (255, 0, 0) and sheet.getpixel((6, 5)) == (255, 255, 255)
    assert sheet.getpixel((0, 5)) == (0, 0, 0) and sheet.getpixel((4, 0)) == (255, 255, 255)
    assert image_grid([Image.new("L", (4, 3))] * 4, columns=4).size == (4 * 4 + 3 * 2, 3)


def test_greyscale():
    pictures = list(sample.draw(loaded("sample", channels=1), sample.Request(num_images=2, num_inference_steps=2)))[-1][
        1
    ]
    assert [p.mode for p in pictures] == ["L", "L"] and image_grid(pictures).mode == "RGB"


# ---- what may be asked for -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_images", 0),
        ("num_images", 1025),
        ("num_inference_steps", 0),
        ("num_inference_steps", 10_001),
        ("eta", -0.1),
        ("eta", 1.1),
        ("seed", -1),
        ("seed", 2**32),
        ("batch_size", 0),
        ("sampler", "euler"),
        ("eta", float("nan")),
    ],
)
def test_request_out_of_bounds(field, value):
    with pytest.raises(Problem) as caught:
        sample.Request(**{field: value})
    assert caught.value.field == field and field in problem_text(caught.value)


@every_sampler
def test_more_steps_than_the_model_knows(name):
    """The model has only so many noise levels; asking for more must not end in an error of diffusers' own."""
    config = from_dict(engine_kit.NETWORK | dict(num_train_timesteps=20, beta_schedule="squaredcos_cap_v2"))
    it = Model(build_unet(config).eval(), diffusion.scheduler(config))
    with pytest.raises(Problem) as caught:
        draw(it, num_images=1, sampler=name, num_inference_steps=21)
    assert caught.value.field == "num_inference_steps" and problem_text(caught.value)
    frames = list(sample.sample(it, sample.Request(num_images=1, sampler=name, num_inference_steps=20)))
    assert len(frames) == 20 and torch.isfinite(frames[-1].x).all()


# ---- where a model comes from ----------------------------------------------------------------------------------------
def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_run_a_folder_and_its_pipeline_are_the_same_model(undisturbed):
    by_run, by_folder = load_model(undisturbed.path), load_model(undisturbed.pipeline)
    theirs = DDPMPipeline.from_pretrained(undisturbed.pipeline)
    assert same(by_run.unet, by_folder.unet) and same(by_run.unet, theirs.unet)
    assert dict(by_run.scheduler.config) == dict(theirs.scheduler.config)
    assert by_run.shape == (3, 8, 8)
    assert not by_run.unet.training and not any(p.requires_grad for p in by_run.unet.parameters())


def test_raw_weights_are_the_checkpoints(undisturbed):
    raw = load_model(undisturbed.path, "raw")
    assert not same(raw.unet, load_model(undisturbed.path).unet)
    from safetensors.torch import load_file

    kept = load_file(undisturbed.checkpoints[-1] / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(v, kept[k]) for k, v in raw.unet.state_dict().items())


def test_run_without_a_snapshot(runs_dir, tiny):
    problem_of("no_snapshot", load_model, registry.create(runs_dir, tiny()).path)


@pytest.mark.parametrize("by_name", [True, False], ids=["by the run's name", "by its path"])
def test_an_earlier_checkpoint_draws_as_the_run_did_then(runs_dir, tiny, no_rehearsal, monkeypatch, by_name):
    run = engine_kit.new(runs_dir, tiny(checkpoints_total_limit=None))
    then = {}

    def act(event, hand):
        if isinstance(event, events.Saved):
            then[event.step] = load_model(run.path).unet.state_dict()

    engine_kit.train(run, act=act)
    assert [path.name for path in run.checkpoints] == [f"step-{step:07}" for step in then]
    for path, weights in zip(run.checkpoints, then.values(), strict=True):
        source = f"{run.name}/checkpoints/{path.name}" if by_name else path
        model = load_model(source, runs_dir=runs_dir if by_name else None)
        assert model.name == f"tiny/checkpoints/{path.name}"
        assert all(torch.equal(weight, weights[name]) for name, weight in model.unet.state_dict().items())
        raw = load_model(source, "raw", runs_dir=runs_dir)
        assert raw.weights == "raw" and all(
            torch.equal(weight, raw.unet.state_dict()[name]) for name, weight in engine_kit.weights(path).items()
        )
    config = tiny(init_from=str(run.checkpoints[0]))
    first = pipeline.make(config, image_dataset.load(config), runs_dir).unet.state_dict()
    assert all(torch.equal(weight, then[0][name]) for name, weight in first.items())


@pytest.mark.parametrize("name", ["tiny/checkpoints/step-0000099", "tiny/checkpoints"])
def test_a_checkpoint_that_is_gone_is_told_with_those_that_are_there(undisturbed, name):
    problem = problem_of("checkpoint_missing", load_model, name, runs_dir=undisturbed.path.parent)
    assert problem.values["known"] == "step-0000008, step-0000012"
    problem_of("checkpoint_missing", load_model, undisturbed.path.parent / name)


def test_the_latents_of_a_checkpoint_are_refused(trained):
    run = trained("autoencoder")
    problem = problem_of("vae_checkpoint", pipeline.load_vae, str(run.checkpoints[-1]), field="vae")
    assert problem.values["run"] == run.name


def test_raw_weights_of_a_plain_folder(undisturbed):
    problem_of("no_raw_weights", load_model, undisturbed.pipeline, "raw")


def test_model_that_is_not_there(tmp_path):
    problem_of("model_missing", load_model, tmp_path / "nothing")
    problem_of("model_missing", load_model, "nonsense")
    problem_of("model_missing", load_model, "a/b/c")


@pytest.mark.parametrize("damage", ["empty", "config", "weights", "pickle"])
def test_unreadable_model(undisturbed, tmp_path, damage):
    folder = tmp_path / "pipeline"
    shutil.copytree(undisturbed.pipeline, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    if damage == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif damage == "config":
        (folder / "unet" / "config.json").write_text("{")
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:  # pickles can run code: they are never read, not even where nothing else is there
        torch.save(load_model(undisturbed.path).unet.state_dict(), folder / "unet" / "diffusion_pytorch_model.bin")
        weights.unlink()
    problem_of("model_unreadable", load_model, folder)


def test_code_in_a_folder_is_never_run(undisturbed, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(undisturbed.pipeline, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Evil"]}))
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit")
    (folder / "unet" / "unet.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert load_model(folder).shape == (3, 8, 8)
    assert not (tmp_path / "ran").exists()


def test_previews_can_be_drawn_again(undisturbed):
    """The grid in samples/ is what the pipeline of that step draws from the run's preview noise."""
    config, it = undisturbed.config, load_model(undisturbed.path)
    sampler = sample.make_sampler(config.preview_sampler, it.scheduler)
    frames = sample.denoise(it.unet, preview_noise(config, it.shape), sampler, config.preview_inference_steps)
    *_, last = itertools.chain(frames)
    ours = np.asarray(image_grid(to_images(last.x))).astype(int)
    with Image.open(undisturbed.samples[-1]) as kept:
        assert np.abs(ours - np.asarray(kept)).max() <= 1
