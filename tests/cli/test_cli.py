"""The terminal: what is typed, what is printed, the exit status. Training itself is a stand-in, but for the last tests."""

import argparse
import dataclasses
import io
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import types

import pytest
from PIL import Image

from ddpm_app import cli, jobs, presets, terminal
from ddpm_app.config import FIELDS, TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.runs import registry
from ddpm_app.train import events

TINY = [
    "--preset",
    "quick-check",
    "--image_size",
    "8",
    "--block_out_channels",
    "8,8",
    "--norm_num_groups",
    "4",
    "--attention_head_dim",
    "8",
    "--train_batch_size",
    "8",
    "--threads",
    "1",
    "--mixed_precision",
    "no",
    "--preview_images",
    "2",
    "--preview_inference_steps",
    "2",
]


@pytest.fixture
def run_cli(tmp_path, capsys):
    """Runs a command line with its own runs folder; returns exit status, stdout and the lines of stderr."""

    def call(*argv: str):
        status = cli.main([*argv, "--runs_dir", str(tmp_path / "runs")])
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return call


@pytest.fixture
def work(monkeypatch):
    """Replaces training by a list of events; ``work.during(run, control)`` is called before the last one."""

    class Work:
        told = [
            events.Started(0, 4),
            *(events.Stepped(k, 4, 0.5 / k, 1e-3, 1.0, 8) for k in range(1, 5)),
            events.Ended(4, "finished"),
        ]
        run = None

        def during(self, run, control):
            pass

        def __call__(self, run, control):
            self.run = run
            for event in self.told:
                if event is self.told[-1]:
                    self.during(run, control)
                if isinstance(event, events.Planned) and event.long:
                    run.update_status(state="waiting")
                if isinstance(event, events.Ended):
                    run.update_status(state="stopped" if control.stopping() else event.state, step=event.step)
                yield event

    fake = Work()
    monkeypatch.setattr(jobs, "work", fake)
    return fake


def parsed(*argv: str) -> TrainConfig:
    return cli._config(cli._parse(["train", *argv]))


# ---- options ------------------------------------------------------------------------------------------------------------
def test_without_a_command_it_prints_help(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert all(
        verb in out
        for verb in ("presets", "train", "resume", "stop", "sample", "runs", "doctor", "specimens", "publish")
    )


def test_help_of_train_tells_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{name} " in out for name in FIELDS)


def test_presets_are_a_table(capsys):
    assert cli.main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(presets.PRESETS)
    sizes = [str(presets.build(name).image_size) for name in presets.PRESETS]
    assert next(line for line in lines if line.startswith("image_size")).split()[1:] == sizes and len(set(sizes)) > 3


def test_every_setting_can_be_typed():
    """Whatever a config holds, typing its values gives the config back."""
    config = presets.build(
        "tutorial-128",
        block_out_channels=(64, 64),
        attention_levels=(2,),
        max_train_steps=7,
        hub_private_repo=True,
        label_column="species",
        random_flip=False,
        learning_rate=3e-5,
        output_dir="my run",
    )
    typed = [
        word
        for name, value in config.to_dict().items()
        for word in (f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value))
    ]
    assert parsed(*typed) == config


def test_a_switch_without_a_value_is_on():
    assert parsed("--preset", "quick-check", "--push_to_hub", "--seed", "3").push_to_hub is True


def test_steps_replace_a_presets_minutes():
    config = parsed("--max_train_steps", "9")
    assert (config.output_dir, config.max_train_steps, config.max_train_minutes) == (presets.FIRST, 9, None)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--preset", "first-butterflies", "--image_size", "30"], "--image_size is 30, but unet has"),
        (["--image_size", "abc"], "--image_size is 'abc'"),
        (["--image_size", "4"], "--image_size is 4: it must be at least 8"),
        (["--learning_rate", "E-4"], "--learning_rate is 'E-4'"),
        (["--learning_rate", "-1"], "--learning_rate is -1"),
        (["--block_out_channels", "8,8,9", "--norm_num_groups", "4"], "--norm_num_groups = 4"),
        (["--prediction_type", "noise"], "--prediction_type is 'noise'"),
        (["--push_to_hub", "perhaps"], "--push_to_hub is 'perhaps'"),
        (["--output_dir", "../x"], "--output_dir is '../x'"),
        (["--max_train_steps", "3", "--max_train_minutes", "3"], "--max_train_steps = 3 and --max_train_minutes = 3"),
        (["--preset", "nonsense"], "--preset is 'nonsense'"),
        (["--preset", "quick-check", "--config", "x.json"], "--config"),
        (["--config", "no-such-file.json"], "--config is 'no-such-file.json'"),
        (["--imagesize", "32"], "unknown option --imagesize; did you mean --image_size?"),
        (["--image", "32"], "unknown option --image"),
        (["--zzzzzz"], "unknown option --zzzzzz"),
        (["--seed"], "--seed"),
        (["stray"], "stray"),
    ],
)
def test_bad_input_is_one_line_that_names_the_field_as_typed(run_cli, tmp_path, typed, said):
    status, out, err = run_cli("train", *typed)
    assert status == 2 and out == "" and len(err) == 1 and said in err[0]
    assert not (tmp_path / "runs").exists()


def test_unknown_command(run_cli):
    status, _, err = run_cli("trian")
    assert status == 2 and len(err) == 1 and "trian" in err[0]


def test_settings_of_a_run(tmp_path):
    run = registry.create(tmp_path / "runs", presets.build("quick-check", seed=5))
    assert parsed("--config", str(run.path / "config.json"), "--max_train_steps", "3") == presets.changed(
        run.config.to_dict(), max_train_steps=3
    )


def test_settings_from_a_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(presets.build("butterflies-64", seed=5).to_json())
    assert parsed("--config", str(file)) == presets.build("butterflies-64", seed=5)
    config = parsed("--config", str(file), "--max_train_steps", "3", "--seed", "6")
    assert (config.image_size, config.max_train_steps, config.max_train_minutes, config.seed) == (64, 3, None, 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"image_sise": 3}', "image_sise is not a setting"),
        ("[", "not a settings file"),
        ('{"version": 99}', "99"),
        ('{"image_size": 3}', "image_size is 3"),
    ],
)
def test_a_bad_settings_file_names_its_field(run_cli, tmp_path, content, said):
    (tmp_path / "config.json").write_text(content)
    status, _, err = run_cli("train", "--config", str(tmp_path / "config.json"))
    assert status == 2 and len(err) == 1 and said in err[0] and f"--{said}" not in err[0]


# ---- training -----------------------------------------------------------------------------------------------------------
def test_train_makes_the_run_before_it_works_and_says_how_it_ended(run_cli, work, tmp_path):
    def during(run, control):
        assert json.loads((run.path / "config.json").read_text())["config"]["seed"] == 4
        assert json.loads((run.path / "status.json").read_text())["state"] == "preparing"

    work.during = during
    status, out, err = run_cli("train", "--preset", "quick-check", "--seed", "4")
    assert status == 0 and "quick-check: finished at step 4" in out
    assert str(tmp_path / "runs" / "quick-check" / "pipeline") in out
    assert err[0] == "training 0/4" and err[-1] == "training 4/4, loss 0.1250"


def test_a_second_run_is_refused_while_one_is_active(run_cli, work, tmp_path):
    registry.create(tmp_path / "runs", presets.build("quick-check"))
    status, _, err = run_cli("train", "--preset", "butterflies-64")
    assert status == 2 and len(err) == 1 and "quick-check" in err[0]
    assert not (tmp_path / "runs" / "butterflies-64").exists()


def test_runs_dir_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["train", "--runs_dir", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_the_run_to_stop_and_lets_it_save(run_cli, work, number, code):
    before = signal.getsignal(number)

    def during(run, control):
        signal.raise_signal(number)
        assert control.stopping() and run.requests["stop"]

    work.during = during
    status, out, _ = run_cli("train", "--preset", "quick-check")
    assert status == code and "stopped at step 4" in out
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once(run_cli, work):
    survived = []

    def during(run, control):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # as torchrun sends after a Ctrl-C: not a second one
        survived.append("SIGTERM")
        signal.raise_signal(signal.SIGINT)
        survived.append("SIGINT")

    work.during = during
    status, out, _ = run_cli("train", "--preset", "quick-check")
    assert status == 130 and out == "" and survived == ["SIGTERM"]


def test_stopped_from_the_page(run_cli, work):
    work.during = lambda run, control: run.request(stop=True)
    status, out, _ = run_cli("train", "--preset", "quick-check")
    assert status == 0 and "`resume quick-check`" in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("boom\nand more"), 1, "RuntimeError: boom and more"),
        (Problem("no_device", "device", value="cuda"), 2, "device"),
        (Problem("not_logged_in"), 1, "logged in"),
    ],
)
def test_a_crash_is_one_line(run_cli, work, error, code, said):
    def during(run, control):
        raise error

    work.during = during
    status, _, err = run_cli("train", "--preset", "quick-check")
    assert status == code and said in err[-1]


LONG = [
    events.Planned({"total_steps": 9, "total_seconds": 187_000.0, "device": "cpu"}, True),
    events.Ended(0, "stopped"),
]


def test_a_long_run_without_a_terminal_needs_yes(run_cli, work, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    work.told = LONG
    status, out, err = run_cli("train", "--preset", "tutorial-128")
    assert status == 2 and out == "" and "52 h" in err[-1] and "--yes" in err[-1]
    assert work.run.requests["stop"] and not work.run.requests["go"]


def test_yes_starts_a_long_run(run_cli, work, monkeypatch):
    work.told = LONG
    assert run_cli("train", "--preset", "tutorial-128", "--yes")[0] == 0
    assert work.run.requests["go"] and not work.run.requests["stop"]


@pytest.mark.parametrize(("answer", "wish"), [(b"y\n", "go"), (b"\n", "stop"), (b"no\n", "stop")])
def test_a_terminal_is_asked(run_cli, work, monkeypatch, answer, wish):
    main, other = pty.openpty()
    os.write(main, answer)
    work.told = LONG
    work.during = lambda run, control: [t.join() for t in threading.enumerate() if t.name == "answer"]
    with os.fdopen(other) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        status, _, err = run_cli("train", "--preset", "tutorial-128")
    os.close(main)
    assert status == 0 and "[y/N]" in err[-1]
    assert [name for name in ("go", "stop") if work.run.requests[name]] == [wish]


def test_events_are_told_in_words(run_cli, work):
    work.told = [
        events.Notice("data_broken", {"count": 1, "names": "broken.png (unreadable)"}),
        events.RolledBack(30, 41, 0.5),
        events.Published("https://hub/me/model"),
        events.Ended(60, "finished"),
    ]
    err = " ".join(run_cli("train", "--preset", "quick-check")[2])
    assert "broken.png" in err and "step 41" in err and "https://hub/me/model" in err


def test_a_terminal_gets_bars(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    screen = terminal.Screen()
    screen.progress("decode", 0, 10)
    screen.progress("decode", 10, 10)
    screen.show(events.Started(2, 4))
    screen.progress("preview")
    screen.show(events.Notice("data_broken", {"count": 1, "names": "broken.png"}))
    screen.show(events.Stepped(4, 4, 0.25, 1e-3, 1.0, 8))
    screen.close()
    drawn = sys.stderr.getvalue()
    assert "10/10" in drawn and "4/4" in drawn and "broken.png" in drawn and "drawing previews" in drawn


# ---- resume, stop, runs -------------------------------------------------------------------------------------------------
@pytest.fixture
def finished(tmp_path):
    run = registry.create(tmp_path / "runs", presets.build("quick-check"))
    run.update_status(state="finished", step=120, total_steps=120, loss=0.03)
    return run


def test_resume_of_a_finished_run_says_so(run_cli, work, finished):
    status, out, err = run_cli("resume", "quick-check")
    assert status == 0 and "finished at step 120" in out and not err and work.run is None


def test_resume_of_a_run_without_a_checkpoint_starts(run_cli, work, finished):
    finished.update_status(state="interrupted", step=0)
    assert run_cli("resume", "quick-check")[0] == 0
    assert work.run == finished


def test_resume_longer_hands_the_length_on(run_cli, work, finished, monkeypatch):
    asked = {}
    monkeypatch.setattr(jobs, "extend", lambda run, **longer: asked.update(longer))
    assert run_cli("resume", "quick-check", "--max_train_steps", "200")[0] == 0
    assert asked == {"max_train_steps": "200"} and work.run == finished


@pytest.mark.parametrize(
    ("typed", "now"),
    [
        (["--train_batch_size", "3"], str(presets.build("quick-check").train_batch_size)),
        (["--random_flip", "false", "--max_train_steps", "500"], "True"),
        (["--block_out_channels", "32,64"], "None"),
        (["--output_dir", "elsewhere"], "quick-check"),
    ],
)
def test_resume_with_another_setting_offers_a_new_run(run_cli, work, finished, typed, now):
    """The command it prints begins that run, as it is."""
    status, out, err = run_cli("resume", "quick-check", *typed)
    assert status == 2 and len(err) == 1 and f"began with {now}" in err[0] and work.run is None
    assert cli.main(shlex.split(err[0].rpartition("python -m ddpm_app")[2])) == 0
    changes = {name.removeprefix("--"): value for name, value in zip(typed[::2], typed[1::2], strict=True)}
    name = changes.setdefault("output_dir", "quick-check-2")
    assert work.run.name == name and work.run.config == presets.changed(finished.config.to_dict(), **changes)


def test_resume_takes_the_settings_that_it_has(run_cli, work, finished):
    finished.update_status(state="stopped", step=5)
    assert run_cli("resume", "quick-check", "--train_batch_size", str(finished.config.train_batch_size))[0] == 0
    status, _, err = run_cli("resume", "quick-check", "--train_batch_size", "none")
    assert status == 2 and "--train_batch_size is 'none'" in err[0]


def test_help_of_resume_tells_what_it_takes(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["resume", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{name} " in out for name in cli.RESUME_FIELDS) and "--learning_rate" not in out


@pytest.mark.parametrize("verb", ["resume", "stop", "publish"])
def test_a_run_that_is_not_there(run_cli, finished, verb):
    status, _, err = run_cli(verb, "nobody")
    assert status == 2 and len(err) == 1 and "nobody" in err[0] and "quick-check" in err[0]


def test_stop_waits_until_the_run_has_saved(run_cli, finished, monkeypatch):
    finished.update_status(state="training", step=50)
    waits = []

    def sleep(seconds):
        waits.append(finished.requests["stop"])
        if len(waits) == 2:
            finished.update_status(state="stopped", step=51)

    monkeypatch.setattr("time.sleep", sleep)
    status, out, _ = run_cli("stop", "quick-check")
    assert status == 0 and waits == [True, True] and "stopped at step 51" in out


def test_stop_of_a_run_that_is_not_active(run_cli, finished):
    status, out, _ = run_cli("stop", "quick-check")
    assert status == 0 and "finished" in out and not finished.requests["stop"]


def test_runs_are_a_table(run_cli, finished):
    status, out, _ = run_cli("runs")
    assert status == 0 and out.splitlines()[1].split()[:4] == ["quick-check", "finished", "120/120", "0.0300"]


def test_no_runs(run_cli):
    status, out, _ = run_cli("runs")
    assert status == 0 and len(out.splitlines()) == 1


def test_a_closed_pipe_is_no_traceback():
    child = subprocess.Popen(
        [sys.executable, "-m", "ddpm_app", "presets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 1 and err == b""


# ---- pictures -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    from diffusers import DDPMPipeline, DDPMScheduler

    from ddpm_app.model.unet import build_unet

    folder = tmp_path_factory.mktemp("model") / "pipeline"
    unet = build_unet(parsed(*TINY))
    DDPMPipeline(unet, DDPMScheduler(prediction_type="sample")).save_pretrained(folder)
    return folder


def test_sample_writes_pictures_and_a_grid(run_cli, pipeline, tmp_path):
    out = tmp_path / "out"
    options = (
        "--num_images",
        "3",
        "--num_inference_steps",
        "2",
        "--batch_size",
        "2",
        "--device",
        "cpu",
        "--out",
        str(out),
    )
    status, said, _ = run_cli("sample", str(pipeline), "--seed", "5", *options)
    assert status == 0 and said.startswith("seed 5\n")
    assert sorted(p.name for p in out.iterdir()) == ["0000.png", "0001.png", "0002.png", "grid.png"]
    with Image.open(out / "0002.png") as picture, Image.open(out / "grid.png") as grid:
        assert picture.size == (8, 8)
        assert (picture.info["seed"], picture.info["sampler"], picture.info["model"]) == (
            "7",
            "dpmpp_2m",
            pipeline.parent.name,
        )
        assert grid.info["seed"].split() == ["5", "6", "7"]
    first = (out / "0001.png").read_bytes()
    run_cli("sample", str(pipeline), "--seed", "6", "--sampler", "ddim", "--eta", "0.5", *options)
    assert (out / "0000.png").read_bytes() != first
    run_cli("sample", str(pipeline), "--seed", "6", *options)
    assert (out / "0000.png").read_bytes() == first


def test_sample_takes_a_runs_name_and_a_random_seed(run_cli, finished, pipeline, tmp_path):
    (finished.path / "pipeline").symlink_to(pipeline)
    status, said, _ = run_cli(
        "sample", "quick-check", "--num_images", "1", "--num_inference_steps", "1", "--out", str(tmp_path / "out")
    )
    assert status == 0 and int(said.split()[1]) >= 0


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["nowhere"], "nowhere"),
        (["x", "--num_images", "0"], "--num_images is 0"),
        (["x", "--num_images", "two"], "--num_images"),
        (["x", "--sampler", "euler"], "--sampler is 'euler'"),
        (["x", "--eta", "2"], "--eta is 2"),
        (["x", "--weights", "fine"], "--weights"),
        (["x", "--device", "tpu"], "--device is 'tpu'"),
        ([], "SOURCE"),
    ],
)
def test_sample_with_bad_input(run_cli, typed, said):
    status, out, err = run_cli("sample", *typed)
    assert status == 2 and out == "" and len(err) == 1 and said in err[0]


@pytest.fixture
def sampled(trained, monkeypatch):
    """Samples with the tiny trained run of a kind; returns exit status, what was asked, stdout and the lines of stderr."""
    from ddpm_app import sample

    asked = []
    draw = sample.draw
    monkeypatch.setattr(sample, "draw", lambda model, request: asked.append(request) or draw(model, request))

    def call(capsys, tmp_path, kind, *options):
        run = trained(kind)
        status = cli.main(
            [
                "sample",
                run.name,
                *options,
                "--num_inference_steps",
                "1",
                "--out",
                str(tmp_path),
                "--runs_dir",
                str(run.path.parent),
            ]
        )
        out, err = capsys.readouterr()
        return (
            status,
            asked.pop() if asked else None,
            out,
            [line for line in err.splitlines() if not line.startswith("sampling")],
        )

    return call


def test_sample_asks_in_words(sampled, capsys, tmp_path):
    options = ("--prompt", "red bug", "--prompt", "blue bug", "--negative_prompt", "green", "--guidance_scale", "2.5")
    status, request, out, err = sampled(capsys, tmp_path, "words", *options)
    assert status == 0 and not [line for line in err if "tokens" in line] and len(list(tmp_path.glob("0*.png"))) == 4
    assert (request.prompt, request.negative_prompt, request.guidance_scale) == (("red bug", "blue bug"), "green", 2.5)
    _, request, _, err = sampled(capsys, tmp_path, "words", *["--prompt", "a bug with many spots"] * 6)
    assert request.num_images == 6  # each text once, where no number is given
    assert any("12 tokens" in line and "spots" in line for line in err)
    _, _, _, err = sampled(capsys, tmp_path, "words", "--prompt", "bug 7", "--negative_prompt", "bug no 8 or 7")
    assert any(line.endswith("same unknown word: 7, 8.") for line in err)


@pytest.mark.parametrize(
    ("typed", "numbers"), [("red", (2,)), ("red,0, green ,-1", (2, 0, 1, -1)), ("1", (1,)), ("-1", (-1,))]
)
def test_sample_asks_for_labels_by_name_or_number(sampled, capsys, tmp_path, typed, numbers):
    status, request, _, _ = sampled(capsys, tmp_path, "labels", "--labels", typed)
    assert status == 0 and request.labels == numbers and request.guidance_scale == 3.0


def test_a_label_may_hold_a_comma():
    conditioning = types.SimpleNamespace(kind="labels", names=("tench, Tinca tinca", "7"))
    assert cli._labels(argparse.Namespace(labels="tench, Tinca tinca"), conditioning) == (0,)
    assert cli._labels(argparse.Namespace(labels="7,0"), conditioning) == (1, 0)


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [
        (
            "labels",
            ["--labels", "red,zebra"],
            "--labels names zebra, which this model does not know: use 0 blue, 1 green, 2 red",
        ),
        ("labels", ["--labels", "3"], "--labels names 3,"),
        ("labels", ["--labels", "-2"], "--labels names -2,"),
        ("labels", ["--labels", ""], "--labels names ,"),
        ("labels", ["--prompt", "red"], "--prompt is given, but labels is asked by labels"),
        ("words", ["--labels", "red"], "--labels is given, but words is asked by words"),
        ("pixels", ["--guidance_scale", "2"], "--guidance_scale is given, but tiny is asked by nothing"),
        ("pixels", ["--negative_prompt", "x"], "--negative_prompt is given, but tiny"),
        ("words", ["--guidance_scale", "101"], "--guidance_scale is 101"),
        ("autoencoder", [], "autoencoder is an autoencoder"),
    ],
)
def test_what_a_model_does_not_take_is_one_line(sampled, capsys, tmp_path, kind, typed, said):
    status, request, out, err = sampled(capsys, tmp_path / "out", kind, *typed)
    assert status == 2 and request is None and out == "" and said in err[-1] and not (tmp_path / "out").exists()


def test_sample_takes_a_shipped_models_name(run_cli, tmp_path):
    assert (
        run_cli(
            "sample",
            "butterflies-64",
            "--num_images",
            "1",
            "--num_inference_steps",
            "1",
            "--out",
            str(tmp_path / "out"),
        )[0]
        == 0
    )
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.size == (64, 64)


def test_sample_of_a_hub_model_without_a_network(run_cli, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, _, err = run_cli("sample", "nobody/nothing-here")
    assert status == 1 and len(err) == 1 and "nobody/nothing-here" in err[0]


def folder_of_pictures(path, count=6):
    path.mkdir()
    for k in range(count):
        Image.new("RGB", (20, 20), (40 * k, 90, 200)).save(path / f"{k}.png")
    (path / "notes.md").write_text("x")
    return path


def test_look_says_what_becomes_of_everything(run_cli, tmp_path):
    folder = folder_of_pictures(tmp_path / "set")
    status, out, _ = run_cli("look", str(folder), "--image_size", "16")
    assert status == 0 and "6 pictures." in out and "notes.md" in out
    answer = json.loads(run_cli("look", f'"{folder}"', "--image_size", "16", "--json")[1])
    assert answer["pictures"] == 6 and answer["kind"] == "folder"
    lines = {line["code"]: line for line in answer["account"]}
    assert lines["others"]["names"] == ["notes.md"] and "notes.md" in lines["others"]["text"]
    assert run_cli("look", str(tmp_path / "nothing"))[0] == 2


def test_auto_takes_the_recipe_that_suits_the_pictures(run_cli, work, tmp_path, monkeypatch):
    from ddpm_app.train import recipes

    monkeypatch.setattr(recipes, "machine_speed", lambda: 1e12)
    monkeypatch.setattr(recipes, "psnr", lambda x, y: 12.0)
    folder = folder_of_pictures(tmp_path / "set")
    status, _, lines = run_cli(
        "train", "--preset", "auto", "--dataset_name", str(folder), "--max_train_minutes", "3", "--output_dir", "mine"
    )
    config, said = work.run.config, " ".join(lines)
    assert status == 0 and "12.0 dB" in said and "6 pictures are very few" in said and "recipe pixels" in said
    assert (config.dataset_name, config.output_dir, config.vae) == (str(folder), "mine", None)
    assert (config.max_train_minutes, config.image_size) == (3, 32)


def test_specimens(run_cli, tmp_path):
    assert run_cli("specimens", "--count", "2", "--size", "16", "--out", str(tmp_path / "drawn"))[0] == 0
    assert sum(p.suffix == ".png" for p in (tmp_path / "drawn").rglob("*")) == 2
    status, _, err = run_cli("specimens", "--count", "2", "--size", "5", "--out", str(tmp_path / "other"))
    assert status == 2 and len(err) == 1 and "--size" in err[0]


# ---- publish ------------------------------------------------------------------------------------------------------------
def test_publish_needs_a_repository(run_cli, finished):
    status, _, err = run_cli("publish", "quick-check")
    assert status == 2 and len(err) == 1 and "hub_model_id" in err[0]


def test_publish_takes_the_repository_that_is_typed(run_cli, finished, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    seen = []
    monkeypatch.setattr("ddpm_app.hub.publish", lambda run: seen.append(run.config) or "https://hub/me/model")
    status, out, _ = run_cli("publish", "quick-check", "--hub_model_id", "me/model", "--hub_private_repo")
    assert status == 0 and "https://hub/me/model" in out
    assert (seen[0].hub_model_id, seen[0].hub_private_repo) == ("me/model", True)


# ---- the real thing -----------------------------------------------------------------------------------------------------
def test_train_and_sample_for_real(run_cli, drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_CACHE", str(tmp_path / "cache"))
    status, out, _ = run_cli(
        "train", *TINY, "--dataset_name", str(drawn), "--max_train_steps", "3", "--output_dir", "three"
    )
    assert status == 0 and "three: finished at step 3" in out
    options = ("--num_images", "1", "--num_inference_steps", "1", "--out", str(tmp_path / "out"))
    assert run_cli("sample", "three", "--weights", "raw", *options)[0] == 0
    status, out, _ = run_cli("resume", "three", "--max_train_steps", "5")
    assert status == 0 and "three: finished at step 5" in out
    status, _, err = run_cli("resume", "three", "--max_train_steps", "2")
    assert status == 2 and "--max_train_steps" in err[-1]


def test_ctrl_c_saves_and_exits_with_130(drawn, tmp_path):
    """In a process of its own: the signal comes from outside, and the run can be resumed from what was saved."""
    command = [
        sys.executable,
        "-m",
        "ddpm_app",
        "train",
        *TINY,
        "--dataset_name",
        str(drawn),
        "--max_train_steps",
        "1000000",
        "--yes",
        "--save_image_steps",
        "1000000",
        "--checkpointing_steps",
        "1000000",
        "--runs_dir",
        str(tmp_path / "runs"),
    ]
    environment = os.environ | {"DDPM_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        for line in child.stderr:
            if line.startswith("training "):
                child.send_signal(signal.SIGINT)
                break
        out, err = child.communicate()
    run = registry.find(tmp_path / "runs", "quick-check")
    assert child.returncode == 130 and "`resume quick-check`" in out and "Traceback" not in err
    assert run.status["state"] == "stopped"
    assert run.checkpoints[-1].name == f"step-{run.status['step']:07}" and run.pipeline.is_dir()


@dataclasses.dataclass
class Barrier:
    """What accelerate's PartialState would be for two processes."""

    cpu: bool

    def wait_for_everyone(self):
        pass


def test_only_the_first_of_several_processes_makes_the_run(run_cli, work, finished, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("accelerate.PartialState", Barrier)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    followed = []
    monkeypatch.setattr(
        "ddpm_app.train.loop.train", lambda config, run, control: iter([followed.append((run, control))])
    )
    before = finished.status
    status, out, err = run_cli("train", "--preset", "quick-check")
    assert status == 0 and out == "" and not err and work.run is None
    run, control = followed[0]
    control.update_status(True, state="failed")
    assert run == finished and finished.status == before
