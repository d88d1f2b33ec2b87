import builtins
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import threading

import psutil
import pytest
from kits.fabricated_runs import at_work, make_run, write_metrics

from ddpm_app.runs import curves, monitor, registry
from ddpm_app.runs.curves import BUCKETS, Curve, MetricCurves
from ddpm_app.runs.metrics import last_row
from ddpm_app.runs.monitor import RunMonitor


class Clock:
    """A clock that moves when told, and by ``pace`` at every look."""

    def __init__(self, pace=0.0):
        self.now, self.pace = 0.0, pace

    def __call__(self):
        self.now += self.pace
        return self.now


@pytest.mark.parametrize("rows", [1, 2, 500, BUCKETS, BUCKETS + 1, 5 * BUCKETS + 3, 40_000])
def test_a_curve_is_bounded_and_loses_no_row(rows):
    curve = Curve()
    for step in range(rows):
        curve.add(step, float(step % 7))
    assert len(curve._buckets) <= BUCKETS
    assert sum(bucket[0] for bucket in curve._buckets) == rows
    steps, values = curve.means(120)
    assert len(steps) == len(values) <= 120
    assert steps == sorted(steps)
    assert curve.extremes(240)[0] == sorted(curve.extremes(240)[0])
    assert len(curve.extremes(240)[0]) <= 240


def test_means_are_those_of_the_rows():
    curve = Curve()
    for step in range(1024):
        curve.add(step, float(step))
    steps, values = curve.means(2)
    assert steps == [256, 768]
    assert values == [255.5, 767.5]


def test_a_single_spike_is_seen_among_many_rows():
    curve = Curve()
    for step in range(20_000):
        curve.add(step, 9.0 if step == 12_345 else 0.5)
    steps, values = curve.extremes(240)
    assert (12_345, 9.0) in zip(steps, values, strict=True)


def test_what_is_no_number_is_left_out():
    curve = Curve()
    for value in (None, math.nan, math.inf, 1.0):
        curve.add(3, value)
    assert curve.means(10) == ([3.0], [1.0])


def test_curves_reads_on_and_starts_anew_with_a_new_generation(runs_dir):
    run = make_run(runs_dir, steps=40)
    metric_curves = MetricCurves(run)
    metric_curves.read(Clock())
    assert sum(b[0] for b in metric_curves.raw._buckets) == 40
    writer = run.open_metrics(40)
    writer.add(41, kind="step", loss=0.5, lr=1e-3, grad_norm=0.1, seconds=2.0)
    metric_curves.read(Clock())
    assert sum(b[0] for b in metric_curves.raw._buckets) == 41
    writer.close()
    run.open_metrics(20).close()  # a resume from step 20
    metric_curves.read(Clock())
    assert sum(b[0] for b in metric_curves.raw._buckets) == 20


def test_curves_adds_up_the_time_of_all_sessions(runs_dir):
    run = make_run(runs_dir, steps=1)
    run.open_metrics(-1).close()
    writer = run.open_metrics(0)
    for step, seconds in ((1, 1.0), (2, 3.0), (3, 0.5), (4, 2.0)):  # resumed after step 2
        writer.add(step, kind="step", loss=0.5, lr=1e-3, grad_norm=0.1, seconds=seconds)
    writer.close()
    metric_curves = MetricCurves(run)
    metric_curves.read(Clock())
    assert metric_curves.seconds == 5.0


def test_bands_are_the_first_after_the_start_and_the_last(runs_dir):
    run = make_run(runs_dir, steps=240)
    metric_curves = MetricCurves(run)
    metric_curves.read(Clock())
    assert [step for step, _ in metric_curves.series()["bands"]] == [10, 240]


def test_a_long_run_is_read_in_bounded_looks(runs_dir, monkeypatch):
    monkeypatch.setattr(curves, "CHUNK_BYTES", 2000)
    run = make_run(runs_dir, steps=400)
    runs_monitor = RunMonitor(runs_dir, clock := Clock(pace=0.06))
    first = runs_monitor.snapshot()
    assert 0 < first["read"] < run.metrics_path.stat().st_size
    versions = [first["version"]]
    for _ in range(60):
        clock.now += 1
        versions.append(runs_monitor.snapshot()["version"])
    assert runs_monitor.snapshot()["read"] == run.metrics_path.stat().st_size
    assert versions[1] > versions[0] and versions[-1] == versions[-2]


def test_viewers_share_one_read(runs_dir, monkeypatch):
    make_run(runs_dir, steps=10)
    reads = []
    monkeypatch.setattr(MetricCurves, "read", lambda self, clock: reads.append(1))
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    threads = [threading.Thread(target=runs_monitor.snapshot, args=(name,)) for name in ["", "first-butterflies"] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    clock.now += 1
    runs_monitor.snapshot()
    assert len(reads) == 2


def test_the_version_changes_with_what_is_shown_and_not_with_the_heartbeat(runs_dir):
    run = make_run(runs_dir, steps=10)
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    first = runs_monitor.snapshot()["version"]
    run.update_status()
    clock.now += 1
    assert runs_monitor.snapshot()["version"] == first
    run.update_status(step=11)
    clock.now += 1
    assert runs_monitor.snapshot()["version"] != first


def test_nobody_chose_the_run_at_work_comes_first_then_the_newest(runs_dir):
    make_run(runs_dir, "old", steps=5, age=50)
    make_run(runs_dir, "new", steps=5, age=10)
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    assert runs_monitor.snapshot()["name"] == "new"
    assert runs_monitor.snapshot("old")["name"] == "old"
    at_work(registry.find(runs_dir, "old"))
    clock.now += 1
    assert runs_monitor.snapshot()["name"] == "old"
    assert runs_monitor.snapshot("gone")["name"] == "old"
    assert runs_monitor.snapshot("../old")["name"] == "old"


def test_a_new_run_under_an_old_name_shows_its_own_curve(runs_dir):
    make_run(runs_dir, "same", steps=40, age=10)
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    assert runs_monitor.series("same")["raw"][0][-1] == 40
    make_run(runs_dir, "same", steps=7)
    clock.now += 1
    assert runs_monitor.series("same")["raw"][0][-1] == 7


def test_an_empty_folder_has_no_run(tmp_path):
    runs_monitor = RunMonitor(tmp_path / "none")
    assert runs_monitor.snapshot()["name"] == "" and runs_monitor.names() == [] and runs_monitor.summaries() == []
    assert runs_monitor.series()["raw"] == ([], [])


def test_series_stay_small_however_long_the_run(runs_dir):
    run = make_run(runs_dir, steps=2)
    write_metrics(run, 30_000)
    metric_curves = MetricCurves(run)
    metric_curves.read(Clock())
    series = metric_curves.series()
    points = sum(len(series[name][0]) for name in ("raw", "smooth", "rate", "train", "held_out")) + sum(
        len(b) for _, b in series["bands"]
    )
    assert 300 < points <= 400
    assert len(json.dumps(series)) < 9_000


def test_memory_holds_the_curves_of_few_runs(runs_dir, monkeypatch):
    monkeypatch.setattr(monitor, "FOLLOWED", 2)
    for k in range(4):
        make_run(runs_dir, f"run-{k}", steps=3)
    runs_monitor = RunMonitor(runs_dir, Clock())
    for k in range(4):
        runs_monitor.snapshot(f"run-{k}")
    assert len(runs_monitor._snapshots) == len(runs_monitor._curves) == 2


def test_summaries_tell_of_every_run(runs_dir):
    run = make_run(runs_dir, "one", steps=20, previews=3)
    (summary,) = RunMonitor(runs_dir).summaries()
    assert (
        summary["name"] == "one" and summary["state"] == "finished" and summary["sample"] == 20 and not summary["saved"]
    )
    assert summary["seconds"] == pytest.approx(0.6)
    assert summary["bytes"] == run.disk_bytes()


def test_last_row_of_a_torn_file(runs_dir):
    run = make_run(runs_dir, steps=20)
    with open(run.metrics_path, "ab") as file:
        file.write(b'{"step": 21, "ki')
    assert last_row(run.metrics_path)["step"] == 20


# ---- what is not read again -------------------------------------------------------------------------------------------
@pytest.fixture
def opened(monkeypatch):
    """Names of the files opened for reading."""
    names = []

    def spy(function):
        return lambda file, *args, **options: names.append(pathlib.Path(file).name) or function(file, *args, **options)

    monkeypatch.setattr(io, "open", spy(io.open))
    monkeypatch.setattr(builtins, "open", spy(builtins.open))
    return names


def test_a_run_that_rests_is_not_read_again(runs_dir, opened, monkeypatch):
    for name in ("one", "two"):
        run = make_run(runs_dir, name, steps=10)
        os.utime(run.path / "samples", (1e9, 1e9))
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    before = runs_monitor.summaries()
    opened.clear()
    listings = []
    monkeypatch.setattr(pathlib.Path, "glob", lambda self, pattern: listings.append(pattern) or glob(self, pattern))
    clock.now += 1
    assert runs_monitor.summaries() == before
    assert not opened and listings == ["*/config.json"]


glob = pathlib.Path.glob


def test_only_the_files_that_changed_are_read_again(runs_dir, opened):
    make_run(runs_dir, "one", steps=10)
    run = make_run(runs_dir, "two", steps=10)
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    runs_monitor.summaries()
    run.update_status(loss=0.25)
    opened.clear()
    clock.now += 1
    assert runs_monitor.summaries()[0]["loss"] == 0.25
    assert opened == ["status.json"]


def test_a_picture_within_a_tick_of_the_folder_s_clock_is_seen(runs_dir):
    run = make_run(runs_dir, steps=10, previews=2)
    runs_monitor = RunMonitor(runs_dir, clock := Clock())
    assert runs_monitor.summaries()[0]["sample"] == 10
    info = (run.path / "samples").stat()
    run.save_sample(11, b"png")
    os.utime(run.path / "samples", ns=(info.st_atime_ns, info.st_mtime_ns))
    clock.now += 1
    assert runs_monitor.summaries()[0]["sample"] == 11


def test_a_process_that_dies_is_noticed_though_no_file_changes(runs_dir):
    run = make_run(runs_dir, steps=10)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        at_work(run, pid=process.pid, born=psutil.Process(process.pid).create_time())
        runs_monitor = RunMonitor(runs_dir, clock := Clock())
        assert runs_monitor.summaries()[0]["active"] and runs_monitor.snapshot()["active"]
        process.kill()
        process.wait()
    clock.now += 1
    assert runs_monitor.summaries()[0]["state"] == runs_monitor.snapshot()["state"] == "interrupted"
