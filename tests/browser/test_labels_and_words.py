"""Labels, words, reconstructions and captions in a real browser, on tiny runs trained for real."""

import zipfile

import pytest
from kits import page as ui_kit
from playwright.sync_api import expect

from ddpm_app.ui import theme

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
    ),
]


@pytest.fixture(scope="module")
def address(trained):
    """The page over a folder with a run of labels, one of words and an autoencoder."""
    for kind in ("labels", "words", "autoencoder"):
        runs_dir = trained(kind).path.parent
    demo, studio = ui_kit.build(runs_dir)
    studio.warm.set()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, **theme.look())
    yield demo.local_url
    demo.close()


@pytest.fixture
def visit(address, context):
    def open_tab(name):
        page = context.new_page()
        page.goto(address)
        page.get_by_role("tab", name=name, exact=True).click()
        return page

    return open_tab


def choose(page, elem_id, name):
    page.locator(f"{elem_id} input").click()
    page.get_by_role("option", name=name).first.click()


def test_only_what_a_model_takes_is_asked(visit):
    page = visit("Sample")
    choose(page, "#sample-source", "labels (run")
    expect(page.locator("#sample-labels")).to_be_visible()
    expect(page.locator("#sample-prompt")).to_be_hidden()
    choose(page, "#sample-labels", "red")
    page.keyboard.press("Escape")
    page.locator("#sample-steps input").fill("2")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-pictures .caption-label").first).to_contain_text("red · seed")
    page.locator("#sample-by-scales").click()
    expect(page.locator("#sample-sheet img")).to_be_visible()
    expect(page.locator("#sample-pictures")).to_be_hidden()
    choose(page, "#sample-source", "words (run")
    expect(page.locator("#sample-labels")).to_be_hidden()
    page.locator("#sample-prompt textarea").fill("red bug\nblue bug with many spots")
    page.locator("#sample-by-prompts").click()
    expect(page.locator("#sample-status")).to_contain_text("8 pictures")
    expect(page.locator("#sample-status .notice")).to_contain_text("spots")
    expect(page.locator("#sample-film .rows span")).to_have_count(3)
    expect(page.locator("#sample-film .remark")).to_contain_text("channels")
    choose(page, "#sample-source", "butterflies-64")
    expect(page.locator("#sample-prompt")).to_be_hidden()
    expect(page.locator("#sample-guidance")).to_be_hidden()


def test_originals_stand_under_a_slider_beside_reconstructions(visit):
    page = visit("Train")
    choose(page, "#train-run", "autoencoder")
    expect(page.locator("#train-compare .before")).to_be_visible()
    page.locator("#train-compare input").fill("25")
    assert page.locator("#train-compare .stage").evaluate("e => e.style.getPropertyValue('--at')") == "25%"
    page.locator("#train-more-box > button").click()
    expect(page.locator("#train-more figure.chart")).to_have_count(1)
    choose(page, "#train-run", "labels")
    expect(page.locator("#train-more figure.chart")).to_have_count(2)
    expect(page.locator("#train-compare .compare")).to_be_hidden()


def test_a_caption_and_a_label_of_an_upload_are_changed(visit, drawn, tmp_path):
    with zipfile.ZipFile(tmp_path / "wings.zip", "w") as file:
        for path in sorted(drawn.glob("*.png"))[:6]:
            file.write(path, f"{'ab'[int(path.stem) % 2]}/{path.name}")
    page = visit("Dataset")
    expect(page.locator("#gallery img").first).to_be_visible()
    expect(page.locator("#edit-caption")).to_be_hidden()
    page.get_by_label("Upload", exact=True).check()
    page.locator("#choose input[type=file]").set_input_files(str(tmp_path / "wings.zip"))
    expect(page.locator("#facts")).to_contain_text("6 pictures")
    page.locator("#gallery button").nth(4).click()
    expect(page.locator("#one")).to_contain_text("b/03.png")
    expect(page.locator("#edit-label input")).to_have_value("b")
    page.locator("#edit-caption textarea, #edit-caption input").first.fill("a red wing")
    page.locator("#edit-label input").fill("c")
    page.locator("#edit-label input").press("Enter")
    page.locator("#edit-save").click()
    expect(page.locator("#message")).to_contain_text("Saved: b/03.png")
    expect(page.locator("#one")).to_contain_text("c · b/03.png")
    expect(page.locator("#one")).to_contain_text("a red wing")
    expect(page.locator("#counts .histogram > div")).to_have_count(3)
    expect(page.locator("#facts")).to_contain_text("3 labels")
