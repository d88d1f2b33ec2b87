"""The page in Chinese: by a link, by the browser's language, by Gradio's settings; labels and what the server tells always agree."""

import pytest
from playwright.sync_api import expect

from ddpm_app import i18n

SLOW = 60_000
OF_BROWSERS = ["zh-CN", "zh-Hans-SG"]


@pytest.fixture
def opened(chromium, studio):
    """A function that opens the page in a browser of some language; what the browser complained of is checked at the end."""
    contexts, complaints = [], []

    def open_page(locale="en-US", query=""):
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale=locale)
        context.set_default_timeout(SLOW)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(studio[0] + query)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def speaks(page, lang):
    """The page's own language, a static label, a tab that was never opened, a live part, and a part that a handler drew."""
    tab = i18n.t("ui.dataset.tab", lang)
    expect(page.get_by_role("tab", name=tab, exact=True)).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("tab", name=i18n.t("ui.runs.tab", lang), exact=True)).to_be_visible()
    expect(page.locator("#button-start")).to_have_text(i18n.t("ui.header.start", lang))
    expect(page.locator("#status")).to_contain_text(i18n.t("ui.header.idle", lang), timeout=SLOW)
    expect(page.locator("#facts")).to_contain_text(i18n.t("ui.dataset.pictures", lang, count=1024), timeout=SLOW)
    assert page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[lang]


def choose_in_settings(page, name):
    page.locator("footer .settings").click()
    page.get_by_label("Language").click()
    page.get_by_role("option", name=name, exact=True).click()


@pytest.mark.parametrize("locale, query, lang", [
    ("en-US", "?lang=zh", "zh"), ("zh-CN", "?lang=en", "en"), ("fr-FR", "", "en"), *((locale, "", "zh") for locale in OF_BROWSERS),
])  # fmt: skip
def test_a_link_and_a_browser_choose_the_language(opened, locale, query, lang):
    speaks(opened(locale, query), lang)


def test_what_is_wrong_is_told_in_chinese(opened):
    page = opened("zh-CN")
    speaks(page, "zh")
    page.get_by_role("tab", name="配置", exact=True).click()
    page.locator("#field-learning_rate input, #field-learning_rate textarea").first.fill("E-4")
    told = i18n.t("problem.float_parsing", "zh", field="learning_rate", value="E-4")
    expect(page.locator("#field-learning_rate")).to_contain_text(told, timeout=SLOW)
    expect(page.locator("#meaning")).to_contain_text(told, timeout=SLOW)
    page.locator("#button-start").click()
    expect(page.locator("#message .bad")).to_have_text(told, timeout=SLOW)


def test_the_settings_switch_everything_and_keep_the_form(opened, studio):
    page = opened("en-US", "?lang=en")
    speaks(page, "en")
    page.get_by_role("tab", name="Sample", exact=True).click()
    expect(page.locator("#sample-status")).to_contain_text(i18n.t("ui.sample.empty", "en"))
    page.get_by_role("tab", name="Config", exact=True).click()
    page.locator("#field-image_size input, #field-image_size textarea").first.fill("abc")
    wrong = {lang: i18n.t("problem.int_parsing", lang, field="image_size", value="abc") for lang in i18n.LANGUAGES}
    expect(page.locator("#field-image_size")).to_contain_text(wrong["en"], timeout=SLOW)
    choose_in_settings(page, "简体中文")
    speaks(page, "zh")
    expect(page.locator("#field-image_size")).to_contain_text(wrong["zh"], timeout=SLOW)
    expect(page.locator("#meaning")).to_contain_text(wrong["zh"], timeout=SLOW)
    expect(page.locator("#field-image_size input, #field-image_size textarea").first).to_have_value("abc")
    expect(page.locator("#where")).to_contain_text("页", timeout=SLOW)
    expect(page.locator("#sample-status")).to_contain_text(i18n.t("ui.sample.empty", "zh"), timeout=SLOW)
    for query, lang in (("", "zh"), ("?lang=en", "en")):  # chosen once, this browser keeps it; but a link wins
        again = page.context.new_page()
        again.goto(studio[0] + query)
        speaks(again, lang)
