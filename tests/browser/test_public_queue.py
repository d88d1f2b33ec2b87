"""Three visitors of one public page: each always has one thing to do, and none is told to stop what isn't theirs."""

from kits import browser as browser_kit
from kits.browser import StudioPage
from playwright.sync_api import expect

from ddpm_app.i18n import t
from ddpm_app.runs import registry
from ddpm_app.runs.queue import RunQueue


def test_three_visitors_train_in_turn(new_context, tmp_path):
    with browser_kit.start_app(tmp_path, "--public") as url:
        pages = first, second, third = [
            StudioPage(new_context(), f"{url}?tab=config&preset=butterflies-64") for _ in range(3)
        ]
        for page in pages:
            expect(page.locator("#limits")).to_contain_text("5 minutes a run")
        first.button("Start").click()
        expect(first.locator("#status .yours")).to_be_visible()
        for place, page in enumerate((second, third), 1):
            expect(page.locator("#notes")).to_contain_text("Somebody else's run is at work")
            expect(page.button("Stop")).to_be_hidden()
            page.button("Train mine next").click()
            expect(page.locator("#notes")).to_contain_text(f"number {place} in the queue")
            expect(page.button("Train mine next")).to_be_hidden()
        third.open_tab("Runs")
        expect(third.locator(".waiting-runs li")).to_have_count(2)
        expect(third.locator(".waiting-runs button")).to_have_count(1)  # its own
        third.button("Give up my place").click()
        expect(third.locator(".waiting-runs li")).to_have_count(1)
        expect(third.button("Train mine next")).to_be_visible()
        first.button("Stop").click()
        expect(second.locator("#status .yours")).to_be_visible()
        expect(first.locator("#notes")).to_contain_text("Somebody else's run is at work")
        second.wait_until(lambda: not RunQueue(tmp_path).waiting())
        second.button("Stop").click()
        for page in pages:
            expect(page.button("Start").or_(page.button(t("ui.header.again")))).to_be_visible()
        states = [run.status["state"] for run in registry.list_runs(tmp_path)]
        assert states == ["stopped", "stopped"] and not any(page.complaints for page in pages)
