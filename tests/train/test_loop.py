import contextlib
import functools
import shutil
import types

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from kits.engine import MEASURED, Hand, distance, losses, new, objective, outcome, rows, train, weights
from PIL import Image
from safetensors.torch import load_file

from ddpm_app import diffusion, sample
from ddpm_app.data import image_dataset as data
from ddpm_app.errors import Problem, Stopped
from ddpm_app.i18n import problem_text, t
from ddpm_app.model import loaded, pipeline
from ddpm_app.model.conditioning import Nothing
from ddpm_app.model.unet import build_unet
from ddpm_app.train import batches, evaluate, events, loop, optimizer, plan, prepare, state
from ddpm_app.train.denoising import denoising_loss

pytestmark = pytest.mark.usefixtures("no_rehearsal")


def kinds(told) -> list[str]:
    return [type(event).__name__ for event in told]


def steps_of(told, kind) -> list[int]:
    return [event.step for event in told if isinstance(event, kind)]


# ---- what a run leaves behind ----------------------------------------------------------------------------------------
def test_story_of_a_run(runs_dir, tiny):
    run = new(runs_dir, tiny(save_image_steps=5, checkpointing_steps=4))
    hand = Hand()
    told = train(run, hand)
    notices = [event.code for event in told if isinstance(event, events.Notice)]
    assert "data_mirrored" in notices and set(kinds(told)[: len(notices)]) == {"Notice"}  # the account comes first
    told = told[len(notices) :]
    assert kinds(told)[:5] == ["Planned", "Started", "Validated", "Sampled", "Saved"]
    assert kinds(told)[-4:] == ["Validated", "Sampled", "Saved", "Ended"]
    assert told[-1] == events.Ended(12, "finished")
    assert steps_of(told, events.Stepped) == list(range(1, 13))
    assert steps_of(told, events.Sampled) == [0, 5, 10, 12]
    assert steps_of(told, events.Saved) == [0, 4, 8, 12]
    assert [p.name for p in run.samples] == [
        "step-0000000.png",
        "step-0000005.png",
        "step-0000010.png",
        "step-0000012.png",
    ]
    assert [p.name for p in run.checkpoints] == ["step-0000008", "step-0000012"]
    assert [row["step"] for row in rows(run, "step")] == list(range(1, 13))
    assert [row["step"] for row in rows(run, "validation")] == steps_of(told, events.Validated)
    assert hand.breaths > 12 and set(hand.phases) >= {"preview", "saving"}


def test_steps_tell_what_the_metrics_say(undisturbed, runs_dir, tiny):
    told = [e for e in train(new(runs_dir, tiny())) if isinstance(e, events.Stepped)]
    assert [(e.step, e.loss, e.learning_rate, e.grad_norm) for e in told] == [
        (r["step"], r["loss"], r["lr"], r["grad_norm"]) for r in rows(undisturbed, "step")
    ]
    assert {e.total for e in told} == {12} and [e.images for e in told] == [4, 4, 4, 4, 2] * 2 + [4, 4]


def test_same_run_twice(undisturbed, runs_dir, tiny):
    run = new(runs_dir, tiny())
    torch.rand(3)
    train(run)
    assert outcome(run) == outcome(undisturbed)


def test_another_seed_is_another_run(undisturbed, runs_dir, tiny):
    run = new(runs_dir, tiny(seed=1))
    train(run)
    assert not set(outcome(run).values()) & set(outcome(undisturbed).values())


def test_average_goes_into_the_pipeline_and_raw_weights_into_the_checkpoint(undisturbed):
    last = undisturbed.checkpoints[-1]
    drawn, raw, average = weights(undisturbed.pipeline), weights(last), load_file(last / "ema.safetensors")
    names = [name for name, _ in loaded.load_model(undisturbed.path).unet.named_parameters()]
    assert all(torch.equal(drawn[name], average[f"{k:05}"]) for k, name in enumerate(names))
    assert distance(drawn, raw) > 1e-4


def test_without_average_the_pipeline_holds_the_weights(runs_dir, tiny):
    run = new(runs_dir, tiny(use_ema=False))
    train(run)
    assert distance(weights(run.pipeline), weights(run.checkpoints[-1])) == 0
    assert not (run.checkpoints[-1] / "ema.safetensors").exists()


def test_greyscale(runs_dir, tiny):
    run = new(runs_dir, tiny(channels=1, max_train_steps=2))
    train(run)
    assert loaded.load_model(run.path).shape == (1, 8, 8)


# ---- the arithmetic, against the tutorial's loop written out ----------------------------------------------------------
def by_hand(config, pictures, steps):
    """The tutorial's training function without accelerate; noise, order and flips as the run has them."""
    unet = build_unet(config)
    noise_scheduler = DDPMScheduler(num_train_timesteps=config.num_train_timesteps, beta_schedule=config.beta_schedule)
    adamw = torch.optim.AdamW(unet.parameters(), lr=config.learning_rate)
    course = dict(num_warmup_steps=config.lr_warmup_steps, num_training_steps=config.max_train_steps)
    lr_scheduler = get_scheduler(config.lr_scheduler, adamw, **course)
    loader = batches.Batches(config, pictures, torch.device("cpu"))
    told = []
    for step in range(steps):
        (indices,) = loader.indices(step)
        clean_images, noise, timesteps = loader.load(step, 0, indices)
        noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
        wanted = {
            "epsilon": noise,
            "sample": clean_images,
            "v_prediction": noise_scheduler.get_velocity(clean_images, noise, timesteps),
        }
        loss = torch.nn.functional.mse_loss(
            unet(noisy_images, timesteps, return_dict=False)[0], wanted[config.prediction_type]
        )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), config.max_grad_norm)
        rate = lr_scheduler.get_last_lr()[0]
        adamw.step()
        lr_scheduler.step()
        adamw.zero_grad()
        told.append((loss.item(), rate, norm.item()))
    return unet, told


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_training_is_the_tutorials(runs_dir, tiny, kind):
    config = tiny(prediction_type=kind, max_train_steps=8, max_grad_norm=0.2, attention_levels=(2,))
    run = new(runs_dir, config)
    train(run)
    unet, told = by_hand(config, data.load(config), 8)
    for row, (loss, rate, norm) in zip(rows(run, "step"), told, strict=True):
        assert row["lr"] == rate
        assert row["loss"] == pytest.approx(loss, rel=1e-4) and row["grad_norm"] == pytest.approx(norm, rel=1e-3)
    assert min(norm for *_, norm in told) > 0.2, "the gradients are clipped"
    moved = distance(dict(unet.state_dict()), build_unet(config).state_dict())
    assert distance(dict(unet.state_dict()), weights(run.checkpoints[-1])) < moved / 200


@pytest.mark.parametrize("name", ["cosine", "linear", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 5, 40])
def test_learning_rate_at_every_step(tiny, name, warmup):
    config = tiny(lr_scheduler=name, lr_warmup_steps=warmup, learning_rate=3e-4)
    here = state.TrainState(
        config, objective(config), optimizer.lr_lambda(config, 30), state.make_accelerator("no", "cpu")
    )
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs = get_scheduler(name, sgd, num_warmup_steps=warmup, num_training_steps=30)
    for here.step in range(30):
        assert config.learning_rate * here.lr_factor() == theirs.get_last_lr()[0]
        sgd.step()
        theirs.step()


def noise_by_picture(monkeypatch):
    """Every picture has its own noise and timestep, in whatever batch it is."""

    def load(self, step, batch, indices):
        x0, eps, t = [], [], []
        for i in indices:
            key = torch.Generator().manual_seed(1000 * step + int(i))
            x0.append(self.pictures.tensors([i]))
            eps.append(torch.randn(x0[-1].shape, generator=key))
            t.append(torch.randint(0, 1000, (1,), generator=key))
        return torch.cat(x0), torch.cat(eps), torch.cat(t)

    monkeypatch.setattr(batches.Batches, "load", load)


@pytest.mark.parametrize("weighting", ["none", "min_snr"])
def test_accumulated_batches_are_one_batch(runs_dir, tiny, monkeypatch, weighting):
    """18 training pictures: steps of 8, 8 and 2; as two batches the last step has only one."""
    noise_by_picture(monkeypatch)

    def one(name, size, parts, steps):
        return new(
            runs_dir,
            tiny(
                output_dir=name,
                train_batch_size=size,
                gradient_accumulation_steps=parts,
                max_train_steps=steps,
                loss_weighting=weighting,
            ),
        )

    whole, halves, nines, thirds = (
        one("whole", 8, 1, 6),
        one("halves", 4, 2, 6),
        one("nines", 9, 1, 4),
        one("thirds", 3, 3, 4),
    )
    for run in (whole, halves, nines, thirds):
        train(run)
    for one, other in ((whole, halves), (nines, thirds)):
        assert losses(one) == pytest.approx(losses(other), rel=1e-4)
        assert [r["grad_norm"] for r in rows(one, "step")] == pytest.approx(
            [r["grad_norm"] for r in rows(other, "step")], rel=1e-3
        )
        assert distance(weights(one.checkpoints[-1]), weights(other.checkpoints[-1])) < 2e-4


def test_min_snr_reaches_the_loss(runs_dir, tiny, undisturbed):
    run = new(runs_dir, tiny(loss_weighting="min_snr", max_train_steps=1))
    train(run)
    config, pictures = run.config, data.load(run.config)
    loader = batches.Batches(config, pictures, torch.device("cpu"))
    x0, eps, t = loader.load(0, 0, loader.indices(0)[0])
    theirs = DDPMScheduler()
    error = (build_unet(config)(theirs.add_noise(x0, eps, t), t).sample - eps).square().mean(dim=(1, 2, 3))
    snr = theirs.alphas_cumprod[t] / (1 - theirs.alphas_cumprod[t])
    assert losses(run)[0] == pytest.approx(float((error * snr.clamp(max=5) / snr).mean().detach()), rel=1e-4)
    assert losses(run)[0] != pytest.approx(losses(undisturbed)[0], rel=1e-2)


def test_overfits_four_pictures(runs_dir, tiny, drawn, tmp_path):
    folder = tmp_path / "four"
    folder.mkdir()
    for picture in sorted(drawn.iterdir())[:4]:
        shutil.copy(picture, folder)
    run = new(
        runs_dir,
        tiny(
            dataset_name=str(folder),
            prediction_type="sample",
            max_train_steps=150,
            learning_rate=1e-2,
            lr_warmup_steps=5,
            random_flip=False,
            checkpointing_steps=1000,
            save_image_steps=1000,
        ),
    )
    measured = [e for e in train(run) if isinstance(e, events.Validated)]
    assert measured[-1].train_loss < measured[0].train_loss / 3
    assert measured[-1].bands[0] < measured[0].bands[0] / 4, "with little noise there is nothing to guess"
    assert measured[-1].held_out_loss is None


# ---- Muon ------------------------------------------------------------------------------------------------------------
def test_muon_takes_the_matrices_and_adamw_the_rest(tiny):
    config = tiny(optimizer="muon")
    unet = build_unet(config)
    adamw, muon = optimizer.make_optimizers(config, unet.parameters(), fused=False)
    rest = {id(p) for p in adamw.param_groups[0]["params"]}
    assert {id(p) for p in unet.parameters()} == rest | {id(w) for w in muon.weights} and not rest & {
        id(w) for w in muon.weights
    }
    assert all(w.ndim == 4 and min(len(w), w[0].numel()) >= optimizer.MATRIX_SIDE for w in muon.weights)
    assert all(
        p.ndim != 4 or min(len(p), p[0].numel()) < optimizer.MATRIX_SIDE for p in adamw.param_groups[0]["params"]
    )
    assert len(optimizer.make_optimizers(tiny(), unet.parameters(), fused=False)) == 1


@pytest.mark.parametrize("shape", [(16, 4, 3, 3), (48, 16, 1, 1), (16, 16, 1, 1)])
def test_muon_of_a_convolution_is_torchs_muon_of_its_matrix(shape):
    """To the rounding of bfloat16, in which torch iterates."""
    key = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(shape, generator=key))
    matrix = torch.nn.Parameter(weight.detach().clone().reshape(shape[0], -1))
    before = matrix.detach().clone()
    ours, theirs = (
        optimizer.ConvMuon([weight], 0.02, 0.1),
        torch.optim.Muon([matrix], lr=0.02, weight_decay=0.1, momentum=0.95),
    )
    for _ in range(3):
        weight.grad = torch.randn(shape, generator=key)
        matrix.grad = weight.grad.clone().reshape(shape[0], -1)
        ours.step()
        theirs.step()
    moved = (matrix - before).norm()
    assert (weight.reshape(shape[0], -1) - matrix).norm() < 0.03 * moved
    assert ours.state_dict()["state"].keys() == theirs.state_dict()["state"].keys()


def test_muon_follows_the_course_of_the_rate(tiny):
    config = tiny(optimizer="muon", muon_learning_rate=0.03, lr_warmup_steps=4)
    here = state.TrainState(
        config, objective(config), optimizer.lr_lambda(config, 12), state.make_accelerator("no", "cpu")
    )
    for step in range(6):
        for p in here.module.parameters():
            p.grad = torch.ones_like(p)
        rate = here.lr_factor()
        here.update()
        assert rate == pytest.approx(min(1, step / 4), abs=0.2)
        assert [o.param_groups[0]["lr"] for o in here.optimizers] == [1e-3 * rate, 0.03 * rate]
        assert here.step == step + 1 and all(p.grad is None for p in here.module.parameters())


# ---- autocast --------------------------------------------------------------------------------------------------------
def test_only_the_network_runs_in_bf16(runs_dir, tiny, monkeypatch):
    monkeypatch.setitem(MEASURED, "precision", "bf16")
    seen = {"noised": set(), "in": set(), "conv": set(), "out": set()}
    build, add_noise, target = pipeline.build_unet, diffusion.add_noise, diffusion.target

    def watched(config, **sizes):
        unet = build(config, **sizes)
        unet.conv_in.register_forward_hook(
            lambda module, args, out: (seen["in"].add(args[0].dtype), seen["conv"].add(out.dtype)) and None
        )
        return unet

    def spied(x0, noise, alpha_bar):
        noised = add_noise(x0, noise, alpha_bar)
        seen["noised"] |= {x0.dtype, noise.dtype, alpha_bar.dtype, noised.dtype}
        return noised

    def aimed(*args):
        wanted = target(*args)
        seen["out"].add(wanted.dtype)
        return wanted

    monkeypatch.setattr(pipeline, "build_unet", watched)
    monkeypatch.setattr(diffusion, "add_noise", spied)
    monkeypatch.setattr(diffusion, "target", aimed)
    run = new(runs_dir, tiny(mixed_precision="bf16", max_train_steps=3))
    train(run)
    assert seen["conv"] == {torch.bfloat16} and seen["noised"] == seen["in"] == seen["out"] == {torch.float32}
    assert {v.dtype for v in weights(run.checkpoints[-1]).values()} == {torch.float32}
    monkeypatch.undo()


def test_precision_of_one_run_is_not_the_next_ones(runs_dir, tiny, monkeypatch, undisturbed):
    monkeypatch.setitem(MEASURED, "precision", "bf16")
    half = new(runs_dir, tiny(output_dir="half"))
    train(half)
    monkeypatch.setitem(MEASURED, "precision", "no")
    run = new(runs_dir, tiny())
    train(run)
    assert outcome(run) == outcome(undisturbed)
    assert losses(half) != losses(run) and losses(half) == pytest.approx(losses(run), rel=0.05)


# ---- nothing beside it changes a run ---------------------------------------------------------------------------------
def test_drawing_beside_a_run_changes_nothing_in_it(undisturbed, runs_dir, tiny):
    run = new(runs_dir, tiny())

    def meddle(event, hand):
        torch.manual_seed(99)
        torch.rand(5)
        if isinstance(event, events.Stepped):
            it = loaded.load_model(run.path, "raw")
            list(sample.sample(it, sample.Request(num_images=1, num_inference_steps=2, sampler="ddpm")))
            hand.request("sample", "save")

    told = train(run, act=meddle)
    assert steps_of(told, events.Sampled) == list(range(13)) and steps_of(told, events.Saved) == list(range(13))
    assert outcome(run) == outcome(undisturbed)


def test_a_wish_is_met_once(runs_dir, tiny):
    run = new(runs_dir, tiny(save_image_steps=100, checkpointing_steps=100))

    def act(event, hand):
        if isinstance(event, events.Stepped) and event.step == 3:
            hand.request("sample")
        if isinstance(event, events.Stepped) and event.step in (6, 7):
            hand.request("save")

    told = train(run, act=act)
    assert steps_of(told, events.Sampled) == [0, 3, 12] and steps_of(told, events.Saved) == [0, 6, 7, 12]


def test_a_wish_at_a_step_that_is_due_is_met_by_it(runs_dir, tiny):
    def act(event, hand):
        if isinstance(event, events.Stepped) and event.step == 4:
            hand.request("sample", "save")

    told = train(new(runs_dir, tiny()), act=act)
    assert steps_of(told, events.Sampled) == [0, 4, 8, 12] and steps_of(told, events.Saved) == [0, 4, 8, 12]


def test_pause(undisturbed, runs_dir, tiny):
    steps = []

    def act(event, hand):
        if isinstance(event, events.Stepped):
            steps.append(event.step)
            hand.request(pause=event.step == 5)

    def patience(hand):
        if hand.now["pause"]:
            assert steps[-1] == 5
            hand.request(pause=hand.waits < 3)

    run, hand = new(runs_dir, tiny()), Hand(patience)
    train(run, hand, act)
    assert hand.waits == 3 and "paused" in hand.phases
    assert outcome(run) == outcome(undisturbed)


# ---- stop in every phase ---------------------------------------------------------------------------------------------
def stopped_run(runs_dir, tiny, act, **changes):
    run = new(runs_dir, tiny(**changes))
    hand = Hand(act)
    with contextlib.suppress(Stopped):
        told = train(run, hand)
        assert told[-1] == events.Ended(told[-1].step, "stopped")
        assert run.checkpoints[-1].name == f"step-{told[-1].step:07}" and run.pipeline.is_dir()
        return run, told
    assert not run.checkpoints and run.plan is None
    return run, []


def goes_on(run, undisturbed):
    """Resume to the end: as if nothing had been."""
    train(run)
    assert outcome(run) == outcome(undisturbed)


def test_stop_while_decoding(runs_dir, tiny, undisturbed, monkeypatch):
    def slow_load(config, progress, cancelled):
        progress("decode", 1, 24)
        if cancelled():
            raise Stopped
        return data.load(config, progress, cancelled)

    monkeypatch.setattr(loop, "load", slow_load)
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop="decode" in hand.phases))
    assert told == []
    goes_on(run, undisturbed)


def test_stop_while_rehearsing(runs_dir, tiny, undisturbed, monkeypatch):
    calls = []

    def rehearse(config, objective, pictures, stopping):
        calls.append(stopping())
        if stopping():
            raise Stopped
        return dict(MEASURED)

    monkeypatch.setattr(prepare, "rehearse", rehearse)
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop="rehearsal" in hand.phases))
    assert told == [] and calls == [True]
    goes_on(run, undisturbed)


def test_stop_while_waiting_for_a_go(runs_dir, tiny, monkeypatch, undisturbed):
    monkeypatch.setattr(plan, "LONG_SECONDS", 0)
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop=hand.waits > 2))
    assert told == []
    with_go = Hand(lambda hand: hand.request(go=hand.waits > 2))
    planned = [e for e in train(run, with_go) if isinstance(e, events.Planned)]
    assert [e.long for e in planned] == [True] and with_go.waits == 3
    assert outcome(run) == outcome(undisturbed)


def test_stop_at_the_first_breath_of_the_loop(runs_dir, tiny, undisturbed):
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop=hand.breaths > 0))
    assert told[-1].step == 0 and losses(run) == []
    goes_on(run, undisturbed)


def test_stop_while_drawing_a_preview(runs_dir, tiny, undisturbed):
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop=hand.phases.count("preview") == 2))
    assert told[-1].step == 4 and steps_of(told, events.Sampled) == [0], "the preview is given up"
    goes_on(run, undisturbed)
    assert [p.read_bytes() for p in run.samples] == [p.read_bytes() for p in undisturbed.samples], (
        "and drawn when the run goes on"
    )


def test_stop_while_saving(runs_dir, tiny, undisturbed):
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(stop=hand.phases.count("saving") == 2))
    assert told[-1].step == 5 and steps_of(told, events.Saved) == [0, 4, 5]
    goes_on(run, undisturbed)


def test_stop_while_paused(runs_dir, tiny, undisturbed):
    run, told = stopped_run(runs_dir, tiny, lambda hand: hand.request(pause=hand.breaths > 10, stop=hand.waits > 2))
    assert told[-1].step > 0
    goes_on(run, undisturbed)


# ---- a loss that is not a number -------------------------------------------------------------------------------------
@pytest.fixture
def poisoned(monkeypatch):
    """Spoils the loss where ``when(step, rate_factor)`` says so (steps from 1); ``how`` is what becomes of the losses."""
    here = types.SimpleNamespace(when=lambda step, factor: False, how=lambda loss: loss * float("nan"), spoilt=0)
    step = loop._Work.step

    def spied(self):
        here.step, here.factor = self.state.step + 1, self.state.rate_factor
        yield from step(self)

    def spoiling(real):
        def spoilt(*args):
            loss = real(*args)
            if not torch.is_grad_enabled() or not here.when(here.step, here.factor):  # validation stays as it is
                return loss
            here.spoilt += 1
            assert here.spoilt < 10, "it goes back for ever"
            return here.how(loss)

        return spoilt

    monkeypatch.setattr(loop._Work, "step", spied)
    for objective_class in prepare.OBJECTIVES.values():
        monkeypatch.setattr(objective_class, "losses", spoiling(objective_class.losses))
    return here


@pytest.mark.parametrize(
    "how",
    [
        lambda loss: loss * float("nan"),
        lambda loss: loss / 0,
        lambda loss: loss + (loss * 0).sqrt(),
    ],
    ids=["nan", "infinite", "gradient"],
)
def test_one_bad_step_is_gone_back_from(runs_dir, tiny, poisoned, undisturbed, how):
    poisoned.when, poisoned.how = (lambda step, factor: step == 6 and factor == 1), how
    run = new(runs_dir, tiny())
    told = train(run)
    assert [e for e in told if isinstance(e, events.RolledBack)] == [events.RolledBack(4, 6, 0.5)]
    assert told[-1] == events.Ended(12, "finished")
    assert [r["step"] for r in rows(run, "step")] == list(range(1, 13)), "what led to the bad step is forgotten"
    assert [r["failed_step"] for r in rows(run, "rollback")] == [6]
    normal = rows(undisturbed, "step")
    assert [r["lr"] for r in rows(run, "step")] == [r["lr"] * (1 if r["step"] <= 4 else 0.5) for r in normal]
    assert losses(run)[:5] == losses(undisturbed)[:5] and losses(run)[6:] != losses(undisturbed)[6:]
    assert all(torch.isfinite(v).all() for v in weights(run.pipeline).values())


def test_bad_step_before_the_second_checkpoint(runs_dir, tiny, poisoned):
    poisoned.when = lambda step, factor: step == 1 and factor == 1
    run = new(runs_dir, tiny())
    told = train(run)
    assert [e for e in told if isinstance(e, events.RolledBack)] == [events.RolledBack(0, 1, 0.5)]
    assert [r["step"] for r in rows(run, "step")] == list(range(1, 13))


def test_second_bad_step_ends_the_run(runs_dir, tiny, poisoned):
    poisoned.when = lambda step, factor: step == 6
    run = new(runs_dir, tiny())
    with pytest.raises(Problem) as caught:
        train(run)
    problem = caught.value
    assert (problem.code, problem.field, problem.values["step"], problem.values["value"]) == (
        "diverged",
        "learning_rate",
        6,
        1e-3,
    )
    assert "learning_rate" in problem_text(problem)
    assert run.checkpoints[-1].name == "step-0000004"


@pytest.mark.parametrize("kind", ["pixels", "latents", "words", "autoencoder"])
def test_run_that_went_back_and_was_killed_ends_alike(runs_dir, tiny_of, poisoned, kind):
    poisoned.when = lambda step, factor: step == 6 and factor == 1
    whole = new(runs_dir, tiny_of(kind, output_dir="whole"))
    told = kinds(train(whole))
    back = told.index("RolledBack")
    for seen in (back - 2, back + 1, back + 3, told.index("Saved", back) + 1) if kind == "pixels" else (back + 2,):
        poisoned.spoilt = 0
        broken = new(runs_dir, tiny_of(kind, output_dir=f"broken {seen}"))
        it = loop.train(broken.config, broken, Hand())
        for _ in range(seen):
            next(it)
        it.close()
        train(broken)
        assert outcome(broken) == outcome(whole), f"killed after event {seen}"


# ---- the plan --------------------------------------------------------------------------------------------------------
def planned(config, images=950, **measured) -> dict:
    there = types.SimpleNamespace(train=range(images), held_out=range(50))
    return plan.make_plan(config, there, MEASURED | measured, "cpu")


def test_epochs(tiny):
    got = planned(
        tiny(
            max_train_steps=None,
            num_epochs=3,
            train_batch_size=16,
            save_image_steps=None,
            save_image_epochs=2,
            checkpointing_steps=None,
            save_model_epochs=3,
        )
    )
    assert (got["total_steps"], got["steps_per_epoch"]) == (180, 60)
    assert (got["save_image_every"], got["checkpoint_every"]) == (120, 180)


def test_steps_replace_epochs(tiny):
    got = planned(tiny(max_train_steps=7, num_epochs=3))
    assert (got["total_steps"], got["save_image_every"], got["checkpoint_every"]) == (7, 4, 4)


@pytest.mark.parametrize("minutes", [0.001, 0.1, 1, 5, 60])
@pytest.mark.parametrize("step_seconds", [0.001, 0.05, 3])
def test_minutes_become_steps(tiny, minutes, step_seconds, monkeypatch):
    """They count the loop with its previews, checkpoints and validations."""
    monkeypatch.setattr(plan, "FEWEST_STEPS", 1)
    config = tiny(
        max_train_steps=None,
        max_train_minutes=minutes,
        save_image_steps=50,
        checkpointing_steps=100,
        preview_inference_steps=20,
    )
    passes = config.preview_inference_steps
    got = planned(config, step_seconds=step_seconds, forward_seconds=step_seconds, preview_passes=passes)
    assert got["total_steps"] >= 1
    if got["total_steps"] > 1:
        assert got["total_seconds"] == pytest.approx(minutes * 60, abs=step_seconds * 2)
    slower = planned(config, step_seconds=step_seconds * 2, forward_seconds=step_seconds, preview_passes=passes)
    assert slower["total_steps"] < got["total_steps"] or got["total_steps"] == 1


def test_batch_larger_than_the_set_is_reduced_and_said(runs_dir, tiny):
    run = new(runs_dir, tiny(train_batch_size=64, max_train_steps=2, lr_warmup_steps=0))
    told = train(run)
    notice = next(e for e in told if isinstance(e, events.Notice))
    assert notice == events.Notice("batch_reduced", {"value": 64, "pictures": 18}) and t(
        "notice.batch_reduced", **notice.values
    )
    assert run.plan["batch_size"] == 18 and {e.images for e in told if isinstance(e, events.Stepped)} == {18}


@pytest.mark.parametrize(
    "changes",
    [
        dict(mixed_precision="fp16"),
        dict(push_to_hub=True),
        dict(num_train_timesteps=300),
        dict(lr_warmup_steps=500),
    ],
)
def test_what_is_done_otherwise_is_said(runs_dir, tiny, changes):
    run = new(runs_dir, tiny(max_train_steps=1, **changes))
    told = train(run)
    notices = [e for e in told if isinstance(e, events.Notice)]
    assert notices and all(t(f"notice.{e.code}", **e.values) for e in notices)
    assert told[-1] == events.Ended(1, "finished")


def test_plan_is_kept(runs_dir, tiny, monkeypatch):
    run = new(runs_dir, tiny())
    train(run, act=lambda event, hand: hand.request(stop=getattr(event, "step", 0) >= 5))
    kept = run.plan
    monkeypatch.setitem(MEASURED, "precision", "bf16")
    train(run)
    assert run.plan == kept and kept["precision"] == "no"


# ---- pictures on the way ---------------------------------------------------------------------------------------------
def test_previews_start_from_the_same_noise(runs_dir, tiny):
    run = new(runs_dir, tiny(learning_rate=1e-12, weight_decay=0.0))
    train(run)
    pictures = [np.asarray(Image.open(path)) for path in run.samples]
    assert len(pictures) == 4 and all(np.array_equal(p, pictures[0]) for p in pictures)
    assert pictures[0].shape == (8, 18, 3)


def test_previews_grow(undisturbed):
    pictures = [path.read_bytes() for path in undisturbed.samples]
    assert len(set(pictures)) == len(pictures) == 4


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmpp_2m"])
def test_preview_does_not_depend_on_the_batch(runs_dir, tiny, name):
    grids = []
    for size in (1, 3, 16):
        run = new(
            runs_dir,
            tiny(
                output_dir=f"by{size}",
                preview_sampler=name,
                eval_batch_size=size,
                preview_images=4,
                max_train_steps=1,
                learning_rate=1e-12,
                prediction_type="sample",
            ),
        )
        train(run)
        grids.append(np.asarray(Image.open(run.samples[0])).astype(int))
    assert np.abs(grids[0] - grids[1]).max() <= 1 and np.abs(grids[0] - grids[2]).max() <= 1


# ---- loss on fixed noise ---------------------------------------------------------------------------------------------
def evaluator_of(config, pictures) -> evaluate.FixedNoiseEvaluator:
    loss = functools.partial(denoising_loss, config, alphas_cumprod=DDPMScheduler().alphas_cumprod)
    return evaluate.FixedNoiseEvaluator(config, pictures, pictures, Nothing(), loss, torch.device("cpu"))


def test_validation_by_hand(undisturbed, tiny):
    """Recomputed from the first checkpoint's weights, which are those of the seed."""
    config = undisturbed.config
    pictures, unet = data.load(config), build_unet(config).eval()
    evaluator = evaluator_of(config, pictures)
    first = rows(undisturbed, "validation")[0]
    measured = evaluator.measure(unet, 0)
    assert first["step"] == 0 and measured == evaluator.measure(unet, 0)
    assert first["train_loss"] == pytest.approx(measured.train_loss, rel=1e-4)
    assert first["held_out_loss"] == pytest.approx(measured.held_out_loss, rel=1e-4)
    assert first["bands"] == pytest.approx(list(measured.bands), rel=1e-4) and len(measured.bands) == evaluate.BANDS
    assert measured.train_loss == pytest.approx(sum(measured.bands) / len(measured.bands), rel=1e-5)


def test_validation_uses_pictures_of_its_kind(tiny, monkeypatch):
    config = tiny()
    pictures = data.load(config)
    asked, real = [], pictures.tensors

    def watched(indices, flips=None):
        asked.append((set(map(int, indices)), flips))
        return real(indices, flips)

    monkeypatch.setattr(pictures, "tensors", watched)
    evaluator_of(config, pictures).measure(build_unet(config), 0)
    (train_set, no_flips), (held_out, none) = asked
    assert (
        train_set <= set(pictures.train.tolist())
        and held_out <= set(pictures.held_out.tolist())
        and not train_set & held_out
    )
    assert no_flips is None and none is None


# ---- checkpoints -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("limit", "kept"), [(1, [12]), (2, [9, 12]), (None, [0, 3, 6, 9, 12])])
def test_checkpoints_are_pruned_to_the_limit(runs_dir, tiny, limit, kept):
    run = new(runs_dir, tiny(checkpointing_steps=3, checkpoints_total_limit=limit))
    train(run)
    assert [int(p.name.split("-")[1]) for p in run.checkpoints] == kept


def test_old_checkpoint_stays_until_the_new_one_is_whole(runs_dir, tiny, monkeypatch):
    run, seen, fill = new(runs_dir, tiny(checkpoints_total_limit=1)), [], state.TrainState._fill

    def watched(self, folder):
        fill(self, folder)
        seen.append([p.name for p in run.checkpoints])

    monkeypatch.setattr(state.TrainState, "_fill", watched)
    train(run)
    assert seen == [[], ["step-0000000"], ["step-0000004"], ["step-0000008"]]


@pytest.mark.parametrize("room", [20_000, 100_000])
def test_disk_full_while_saving(runs_dir, tiny, undisturbed, room):
    """No file may grow beyond ``room`` bytes: the weights (82 kB) or the optimiser's state (190 kB) can't be written."""
    run = new(runs_dir, tiny())
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(event, hand):
        if isinstance(event, events.Stepped) and event.step == 8:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))

    try:
        with pytest.raises(Problem) as caught:
            train(run, act=fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "save_failed" and problem_text(caught.value)
    assert [p.name for p in run.checkpoints] == ["step-0000000", "step-0000004"]
    assert not list(run.path.rglob("*.part")), "what was begun is cleaned up, so that there is room again"
    assert loaded.load_model(run.path).shape == (3, 8, 8)
    goes_on(run, undisturbed)
