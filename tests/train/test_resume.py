import contextlib
import multiprocessing
import os
import pathlib
import shlex
import shutil
import signal

import pytest
import torch
from kits import models as parts_kit
from kits import pictures as data_kit
from kits.engine import MEASURED, Hand, losses, new, outcome, rows, train, weights
from kits.models import KINDS
from kits.problems import problem_of
from PIL import Image

from ddpm_app import cli, jobs
from ddpm_app.data import open_source
from ddpm_app.errors import Problem
from ddpm_app.model import codec, conditioning, loaded
from ddpm_app.runs import registry
from ddpm_app.runs.metrics import MetricsWriter
from ddpm_app.runs.run import Run
from ddpm_app.status import RunControl
from ddpm_app.train import events, loop, prepare

pytestmark = pytest.mark.usefixtures("no_rehearsal")


def stop_at(run, step):
    """Train until ``step`` steps are done, then stop as a person does."""

    def act(event, hand):
        if isinstance(event, events.Stepped) and event.step == step:
            hand.request(stop=True)

    assert train(run, act=act)[-1] == events.Ended(step, "stopped")


def leave_at(run, step):
    """Train until ``step`` steps are done, and leave the run as kill -9 would: nothing is saved."""
    it = loop.train(run.config, run, Hand())
    while not (isinstance(event := next(it), events.Stepped) and event.step == step):
        pass
    it.close()


# ---- the same run ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", [4, 11])
def test_stopped_and_resumed(undisturbed, runs_dir, tiny, step):
    run = new(runs_dir, tiny())
    stop_at(run, step)
    assert run.checkpoints[-1].name == f"step-{step:07}"
    train(run)
    assert outcome(run) == outcome(undisturbed)


def test_stopped_at_every_step(undisturbed, runs_dir, tiny):
    run = new(runs_dir, tiny())
    for step in range(1, 12):
        stop_at(run, step)
    train(run)
    assert outcome(run) == outcome(undisturbed)


@pytest.mark.parametrize("step", [1, 10])
def test_left_and_resumed(undisturbed, runs_dir, tiny, step):
    run = new(runs_dir, tiny())
    leave_at(run, step)
    told = train(run)
    assert next(e for e in told if isinstance(e, events.Started)).step == step // 4 * 4
    assert outcome(run) == outcome(undisturbed)


@pytest.mark.parametrize(
    "changes",
    [
        dict(dropout=0.3),
        dict(optimizer="muon"),
        dict(gradient_accumulation_steps=2, train_batch_size=2, use_ema=False),
        dict(random_flip=False, loss_weighting="min_snr", prediction_type="v_prediction", preview_sampler="ddpm"),
    ],
    ids=repr,
)
def test_of_other_settings_too(runs_dir, tiny, changes):
    whole, broken = (
        new(runs_dir, tiny(output_dir="whole", **changes)),
        new(runs_dir, tiny(output_dir="broken", **changes)),
    )
    train(whole)
    leave_at(broken, 7)
    torch.manual_seed(5)
    stop_at(broken, 9)
    train(broken)
    assert outcome(broken) == outcome(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind(trained, runs_dir, tiny_of, kind):
    """Latents, labels, words, an autoencoder, a tuned model: left, stopped and resumed."""
    run = new(runs_dir, tiny_of(kind))
    leave_at(run, 7)
    torch.manual_seed(5)
    stop_at(run, 9)
    train(run)
    assert outcome(run) == outcome(trained(kind))
    assert [p.read_bytes() for p in run.samples] == [p.read_bytes() for p in trained(kind).samples]


def test_in_bf16(runs_dir, tiny, monkeypatch):
    monkeypatch.setitem(MEASURED, "precision", "bf16")
    whole, broken = new(runs_dir, tiny(output_dir="whole")), new(runs_dir, tiny(output_dir="broken"))
    train(whole)
    leave_at(broken, 7)
    train(broken)
    assert outcome(broken) == outcome(whole)


# ---- kill -9 ---------------------------------------------------------------------------------------------------------
def doomed(path: str, where: str, cache: str) -> None:
    """Runs in a process of its own, which kills itself at the point ``where``: nothing of Python ends orderly."""
    os.environ["DDPM_CACHE"] = cache
    prepare.rehearse = lambda *args, **options: dict(MEASURED)
    open_source._run = data_kit.prepare_here

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    run = Run(pathlib.Path(path))
    step = int(where.rpartition(" ")[2]) if where[-1].isdigit() else -1
    if where.startswith("half a checkpoint"):
        save = torch.save
        torch.save = lambda value, *args: die() if value["step"] == step else save(value, *args)
    elif where.startswith("half of the"):  # the latents or the texts
        write, coder = (codec.Vae, "encode") if "latents" in where else (conditioning.Text, "embed")
        code, calls = getattr(write, coder), []
        setattr(write, coder, lambda self, batch: die() if calls else calls.append(1) or code(self, batch))
        conditioning.BATCH = 2
    elif where == "between the old pipeline and the new":
        replace, old = os.replace, run.path / ".pipeline.old"
        os.replace = lambda one, other: (
            die() if str(other).endswith("/pipeline") and old.exists() else replace(one, other)
        )
    elif where == "half a line of metrics":
        add = MetricsWriter.add

        def torn(self, step, **values):
            if step == 7:
                self._file.write(b'{"step": 7, "kind": "st')
                die()
            add(self, step, **values)

        MetricsWriter.add = torn
    for event in jobs.work(run, RunControl(run)):
        if where == "planned" and isinstance(event, events.Planned):
            die()
        if where.startswith("step") and isinstance(event, events.Stepped) and event.step == step:
            die()


@pytest.fixture(scope="module")
def stage():
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kits.engine", "ddpm_app.train.loop", "ddpm_app.data.image_dataset", "datasets"])
    return context


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("planned", None),
        ("step 1", 0),
        ("step 7", 4),
        ("half a checkpoint 4", 0),
        ("half a checkpoint 12", 8),
        ("between the old pipeline and the new", 4),
        ("half a line of metrics", 4),
    ],
)
def test_killed_and_resumed(undisturbed, runs_dir, tiny, stage, where, step):
    killed_and_resumed(new(runs_dir, tiny()), undisturbed, stage, where, step)
    assert loaded.load_model(runs_dir / "tiny").shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("kind", "where", "step"),
    [
        ("latents", "half of the latents", None),
        ("latents", "step 7", 4),
        ("words", "half of the texts", None),
        ("words", "half a checkpoint 8", 4),
        ("autoencoder", "step 7", 4),
    ],
)
def test_killed_and_resumed_of_every_kind(trained, runs_dir, tiny_of, stage, monkeypatch, tmp_path, kind, where, step):
    """With a cache of their own: what was encoded or embedded before is not there."""
    whole = trained(kind)
    monkeypatch.setenv("DDPM_CACHE", str(tmp_path / "cache"))
    killed_and_resumed(new(runs_dir, tiny_of(kind)), whole, stage, where, step)


def killed_and_resumed(run, whole, stage, where, step):
    process = stage.Process(target=doomed, args=(str(run.path), where, os.environ["DDPM_CACHE"]))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert run.status["state"] == "interrupted" and not run.active, "its process is gone"
    if step is not None:
        assert run.checkpoints[-1].name == f"step-{step:07}"
        assert torch.load(run.checkpoints[-1] / "training.pt", weights_only=True)["step"] == step
    jobs.prepare_resume(run.path.parent, run.name)
    for _ in jobs.work(run, RunControl(run)):
        pass
    assert run.status["state"] == "finished"
    assert outcome(run) == outcome(whole)


# ---- metrics and pictures after the resume point ---------------------------------------------------------------------
def test_rows_past_the_resume_point_are_pruned(runs_dir, tiny):
    run = new(runs_dir, tiny())
    leave_at(run, 7)
    before, offset, generation = run.read_metrics()
    assert [r["step"] for r in before if r["kind"] == "step"] == list(range(1, 8))
    hand = Hand()
    it = loop.train(run.config, run, hand)
    while not isinstance(next(it), events.Started):
        pass
    kept, _, newer = run.read_metrics(offset, generation)
    assert newer != generation and [r["step"] for r in kept if r["kind"] == "step"] == [1, 2, 3, 4]
    it.close()


def test_nothing_to_prune_keeps_the_generation(runs_dir, tiny):
    run = new(runs_dir, tiny())
    stop_at(run, 7)
    _, offset, generation = run.read_metrics()
    train(run)
    later, _, same = run.read_metrics(offset, generation)
    assert same == generation and [r["step"] for r in later if r["kind"] == "step"] == [8, 9, 10, 11, 12]


def test_pictures_past_the_resume_point_are_made_again(runs_dir, tiny, undisturbed):
    run = new(runs_dir, tiny(checkpointing_steps=6))
    leave_at(run, 5)
    run.save_sample(3, b"of another try")
    leave_at(run, 1)
    assert [p.name for p in run.samples] == ["step-0000000.png"]
    train(run)
    assert [p.read_bytes() for p in run.samples] == [p.read_bytes() for p in undisturbed.samples]


# ---- odd folders -----------------------------------------------------------------------------------------------------
def test_no_checkpoint_starts_at_the_beginning(runs_dir, tiny, undisturbed):
    run = new(runs_dir, tiny())
    told = train(run)
    assert next(e for e in told if isinstance(e, events.Started)).step == 0
    run = new(runs_dir, tiny(output_dir="killed early"))
    run.update_status(state="training", pid=2**22, born=0.0)
    assert jobs.prepare_resume(runs_dir, "killed early").status["state"] == "preparing"
    train(run)
    assert outcome(run) == outcome(undisturbed)


def test_damaged_status(runs_dir, tiny, undisturbed):
    run = new(runs_dir, tiny())
    leave_at(run, 5)
    for damage in (b"", b"{", b"\x00" * 40, b"[]", b"null"):
        (run.path / "status.json").write_bytes(damage)
        assert run.status["state"] == "interrupted" and run.status["step"] == 0
    jobs.prepare_resume(runs_dir, run.name)
    train(run)
    assert outcome(run) == outcome(undisturbed)


@pytest.mark.parametrize("damage", [b"", b'{"generation": 3}\n{"step": 1, "kind": "st', b"[]\n"])
def test_damaged_metrics(runs_dir, tiny, undisturbed, damage):
    run = new(runs_dir, tiny())
    leave_at(run, 5)
    run.metrics_path.write_bytes(damage)
    train(run)
    assert [r["step"] for r in rows(run, "step")] == list(range(5, 13))
    assert {k: v for k, v in outcome(run).items() if k != "metrics"} == {
        k: v for k, v in outcome(undisturbed).items() if k != "metrics"
    }


def test_rest_of_a_half_checkpoint_is_no_checkpoint(runs_dir, tiny, undisturbed):
    run = new(runs_dir, tiny())
    leave_at(run, 7)
    half = run.path / "checkpoints" / ".step-0000008.part"
    (half / "unet").mkdir(parents=True)
    (half / "training.pt").write_bytes(b"half")
    train(run)
    assert outcome(run) == outcome(undisturbed) and not half.exists()


def test_other_pictures_are_refused(runs_dir, tiny, drawn, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for picture in drawn.iterdir():
        (folder / picture.name).write_bytes(picture.read_bytes())
    run = new(runs_dir, tiny(dataset_name=str(folder)))
    leave_at(run, 2)
    Image.new("RGB", (8, 8), "red").save(folder / "07.png")
    problem = problem_of("data_changed", train, run)
    assert problem.field == "dataset_name"
    (folder / "07.png").write_bytes((drawn / "07.png").read_bytes())
    assert train(run)[-1] == events.Ended(12, "finished")


# ---- pictures in another place ----------------------------------------------------------------------------------------
@pytest.fixture
def halfway(runs_dir, tiny, drawn, tmp_path):
    """A run stopped halfway on a folder of its own, which may be moved and changed."""
    shutil.copytree(drawn, tmp_path / "pictures")
    run = new(runs_dir, tiny(dataset_name=str(tmp_path / "pictures")))
    stop_at(run, 6)
    run.update_status(state="stopped", step=6)
    return run


def go_on(run, **changes):
    jobs.prepare_resume(run.path.parent, run.name, **changes)
    with contextlib.suppress(Problem):
        for _ in jobs.work(run, RunControl(run)):
            pass
    return run.status


def test_moved_pictures_are_taken_when_they_are_the_same(halfway, undisturbed, tmp_path):
    (tmp_path / "pictures").rename(tmp_path / "moved")
    problem = problem_of("pictures_moved", jobs.prepare_resume, halfway.path.parent, "tiny")
    assert problem.field == "dataset_name" and "resume tiny --dataset_name" in problem.values["command"]
    assert halfway.status["state"] == "stopped"
    assert go_on(halfway, dataset_name=str(tmp_path / "moved"))["state"] == "finished"
    assert halfway.config.dataset_name == str(tmp_path / "moved") == halfway.record["data"]["name"]
    assert outcome(halfway) == outcome(undisturbed)


def test_other_pictures_in_the_new_place_change_nothing(halfway, undisturbed, tmp_path):
    shutil.copytree(tmp_path / "pictures", tmp_path / "more")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "more" / "24.png")
    before = halfway.record
    status = go_on(halfway, dataset_name=str(tmp_path / "more"))
    assert status["state"] == "failed" and status["error"]["code"] == "data_changed" and halfway.record == before
    assert f"--dataset_name {tmp_path / 'more'}" in status["error"]["values"]["command"]
    assert go_on(halfway)["state"] == "finished" and outcome(halfway) == outcome(undisturbed)


def test_the_command_of_a_refusal_goes_on_from_the_weights(halfway, tmp_path, monkeypatch):
    """As it is printed, from another folder than the one that the run was started in."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "pictures" / "24.png")
    status = go_on(halfway)
    words = shlex.split(status["error"]["values"]["command"])
    monkeypatch.chdir(tmp_path / "pictures")
    assert words[:3] == ["python", "-m", "ddpm_app"] and cli.main([*words[3:], "--max_train_steps", "1"]) == 0
    new = registry.find(halfway.path.parent, "tiny-2")
    assert new.plan["images"] + new.plan["held_out"] == 25
    first, last = weights(new.checkpoints[0]), weights(halfway.pipeline)
    assert all(torch.equal(first[name], last[name]) for name in last)


def test_other_parts_are_refused(runs_dir, tiny_of, parts, tmp_path):
    """Going on in the latents of another autoencoder, or with other texts, would be another run."""
    for name in ("vae", "words"):
        shutil.copytree(parts / name, tmp_path / name)
    run = new(runs_dir, tiny_of("words", vae=str(tmp_path / "vae"), text_encoder=str(tmp_path / "words")))
    leave_at(run, 5)
    for field, name, other in (
        ("vae", "vae", parts_kit.vae(seed=1)),
        ("text_encoder", "words/text_encoder", parts_kit.text(seed=1)[1]),
    ):
        kept = tmp_path / "kept"
        shutil.copytree(tmp_path / name, kept)
        other.save_pretrained(tmp_path / name)
        assert problem_of("part_changed", train, run).field == field
        shutil.rmtree(tmp_path / name)
        kept.rename(tmp_path / name)
    assert train(run)[-1] == events.Ended(12, "finished")


def test_a_run_goes_on_with_its_own_copy_of_an_autoencoder_that_is_gone(trained, runs_dir, tiny_of, parts, tmp_path):
    shutil.copytree(parts / "vae", tmp_path / "vae")
    run = new(runs_dir, tiny_of("latents", vae=str(tmp_path / "vae")))
    stop_at(run, 4)
    shutil.rmtree(tmp_path / "vae")
    train(run)
    assert outcome(run) == outcome(trained("latents"))


@pytest.mark.parametrize(("kind", "column"), [("labels", "kind"), ("words", "caption"), ("labels", None)])
def test_other_labels_or_captions_are_refused(trained, runs_dir, tiny_of, told, tmp_path, kind, column):
    folder = tmp_path / "mine"
    shutil.copytree(told, folder)
    run = new(runs_dir, tiny_of(kind, dataset_name=str(folder)))
    leave_at(run, 5)
    listed = (folder / "metadata.jsonl").read_text()
    spoilt = (
        listed.replace("green", "grey")
        if column is None
        else listed.replace(f'"{column}": "red', f'"{column}": "blue', 1)
    )
    assert spoilt != listed
    (folder / "metadata.jsonl").write_text(spoilt)
    assert problem_of("part_changed", train, run).field == "dataset_name"
    (folder / "metadata.jsonl").write_text(listed)
    train(run)
    assert outcome(run) == outcome(trained(kind))


def test_another_model_to_go_on_from_is_refused(runs_dir, tiny_of, parts, tmp_path):
    shutil.copytree(parts / "stable-diffusion", tmp_path / "model")
    run = new(runs_dir, tiny_of("tuned-words", init_from=str(tmp_path / "model")))
    leave_at(run, 1)
    parts_kit.vae(seed=1).save_pretrained(tmp_path / "model" / "vae")
    assert problem_of("part_changed", train, run).field == "init_from"


# ---- finished runs ---------------------------------------------------------------------------------------------------
@pytest.fixture
def finished(undisturbed, runs_dir):
    """A copy of the finished run that may be changed."""
    shutil.copytree(undisturbed.path, runs_dir / "tiny")
    return registry.find(runs_dir, "tiny")


def test_finished_is_said(finished, runs_dir):
    assert problem_of("run_finished", jobs.prepare_resume, runs_dir, "tiny").values["step"] == 12
    assert finished.status["state"] == "finished"


@pytest.mark.parametrize("longer", [dict(max_train_steps=20), dict(num_epochs=4)])
def test_trained_longer(finished, runs_dir, longer, undisturbed):
    run = jobs.prepare_resume(runs_dir, "tiny", **longer)
    assert run.plan["total_steps"] == 20 and {k: getattr(run.config, k) for k in longer} == longer
    told = train(run)
    assert [e.step for e in told if isinstance(e, events.Stepped)] == list(range(13, 21)) and told[-1] == events.Ended(
        20, "finished"
    )
    assert losses(run)[:12] == losses(undisturbed) and [r["step"] for r in rows(run, "step")] == list(range(1, 21))
    assert len({r["step"] for r in rows(run, "validation")}) == len(rows(run, "validation"))
    problem_of(
        "run_finished" if run.update_status(state="finished", step=20) is None else "",
        jobs.prepare_resume,
        runs_dir,
        "tiny",
    )


def test_trained_minutes_longer(finished, runs_dir):
    run = jobs.prepare_resume(runs_dir, "tiny", max_train_minutes=0.01)
    assert 13 <= run.plan["total_steps"] < 100


@pytest.mark.parametrize("longer", [dict(max_train_steps=12), dict(max_train_steps=3), dict(num_epochs=1)])
def test_not_longer_is_refused(finished, runs_dir, longer):
    problem = problem_of("already_longer", jobs.prepare_resume, runs_dir, "tiny", **longer)
    assert problem.values["done"] == 12
    assert (
        finished.status["state"] == "finished"
        and finished.plan["total_steps"] == 12
        and finished.config.max_train_steps == 12
    )


def test_longer_by_a_bad_value(finished, runs_dir):
    with pytest.raises(Problem) as caught:
        jobs.prepare_resume(runs_dir, "tiny", max_train_steps="E-4")
    assert caught.value.field == "max_train_steps" and finished.plan["total_steps"] == 12


def test_stopped_run_can_be_made_longer(runs_dir, tiny):
    run = new(runs_dir, tiny())
    stop_at(run, 5)
    run.update_status(state="stopped")
    jobs.prepare_resume(runs_dir, "tiny", max_train_steps=16)
    told = train(run)
    assert [e.step for e in told if isinstance(e, events.Stepped)] == list(range(6, 17))


def test_run_that_never_had_a_plan_can_be_made_longer(runs_dir, tiny):
    run = new(runs_dir, tiny())
    run.update_status(state="stopped")
    jobs.prepare_resume(runs_dir, "tiny", max_train_steps=3)
    assert train(run)[-1] == events.Ended(3, "finished")


def test_missing_and_busy(runs_dir, tiny):
    problem_of("run_missing", jobs.prepare_resume, runs_dir, "nonsense")
    new(runs_dir, tiny())
    problem_of("run_busy", jobs.prepare_resume, runs_dir, "tiny")
