"""What a person meets first: the butterflies, a form that says what is wrong and keeps what was typed, one click to start."""

import json

from playwright.sync_api import expect

SLOW = 60_000


def field(page, name):
    return page.locator(f"#field-{name} input, #field-{name} textarea").first


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def test_the_butterflies_are_there(page):
    expect(page.locator("#preview img")).to_be_visible(timeout=SLOW)
    expect(page.locator("#gallery img")).to_have_count(24, timeout=SLOW)
    expect(page.locator("#one img")).to_have_count(2, timeout=SLOW)
    expect(page.locator("#facts")).to_contain_text("1,024 pictures")
    page.locator("#search input, #search textarea").first.fill("monarch")
    expect(page.locator("#where")).to_contain_text("64 pictures", timeout=SLOW)
    page.locator("#gallery button").nth(1).click()
    expect(page.locator("#one")).to_contain_text("monarch", timeout=SLOW)
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#where")).to_contain_text("page 2 of 3", timeout=SLOW)
    assert page.complaints == []


def test_a_wrong_value_says_so_under_its_field_and_is_kept(page):
    open_tab(page, "Config")
    page.locator(".presets").get_by_text("first-butterflies").click()
    expect(field(page, "image_size")).to_have_value("32")
    field(page, "image_size").fill("33")
    expect(page.locator("#field-image_size")).to_contain_text("divisible by", timeout=SLOW)
    below = page.locator("#field-image_size .info-text").bounding_box()["y"]
    assert below > field(page, "image_size").bounding_box()["y"]
    field(page, "learning_rate").fill("E-4")
    expect(page.locator("#field-learning_rate")).to_contain_text("must be a number", timeout=SLOW)
    expect(page.locator("#meaning")).to_contain_text("learning_rate")
    page.reload()
    open_tab(page, "Config")
    expect(field(page, "learning_rate")).to_have_value("E-4", timeout=SLOW)
    expect(page.locator("#field-learning_rate")).to_contain_text("must be a number", timeout=SLOW)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#message .bad")).to_be_visible(timeout=SLOW)
    field(page, "learning_rate").fill("2e-4")
    field(page, "image_size").fill("64")
    expect(page.locator("#field-image_size")).not_to_contain_text("divisible", timeout=SLOW)
    expect(page.locator("#command")).to_contain_text("--image_size 64 --learning_rate 0.0002", timeout=SLOW)


def test_settings_go_out_as_a_file_and_come_back(page, tmp_path):
    expect(page.locator("#preview img")).to_be_visible(timeout=SLOW)
    open_tab(page, "Config")
    field(page, "train_batch_size").fill("24")
    expect(page.locator("#command")).to_contain_text("24", timeout=SLOW)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    saved = tmp_path / "settings.json"
    download.value.save_as(saved)
    values = json.loads(saved.read_text())
    assert values["train_batch_size"] == 24
    saved.write_text(json.dumps(values | {"train_batch_size": 20, "seed": 7}))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open JSON").click()
    chooser.value.set_files(saved)
    expect(field(page, "train_batch_size")).to_have_value("20", timeout=SLOW)
    expect(page.locator("#command")).to_contain_text("--seed 7", timeout=SLOW)
    saved.write_text(json.dumps({"colour": "blue"}))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open JSON").click()
    chooser.value.set_files(saved)
    expect(page.locator("#message")).to_contain_text("colour", timeout=SLOW)
    assert page.complaints == []


def test_start_pause_stop_on_every_page(page, context, studio):
    open_tab(page, "Config")
    page.get_by_text("quick-check", exact=False).first.click()
    expect(field(page, "image_size")).to_have_value("16", timeout=SLOW)
    open_tab(page, "Dataset")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("tab", name="Train", exact=True)).to_have_attribute("aria-selected", "true", timeout=SLOW)
    expect(page.locator("#status")).to_contain_text("quick-check", timeout=SLOW)
    second = context.new_page()
    second.goto(studio[0])
    expect(second.locator("#status")).to_contain_text("quick-check", timeout=SLOW)
    second.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=SLOW)
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_visible(timeout=SLOW)
    open_tab(page, "Config")
    expect(field(page, "output_dir")).to_have_value("quick-check-2")
    assert page.complaints == []
