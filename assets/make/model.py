"""Make the model that ships with the app: train a preset and keep its pipeline in half precision.

`python assets/make/model.py [--steps N]` writes assets/models/<preset>/, a plain diffusers pipeline of float16 safetensors.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

PRESET = "butterflies-64"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    steps = parser.parse_args().steps

    import torch
    from diffusers import DDPMPipeline

    from ddpm_app import jobs, presets, runs
    from ddpm_app.train.events import Sampled

    with tempfile.TemporaryDirectory() as folder:
        run = runs.create(pathlib.Path(folder), presets.build(PRESET, max_train_steps=steps))
        for event in jobs.work(run, jobs.RunControl(run)):
            if isinstance(event, Sampled):
                print(f"step {event.step} of {steps}", flush=True)
        pipeline = DDPMPipeline.from_pretrained(run.pipeline).to(dtype=torch.float16)
        target = ROOT / "assets" / "models" / PRESET
        shutil.rmtree(target, ignore_errors=True)
        pipeline.save_pretrained(target)
        for file in target.rglob("*.json"):  # diffusers writes down the folder it was loaded from
            values = json.loads(file.read_text())
            values.pop("_name_or_path", None)
            file.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
