import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run
from PIL import Image, ImageChops

from ddpm_app import plots
from ddpm_app.errors import Problem
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import train


@pytest.fixture
def studio(runs_dir):
    return App(runs_dir)


def shot_of(studio, **news):
    return studio.monitor.snapshot() | news


def test_the_timeline_is_thinned_and_keeps_the_latest(studio):
    make_run(studio.runs_dir, steps=10)
    steps = train.timeline(shot_of(studio, samples=list(range(0, 1000, 5))), "en")["steps"]
    assert len(steps) <= train.TIMELINE_FRAMES
    assert steps[-1] == 995 and steps == sorted(steps)


@pytest.mark.parametrize("samples", [[], [0], [0, 30]])
def test_few_previews_are_all_there(studio, samples):
    make_run(studio.runs_dir, steps=10)
    assert train.timeline(shot_of(studio, samples=samples), "en")["steps"] == samples


def test_a_preview_comes_as_a_data_uri_and_only_from_a_run(studio):
    make_run(studio.runs_dir, "one", steps=10, previews=2)
    picture = train.preview_picture(studio)
    assert picture({"name": "one", "key": "10"}).startswith("data:image/png;base64,")
    for name in ("../one", ".trash", "", "nobody"):
        with pytest.raises(Problem, match="run_missing"):
            picture({"name": name, "key": "10"})
    with pytest.raises(ValueError):
        picture({"name": "one", "key": "../../config"})


def test_figures_of_a_young_run_are_dashes(studio):
    run = make_run(studio.runs_dir, steps=0, previews=0)
    run.update_record(plan=None)
    run.update_status(state="preparing", phase="rehearsal", total_steps=None, loss=None, learning_rate=None)
    shot = studio.monitor.snapshot()
    figures = {name: value for name, value, _ in train.figures_of(shot, studio.monitor.series(), "en")}
    assert figures["figure_step"] == "0"
    assert set(figures.values()) == {"0", train.DASH}


def test_figures_of_a_training_run(studio):
    run = make_run(studio.runs_dir, steps=60, total=90)
    at_work(run)
    figures = {
        name: (value, note)
        for name, value, note in train.figures_of(studio.monitor.snapshot(), studio.monitor.series(), "en")
    }
    assert figures["figure_step"] == ("60", "of 90")
    assert figures["figure_epoch"][0] == "2.0"
    assert figures["figure_seen"][0] == "1,920"
    assert figures["figure_machine"][0] == "cpu · bf16"
    assert figures["figure_size"][0] == "5.41M"


def test_what_a_run_says_is_escaped(studio):
    run = make_run(studio.runs_dir, steps=3)
    run.update_status(notices=[{"code": "<script>", "values": {"a": "<b>"}}])
    run.update_status(error={"code": "crash", "field": None, "values": {"reason": "<img src=x>"}})
    run.log("<script>alert(1)</script>")
    shot = studio.monitor.snapshot()
    for told in (train.told(shot, studio.monitor.series(), "en", failure=True), train.log_lines(shot)):
        assert "<script>" not in told and "<img" not in told


def test_an_error_is_told_only_where_the_header_does_not(studio):
    run = make_run(studio.runs_dir, steps=3, state="failed")
    run.update_status(error={"code": "crash", "field": None, "values": {"reason": "boom"}})
    shot = studio.monitor.snapshot()
    assert "boom" in train.remarks(shot, "en", failure=True)
    assert "boom" not in train.remarks(shot, "en", failure=False)


def test_a_new_run_of_the_same_name_has_a_film_of_its_own(studio):
    old = make_run(studio.runs_dir, "one", steps=10, previews=2, age=60)
    before = train.timeline(studio.monitor.snapshot("one"), "en")
    old.update_record(created=old.record["created"] + 30)
    studio.monitor.refresh()
    assert train.timeline(studio.monitor.snapshot("one"), "en")["made"] == before["made"] + 30


@pytest.mark.parametrize(("state", "possible"), [("training", True), ("paused", False), ("stopped", False)])
def test_only_a_run_that_goes_on_can_be_asked(runs_dir, state, possible):
    at_work(run := make_run(runs_dir, steps=3, previews=0))
    run.update_status(state=state)
    demo, _ = ui_kit.build(runs_dir)
    [rest] = [fn for fn in demo.fns.values() if getattr(fn.fn, "__qualname__", "") == "Ticker.rest"]
    given = [component.value if not component.stateful else "" for component in rest.inputs[3:]]
    shown = dict(zip([part.elem_id for part in rest.outputs], rest.fn("", "en", "", *given), strict=True))
    assert shown["sample-now"]["interactive"] == shown["save-now"]["interactive"] == possible


@pytest.mark.parametrize("wish", ["sample", "save"])
def test_a_wish_reaches_the_run(studio, wish):
    run = make_run(studio.runs_dir, "one", steps=3)
    train.asker(studio, wish)("one", "", "en")
    assert run.requests[wish] == 1


def test_in_public_only_the_owner_wishes(studio):
    studio.public = True
    run = make_run(studio.runs_dir, "one", steps=3)
    run.begin(owner="me")
    at_work(run)
    ask = train.asker(studio, "save")
    assert "bad" in ask("one", "somebody", "en")
    assert run.requests["save"] == 0
    ask("one", "me", "en")
    assert run.requests["save"] == 1


def test_the_plots_of_a_snapshot_stay_within_400_points(studio):
    make_run(studio.runs_dir, steps=3000)
    shot = studio.monitor.snapshot()
    charts = plots.training(studio.monitor.series(), shot["plan"], 1000)["charts"]
    assert sum(len(line["y"]) for chart in charts for line in chart["lines"]) <= 400


# ---- autoencoders ----------------------------------------------------------------------------------------------------
@pytest.fixture
def coder(trained):
    """A studio over the tiny run of an autoencoder, trained for real."""
    run = trained("autoencoder")
    folder = run.path.parent
    return App(folder), run


def test_an_autoencoder_has_no_timesteps_to_tell_of(coder):
    studio, run = coder
    series = studio.monitor.series(run.name)
    assert series["bands"] == [] and len(series["train"][0]) > 1
    frame = plots.training(series, run.plan, 1000, autoencoder=True)
    assert [(chart["name"], chart["wide"]) for chart in frame["charts"]] == [("loss", True), ("rate", True)]
    assert "Reconstruction" in frame["charts"][0]["title"] and "noise" not in frame["charts"][0]["unit"]
    assert [chart["name"] for chart in plots.training(series, run.plan, 1000)["charts"]] == ["loss", "bands", "rate"]


def test_a_run_without_held_out_pictures_is_drawn(studio):
    run = make_run(studio.runs_dir, steps=2)
    writer = run.open_metrics(-1)
    for step in (0, 1):
        writer.add(step, kind="validation", train_loss=0.5, held_out_loss=None, bands=[])
    writer.close()
    series = studio.monitor.series()
    assert series["held_out"] == ([], []) and series["bands"] == []
    assert [line["label"] for line in plots.training(series, {}, 1000, "en", True)["charts"][0]["lines"]] == [
        "training pictures"
    ]


def test_an_autoencoder_shows_originals_beside_reconstructions(coder):
    studio, run = coder
    shot = studio.monitor.snapshot(run.name)
    shown = train.comparison(shot, "en")
    assert (shown["name"], shown["step"], shown["caption"]) == ("autoencoder", 12, "step 12")
    assert "reconstruction" in train.previews_heading(shot, "en")
    assert "figure_size_autoencoder" in [
        name for name, _, _ in train.figures_of(shot, studio.monitor.series(run.name), "en")
    ]
    pair = train.compared_pictures(studio)({"name": "autoencoder", "key": "12"})
    assert set(pair) == {"before", "after"} and all(uri.startswith("data:image/png;base64,") for uri in pair.values())
    assert pair["before"] == train.compared_pictures(studio)({"name": "autoencoder", "key": "0"})["before"]
    assert pair["after"] != train.compared_pictures(studio)({"name": "autoencoder", "key": "0"})["after"]
    with pytest.raises(Problem, match="run_missing"):
        train.compared_pictures(studio)({"name": "../autoencoder", "key": "12"})


def test_nothing_is_compared_where_there_are_no_pairs(studio, coder):
    make_run(studio.runs_dir, steps=10, previews=2)
    assert train.comparison(studio.monitor.snapshot(), "en") is None
    assert train.comparison(coder[0].monitor.snapshot("autoencoder") | {"samples": []}, "en") is None


@pytest.mark.parametrize("pairs", [1, 2, 3, 5, 16])
def test_a_sheet_falls_into_originals_and_reconstructions(pairs):
    from ddpm_app.images import image_grid

    images = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in range(2 * pairs)]
    assert train.GAP == 2  # what sample.grid leaves between two
    before, after = train.halves(image_grid(images), 4, pairs)
    for k, half in enumerate((before, after)):
        expected = image_grid(images[k::2])
        assert half.size == expected.size and not ImageChops.difference(half, expected).getbbox()
