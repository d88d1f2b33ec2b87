"""The Chinese texts beside the English ones: the same keys, placeholders and tags, and nothing left untranslated."""

import re
import string

import pytest

from ddpm_app import i18n
from ddpm_app.config import FIELDS

ENGLISH_ONLY = ("cli.", "hub.")
"""The terminal, and what is published on the Hub."""
ALIKE = {"doctor.numpy_abi_mend", "ui.sample.prompt_example"}
"""A command, and a prompt in the language that the models that ship have learnt."""
TERMS = set(
    "hugging face hub traceback unet step epoch loss timestep caption guidance scale scaling factor attention encoder decoder down up block"
    " tensor shape dtype min max mean std snr sigmoid cosine scaled linear train eval grad".split()
)
"""Words of the field that a Chinese engineer writes in English too."""
ENGLISH = {key: told for key, told in i18n.text_table("en").items() if not key.startswith(ENGLISH_ONLY)}
CHINESE = i18n.text_table("zh")
BOTH = sorted(ENGLISH.keys() & CHINESE.keys())
HAN = r"[\u4e00-\u9fff]"


def placeholders(key, told):
    if key.startswith("field."):  # shown as it is
        return sorted(re.findall(r"\{.*?\}", told))
    return sorted(
        (name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(told) if name is not None
    )


def test_both_tables_have_the_same_keys():
    assert ENGLISH.keys() - CHINESE.keys() == CHINESE.keys() - ENGLISH.keys() == set()
    assert {f"field.{name}" for name in FIELDS} <= CHINESE.keys()


@pytest.mark.parametrize("key", BOTH)
def test_a_text_has_the_parts_of_the_english_one(key):
    assert CHINESE[key].strip()
    assert placeholders(key, CHINESE[key]) == placeholders(key, ENGLISH[key])
    for part in (r"<[^>]*>", r"`[^`]*`", r"\n"):
        assert sorted(re.findall(part, CHINESE[key])) == sorted(re.findall(part, ENGLISH[key]))


def test_the_braces_that_stay_are_the_same():
    for key in BOTH:
        assert CHINESE[key].count("{{") == ENGLISH[key].count("{{"), key


@pytest.mark.parametrize("key", [key for key in BOTH if key not in ALIKE])
def test_nothing_is_left_in_english(key):
    assert (
        CHINESE[key] != ENGLISH[key]
        or set(re.findall(r"[A-Za-z]{3,}", re.sub(r"\{.*?\}", "", ENGLISH[key]).lower())) <= TERMS
    )


@pytest.mark.parametrize("key", BOTH)
def test_punctuation_and_spaces_are_chinese(key):
    told = CHINESE[key]
    assert not re.search(rf"{HAN}[,;:?!()]|[,;:?!(]{HAN}", told), "full-width punctuation"
    assert not re.search(rf"{HAN}[A-Za-z0-9{{]|[A-Za-z0-9}}]{HAN}", told), "a space between Chinese and the rest"


def test_a_problem_is_told_in_chinese():
    problem = i18n.Problem("greater_than", "learning_rate", value=0, limit=0)
    assert i18n.problem_text(problem, "zh") == "learning_rate 为 0：必须大于 0。"
    assert i18n.format_duration(250, "zh") == "4 分 10 秒"
    assert i18n.t("cli.run", "zh") == i18n.t("cli.run", "en")  # what has no Chinese text stays English
