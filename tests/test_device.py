"""Where a run computes: what the settings say against what the machine has."""

import pytest
import torch
from kits.problems import expect_problem

from ddpm_app.config import from_dict
from ddpm_app.device import resolve_device
from ddpm_app.i18n import problem_text


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs; returns the list of those that were chosen."""

    def machine(count):
        chosen = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        return chosen

    for name in ("WORLD_SIZE", "SPACES_ZERO_GPU"):
        monkeypatch.delenv(name, raising=False)
    return machine


@pytest.mark.parametrize(
    ("device", "count", "result", "chosen"),
    [
        ("auto", 0, "cpu", []),
        ("auto", 2, "cuda", []),
        ("cpu", 2, "cpu", []),
        ("cuda", 2, "cuda", []),
        ("cuda:0", 1, "cuda", [0]),
        ("cuda:3", 4, "cuda", [3]),
    ],
)
def test_the_device_of_the_settings(machine, device, count, result, chosen):
    choices = machine(count)
    assert resolve_device(from_dict({"device": device})) == result and choices == chosen


@pytest.mark.parametrize(
    ("device", "count", "code"),
    [("cuda", 0, "no_device"), ("mps", 1, "no_device"), ("cuda:0", 0, "no_gpu"), ("cuda:2", 2, "no_gpu")],
)
def test_what_the_machine_does_not_have(machine, device, count, code):
    chosen = machine(count)
    with expect_problem(code, "device") as caught:
        resolve_device(from_dict({"device": device}))
    assert repr(device) in problem_text(caught.value) and not chosen
    assert ("CUDA_VISIBLE_DEVICES" in problem_text(caught.value)) == (code == "no_gpu")


def test_processes_of_torchrun_share_no_gpu(machine, monkeypatch):
    chosen = machine(4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with expect_problem("gpu_of_many", "device"):
        resolve_device(from_dict({"device": "cuda:1"}))
    assert not chosen


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:-1", "cuda1", "cuda:1:2", "gpu", "", "xpu", " cuda"])
def test_what_is_no_device(device):
    with expect_problem("literal_error", "device") as caught:
        from_dict({"device": device})
    assert "cuda:1" in problem_text(caught.value)


def test_zero_gpu_has_none_for_a_run(machine, monkeypatch):
    machine(1)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert resolve_device(from_dict({"device": "auto"})) == "cpu"
    with expect_problem("no_device", "device"):
        resolve_device(from_dict({"device": "cuda"}))
