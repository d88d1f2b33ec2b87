"""The doctor on healthy and on broken installations. Broken ones are fake modules that come first on PYTHONPATH."""

import subprocess
import sys

import pytest

from ddpm_app import doctor

NMS = "raise RuntimeError('operator torchvision::nms does not exist')"
ABI = "raise ImportError('numpy.core.multiarray failed to import')"


@pytest.fixture
def healthy(monkeypatch):
    """A machine on which every trial succeeds, without importing anything."""
    outcomes = {name: doctor.Outcome(doctor._version(name) or "2") for row in doctor.TRIALS for name in row}
    monkeypatch.setattr(doctor, "_try_all", lambda: (outcomes, ""))
    return outcomes


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Makes modules of that source, tries them alone, and returns the findings that are not ok by name."""

    def findings(**sources: str) -> dict[str, doctor.Finding]:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        trials = {name: f"import {name}; value = getattr({name}, '__version__', '?')" for name in sources}
        monkeypatch.setattr(doctor, "TRIALS", (trials,))
        return {f.name: f for f in doctor.report(tmp_path) if not f.ok}

    return findings


def test_a_healthy_machine(healthy, tmp_path):
    found = {f.name: f for f in doctor.report(tmp_path / "runs")}
    assert all(f.ok and f.value and not f.remedy for f in found.values())
    assert {"python", "torch", "gradio", "device", "threads", "memory", "disk", "decoded pictures", "Hub login"} <= set(
        found
    )


def test_trials_name_what_the_app_requires():
    assert set().union(*doctor.TRIALS) - {"device", "threads"} <= set(doctor._requirements())
    assert doctor._requirements()["gradio"] == ">=6.31,<7"


def test_torchvision_of_another_build(broken):
    found = broken(torch="__version__ = '2.15.0'", torchvision=NMS)
    assert "pip uninstall -y torch torchvision" in found["torchvision"].remedy
    assert "torch" not in found


def test_numpy_abi(broken):
    found = broken(numpy="__version__ = '2.0'", matplotlib=ABI)
    assert "--force-reinstall numpy matplotlib" in found["matplotlib"].remedy


def test_numpy_abi_that_is_only_a_warning(broken):
    found = broken(
        matplotlib="import sys; print('A module that was compiled using NumPy 1.x cannot be run', file=sys.stderr)"
    )
    assert "--force-reinstall numpy matplotlib" in found["numpy"].remedy


def test_a_library_that_lacks_another(broken):
    assert broken(datasets="import no_such_library")["datasets"].remedy.endswith("--force-reinstall no_such_library")


def test_a_library_that_raises_prints_or_ends_the_process(broken):
    found = broken(
        numpy="print('[1, 2]'); print('hello'); raise ValueError('odd')",
        datasets="import sys; sys.exit(3)",
        pillow="import os; os._exit(9)",
        gradio="__version__ = '6.31'",
    )
    assert "odd" in found["numpy"].value and found["numpy"].remedy.endswith("numpy")
    assert "SystemExit: 3" in found["datasets"].value
    assert "exit code 9" in found["pillow"].value
    assert "gradio" not in found  # not reached; its metadata is there


def test_a_library_that_hangs(broken, monkeypatch):
    monkeypatch.setattr(doctor, "TIMEOUT", 0.5)
    assert "0.5 s" in broken(numpy="import threading; threading.Event().wait()")["numpy"].value


def versions(monkeypatch, **given):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: given[name] if name in given else real(name))


def bad(tmp_path) -> dict[str, doctor.Finding]:
    return {f.name: f for f in doctor.report(tmp_path) if not f.ok}


def test_builds_that_differ(healthy, monkeypatch, tmp_path):
    versions(monkeypatch, torch="2.15.0+cpu", torchvision="0.29.2+cu132")
    finding = bad(tmp_path)["torch, torchvision"]
    assert "cpu" in finding.value and "cu132" in finding.value and "pip uninstall" in finding.remedy


def test_torchvision_for_another_torch(healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy", "torch==2.11.0", "torchmetrics>9"])
    versions(monkeypatch, torch="2.12.0")
    assert "2.11.0" in bad(tmp_path)["torch, torchvision"].value
    versions(monkeypatch, torch="2.11.0+cpu")
    assert not bad(tmp_path)


def test_a_missing_library(healthy, monkeypatch, tmp_path):
    healthy["gradio"] = doctor.Outcome("", "ModuleNotFoundError: No module named 'gradio'")
    versions(monkeypatch, gradio=None, safetensors=None)
    found = bad(tmp_path)
    assert found["gradio"].value == found["safetensors"].value == "not installed"
    assert found["gradio"].remedy == "python -m pip install -r requirements.txt"


def test_an_installed_package_knows_its_requirements(healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "REQUIREMENTS", tmp_path / "none")
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["gradio<7,>=6.31"])
    versions(monkeypatch, gradio=None)
    healthy["gradio"] = doctor.Outcome()
    assert doctor._requirements()["gradio"] == "<7,>=6.31"
    assert bad(tmp_path)["gradio"].remedy == 'python -m pip install "gradio<7,>=6.31"'


def test_a_version_out_of_range(healthy, monkeypatch, tmp_path):
    healthy["gradio"] = doctor.Outcome("5.0")
    versions(monkeypatch, gradio="5.0")
    assert bad(tmp_path)["gradio"].remedy == 'python -m pip install "gradio>=6.31,<7"'


def test_python_too_old(healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10))
    assert "3.11" in bad(tmp_path)["python"].remedy


def test_a_full_disk(healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5e8, "total": 1e12}))
    assert "0.5 GB" in bad(tmp_path)["disk"].value


def test_exit_status_and_remedies(healthy, monkeypatch, tmp_path, capsys):
    assert doctor.main(["doctor", "--runs_dir", str(tmp_path)]) == 0
    assert doctor.main(["--nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    healthy["torch"] = doctor.Outcome("", "ImportError: libcudart.so")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "libcudart.so" in out and "mend: python -m pip install --force-reinstall torch" in out


def test_it_runs_where_nothing_else_does(tmp_path):
    """The whole report with every library of the app broken: no traceback, exit status 1."""
    for name in (
        "torch",
        "torchvision",
        "numpy",
        "pydantic",
        "psutil",
        "filelock",
        "huggingface_hub",
        "gradio",
        "datasets",
        "diffusers",
    ):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is broken')")
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    child = subprocess.run(
        [sys.executable, "-m", "ddpm_app", "doctor"], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 1 and child.stderr == ""
    assert "!!  torch " in child.stdout and "torch is broken" in child.stdout
