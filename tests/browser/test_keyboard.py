"""Tabs, radios and thumbnails for those who use no mouse or no screen."""

import re

from kits.browser import StudioPage
from playwright.sync_api import expect


def test_arrow_keys_move_in_tabs_and_radios_and_a_tab_begins_at_its_top(context, studio):
    page = StudioPage(context, studio[0], tab="config")
    page.wait_for_selector(".presets input[type=radio]:checked")
    chosen = page.locator(".presets input[type=radio]:checked")
    first = chosen.input_value()
    chosen.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".presets input[type=radio]:checked")).not_to_have_value(first)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".presets input[type=radio]:checked")).to_have_value(first)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.presets input')].filter((radio) => radio.tabIndex === 0).length === 1"
    )

    page.evaluate("scrollTo(0, 500)")
    page.get_by_role("tab", name="Config", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Train", exact=True)).to_have_attribute("aria-selected", "true")
    page.wait_for_function("() => scrollY === 0")
    expect(page.locator("[role=tab][tabindex='0']")).to_have_text(re.compile("Train"))
    page.open_tab("Dataset")
    expect(page.locator("#gallery .thumbnail-lg").first).not_to_have_attribute("aria-label", re.compile("Thumbnail"))
    assert not page.complaints
