"""The Train tab: figures, curves, the film of previews, and the buttons that ask the training process."""

import base64
import io

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run
from PIL import Image

from ddpm_app import plots
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.images import grid_cells, image_grid
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import train
from ddpm_app.ui.tabs.train import TrainTab


@pytest.fixture
def app(runs_dir):
    return App(runs_dir)


@pytest.fixture
def tab(app):
    return ui_kit.draw(app, TrainTab)


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def snapshot_of(app, **changes):
    return app.monitor.snapshot() | changes


def test_the_timeline_is_thinned_and_keeps_the_latest(app):
    make_run(app.runs_dir, steps=10)
    steps = train.timeline(snapshot_of(app, samples=list(range(0, 1000, 5))), "en")["steps"]
    assert len(steps) <= train.TIMELINE_FRAMES
    assert steps[-1] == 995 and steps == sorted(steps)


@pytest.mark.parametrize("samples", [[], [0], [0, 30]])
def test_few_previews_are_all_there(app, samples):
    make_run(app.runs_dir, steps=10)
    assert train.timeline(snapshot_of(app, samples=samples), "en")["steps"] == samples


def test_a_preview_comes_as_a_data_uri_and_only_from_a_run(app, tab):
    make_run(app.runs_dir, "one", steps=10, previews=2)
    assert tab.preview({"name": "one", "key": "10"}).startswith("data:image/png;base64,")
    for name in ("../one", ".trash", "", "nobody"):
        with pytest.raises(Problem, match="run_missing"):
            tab.preview({"name": name, "key": "10"})
    with pytest.raises(ValueError):
        tab.preview({"name": "one", "key": "../../config"})


def test_a_young_run_says_what_it_does_and_nothing_that_it_does_not_know(app):
    at_work(run := make_run(app.runs_dir, steps=0, previews=0))
    run.update_record(plan=None)
    run.update_status(state="preparing", phase="rehearsal", total_steps=None, loss=None, learning_rate=None)
    snapshot, series = app.monitor.snapshot(), app.monitor.series()
    assert train.time_of(snapshot, series, "en") == (t("ui.phase.rehearsal"), train.UNKNOWN)
    assert train.facts_of(snapshot, series, "en") == [] and train.sentence(series, "en") == ""


def test_a_training_run_says_how_long_it_will_take(app):
    at_work(make_run(app.runs_dir, steps=60, total=90), eta_seconds=34)
    snapshot, series = app.monitor.snapshot(), app.monitor.series()
    assert train.time_of(snapshot, series, "en") == ("Time left", "34 s")
    assert "step 60 of 90" in train.time_fact(snapshot, series, "en")
    facts = dict(train.facts_of(snapshot, series, "en"))
    assert facts["epoch"] == "2.0" and facts["seen"].startswith("1,920") and facts["speed"].startswith("132 ")
    assert facts["machine"].startswith("cpu · bf16") and facts["size"].startswith("5.41M")


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "interrupted"])
def test_a_run_at_rest_says_how_long_it_took_and_has_no_speed(app, state):
    make_run(app.runs_dir, steps=60, total=90, state=state)
    snapshot, series = app.monitor.snapshot(), app.monitor.series()
    assert train.time_of(snapshot, series, "en") == ("Trained for", "2 s")
    assert not {"speed", "rate"} & dict(train.facts_of(snapshot, series, "en")).keys()
    assert train.timeline(snapshot, "en")["coming"] == 0


def test_what_is_to_come_has_its_places_on_the_strip(app):
    run = make_run(app.runs_dir, steps=60, total=240, previews=2)
    at_work(run)
    assert train.timeline(app.monitor.snapshot(), "en")["coming"] == 2  # 120 and the last
    run.update_record(plan=run.plan | {"save_image_every": 0, "preview_steps": [0, 60, 90, 130, 240]})
    app.monitor.refresh()
    assert train.timeline(app.monitor.snapshot(), "en")["coming"] == 3


def test_small_pictures_show_the_same_place_of_each_grid(app, tab):
    run = make_run(app.runs_dir, "one", steps=10, previews=2)
    answer = tab.thumbs({"name": "one", "keys": "0,10,7"})
    assert answer.keys() == {"0", "10"}
    assert opened(answer["10"]).size == (run.config.image_size, run.config.image_size)
    with pytest.raises(ValueError):
        tab.thumbs({"name": "one", "keys": "../../config"})
    with pytest.raises(Problem, match="run_missing"):
        tab.thumbs({"name": "../one", "keys": "0"})


def test_what_a_run_says_is_escaped(app):
    run = make_run(app.runs_dir, steps=3)
    run.update_status(notices=[{"code": "<script>", "values": {"a": "<b>"}}])
    run.update_status(error={"code": "crash", "field": None, "values": {"reason": "<img src=x>"}})
    run.log("<script>alert(1)</script>")
    snapshot = app.monitor.snapshot()
    for text in (train.remarks(snapshot, "en", with_error=True), train.log_lines(snapshot)):
        assert "&lt;script" in text and "<script>" not in text and "<img" not in text


def test_an_error_is_told_only_where_the_header_does_not(app):
    run = make_run(app.runs_dir, steps=3, state="failed")
    run.update_status(error={"code": "crash", "field": None, "values": {"reason": "boom"}})
    snapshot = app.monitor.snapshot()
    assert "boom" in train.remarks(snapshot, "en", with_error=True)
    assert "boom" not in train.remarks(snapshot, "en", with_error=False)


def test_a_new_run_of_the_same_name_has_a_film_of_its_own(app):
    old = make_run(app.runs_dir, "one", steps=10, previews=2, age=60)
    before = train.timeline(app.monitor.snapshot("one"), "en")
    old.update_record(created=old.record["created"] + 30)
    app.monitor.refresh()
    assert train.timeline(app.monitor.snapshot("one"), "en")["made"] == before["made"] + 30


@pytest.mark.parametrize(("state", "possible"), [("training", True), ("paused", False), ("stopped", False)])
def test_only_a_run_that_goes_on_can_be_asked(runs_dir, state, possible):
    at_work(run := make_run(runs_dir, steps=3, previews=0))
    run.update_status(state=state)
    answer = ui_kit.Viewer(ui_kit.build(runs_dir)[0]).redraw()
    parts = {part.elem_id: value for part, value in answer.items()}
    assert parts["sample-now"]["interactive"] == parts["save-now"]["interactive"] == possible


def ask(tab, request, name, visitor):
    page = tab.page
    return tab.ask(request, {page.selected: name, page.visitor: visitor, page.lang: "en"})[page.message]


@pytest.mark.parametrize("request_", ["sample", "save"])
def test_a_request_reaches_the_run(app, tab, request_):
    run = make_run(app.runs_dir, "one", steps=3)
    ask(tab, request_, "one", "")
    assert run.requests[request_] == 1


def test_in_public_only_the_owner_asks(runs_dir):
    tab = ui_kit.draw(App(runs_dir, public=True), TrainTab)
    run = make_run(runs_dir, "one", steps=3)
    run.begin(owner="me")
    at_work(run)
    assert "bad" in ask(tab, "save", "one", "somebody")
    assert run.requests["save"] == 0
    ask(tab, "save", "one", "me")
    assert run.requests["save"] == 1


def test_the_plots_of_a_snapshot_stay_within_400_points(app):
    make_run(app.runs_dir, steps=3000)
    snapshot = app.monitor.snapshot()
    charts = plots.training(app.monitor.series(), snapshot["plan"], 1000)["charts"]
    assert sum(len(line["y"]) for chart in charts for line in chart["lines"]) <= 400


# ---- autoencoders ----------------------------------------------------------------------------------------------------
@pytest.fixture
def coder(trained):
    """An app over the tiny run of an autoencoder, trained for real."""
    run = trained("autoencoder")
    return App(run.path.parent), run


def test_an_autoencoder_has_no_timesteps_to_tell_of(coder):
    app, run = coder
    series = app.monitor.series(run.name)
    assert series["bands"] == [] and len(series["train"][0]) > 1
    frame = plots.training(series, run.plan, 1000, autoencoder=True)
    assert [(chart["name"], chart["wide"]) for chart in frame["charts"]] == [("loss", True), ("rate", True)]
    assert "Reconstruction" in frame["charts"][0]["title"] and "noise" not in frame["charts"][0]["unit"]
    assert [chart["name"] for chart in plots.training(series, run.plan, 1000)["charts"]] == ["loss", "bands", "rate"]


def test_a_run_without_held_out_pictures_is_drawn(app):
    run = make_run(app.runs_dir, steps=2)
    writer = run.open_metrics(-1)
    for step in (0, 1):
        writer.add(step, kind="validation", train_loss=0.5, held_out_loss=None, bands=[])
    writer.close()
    series = app.monitor.series()
    assert series["held_out"] == ([], []) and series["bands"] == []
    assert [line["label"] for line in plots.training(series, {}, 1000, "en", True)["charts"][0]["lines"]] == [
        "training pictures"
    ]


def test_an_autoencoder_shows_originals_beside_reconstructions(coder):
    app, run = coder
    snapshot = app.monitor.snapshot(run.name)
    value = train.comparison(snapshot, "en")
    assert (value["name"], value["step"], value["caption"]) == ("autoencoder", 12, "step 12")
    assert "reconstruction" in train.previews_heading(snapshot, "en")
    assert "size_autoencoder" in dict(train.facts_of(snapshot, app.monitor.series(run.name), "en"))
    tab = ui_kit.draw(app, TrainTab)
    pair, first = (tab.originals_and_reconstructions({"name": "autoencoder", "key": key}) for key in ("12", "0"))
    assert set(pair) == {"before", "after"} and all(uri.startswith("data:image/png;base64,") for uri in pair.values())
    assert pair["before"] == first["before"] and pair["after"] != first["after"]
    with pytest.raises(Problem, match="run_missing"):
        tab.originals_and_reconstructions({"name": "../autoencoder", "key": "12"})


def test_nothing_is_compared_where_there_are_no_pairs(app, coder):
    make_run(app.runs_dir, steps=10, previews=2)
    assert train.comparison(app.monitor.snapshot(), "en") is None
    assert train.comparison(coder[0].monitor.snapshot("autoencoder") | {"samples": []}, "en") is None


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_grid_falls_into_the_pictures_it_was_made_of(count):
    images = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in range(count)]
    cells = grid_cells(image_grid(images), 4, count)
    assert [cell.getpixel((3, 3)) for cell in cells] == [(k, 0, 0) for k in range(count)]
    assert all(cell.size == (4, 4) for cell in cells)
