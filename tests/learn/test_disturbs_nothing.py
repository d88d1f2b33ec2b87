"""A student who clicks through all stations changes nothing in a training run beside it."""

import shutil

import pytest
import torch
from kits import page as ui_kit
from kits.engine import outcome
from kits.learn import Client

from ddpm_app import jobs
from ddpm_app.device_lock import DEVICE
from ddpm_app.learn import stations
from ddpm_app.learn.sessions import LearnSessions

STEPS = 240
LEFT = dict(max_train_steps=STEPS, dropout=0.1, checkpointing_steps=STEPS, save_image_steps=STEPS)

MORE = {
    "step": {"pressed": "ten"},
    "walk": {"pressed": "measure"},
    "modes": {"values": {"dropout": 0.3}},
    "latent": {"values": {"forget": True}},
}
"""Where a station does more when it is asked to."""


@pytest.fixture
def alone(no_rehearsal, tmp_path, tiny):
    """The run when nobody looks."""
    mine = jobs.Jobs(tmp_path / "alone")
    run = mine.start(tiny(**LEFT))
    mine.join(120)
    return outcome(run)


def test_a_run_is_the_same_with_a_student_beside_it(no_rehearsal, alone, trained, runs_dir, tiny):
    _, studio = ui_kit.build(runs_dir)
    jobs.engine()
    studio.warm.set()
    known = trained("words")
    shutil.copytree(known.path, runs_dir / known.name)
    student, seen = Client(LearnSessions(studio.models, studio.warm), model=f"run:{known.name}"), []
    run = studio.jobs.start(tiny(**LEFT))
    for name in stations.ORDER:
        answers = student.ask_all(station=name, **MORE.get(name, {}))
        assert all("error" not in answer for answer in answers) and any("panels" in answer for answer in answers), (
            answers
        )
        seen.append(run.active)
    studio.jobs.join(240)
    assert run.status["state"] == "finished" and seen.count(True) > len(seen) // 2
    assert outcome(run) == alone
    assert torch.is_grad_enabled() and not DEVICE._queue
