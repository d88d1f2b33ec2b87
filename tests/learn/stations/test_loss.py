"""Station 6: the measured loss is the loop's, the record is drawn beside it, and the gap is told."""

import dataclasses

import pytest
from kits.learn import begin, open_run, panels, turns


def lines(shown):
    return {line["label"]: line["y"] for line in shown["loss"]["value"]["charts"][0]["lines"]}


def rows(shown):
    return [[row[0]["text"], *row[1:]] for row in shown["numbers"]["rows"]]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_the_mean_is_the_loss_that_the_run_recorded(trained, kind):
    """Its latest snapshot is that of its last step: measured here, it has the loss of the loop's last validation."""
    run = trained(kind)
    context = open_run(run.path)
    memory = {}
    shown = panels("loss", context, memory=memory)
    recorded = [row for row in run.read_metrics()[0] if row["kind"] == "validation"][-1]
    assert recorded["step"] == 12
    found = memory[16][0]
    assert float(found["train"].mean()) == pytest.approx(recorded["train_loss"], rel=1e-4)
    assert float(found["held_out"].mean()) == pytest.approx(recorded["held_out_loss"], rel=1e-4)
    assert lines(shown)["training, now"] == pytest.approx(recorded["bands"], rel=1e-3)
    now, held_out, latest, earlier = rows(shown)
    assert now[1:] == latest[1:] and latest[0].count("12") == 1 and held_out[1] == f"{recorded['held_out_loss']:.4f}"


def test_earlier_in_the_run(trained):
    context = open_run(trained("pixels").path)
    recorded = [row for row in context.run.read_metrics()[0] if row["kind"] == "validation" and row["step"]]
    for back, row in ((0.0, recorded[0]), (1.0, recorded[-1])):
        label = f"training, recorded at step {row['step']}"
        assert lines(panels("loss", context, back=back))[label] == pytest.approx(row["bands"], rel=1e-3)


def test_a_long_record_is_read_in_parts(trained, monkeypatch):
    context = open_run(trained("pixels").path)
    whole = panels("loss", context)
    monkeypatch.setattr("ddpm_app.learn.stations.loss.CHUNK", 500)
    all_turns = turns("loss", context)
    assert sum(turn is None for turn in all_turns) > 3 and {p["name"]: p for p in all_turns[-1]} == whole


def test_points_come_little_by_little_and_stay(context_of):
    context, memory = context_of("pixels"), {}
    all_turns = [turn for turn in turns("loss", context, memory=memory) if turn]
    assert len(all_turns) == 1 + 2 * (3 + 4) and [panel["name"] for panel in all_turns[0]] == [
        panel["name"] for panel in all_turns[-1]
    ]
    points = [sum(len(line["y"]) for line in turn[0]["value"]["charts"][0]["lines"]) for turn in all_turns]
    assert points == [0] * 4 + [4, 8, 8, 8 + 2] + [10] * 3 + [14, 18, 18, 18 + 2]
    again = [turn for turn in turns("loss", context, memory=memory, t=10) if turn]
    assert len(again) == 1 and again[0][0]["value"]["charts"][0]["at"] == 10


def test_measuring_goes_on_when_t_moves(context_of):
    context, memory = context_of("pixels"), {}
    first = begin("loss", context, memory=memory)
    for _ in range(6):
        next(first)
    first.close()
    all_turns = [turn for turn in turns("loss", context, memory=memory, t=10) if turn]
    assert len(all_turns) == 1 + 15 - 6 and all_turns[-1] == [turn for turn in turns("loss", context, t=10) if turn][-1]


def test_more_pictures(context_of):
    memory = {}
    shown = panels("loss", context_of("pixels"), pictures="64", memory=memory)
    assert memory[64][0]["train"].shape == (64,) and len(lines(shown)["training, now"]) == 8


def test_without_held_out_pictures(context_of):
    shown = panels("loss", context_of("pixels", validation_share=0.0))
    assert len(rows(shown)) == 1 and "validation_share" in shown["gap"]["text"] and len(lines(shown)) == 2


def test_the_gap_is_told(context_of, monkeypatch):
    context = context_of("pixels")
    shown = panels("loss", context)
    assert shown["gap"]["tone"] in ("good", "warn") and "record" in shown and "%" in shown["hides"]["text"]
    monkeypatch.setattr("ddpm_app.learn.stations.loss.WIDE_GAP", 0.0)
    assert panels("loss", context)["gap"]["tone"] == "warn"
    assert "过拟合" in panels("loss", context, lang="zh")["gap"]["text"]


def test_what_the_mean_hides(context_of):
    """The shares that the sentence names are those of the bands."""
    context = context_of("pixels")
    context.config = dataclasses.replace(context.config)
    values = lines(shown := panels("loss", context))["training, now"]
    k = values.index(max(values))
    assert f"from {125 * k} to {125 * k + 124}" in shown["hides"]["text"]
    assert f"{100 * max(values) / sum(values):.0f} % of the mean" in shown["hides"]["text"]
