"""Train, Sample and Runs in a real browser, on run folders made without training."""

import json
import urllib.request
import zipfile

import pytest
from kits.browser import OF_A_CLOSED_PAGE, StudioPage, launch
from kits.fabricated_runs import at_work, make_run, preview_png
from playwright.sync_api import expect

from ddpm_app.runs import registry
from ddpm_app.status import RunControl

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
    ),
]


"""What Gradio complains of when a page goes away while it streams."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page on a free port, with a long run at work and a finished one that can draw."""
    runs_dir = tmp_path_factory.mktemp("runs")
    make_run(runs_dir, "finished-run", steps=60, preset="quick-check", previews=3, pipeline=True, age=60)
    at_work(make_run(runs_dir, "running-run", steps=1500, total=2000, previews=5))
    with launch(runs_dir) as (url, app):
        yield url, app


@pytest.fixture
def visit(server, context):
    """Opens pages of one visitor at a tab; at the end no page may have complained."""
    pages = []

    def open_at(tab):
        pages.append(StudioPage(context, server[0]))
        pages[-1].open_tab(tab)
        return pages[-1]

    yield open_at
    context.close()
    complaints = [complaint for page in pages for complaint in page.complaints]
    assert not [complaint for complaint in complaints if not any(part in complaint for part in OF_A_CLOSED_PAGE)]


def test_curves_and_pictures_are_there_after_a_reload_and_on_a_second_page(visit, server):
    first = visit("Train")
    for visited in (lambda: first, lambda: first.reload() and first, lambda: visit("Train")):
        page = visited()
        page.open_tab("Train")
        expect(page.locator("#train-charts figure.wide path.line")).to_have_count(1)
        expect(page.locator("#train-verdict")).to_contain_text("training longer")
        page.locator("#train-more-box > button").click()
        expect(page.locator("#train-more figure.chart path")).to_have_count(3)
        expect(page.locator("#train-figures")).to_contain_text("1,500")
        expect(page.locator("#train-previews .caption")).to_have_text("step 1,500")


def test_a_new_step_shows_without_a_reload_and_the_chosen_picture_stays(visit, server):
    page = visit("Train")
    run = registry.find(server[1].runs_dir, "running-run")
    expect(page.locator("#train-previews .caption")).to_have_text("step 1,500")
    page.locator("#train-previews input").fill("1")
    expect(page.locator("#train-previews .caption")).to_have_text("step 375")
    at_work(run, step=1501)
    run.save_sample(1501, (run.samples[0]).read_bytes())
    expect(page.locator("#train-figures")).to_contain_text("1,501")
    expect(page.locator("#train-previews input")).to_have_attribute("max", "5")
    expect(page.locator("#train-previews .caption")).to_have_text("step 375")
    run.samples[-1].unlink()
    at_work(run, step=1500)


def test_the_loss_switches_between_log_and_linear_in_the_browser(visit):
    page = visit("Train")
    switch = page.locator("figure[data-name=loss] button")
    expect(switch).to_have_text("log")
    before = page.locator("figure[data-name=loss] path.line").get_attribute("d")
    switch.click()
    expect(switch).to_have_text("linear")
    assert page.locator("figure[data-name=loss] path.line").get_attribute("d") != before


def test_the_pointer_reads_the_curve(visit):
    page = visit("Train")
    unit = page.locator("figure[data-name=loss] .unit")
    before = unit.text_content()
    page.locator("figure[data-name=loss] .plot").hover(position={"x": 200, "y": 100})
    expect(unit).not_to_have_text(before)
    expect(page.locator("figure[data-name=loss] .cursor")).to_have_attribute("visibility", "visible")


def test_sample_now_reaches_the_run(visit, server):
    page = visit("Train")
    run = registry.find(server[1].runs_dir, "running-run")
    before = run.requests["sample"]
    page.locator("#sample-now").click()
    expect(page.locator("#message")).to_contain_text("Asked")
    assert run.requests["sample"] == before + 1


def test_pause_and_continue(visit, server):
    page = visit("Train")
    run = registry.find(server[1].runs_dir, "running-run")
    expect(page.locator("#sample-now")).to_be_enabled()
    page.locator("#button-pause").click()
    page.wait_until(lambda: run.requests["pause"])
    RunControl(run).progress("paused")  # as the training process does
    page.expect_status("Paused")
    for button in ("#sample-now", "#save-now"):
        expect(page.locator(button)).to_be_disabled()
    page.locator("#button-unpause").click()
    page.wait_until(lambda: not run.requests["pause"])
    at_work(run, step=1501)
    expect(page.locator("#train-figures")).to_contain_text("1,501")
    expect(page.locator("#button-pause")).to_be_visible()
    expect(page.locator("#save-now")).to_be_enabled()
    at_work(run, step=1500)


def test_a_new_run_of_the_same_name_shows_its_own_previews(visit, server):
    folder = server[1].runs_dir
    run = make_run(folder, "again", steps=10, previews=1, age=30)
    page = visit("Train")
    page.choose("train-run", "again")
    image = page.locator("#train-previews img").last  # the older one stays below until it has faded in
    expect(page.locator("#train-previews .caption")).to_have_text("step 0")
    before = image.get_attribute("src")
    run.save_sample(0, preview_png(1.0))
    run.update_record(created=run.record["created"] + 10)
    expect(image).not_to_have_attribute("src", before)
    registry.discard(run)


def test_the_end_of_a_run_shows_its_pictures_and_hands_them_out(visit, tmp_path):
    page = visit("Train")
    page.choose("train-run", "finished-run")
    expect(page.locator("#run-end h2")).to_be_visible()
    pictures = page.locator(".end-pictures img")
    expect(pictures).to_have_count(8)
    pictures.nth(2).click()
    large = page.locator("dialog.lightbox img")
    expect(large).to_have_attribute("src", pictures.nth(2).get_attribute("src"))
    page.keyboard.press("ArrowRight")
    expect(large).to_have_attribute("src", pictures.nth(3).get_attribute("src"))
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    with page.expect_download() as download:
        page.locator("#run-end-download").click()
    download.value.save_as(tmp_path / "model.zip")
    assert {"README.md", "grid.png", "use.py", "pipeline/model_index.json"} <= set(
        zipfile.ZipFile(tmp_path / "model.zip").namelist()
    )
    page.locator("#run-end-draw").click()
    expect(page.locator("#sample-source input")).to_have_value("finished-run (run, 16 px)")


def test_draw_scrub_and_download(visit, tmp_path):
    page = visit("Sample")
    page.locator("#sample-source input").click()
    page.get_by_role("option", name="finished-run").click()
    page.locator("#sample-steps input").fill("6")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-pictures img")).to_have_count(4)
    expect(page.locator("#sample-draw")).to_be_visible()
    page.locator("#sample-film input").fill("2")
    expect(page.locator("#sample-film .caption")).to_contain_text("step 3 of 6")
    assert page.locator("#sample-film img").get_attribute("alt")
    with page.expect_download() as download:
        page.locator("#sample-zip").click()
    download.value.save_as(tmp_path / "all.zip")
    assert zipfile.ZipFile(tmp_path / "all.zip").namelist() == [
        "0000.png",
        "0001.png",
        "0002.png",
        "0003.png",
        "grid.png",
    ]


def test_cancel_stops_a_long_drawing(visit):
    page = visit("Sample")
    page.locator("#sample-source input").click()
    page.get_by_role("option", name="finished-run").click()
    page.locator("#sample-sampler").get_by_text("DDPM", exact=True).click()
    expect(page.locator("#sample-steps input")).to_have_value("1000")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status img.live")).to_be_visible()
    page.locator("#sample-cancel").click()
    expect(page.locator("#sample-status")).to_contain_text("Cancelled")
    expect(page.locator("#sample-draw")).to_be_visible()


def test_a_wrong_number_is_said_in_words(visit):
    page = visit("Sample")
    page.locator("#sample-number input").fill("0")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status [role=alert]")).to_contain_text("“Pictures”")


def test_a_run_is_compared_downloaded_thrown_away_and_restored(visit, server, tmp_path):
    page, app = visit("Runs"), server[1]
    make_run(app.runs_dir, "spare", steps=40, previews=2)
    page.locator(".run-card[data-name=finished-run]").click()
    expect(page.locator("#runs-facts h3")).to_have_text("finished-run")
    page.choose("runs-other", "running-run")
    expect(page.locator("#runs-compare path.line")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("#runs-zip").click()
    download.value.save_as(tmp_path / "pipeline.zip")
    assert "pipeline/model_index.json" in zipfile.ZipFile(tmp_path / "pipeline.zip").namelist()
    page.locator(".run-card[data-name=spare]").click()
    expect(page.locator("#runs-facts h3")).to_have_text("spare")
    page.locator("#runs-trash").click()
    expect(page.locator(".run-card[data-name=spare]")).to_have_count(0)
    page.locator("#runs-trash-box").get_by_role("button", name="Trash").click()
    page.locator("#runs-thrown input").click()
    page.get_by_role("option", name="spare").click()
    page.locator("#runs-restore").click()
    expect(page.locator(".run-card[data-name=spare]")).to_have_count(1)
    registry.discard(registry.find(app.runs_dir, "spare"))


def test_open_goes_to_the_curves_of_that_run(visit):
    page = visit("Runs")
    page.locator(".run-card[data-name=finished-run]").click()
    expect(page.locator("#runs-facts h3")).to_have_text("finished-run")
    page.locator("#runs-open").click()
    expect(page.locator("#train-figures")).to_contain_text("of 60")


def test_nothing_sticks_out_of_a_phone(server, new_context):
    page = StudioPage(new_context(viewport={"width": 390, "height": 844}), server[0])
    for name, part in (("Train", "#train-charts svg"), ("Sample", "#sample-draw"), ("Runs", ".run-card")):
        page.open_tab(name)
        expect(page.locator(part).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def poll(url, config, version):
    """One poll as a browser sends it: the bytes of the answer, and the version that the browser holds for the next."""
    parts = {part["id"]: part for part in config["components"]}
    timer = next(d for d in config["dependencies"] if any(name == "tick" for _, name in d["targets"]))
    held = {timer["outputs"][1]: version}
    data = [held.get(part, parts[part]["props"].get("value")) for part in timer["inputs"]]
    body = {"data": data, "fn_name": "poll", "component_id": timer["outputs"][0], "session_hash": "poll"}
    request = urllib.request.Request(
        f"{url}gradio_api/component_server", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        content = answer.read()
    return len(content), json.loads(content)[1]


def test_a_poll_is_small(server):
    """Also of a viewer who has nothing yet; and what a viewer has is not sent again."""
    url, app = server
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    first, version = poll(url, config, None)
    assert 2_000 < first < 8_000  # everything, once
    at_work(registry.find(app.runs_dir, "running-run"), step=1503, loss=0.5)
    app.monitor.refresh()
    moved, version = poll(url, config, version)
    still, _ = poll(url, config, version)
    assert still < moved < 8_000 and still < 500
    at_work(registry.find(app.runs_dir, "running-run"), step=1500)
