"""The way of somebody who brings pictures: a zip, what to expect of it, a recipe, Start, pictures; at no moment butterflies."""

import io
import json
import zipfile

import numpy as np
import pytest
from kits.browser import PATIENCE_MS, start_app
from PIL import Image, ImageDraw
from playwright.sync_api import expect

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
    ),
]


def varied(seed: int) -> bytes:
    """A picture of anything."""
    draw = np.random.default_rng(seed)
    size = tuple(draw.integers(90, 260, 2).tolist())
    image = Image.new("RGB", size, tuple(draw.integers(0, 255, 3).tolist()))
    for _ in range(9):
        x, y = draw.integers(0, 200, 2)
        w, h = draw.integers(10, 120, 2)
        shape = ImageDraw.Draw(image).ellipse if draw.random() < 0.5 else ImageDraw.Draw(image).rectangle
        shape([x, y, x + w, y + h], fill=tuple(draw.integers(0, 255, 3).tolist()))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def page(context, tmp_path):
    with start_app(tmp_path / "runs") as address:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        yield page


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def test_a_zip_of_anything_from_drop_to_pictures(page, tmp_path):
    expect.set_options(timeout=PATIENCE_MS)
    with zipfile.ZipFile(tmp_path / "attic.zip", "w") as file:
        for k in range(60):
            file.writestr(f"{k:02}.png", varied(k))
        file.writestr("readme.md", "x")
    open_tab(page, "Dataset")
    expect(page.locator("#gallery img").first).to_be_visible()
    page.get_by_label("Upload", exact=True).check()
    expect(page.locator("#stage")).to_be_hidden()  # nothing is chosen: no butterflies either
    page.locator("#choose input[type=file]").set_input_files(str(tmp_path / "attic.zip"))
    expect(page.locator("#facts")).to_contain_text("60 pictures")
    expect(page.locator("#facts")).to_contain_text("attic")
    expect(page.locator("#judgement")).to_contain_text("all kinds of things")
    expect(page.locator("#judgement")).to_contain_text("few")
    expect(page.locator("#recipe input:checked")).to_have_count(1)
    expect(page.locator("#account")).to_contain_text("readme.md")

    page.get_by_label("Built-in butterflies", exact=True).check()
    expect(page.locator("#facts")).to_contain_text("1,024 pictures")
    page.get_by_label("Upload", exact=True).check()
    expect(page.locator("#facts")).to_contain_text("60 pictures")

    open_tab(page, "Config")
    page.locator(".presets").get_by_text("quick-check").click()
    expect(page.locator("#field-image_size input, #field-image_size textarea").first).to_have_value("16")
    expect(page.locator("#command")).to_contain_text("attic")
    page.locator("#field-max_train_steps input, #field-max_train_steps textarea").first.fill("3")
    expect(page.locator("#command")).to_contain_text("--max_train_steps 3")
    page.locator("#button-start").click()
    expect(page.locator("#status")).to_contain_text("Finished")
    record = json.loads(next((tmp_path / "runs").glob("*/config.json")).read_text())
    assert "attic" in record["config"]["dataset_name"] and record["config"]["output_dir"] == "attic"
    assert {line["code"] for line in record["data"]["account"]} >= {"pictures", "others"}
