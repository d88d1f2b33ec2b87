"""The questions that Config begins with: what they hide, what they keep, and what they tell before anything is trained."""

import pytest
from playwright.sync_api import expect

SLOW = 60_000


@pytest.fixture
def config(page):
    """The page with the Config tab open and everything counted."""
    page.get_by_role("tab", name="Config", exact=True).click()
    expect(page.locator("#meaning")).to_contain_text("Memory", timeout=SLOW)
    return page


def command(page, *parts, without=()):
    for part in parts:
        expect(page.locator("#command")).to_contain_text(part, timeout=SLOW)
    for part in without:
        expect(page.locator("#command")).not_to_contain_text(part, timeout=SLOW)


def answer(page, field, value):
    box = page.locator(f"#field-{field} input")
    box.fill(value)
    box.press("Enter")


def test_an_answer_and_back_keeps_everything(config):
    config.locator(".presets").get_by_text("first-butterflies").click()
    expect(config.locator("#meaning")).not_to_contain_text(
        "16 x 16 x 4", timeout=SLOW
    )  # so that what follows waits for the other preset
    config.get_by_label("latent-128").first.click()
    expect(config.locator("#meaning")).to_contain_text("128 x 128 x 3 \u2192 16 x 16 x 4", timeout=SLOW)
    expect(config.locator("#fit")).to_be_visible()
    expect(config.locator("#group-autoencoder")).to_be_hidden()
    answer(config, "vae", "somebody/something")
    command(config, "--vae somebody/something")
    config.locator("#field-trainable input[name=up]").check()
    config.locator("#field-trainable input[name=all]").uncheck()
    command(config, "--trainable up")
    config.get_by_label("An autoencoder").click()
    command(config, "--objective autoencoder", without=["--trainable"])
    for name in ("field-vae", "field-conditioning", "group-model", "group-diffusion", "fit"):
        expect(config.locator(f"#{name}")).to_be_hidden(timeout=SLOW)
    expect(config.locator("#group-autoencoder")).to_be_visible()
    expect(config.locator("#meaning")).to_contain_text("measured when it is saved", timeout=SLOW)
    config.get_by_label("A diffusion model").click()
    command(config, "--vae somebody/something", "--trainable up", without=["--objective"])
    expect(config.locator("#meaning")).to_contain_text("after the download", timeout=SLOW)
    config.reload()
    config.get_by_role("tab", name="Config", exact=True).click()
    expect(config.locator("#field-vae input")).to_have_value("somebody/something", timeout=SLOW)
    command(config, "--trainable up")
    assert config.complaints == []


def test_the_last_click_counts(config):
    """Counting takes longer than a click."""
    config.get_by_label("latent-128").first.click()
    expect(config.locator("#anatomy")).to_contain_text("AutoencoderKL", timeout=SLOW)
    for name in ("down", "mid", "up"):
        config.locator(f"#field-trainable input[name={name}]").check()
    config.locator("#field-trainable input[name=all]").uncheck()
    expect(config.locator("#meaning")).to_contain_text("learn", timeout=SLOW)
    expect(config.locator("#anatomy .sections .no")).to_contain_text("ends", timeout=SLOW)


def test_a_setting_is_found_and_a_link_leads_to_it(config):
    finder = config.locator("#finder")
    finder.get_by_role("searchbox").fill("beta2")
    expect(config.locator("#field-adam_beta2 input, #field-adam_beta2 textarea").first).to_be_visible(timeout=SLOW)
    expect(config.locator("#field-image_size")).to_be_hidden()
    expect(config.locator("#group-hub")).to_be_hidden()
    config.locator("#field-adam_beta2 input, #field-adam_beta2 textarea").first.fill("7")
    finder.get_by_role("searchbox").fill("")
    config.locator("#meaning").get_by_role("link", name="“Adam's beta2” is 7").click(timeout=SLOW)
    expect(config.locator("#field-adam_beta2 input, #field-adam_beta2 textarea").first).to_be_focused(timeout=SLOW)
    expect(finder.get_by_role("link", name="Adam's beta2")).to_be_visible(timeout=SLOW)
    config.get_by_role("button", name="Back to the preset").click()
    expect(finder).to_contain_text("As in the preset", timeout=SLOW)
    assert config.complaints == []


def test_the_autoencoder_is_looked_through(config):
    config.get_by_label("latent-128").first.click()
    expect(config.locator("#fit-look")).to_be_visible(timeout=SLOW)
    config.locator("#fit-look").click()
    expect(config.locator("#fit-answer img")).to_have_count(8, timeout=SLOW)
    expect(config.locator("#fit-answer .good")).to_contain_text("It fits")
    config.get_by_label("words-128").first.click()
    expect(config.locator("#meaning")).to_contain_text("none of 1,024 is cut", timeout=SLOW)
    config.locator("#field-image_size input, #field-image_size textarea").first.fill("64")
    expect(config.locator("#fit-answer img")).to_have_count(0, timeout=SLOW)


def test_nothing_sticks_out_of_a_phone(config):
    config.set_viewport_size({"width": 390, "height": 844})
    config.get_by_label("words-128").first.click()
    expect(config.locator("#anatomy")).to_contain_text("CLIPTextModel", timeout=SLOW)
    assert config.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
