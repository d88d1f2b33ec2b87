"""Make the models that ship with the app: train a preset and keep its pipeline in half precision.

`python assets/make/models.py NAME [--steps N]` writes assets/models/NAME/ as plain diffusers folders of float16 safetensors. All learn
from the training split of the built-in specimens only (`pictures-vae`, for pictures of any kind, comes from autoencoder.py). `butterflies-words` stands on `butterflies-vae` and on `butterflies-clip`
(assets/make/clip.py), so it comes last.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

from ddpm_app.runs import registry
from ddpm_app.status import RunControl

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

RECIPES = {
    "butterflies-64": dict(preset="butterflies-64", max_train_steps=800),
    "butterflies-vae": dict(
        preset="autoencoder-128",
        init_from=None,
        learning_rate=1e-3,
        kl_weight=1e-3,
        lr_warmup_steps=30,
        max_train_steps=2800,
    ),
    "butterflies-words": dict(preset="words-128", max_train_steps=3000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()

    import safetensors.torch

    from ddpm_app import jobs, presets
    from ddpm_app.train.events import Sampled

    recipe = RECIPES[args.name] | ({"max_train_steps": args.steps} if args.steps else {})
    with tempfile.TemporaryDirectory() as folder:
        run = registry.create(pathlib.Path(folder), presets.build(**recipe))
        for event in jobs.work(run, RunControl(run)):
            if isinstance(event, Sampled):
                print(f"step {event.step} of {recipe['max_train_steps']}", flush=True)
        for file in run.pipeline.rglob("*.safetensors"):
            halves = {name: weight.half() for name, weight in safetensors.torch.load_file(file).items()}
            safetensors.torch.save_file(halves, file, metadata={"format": "pt"})
        for file in run.pipeline.rglob("*.json"):  # diffusers writes down the folder it was loaded from
            values = json.loads(file.read_text())
            if isinstance(values, dict) and values.pop("_name_or_path", None):
                file.write_text(json.dumps(values, indent=2) + "\n")
        target = ROOT / "assets" / "models" / args.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(run.pipeline, target)


if __name__ == "__main__":
    main()
