"""The languages of the page are those that Gradio knows."""

import re

from ddpm_app import i18n
from ddpm_app.ui import language
from ddpm_app.ui.state import label


def test_gradio_knows_all_languages_and_the_page_says_which_it_shows():
    assert tuple(language.CODES) == i18n.LANGUAGES
    assert label.translations.keys() == language.CODES.keys()
    assert all(table["ui.language"] == lang for lang, table in label.translations.items())
    assert re.search(r'const codes = \{"en": "en", "zh": "zh-CN"\}', language.script().decode())
