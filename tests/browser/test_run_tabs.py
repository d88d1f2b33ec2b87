"""Train, Sample and Runs in a real browser, on run folders made without training."""

import json
import time
import urllib.request
import zipfile

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run, preview_png
from playwright.sync_api import expect

from ddpm_app.runs import registry
from ddpm_app.status import RunControl
from ddpm_app.ui import theme

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page on a free port, with a long run at work and a finished one that can draw."""
    runs_dir = tmp_path_factory.mktemp("runs")
    make_run(runs_dir, "finished-run", steps=60, preset="quick-check", previews=3, pipeline=True, age=60)
    at_work(make_run(runs_dir, "running-run", steps=1500, total=2000, previews=5))
    demo, studio = ui_kit.build(runs_dir)
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, **theme.look())
    yield demo.local_url, studio
    demo.close()


@pytest.fixture
def visit(server, chromium):
    """Opens pages of one visitor at a tab; at the end no page may have complained."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    complaints = []

    def open_tab(name):
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server[0])
        page.get_by_role("tab", name=name).click()
        return page

    yield open_tab
    context.close()
    left = (
        "AbortError",
        "Connection errored out",
        "Unexpected error 404: Not Found",
    )  # Gradio, of the stream of a page that goes away
    assert not [text for text in complaints if not any(part in text for part in left)]


def wait_for(page, true):
    """Until the server's side is as wanted."""
    give_up = time.monotonic() + PATIENCE_MS / 1000
    while not true():
        assert time.monotonic() < give_up
        page.wait_for_timeout(20)


def test_curves_and_pictures_are_there_after_a_reload_and_on_a_second_page(visit, server):
    first = visit("Train")
    for page in (lambda: first, lambda: first.reload() and first, lambda: visit("Train")):
        shown = page()
        shown.get_by_role("tab", name="Train").click()
        expect(shown.locator("#train-charts figure.chart")).to_have_count(3)
        expect(shown.locator("#train-charts figure.wide path.line")).to_have_count(1)
        expect(shown.locator("#train-figures")).to_contain_text("1,500")
        expect(shown.locator("#train-previews .caption")).to_have_text("step 1,500")


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
    wait_for(page, lambda: run.requests["pause"])
    RunControl(run).progress("paused")  # as the training process does
    expect(page.locator("#status")).to_contain_text("Paused")
    for button in ("#sample-now", "#save-now"):
        expect(page.locator(button)).to_be_disabled()
    page.locator("#button-unpause").click()
    wait_for(page, lambda: not run.requests["pause"])
    at_work(run, step=1501)
    expect(page.locator("#train-figures")).to_contain_text("1,501")
    expect(page.locator("#button-pause")).to_be_visible()
    expect(page.locator("#save-now")).to_be_enabled()
    at_work(run, step=1500)


def test_a_new_run_of_the_same_name_shows_its_own_previews(visit, server):
    folder = server[1].runs_dir
    run = make_run(folder, "again", steps=10, previews=1, age=30)
    page = visit("Train")
    page.locator("#train-run input").click()
    page.get_by_role("option", name="again", exact=True).click()
    image = page.locator("#train-previews img")
    expect(page.locator("#train-previews .caption")).to_have_text("step 0")
    before = image.get_attribute("src")
    run.save_sample(0, preview_png(1.0))
    run.update_record(created=run.record["created"] + 10)
    expect(image).not_to_have_attribute("src", before)
    registry.discard(run)


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
    expect(page.locator("#sample-status [role=alert]")).to_contain_text("num_images")


def test_a_run_is_compared_downloaded_thrown_away_and_restored(visit, server, tmp_path):
    page, studio = visit("Runs"), server[1]
    make_run(studio.runs_dir, "spare", steps=40, previews=2)
    page.locator(".run-card[data-name=finished-run]").click()
    expect(page.locator("#runs-facts h3")).to_have_text("finished-run")
    page.locator("#runs-other input").click()
    page.get_by_role("option", name="running-run").click()
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
    registry.discard(registry.find(studio.runs_dir, "spare"))


def test_open_goes_to_the_curves_of_that_run(visit):
    page = visit("Runs")
    page.locator(".run-card[data-name=finished-run]").click()
    expect(page.locator("#runs-facts h3")).to_have_text("finished-run")
    page.locator("#runs-open").click()
    expect(page.locator("#train-figures")).to_contain_text("of 60")


def test_nothing_sticks_out_of_a_phone(server, chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server[0])
    for name, part in (("Train", "#train-charts svg"), ("Sample", "#sample-draw"), ("Runs", ".run-card")):
        page.get_by_role("tab", name=name).click()
        expect(page.locator(part).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def tick(url, config, seen):
    """One tick as a browser sends it: the bytes of the answer, and the prints that the browser keeps for the next."""
    parts = {part["id"]: part for part in config["components"]}
    timer = next(one for one in config["dependencies"] if any(name == "tick" for _, name in one["targets"]))
    value = {timer["outputs"][1]: seen}
    given = [value.get(one, parts[one]["props"].get("value")) for one in timer["inputs"]]
    body = {"data": given, "fn_index": timer["id"], "session_hash": "ticker"}
    asked = urllib.request.Request(
        f"{url}gradio_api/run/{timer['api_name']}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked) as answer:
        told = answer.read()
    return len(told), json.loads(told)["data"][1]


def test_a_tick_is_small(server):
    """Also of a viewer who has nothing yet; and what is known is not sent again."""
    url, studio = server
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    first, seen = tick(url, config, None)
    assert 2_000 < first < 8_000  # everything, once
    at_work(registry.find(studio.runs_dir, "running-run"), step=1503, loss=0.5)
    studio.monitor.refresh()
    moved, seen = tick(url, config, seen)
    still, _ = tick(url, config, seen)
    assert still < moved < 8_000 and still < 500
    at_work(registry.find(studio.runs_dir, "running-run"), step=1500)
