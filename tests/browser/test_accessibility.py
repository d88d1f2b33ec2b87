"""What axe-core finds wrong with each tab, light and dark: nothing."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from kits.browser import StudioPage
from playwright.sync_api import expect

TABS = {
    "Home": ".home-chip",
    "Dataset": "#gallery img",
    "Config": "#command .cm-line span",
    "Train": "#train-empty h2",
    "Sample": "#sample-status h2",
    "Learn": ".learn[data-state=ready]",
    "Runs": ".empty h2",
}
"""What is there when a tab is."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(new_context, studio, theme):
    page = StudioPage(new_context(color_scheme=theme), f"{studio[0]}?__theme={theme}")
    faults = {}
    for name, content in TABS.items():
        page.open_tab(name)
        page.locator(content).locator("visible=true").first.wait_for()
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
        expect(page.locator("[role=tabpanel]:visible")).to_have_count(1)
        results = Axe().run(page._page)
        faults[name] = [
            (violation["id"], node["html"][:160])
            for violation in results.response["violations"]
            for node in violation["nodes"]
        ]
    assert faults == {name: [] for name in TABS}
