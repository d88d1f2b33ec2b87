"""The page in Chinese: by a link, by the browser's language, by the page's menu; labels and what the server tells always agree."""

import pytest
from kits.browser import OF_A_CLOSED_PAGE, StudioPage
from playwright.sync_api import expect

from ddpm_app import i18n
from ddpm_app.errors import Problem

OF_BROWSERS = ["zh-CN", "zh-Hans-SG"]


@pytest.fixture
def opened(new_context, studio):
    """A function that opens the page in a browser of some language; what the browser complained of is checked at the end."""
    pages = []

    def open_page(locale="en-US", query=""):
        pages.append(StudioPage(new_context(locale=locale), studio[0] + query, tab="home"))
        return pages[-1]

    yield open_page
    complaints = [complaint for page in pages for complaint in page.complaints]
    assert not [complaint for complaint in complaints if not any(part in complaint for part in OF_A_CLOSED_PAGE)]


def speaks(page, lang):
    """The page's own language, a static label, a tab that was never opened, a live part, and a part that a handler drew."""
    tab = i18n.t("ui.dataset.tab", lang)
    expect(page.locator("#first-paint")).to_have_count(0)
    expect(page.get_by_role("tab", name=tab, exact=True)).to_be_visible()
    expect(page.get_by_role("tab", name=i18n.t("ui.runs.tab", lang), exact=True)).to_be_visible()
    expect(page.locator("#button-start")).to_have_text(i18n.t("ui.header.start", lang))
    page.expect_status(i18n.t("ui.header.idle", lang))
    expect(page.locator(".home h2")).to_have_text(i18n.t("ui.home.title", lang))
    assert page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[lang]


def choose_in_menu(page, name):
    page.locator("#menu summary").click()
    page.button(name).click()


@pytest.mark.parametrize("locale, query, lang", [
    ("en-US", "?lang=zh", "zh"), ("zh-CN", "?lang=en", "en"), ("fr-FR", "", "en"), *((locale, "", "zh") for locale in OF_BROWSERS),
])  # fmt: skip
def test_a_link_and_a_browser_choose_the_language(opened, locale, query, lang):
    speaks(opened(locale, query), lang)


def test_what_is_wrong_is_told_in_chinese(opened):
    page = opened("zh-CN")
    speaks(page, "zh")
    page.open_tab("配置")
    page.field("learning_rate").fill("E-4")
    message = i18n.problem_on_page(Problem("float_parsing", "learning_rate", value="E-4"), "zh")
    expect(page.locator("#field-learning_rate")).to_contain_text(message)
    expect(page.locator("#meaning")).to_contain_text(message)
    page.locator("#button-start").click()
    expect(page.locator("#message .bad")).to_contain_text(message)


def test_the_menu_switches_everything_and_keep_the_form(opened, studio):
    page = opened("en-US", "?lang=en")
    speaks(page, "en")
    page.open_tab("Sample")
    expect(page.locator("#sample-status")).to_contain_text(i18n.t("ui.sample.empty", "en"))
    page.open_tab("Config")
    page.field("image_size").fill("abc")
    problem = Problem("int_parsing", "image_size", value="abc")
    wrong = {lang: i18n.problem_on_page(problem, lang) for lang in i18n.LANGUAGES}
    expect(page.locator("#field-image_size")).to_contain_text(wrong["en"])
    choose_in_menu(page, "中文")
    speaks(page, "zh")
    expect(page.locator("#field-image_size")).to_contain_text(wrong["zh"])
    expect(page.locator("#meaning")).to_contain_text(wrong["zh"])
    expect(page.field("image_size")).to_have_value("abc")
    page.open_tab(i18n.t("ui.sample.tab", "zh"))
    expect(page.locator("#sample-status")).to_contain_text(i18n.t("ui.sample.empty", "zh"))
    for query, lang in (("", "zh"), ("?lang=en", "en")):  # chosen once, this browser keeps it; but a link wins
        speaks(StudioPage(page.context, studio[0] + query, tab="home"), lang)
