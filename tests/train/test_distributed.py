"""Two processes on one machine, started as torchrun does. Only the main one writes; both end with the same weights."""

import json
import os
import subprocess
import sys

import pytest
import torch
from kits import ROOT
from kits import models as parts_kit
from kits.engine import distance, losses, objective, outcome, rows, weights

from ddpm_app import diffusion
from ddpm_app.config import from_dict
from ddpm_app.data import image_dataset as data
from ddpm_app.model.unet import build_unet, use_plain_attention
from ddpm_app.runs import registry
from ddpm_app.train import batches

SCRIPT = """
import json, os, pathlib, sys
import torch
from kits.engine import Hand, train
from ddpm_app.runs.run import Run
from ddpm_app.train import events, loop

folder, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])

def act(event, hand):  # only the main process is asked to stop, and only it tells of steps to come
    told.append(type(event).__name__)
    hand.request(stop=rank == 0 and isinstance(event, events.Stepped) and event.step == stop)

report = {}
for name, stop in (("whole", None), ("broken", 3), ("broken", None), ("words", None)):
    told, run = [], Run(folder / name)
    real = loop._Work.finish
    def finish(self):
        report[name] = float(sum(p.detach().double().abs().sum() for p in self.state.module.parameters()))
        yield from real(self)
    loop._Work.finish = finish
    train(run, Hand(), act)
    loop._Work.finish = real
    report[f"{name} until {stop}"] = told
(folder / f"rank{rank}.json").write_text(json.dumps(report))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory, tiny, tiny_of):
    """The folder with the runs "whole" (undisturbed), "broken" (stopped after 3 steps and resumed) and "words" (in latents that both
    want encoded at once), and each process's report."""
    folder = tmp_path_factory.mktemp("two")
    config = tiny(max_train_steps=6, train_batch_size=3, checkpointing_steps=4)
    data.load(config)
    for name in ("whole", "broken"):
        registry.create(folder, from_dict(config.to_dict() | {"output_dir": name}))
    parts_kit.vae(seed=9).save_pretrained(folder / "vae")
    registry.create(folder, tiny_of("words", vae=str(folder / "vae"), max_train_steps=4, train_batch_size=3))
    (folder / "script.py").write_text(SCRIPT)
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(folder / "script.py"), str(folder)], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f"rank{k}.json").read_text()) for k in range(2)]


def test_only_the_main_process_writes_and_tells(two):
    folder, (main, other) = two
    run = registry.find(folder, "whole")
    assert [r["step"] for r in rows(run, "step")] == [1, 2, 3, 4, 5, 6]
    assert [p.name for p in run.checkpoints] == ["step-0000004", "step-0000006"] and run.plan["processes"] == 2
    kinds = {"Planned", "Notice", "Started", "Validated", "Sampled", "Saved", "Stepped", "Ended"}
    assert set(main["whole until None"]) == kinds
    assert set(other["whole until None"]) == {"Started", "Stepped"}


def test_both_end_with_the_same_weights(two):
    _, (main, other) = two
    assert main["whole"] == other["whole"] and main["broken"] == other["broken"]


def test_latents_and_words(two):
    """Each process takes its own pictures' latents and texts; the gradient is shared."""
    folder, (main, other) = two
    run = registry.find(folder, "words")
    assert main["words"] == other["words"] and other["words until None"].count("Stepped") == 4
    it = objective(run.config)
    ranks = [batches.Batches(it.config, it.pictures, it.device, rank, 2, it.training_tensors) for rank in range(2)]
    with torch.no_grad():
        both = torch.cat([it.losses(it.module, it.batch(b, 0, 0, b.indices(0)[0])) for b in ranks])
    assert losses(run)[0] == pytest.approx(float(both.mean()), rel=1e-4)
    assert [r["step"] for r in rows(run, "step")] == [1, 2, 3, 4] and run.pipeline.is_dir()


def test_stop_reaches_both_and_resume_is_the_same_run(two):
    folder, (main, other) = two
    assert main["broken until 3"].count("Stepped") == other["broken until 3"].count("Stepped") == 3
    whole, broken = registry.find(folder, "whole"), registry.find(folder, "broken")
    assert losses(whole) == losses(broken) and outcome(whole) == outcome(broken)


def test_gradient_is_that_of_both_batches_together(two):
    """The same six steps in one process: each over the pictures of both, with the noise each of them draws."""
    folder, _ = two
    run = registry.find(folder, "whole")
    config, pictures = run.config, data.load(run.config)
    unet = build_unet(config)
    use_plain_attention(unet)
    start = {k: v.clone() for k, v in unet.state_dict().items()}
    adamw = torch.optim.AdamW(unet.parameters(), betas=(0.9, config.adam_beta2), weight_decay=config.weight_decay)
    ranks = [batches.Batches(config, pictures, torch.device("cpu"), rank, 2) for rank in range(2)]
    abar = diffusion.scheduler(config).alphas_cumprod
    for step, row in enumerate(rows(run, "step")):
        parts = [
            torch.cat(tensors) for tensors in zip(*(b.load(step, 0, b.indices(step)[0]) for b in ranks), strict=True)
        ]
        x0, eps, t = parts
        loss = torch.nn.functional.mse_loss(unet(diffusion.add_noise(x0, eps, abar[t]), t).sample, eps)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), config.max_grad_norm)
        adamw.param_groups[0]["lr"] = row["lr"]
        adamw.step()
        adamw.zero_grad()
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4) and row["grad_norm"] == pytest.approx(
            norm.item(), rel=1e-3
        )
    moved = distance(start, dict(unet.state_dict()))
    assert distance(dict(unet.state_dict()), weights(run.checkpoints[-1])) < moved / 200
