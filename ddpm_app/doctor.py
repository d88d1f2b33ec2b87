"""What is installed, what the machine offers and what doesn't fit together, each with the command that mends it.

Only the standard library is imported at the top, and every library is tried in a process of its own, so that this works
where the rest of the app can't start. ``report`` is what the page and ``python -m ddpm_app doctor`` show.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import NamedTuple

from ddpm_app.i18n import t

REQUIREMENTS = pathlib.Path(__file__).resolve().parent.parent / "requirements.txt"
PYTHON = (3, 11)
TIMEOUT = 120
"""Seconds after which a library that is still being imported counts as broken."""
GB = 1e9
OFFLINE_FLAGS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")

TRIALS = (
    {
        "torch": "import torch; value = torch.__version__",
        "torchvision": "import torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5); value = torchvision.__version__",
        "device": "value = ', '.join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())) "
        "or ('mps' if torch.backends.mps.is_available() else 'cpu')",
        "threads": "value = torch.get_num_threads()",
        "accelerate": "import accelerate; value = accelerate.__version__",
        "diffusers": "import diffusers; diffusers.UNet2DModel, diffusers.DDPMPipeline; value = diffusers.__version__",
        "transformers": "import transformers; transformers.CLIPTextModel; value = transformers.__version__",
    },
    {
        "numpy": "import numpy; value = numpy.__version__",
        "matplotlib": "import io, matplotlib.figure; matplotlib.figure.Figure().savefig(io.BytesIO()); value = matplotlib.__version__",
        "pillow": "import PIL.Image; value = PIL.__version__",
        "datasets": "import datasets; value = datasets.__version__",
        "gradio": "import gradio; value = gradio.__version__",
    },
)
"""What is tried, each row in one process: a name and code that leaves its version or value in ``value``."""

CHILD = """
import json, sys, traceback
space = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        exec(code, space)
        print(json.dumps([name, str(space["value"]), None]), flush=True)
    except BaseException:
        print(json.dumps([name, "", traceback.format_exc()]), flush=True)
"""

SIGNATURES = (
    (
        "torch_pair",
        r"torchvision::nms|load custom C\+\+ ops|torchvision[\s\S]*undefined symbol|undefined symbol[\s\S]*torchvision",
    ),
    (
        "numpy_abi",
        r"compiled using NumPy 1|_ARRAY_API not found|numpy\.dtype size changed|numpy\.core\.\S+ failed to import",
    ),
)
"""Mismatches that are recognised by what they print; the words are ``doctor.<code>`` and ``doctor.<code>_mend``."""


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` is a command or a sentence where something is not ``ok``, else empty."""

    name: str
    value: str
    ok: bool = True
    remedy: str = ""


class Outcome(NamedTuple):
    """Of one trial: its value, and the traceback where it failed."""

    value: str = ""
    trouble: str | None = None


def report(runs_dir: str | os.PathLike = "runs", lang: str = "en") -> list[Finding]:
    """Everything, broken or not, in a few seconds. Never raises for a library that is missing or broken."""
    outcomes, noise = _try_all()
    is_new = sys.version_info >= PYTHON
    remedy = "" if is_new else t("doctor.python_mend", lang, least=".".join(map(str, PYTHON)))
    return [
        Finding("python", platform.python_version(), is_new, remedy),
        *_libraries(outcomes, lang),
        *_mismatches(outcomes, noise, lang),
        *_machine(outcomes, runs_dir, lang),
        *_places(lang),
    ]


# ---- libraries ----------------------------------------------------------------------------------------------------------
def _try_all() -> tuple[dict[str, Outcome], str]:
    """The outcome of each name of TRIALS, and all that was printed on stderr."""
    pipe, options = subprocess.PIPE, {"text": True, "errors": "replace"}
    children = []
    for row in TRIALS:
        command = [sys.executable, "-c", CHILD, json.dumps(row)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, **options)
        children.append((child, row))
    outcomes, noise = {}, ""
    for child, row in children:
        try:
            out, err = child.communicate(timeout=TIMEOUT)
            end = f"exit code {child.returncode}"
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            end = f"nothing after {TIMEOUT} s"
        for line in out.splitlines():
            with contextlib.suppress(ValueError):  # a library's own chatter
                name, value, trouble = json.loads(line)
                outcomes[name] = Outcome(value, trouble)
        missing = [name for name in row if name not in outcomes]
        if missing:  # the process died in this one; the others were not reached
            outcomes[missing[0]] = Outcome("", err.strip() or end)
        noise += err
    return outcomes, noise


def _requirements() -> dict[str, str]:
    """Name -> specifier of each requirement: of requirements.txt, or, where the package is installed without it, of its metadata."""
    if REQUIREMENTS.is_file():
        lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    else:
        lines = _requires("ddpm-studio")
    matches = (re.match(r"([A-Za-z0-9_.-]+)\s*([^#;]*)", line) for line in lines if not line.startswith("#"))
    return {match.group(1).lower().replace("_", "-"): match.group(2).strip() for match in matches if match}


def _requires(name: str) -> list[str]:
    with contextlib.suppress(Exception):  # damaged metadata counts as none
        return metadata.requires(name) or []
    return []


def _fits(version: str, specifier: str) -> bool:
    with contextlib.suppress(ImportError):
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(specifier).contains(version, prereleases=True)
    return True  # without `packaging` only what is missing or broken is found


def _version(name: str) -> str | None:
    with contextlib.suppress(Exception):  # damaged metadata counts as missing
        return metadata.version(name)
    return None


def _libraries(outcomes: dict[str, Outcome], lang: str) -> list[Finding]:
    findings = []
    for name, specifier in _requirements().items():
        version, outcome = _version(name), outcomes.get(name, Outcome())
        value = outcome.value or version or ""
        if outcome.trouble:
            findings.append(_broken(name, version, outcome.trouble, lang))
        elif not value:
            findings.append(_missing(name, lang))
        elif version and not _fits(version, specifier):
            text = t("doctor.out_of_range", lang, version=value, wanted=specifier)
            findings.append(Finding(name, text, False, f'python -m pip install "{name}{specifier}"'))
        else:
            findings.append(Finding(name, value))
    return findings


def _missing(name: str, lang: str) -> Finding:
    specifier = _requirements().get(name, "")
    what = "-r requirements.txt" if REQUIREMENTS.is_file() else f'"{name}{specifier}"'
    return Finding(name, t("doctor.missing", lang), False, f"python -m pip install {what}")


def _broken(name: str, version: str | None, trouble: str, lang: str) -> Finding:
    code = next((code for code, pattern in SIGNATURES if re.search(pattern, trouble)), None)
    if code:
        return Finding(name, t(f"doctor.{code}", lang), False, t(f"doctor.{code}_mend", lang))
    reason = trouble.strip().splitlines()[-1]
    absent = re.search(r"No module named '([\w.]+)'", reason)
    if version is None and absent:
        return _missing(name, lang)
    package = absent.group(1).split(".")[0] if absent else name
    command = f"python -m pip install --force-reinstall {package}"
    return Finding(name, t("doctor.broken", lang, reason=reason), False, command)


def _mismatches(outcomes: dict[str, Outcome], noise: str, lang: str) -> list[Finding]:
    """Pairs that don't belong together though each may still import."""
    findings, pair, remedy = [], "torch, torchvision", t("doctor.torch_pair_mend", lang)
    versions = {name: (_version(name) or "", outcomes.get(name, Outcome()).value) for name in ("torch", "torchvision")}
    builds = {name: next((v.partition("+")[2] for v in both if "+" in v), "") for name, both in versions.items()}
    if all(builds.values()) and builds["torch"] != builds["torchvision"]:
        findings.append(Finding(pair, t("doctor.builds", lang, **builds), False, remedy))
    specifier = _torch_of_torchvision()
    torch = versions["torch"][0].partition("+")[0]
    if torch and specifier and not _fits(torch, specifier):
        text = t("doctor.pair_versions", lang, torch=torch, wanted=specifier)
        findings.append(Finding(pair, text, False, remedy))
    imported = not any(outcome.trouble for outcome in outcomes.values())
    if imported and re.search(dict(SIGNATURES)["numpy_abi"], noise):
        findings.append(Finding("numpy", t("doctor.numpy_abi", lang), False, t("doctor.numpy_abi_mend", lang)))
    return findings


def _torch_of_torchvision() -> str:
    """The torch versions that the installed torchvision was built for, such as "==2.15.0"."""
    matches = (re.match(r"torch\b\s*\(?([^);]*)", line) for line in _requires("torchvision"))
    return next((match.group(1).strip() for match in matches if match), "")


# ---- the machine --------------------------------------------------------------------------------------------------------
def _machine(outcomes: dict[str, Outcome], runs_dir: str | os.PathLike, lang: str) -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device, threads = (outcomes.get(name, Outcome()).value or "-" for name in ("device", "threads"))
    findings = [
        Finding(t("doctor.device", lang), device),
        Finding(t("doctor.threads", lang), t("doctor.threads_value", lang, threads=threads, cores=cores)),
    ]
    with contextlib.suppress(Exception):
        import psutil

        memory = psutil.virtual_memory()
        findings.append(Finding(t("doctor.memory", lang), _share(memory.available, memory.total, lang)))
    path = pathlib.Path(runs_dir).absolute()
    path = next(p for p in (path, *path.parents) if p.exists())
    disk = shutil.disk_usage(path)
    is_full = disk.free < GB
    remedy = t("doctor.disk_mend", lang, path=path) if is_full else ""
    return [*findings, Finding(t("doctor.disk", lang), _share(disk.free, disk.total, lang), not is_full, remedy)]


def _share(free: float, total: float, lang: str) -> str:
    return t("doctor.free", lang, free=f"{free / GB:.1f}", total=f"{total / GB:.1f}")


def _places(lang: str) -> list[Finding]:
    """Caches and the Hub. Nothing of it is needed for training on the built-in pictures."""
    findings = []
    with contextlib.suppress(Exception):
        from ddpm_app.data.cache import cache_folder, caches

        megabytes = sum(size for _, size, _ in caches()) / 1e6
        findings.append(Finding(t("doctor.cache", lang), f"{cache_folder()} ({megabytes:.1f} MB)"))
    with contextlib.suppress(Exception):
        from huggingface_hub import constants, get_token

        login = t("doctor.yes" if get_token() else "doctor.no_login", lang)
        findings.append(Finding(t("doctor.hub_cache", lang), constants.HF_HOME))
        findings.append(Finding(t("doctor.hub_login", lang), login))
    flags = [f"{name}={os.environ[name]}" for name in OFFLINE_FLAGS if os.environ.get(name)]
    return [*findings, Finding(t("doctor.offline", lang), " ".join(flags) or t("doctor.no", lang))]


def main(argv: list[str]) -> int:
    """``doctor [--runs_dir DIR]``: print the report; 1 when something is broken, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m ddpm_app doctor", description=t("cli.help_doctor"), allow_abbrev=False
    )
    parser.add_argument("--runs_dir", default="runs")
    args, unknown = parser.parse_known_args([a for a in argv if a != "doctor"])
    if unknown:
        print(t("cli.unknown", option=unknown[0]), file=sys.stderr)
        return 2
    findings = report(args.runs_dir)
    width = max(len(f.name) for f in findings)
    for f in findings:
        print(f"{'ok ' if f.ok else '!! '} {f.name:{width}}  {f.value}")
        if not f.ok:
            print(f"{'':{width + 4}}  {t('doctor.mend', remedy=f.remedy)}")
    broken = sum(not f.ok for f in findings)
    print(t("doctor.bad", count=broken) if broken else t("doctor.good"))
    return 1 if broken else 0
