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

from ddpm_app.i18n import t

REQUIREMENTS = pathlib.Path(__file__).resolve().parent.parent / "requirements.txt"
PYTHON = (3, 11)
TIMEOUT = 120
"""Seconds after which a library that is still being imported counts as broken."""
GB = 1e9
OFFLINE_FLAGS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")

TRIALS = (
    {
        "torch": "import torch; told = torch.__version__",
        "torchvision": "import torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5); told = torchvision.__version__",
        "device": "told = ', '.join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())) "
        "or ('mps' if torch.backends.mps.is_available() else 'cpu')",
        "threads": "told = torch.get_num_threads()",
        "accelerate": "import accelerate; told = accelerate.__version__",
        "diffusers": "import diffusers; diffusers.UNet2DModel, diffusers.DDPMPipeline; told = diffusers.__version__",
        "transformers": "import transformers; transformers.CLIPTextModel; told = transformers.__version__",
    },
    {
        "numpy": "import numpy; told = numpy.__version__",
        "matplotlib": "import io, matplotlib.figure; matplotlib.figure.Figure().savefig(io.BytesIO()); told = matplotlib.__version__",
        "pillow": "import PIL.Image; told = PIL.__version__",
        "datasets": "import datasets; told = datasets.__version__",
        "gradio": "import gradio; told = gradio.__version__",
    },
)
"""What is tried, each row in one process: a name and code that leaves what it found in ``told``."""

CHILD = """
import json, sys, traceback
space = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        exec(code, space)
        print(json.dumps([name, str(space["told"]), None]), flush=True)
    except BaseException:
        print(json.dumps([name, "", traceback.format_exc()]), flush=True)
"""

KNOWN = (
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


def report(runs_dir: str | os.PathLike = "runs", lang: str = "en") -> list[Finding]:
    """Everything, broken or not, in a few seconds. Never raises for a library that is missing or broken."""
    tried, noise = _try_all()
    python = Finding("python", platform.python_version(), sys.version_info >= PYTHON)
    if not python.ok:
        python = Finding(
            python.name, python.value, False, t("doctor.python_mend", lang, least=".".join(map(str, PYTHON)))
        )
    return [
        python,
        *_libraries(tried, lang),
        *_mismatches(tried, noise, lang),
        *_machine(tried, runs_dir, lang),
        *_places(lang),
    ]


# ---- libraries ----------------------------------------------------------------------------------------------------------
def _try_all() -> tuple[dict, str]:
    """For each name of TRIALS (what was found, the traceback or None); and all that was printed on stderr."""
    pipes = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "errors": "replace",
    }
    children = [(subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(row)], **pipes), row) for row in TRIALS]
    tried, noise = {}, ""
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
                name, told, trouble = json.loads(line)
                tried[name] = (told, trouble)
        missing = [name for name in row if name not in tried]
        if missing:  # the process died in this one; the others were not reached
            tried[missing[0]] = ("", err.strip() or end)
        noise += err
    return tried, noise


def _requirements() -> dict:
    """Name -> specifier of each line of requirements.txt."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines() if REQUIREMENTS.is_file() else []
    found = (re.match(r"([A-Za-z0-9_.-]+)\s*([^#;]*)", line) for line in lines if not line.startswith("#"))
    return {m.group(1).lower().replace("_", "-"): m.group(2).strip() for m in found if m}


def _fits(version: str, wanted: str) -> bool:
    with contextlib.suppress(ImportError):
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(wanted).contains(version, prereleases=True)
    return True  # without `packaging` only what is missing or broken is found


def _version(name: str) -> str | None:
    with contextlib.suppress(Exception):  # damaged metadata counts as missing
        return metadata.version(name)
    return None


def _libraries(tried: dict, lang: str) -> list[Finding]:
    found = []
    for name, wanted in _requirements().items():
        version, (told, trouble) = _version(name), tried.get(name, ("", None))
        value = told or version or ""
        if trouble:
            found.append(_broken(name, version, trouble, lang))
        elif not value:
            found.append(Finding(name, t("doctor.missing", lang), False, "python -m pip install -r requirements.txt"))
        elif version and not _fits(version, wanted):
            told = t("doctor.out_of_range", lang, version=value, wanted=wanted)
            found.append(Finding(name, told, False, f'python -m pip install "{name}{wanted}"'))
        else:
            found.append(Finding(name, value))
    return found


def _broken(name: str, version: str | None, trouble: str, lang: str) -> Finding:
    known = next((code for code, pattern in KNOWN if re.search(pattern, trouble)), None)
    if known:
        return Finding(name, t(f"doctor.{known}", lang), False, t(f"doctor.{known}_mend", lang))
    reason = trouble.strip().splitlines()[-1]
    absent = re.search(r"No module named '([\w.]+)'", reason)
    if version is None and absent:
        return Finding(name, t("doctor.missing", lang), False, "python -m pip install -r requirements.txt")
    again = absent.group(1).split(".")[0] if absent else name
    return Finding(
        name, t("doctor.broken", lang, reason=reason), False, f"python -m pip install --force-reinstall {again}"
    )


def _mismatches(tried: dict, noise: str, lang: str) -> list[Finding]:
    """Pairs that don't belong together though each may still import."""
    found, pair, mend = [], "torch, torchvision", t("doctor.torch_pair_mend", lang)
    versions = {name: (_version(name) or "", *tried.get(name, ("", None))[:1]) for name in ("torch", "torchvision")}
    builds = {name: next((v.partition("+")[2] for v in told if "+" in v), "") for name, told in versions.items()}
    if all(builds.values()) and builds["torch"] != builds["torchvision"]:
        found.append(Finding(pair, t("doctor.builds", lang, **builds), False, mend))
    wanted = _wanted_torch()
    torch = versions["torch"][0].partition("+")[0]
    if torch and wanted and not _fits(torch, wanted):
        found.append(Finding(pair, t("doctor.pair_versions", lang, torch=torch, wanted=wanted), False, mend))
    imported = not any(trouble for _, trouble in tried.values())
    if imported and re.search(dict(KNOWN)["numpy_abi"], noise):
        found.append(Finding("numpy", t("doctor.numpy_abi", lang), False, t("doctor.numpy_abi_mend", lang)))
    return found


def _wanted_torch() -> str:
    """The torch versions that the installed torchvision was built for, such as "==2.15.0"."""
    with contextlib.suppress(Exception):
        for line in metadata.requires("torchvision") or []:
            if match := re.match(r"torch\b\s*\(?([^);]*)", line):
                return match.group(1).strip()
    return ""


# ---- the machine --------------------------------------------------------------------------------------------------------
def _machine(tried: dict, runs_dir: str | os.PathLike, lang: str) -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device, threads = (tried.get(name, ("",))[0] or "-" for name in ("device", "threads"))
    found = [
        Finding(t("doctor.device", lang), device),
        Finding(t("doctor.threads", lang), t("doctor.threads_value", lang, threads=threads, cores=cores)),
    ]
    with contextlib.suppress(Exception):
        import psutil

        memory = psutil.virtual_memory()
        found.append(Finding(t("doctor.memory", lang), _share(memory.available, memory.total, lang)))
    place = pathlib.Path(runs_dir).absolute()
    place = next(p for p in (place, *place.parents) if p.exists())
    disk = shutil.disk_usage(place)
    value = _share(disk.free, disk.total, lang)
    if disk.free < GB:
        return [*found, Finding(t("doctor.disk", lang), value, False, t("doctor.disk_mend", lang, path=place))]
    return [*found, Finding(t("doctor.disk", lang), value)]


def _share(free: float, total: float, lang: str) -> str:
    return t("doctor.free", lang, free=f"{free / GB:.1f}", total=f"{total / GB:.1f}")


def _places(lang: str) -> list[Finding]:
    """Caches and the Hub. Nothing here is needed for training on the built-in pictures."""
    found = []
    with contextlib.suppress(Exception):
        from ddpm_app.data.cache import cache_folder, caches

        found.append(
            Finding(t("doctor.cache", lang), f"{cache_folder()} ({sum(size for _, size, _ in caches()) / 1e6:.1f} MB)")
        )
    with contextlib.suppress(Exception):
        from huggingface_hub import constants, get_token

        found.append(Finding(t("doctor.hub_cache", lang), constants.HF_HOME))
        found.append(Finding(t("doctor.hub_login", lang), t("doctor.yes" if get_token() else "doctor.no_login", lang)))
    flags = [f"{name}={os.environ[name]}" for name in OFFLINE_FLAGS if os.environ.get(name)]
    return [*found, Finding(t("doctor.offline", lang), " ".join(flags) or t("doctor.no", lang))]


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
