"""The same verbs for the terminal: ``python -m ddpm_app``, or ``ddpm-studio`` where the package is installed. Exit status: 0 done,
1 it went wrong, 2 the input was wrong, 130 Ctrl-C, 143 SIGTERM. Results go to stdout, all else to stderr."""

import argparse
import dataclasses
import difflib
import functools
import json
import os
import pathlib
import secrets
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ddpm_app import doctor, jobs, launch, network, presets, specimens
from ddpm_app.config import FIELDS, GROUPS, ConfigValues, TrainConfig, from_dict, from_json
from ddpm_app.errors import Problem, Stopped
from ddpm_app.i18n import format_duration, problem_text, t
from ddpm_app.images import add_info, image_grid, joint_info, save_png
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.status import POLL_SECONDS
from ddpm_app.terminal import Screen, drive, follow

if TYPE_CHECKING:
    from ddpm_app.model.conditioning import Labels, Nothing, Text

AUTO = "auto"
"""A preset that is chosen by the pictures."""
LOOK_FIELDS = tuple(name for name, info in FIELDS.items() if info.group == "data" and name != "dataset_name")
RESUME_FIELDS = (*jobs.LENGTHS, "dataset_name")
"""Settings that ``resume`` takes: how long, and where the same pictures lie now."""
HUB_FIELDS = ("hub_model_id", "hub_private_repo", "hub_license")
REQUEST_OPTIONS = (
    "num_images",
    "sampler",
    "num_inference_steps",
    "eta",
    "seed",
    "batch_size",
    "prompt",
    "negative_prompt",
    "guidance_scale",
)
"""Options of ``sample`` that are fields of sample.Request."""
INPUT_CODES = {
    "usage",
    "busy",
    "run_missing",
    "runs_dir",
    "model_missing",
    "model_is_autoencoder",
    "checkpoint_missing",
    "not_json",
    "no_consent",
}
"""Problems of what was typed, beside those that name a field."""


def program() -> str:
    """The command as it was typed: the console script's name, or python -m."""
    name = pathlib.PurePath(sys.argv[0]).stem
    return name if name == "ddpm-studio" else "python -m ddpm_app"


class Parser(argparse.ArgumentParser):
    """argparse with whole option names only, and errors of one line."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise Problem("usage", reason=message)


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace()
    network.exempt_loopback()
    try:
        args = _parse(argv)
        status = args.command(args)
        sys.stdout.flush()
        return status
    except Problem as problem:
        print(_line_of(problem, args), file=sys.stderr)
        return 2 if problem.field or problem.code in INPUT_CODES else 1
    except (KeyboardInterrupt, Stopped):
        print(t("cli.interrupted"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `... runs | head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(t("cli.system", reason=error), file=sys.stderr)
        return 1


def _line_of(problem: Problem, args: argparse.Namespace) -> str:
    """A problem in one line that names fields as they were typed: with dashes, or RUN for a run's name. The setting to mend has dashes also
    where ``train`` was typed without it; in a settings file it has none."""
    options = {name: f"--{name}" for name in vars(args)}
    if getattr(args, "verb", "") == "train" and not args.config and problem.field in FIELDS:
        options[problem.field] = f"--{problem.field}"
    if hasattr(args, "run"):
        options["output_dir"] = t("cli.run")
    values = {**problem.values, "field": problem.field}
    names = {key: options.get(values[key], values[key]) for key in ("field", "other") if key in values}
    return " ".join(problem_text(Problem(problem.code, **values | names)).split())


# ---- options --------------------------------------------------------------------------------------------------------
def _parse(argv: list[str]) -> argparse.Namespace:
    parser, verbs = _parser()
    args, unknown = parser.parse_known_args(argv)
    if args.verb == "app":  # the page has its own options
        args.options = unknown
    elif unknown:
        options = [o for action in verbs[args.verb]._actions for o in action.option_strings] if args.verb else []
        close = difflib.get_close_matches(unknown[0], options, 1)
        key = "cli.unknown_meant" if close else "cli.unknown"
        raise Problem("usage", reason=t(key, option=unknown[0], close="".join(close)))
    return args


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog=program(), description=t("cli.about"))
    parser.set_defaults(command=lambda _: parser.print_help() or 0)
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", parser_class=Parser)

    def verb(name: str, command: Callable[[argparse.Namespace], int], *names: str) -> Parser:
        new = verbs.add_parser(name, help=t(f"cli.help_{name}"), description=t(f"cli.help_{name}"))
        for positional in names:
            new.add_argument(positional, metavar=positional.upper())
        new.add_argument(
            "--runs_dir", type=pathlib.Path, default=registry.DEFAULT_FOLDER, metavar="DIR", help=t("cli.help_runs_dir")
        )
        new.set_defaults(command=command)
        return new

    page = verbs.add_parser("app", help=t("cli.help_app"), add_help=False)
    page.set_defaults(command=_page)
    verb("presets", _presets)
    look = verb("look", _look, "source")
    look.add_argument("--json", action="store_true", help=t("cli.help_json"))
    _add_fields(look, LOOK_FIELDS)
    train = verb("train", _train)
    train.add_argument(
        "--preset", metavar="|".join((AUTO, *presets.PRESETS)), help=t("cli.help_preset", first=presets.FIRST)
    )
    train.add_argument("--config", type=pathlib.Path, metavar="FILE", help=t("cli.help_config"))
    train.add_argument("--yes", action="store_true", help=t("cli.help_yes"))
    _add_fields(train, tuple(FIELDS))
    resume = verb("resume", _resume, "run")
    resume.add_argument("--yes", action="store_true", help=t("cli.help_yes"))
    _add_fields(resume, RESUME_FIELDS)
    _add_fields(resume, tuple(FIELDS.keys() - {*RESUME_FIELDS}), hidden=True)
    verb("stop", _stop, "run")
    _add_sample_options(verb("sample", _sample, "source"))
    verb("runs", _runs)
    verb("doctor", _doctor)
    specimens = verb("specimens", _specimens)
    for name, kind, default in (
        ("count", int, 1024),
        ("size", int, 128),
        ("seed", int, 0),
        ("out", pathlib.Path, None),
    ):
        specimens.add_argument(
            f"--{name}", type=kind, default=default, required=default is None, help=t(f"cli.specimens_{name}")
        )
    _add_fields(verb("publish", _publish, "run"), HUB_FIELDS)
    return parser, verbs.choices


def _add_fields(parser: Parser, names: tuple[str, ...], hidden: bool = False) -> None:
    """One option per setting; its text goes to TrainConfig as it was typed, which knows best what it can be. ``hidden``: it isn't in the
    help, as one that is only taken to be refused with the remedy."""
    for group in GROUPS:
        section = parser.add_argument_group(group)
        for field in (FIELDS[name] for name in names if FIELDS[name].group == group):
            options = {"nargs": "?", "const": "true"} if field.kind == "bool" else {}
            options |= {
                "metavar": "|".join(map(str, field.choices)) or field.kind.upper(),
                "default": argparse.SUPPRESS,
            }
            help_line = argparse.SUPPRESS if hidden else t(f"field.{field.name}").replace("%", "%%")
            section.add_argument(f"--{field.name}", help=help_line, **options)


def _add_sample_options(parser: Parser) -> None:
    options = (
        ("num_images", int),
        ("sampler", str),
        ("num_inference_steps", int),
        ("eta", float),
        ("seed", int),
        ("batch_size", int),
    )
    for name, kind in options:  # the defaults are sample.Request's
        parser.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=t(f"cli.sample_{name}"))
    parser.add_argument(
        "--prompt", action="append", default=argparse.SUPPRESS, metavar="TEXT", help=t("cli.sample_prompt")
    )
    parser.add_argument(
        "--negative_prompt", default=argparse.SUPPRESS, metavar="TEXT", help=t("cli.sample_negative_prompt")
    )
    parser.add_argument("--labels", default=argparse.SUPPRESS, metavar="NAME,NUMBER", help=t("cli.sample_labels"))
    parser.add_argument("--guidance_scale", type=float, default=argparse.SUPPRESS, help=t("cli.sample_guidance_scale"))
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help=t("cli.sample_weights"))
    parser.add_argument("--device", default="auto", help=t("field.device"))
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("samples"), metavar="DIR", help=t("cli.sample_out")
    )


def _typed(args: argparse.Namespace, names: tuple[str, ...]) -> ConfigValues:
    """Those of the options ``names`` that were typed."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


# ---- training -------------------------------------------------------------------------------------------------------
def _train(args: argparse.Namespace) -> int:
    config = _config(args)
    return _launch(args, config, lambda: jobs.create(args.runs_dir, config))


def _config(args: argparse.Namespace) -> TrainConfig:
    """The settings of --config or --preset with the other options put in."""
    changes = _typed(args, tuple(FIELDS))
    if args.preset and args.config:
        raise Problem("usage", reason=t("cli.preset_and_config"))
    if args.config:
        try:
            content = args.config.read_bytes()
        except OSError as error:
            raise Problem("bad_value", "config", value=str(args.config)) from error
        return presets.changed(from_json(content).to_dict(), **changes)
    preset = args.preset or presets.FIRST
    if preset == AUTO:
        return _best_recipe(changes)
    if preset not in presets.PRESETS:
        raise Problem("literal_error", "preset", value=preset, limit=", ".join((AUTO, *presets.PRESETS)))
    return presets.build(preset, **changes)


def _best_recipe(changes: ConfigValues) -> TrainConfig:
    """The settings of the recipe that suits the pictures best, with ``changes`` put in; says what it is and why."""
    config = presets.build(presets.FIRST, **changes)
    from ddpm_app.data.open_source import originals
    from ddpm_app.train import recipes

    screen = Screen()
    source = originals(config, screen.progress)
    screen.close()
    judgement = recipes.judge(config, source)
    minutes = config.max_train_minutes if "max_train_minutes" in changes else None
    best = recipes.recipes(judgement, config.to_dict(), minutes)[0]
    for code, values in (*judgement.notices(), *best.doubts):
        print(t(f"notice.{code}", **values), file=sys.stderr)
    figures = dict(size=best.config.image_size, steps=best.steps, time=format_duration(best.minutes * 60))
    print(t("cli.auto", name=best.name, **figures), file=sys.stderr)
    return presets.changed(best.config.to_dict(), **changes)


def _resume(args: argparse.Namespace) -> int:
    run, typed = registry.find(args.runs_dir, args.run), _typed(args, tuple(FIELDS))
    if "dataset_name" in typed:
        typed["dataset_name"] = jobs.local_place(typed["dataset_name"])
    jobs.check_changes(run, typed)
    news = {name: value for name, value in typed.items() if name in RESUME_FIELDS}
    try:
        return _launch(args, run.config, lambda: jobs.prepare_resume(args.runs_dir, args.run, **news))
    except Problem as problem:
        if problem.code != "run_finished":
            raise
        print(t("cli.already_finished", name=run.name, step=run.status["step"]))
        return 0


def _launch(args: argparse.Namespace, config: TrainConfig, make: Callable[[], Run]) -> int:
    """Train the run that ``make`` gives. Under torchrun only the first process makes it and talks."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    run = None
    if rank == 0:
        with registry.claim(args.runs_dir):
            run = make()
    if processes > 1:
        from accelerate import PartialState

        from ddpm_app.device import resolve_device

        PartialState(cpu=resolve_device(config) == "cpu").wait_for_everyone()
    if run:
        return drive(run, args.yes)
    return follow(registry.find(args.runs_dir, getattr(args, "run", config.output_dir)))


def _stop(args: argparse.Namespace) -> int:
    run = registry.find(args.runs_dir, args.run)
    if not run.active:
        print(t("cli.not_active", name=run.name, state=run.status["state"]))
        return 0
    run.request(stop=True)
    print(t("cli.stopping"), file=sys.stderr)
    while run.active:
        time.sleep(POLL_SECONDS)
    print(t("cli.now", name=run.name, state=run.status["state"], step=run.status["step"]))
    return 0


# ---- data sets ------------------------------------------------------------------------------------------------------
def _look(args: argparse.Namespace) -> int:
    """What a source holds, and what becomes of it."""
    config = presets.build(presets.FIRST, dataset_name=args.source, vae=None, unet="small", **_typed(args, LOOK_FIELDS))
    from ddpm_app.data.image_dataset import load

    screen = Screen()
    pictures = load(config, screen.progress)
    screen.close()
    if args.json:
        lines = [
            {**line, "text": text.text()}
            for line, text in zip(pictures.account.to_json(), pictures.account, strict=True)
        ]
        print(
            json.dumps({**pictures.source, "pictures": len(pictures), "account": lines}, ensure_ascii=False, indent=2)
        )
    else:
        print("\n".join(line.text() for line in pictures.account))
    return 0


# ---- pictures -------------------------------------------------------------------------------------------------------
def _sample(args: argparse.Namespace) -> int:
    options = _typed(args, REQUEST_OPTIONS)
    device = from_dict({"device": args.device})
    from ddpm_app import drawing, sample
    from ddpm_app.device import resolve_device
    from ddpm_app.model.loaded import load_model

    options["prompt"] = tuple(options.get("prompt", ()))
    request = sample.Request(**{"seed": secrets.randbelow(2**32), **options})
    model = load_model(args.source, args.weights, resolve_device(device), args.runs_dir)
    request = dataclasses.replace(request, labels=_labels(args, model.conditioning))
    if "num_images" not in options:  # at least one for each text and label
        most = max(request.num_images, len(request.prompt), len(request.labels))
        request = dataclasses.replace(request, num_images=most)
    for line in drawing.text_remarks(model, [("", request)], "en"):
        print(line, file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    print(t("cli.seed", seed=request.seed), flush=True)
    screen = Screen()
    for frame, done in sample.draw(model, request):
        screen.progress("sampling", frame.step, frame.total)
        images = done
    screen.close()
    for k, image in enumerate(images):
        save_png(image, args.out / f"{k:04}.png")
    grid = image_grid(images)
    add_info(grid, joint_info(images))
    save_png(grid, args.out / "grid.png")
    print(t("cli.sampled", count=len(images), path=args.out))
    return 0


CONDITION_OPTIONS = {
    "none": (),
    "labels": ("labels", "guidance_scale"),
    "text": ("prompt", "negative_prompt", "guidance_scale"),
}
"""Options that say what to draw, by the kind of conditioning that takes them."""


def _labels(args: argparse.Namespace, conditioning: "Nothing | Labels | Text") -> tuple[int, ...]:
    """The labels that were typed, as numbers. Raises Problem: "label_unknown", "not_taken" (an option that this model doesn't take)."""
    typed = {name for names in CONDITION_OPTIONS.values() for name in names if hasattr(args, name)}
    for name in sorted(typed - {*CONDITION_OPTIONS[conditioning.kind]}):
        raise Problem("not_taken", name, value=args.source, kind=t(f"cli.asked_by_{conditioning.kind}"))
    if not hasattr(args, "labels"):
        return ()
    numbers = {name: k for k, name in enumerate(conditioning.names)}
    labels = []
    for part in [args.labels] if args.labels in numbers else args.labels.split(","):  # a name may hold a comma
        text = part.strip()
        try:
            label = int(numbers.get(text, text))
        except ValueError:
            label = len(numbers)
        if not -1 <= label < len(numbers):
            choices = ", ".join(f"{k} {name}" for name, k in numbers.items())
            raise Problem("label_unknown", "labels", value=text, known=choices)
        labels.append(label)
    return tuple(labels)


def _specimens(args: argparse.Namespace) -> int:
    screen = Screen()
    try:
        progress = functools.partial(screen.progress, "drawing")
        specimens.write(args.count, args.size, args.seed, args.out, progress)
    except ValueError as error:  # it names the option
        raise Problem("usage", reason=f"--{error}") from error
    finally:
        screen.close()
    print(t("cli.sampled", count=args.count, path=args.out))
    return 0


# ---- tables and the rest --------------------------------------------------------------------------------------------
def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _presets(args: argparse.Namespace) -> int:
    fields = {field for values in presets.PRESETS.values() for field in values}
    built = [presets.build(name).to_dict() for name in presets.PRESETS]
    rows = [[name, *(str(values[name]) for values in built)] for name in FIELDS if name in fields]
    _print_table([["", *presets.PRESETS], *rows])
    return 0


def _runs(args: argparse.Namespace) -> int:
    runs = registry.list_runs(args.runs_dir)
    if not runs:
        print(t("cli.no_runs", path=args.runs_dir))
        return 0
    rows = [[t(f"cli.column_{name}") for name in ("name", "state", "step", "loss", "size", "changed")]]
    for run in runs:
        status = run.status
        loss = "" if (value := status.get("loss")) is None else f"{value:.4f}"
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.get("heartbeat", 0)))
        step, size = f"{status['step']}/{status.get('total_steps') or '?'}", f"{run.disk_bytes() / 1e6:.0f} MB"
        rows.append([run.name, status["state"], step, loss, size, changed])
    _print_table(rows)
    return 0


def _page(args: argparse.Namespace) -> int:
    launch.main(args.options, prog=f"{program()} app")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    return doctor.main(["--runs_dir", str(args.runs_dir)])


def _publish(args: argparse.Namespace) -> int:
    from ddpm_app import hub

    run = registry.find(args.runs_dir, args.run)
    config = from_dict(run.config.to_dict() | _typed(args, HUB_FIELDS))
    if problem := hub.ready(config):
        raise problem
    run.update_record(config=config.to_dict())
    print(t("cli.published", url=hub.publish(run)))
    return 0
