"""The Chinese texts beside the English ones, figures in words, and codes of another version. A property of all texts is one test that
lists the keys that lack it."""

import re
import string

import pytest

from ddpm_app import i18n
from ddpm_app.config import FIELDS
from ddpm_app.errors import Problem
from ddpm_app.i18n import format_bytes, format_duration, problem_on_page, text_for_code

ENGLISH_ONLY = ("cli.", "hub.")
"""The terminal, and what is published on the Hub."""
ALIKE = {"doctor.numpy_abi_mend", "ui.sample.prompt_example"}
"""A command, and a prompt in the language that the models that ship have learnt."""
TERMS = set(
    "hugging face hub traceback unet step epoch loss timestep caption guidance scale scaling factor attention encoder decoder down up block"
    " tensor shape dtype min max mean std snr sigmoid cosine scaled linear train eval grad".split()
)
"""Words of the field that a Chinese engineer writes in English too."""
ENGLISH = {
    key: text
    for key, text in i18n.text_table("en").items()
    if not key.startswith(ENGLISH_ONLY) and not key.endswith(".singular")  # Chinese has no plural
}
CHINESE = i18n.text_table("zh")
BOTH = sorted(ENGLISH.keys() & CHINESE.keys())
HAN = r"[\u4e00-\u9fff]"


def placeholders(key, text):
    if key.startswith("field."):  # shown as it is
        return sorted(re.findall(r"\{.*?\}", text))
    fields = string.Formatter().parse(text)
    return sorted((name, spec, conversion) for _, name, spec, conversion in fields if name is not None)


def parts(text):
    """Tags, code and line breaks."""
    return [sorted(re.findall(part, text)) for part in (r"<[^>]*>", r"`[^`]*`", r"\n")]


def test_the_page_names_settings_by_their_labels():
    wrong = Problem("size_depth", "image_size", other="unet", value=100, levels=4, divisor=8, suggestion=96)
    in_chinese = problem_on_page(wrong, "zh")
    assert problem_on_page(wrong).startswith("“Picture size” is 100, but “Size of the network” has 4 levels")
    assert "“图片边长”" in in_chinese and "“网络大小”" in in_chinese
    assert problem_on_page(Problem("unknown_field", "no_setting")).startswith("no_setting is not a setting")
    assert all(problem_on_page(Problem("string_too_short", name)).startswith("“") for name in FIELDS)


# ---- two languages ----------------------------------------------------------------------------------------------------
def test_both_tables_have_the_same_keys():
    assert ENGLISH.keys() - CHINESE.keys() == CHINESE.keys() - ENGLISH.keys() == set()
    assert {f"field.{name}" for name in FIELDS} <= CHINESE.keys()


def test_no_text_is_empty():
    assert not [key for key in BOTH if not CHINESE[key].strip()]


def test_placeholders_are_those_of_the_english_text():
    assert not [key for key in BOTH if placeholders(key, CHINESE[key]) != placeholders(key, ENGLISH[key])]


def test_tags_code_and_lines_are_those_of_the_english_text():
    assert not [key for key in BOTH if parts(CHINESE[key]) != parts(ENGLISH[key])]


def test_the_braces_that_stay_are_the_same():
    assert not [key for key in BOTH if CHINESE[key].count("{{") != ENGLISH[key].count("{{")]


def test_nothing_is_left_in_english():
    def is_of_terms(text):
        return set(re.findall(r"[A-Za-z]{3,}", re.sub(r"\{.*?\}", "", text).lower())) <= TERMS

    alike = [key for key in BOTH if key not in ALIKE and CHINESE[key] == ENGLISH[key]]
    assert not [key for key in alike if not is_of_terms(ENGLISH[key])]


def test_punctuation_is_full_width():
    assert not [key for key in BOTH if re.search(rf"{HAN}[,;:?!()]|[,;:?!(]{HAN}", CHINESE[key])]


def test_a_space_stands_between_chinese_and_the_rest():
    assert not [key for key in BOTH if re.search(rf"{HAN}[A-Za-z0-9{{]|[A-Za-z0-9}}]{HAN}", CHINESE[key])]


def test_a_problem_is_told_in_chinese():
    problem = i18n.Problem("greater_than", "learning_rate", value=0, limit=0)
    assert i18n.problem_text(problem, "zh") == "learning_rate 为 0：必须大于 0。"
    assert format_duration(250, "zh") == "4 分 10 秒"
    assert i18n.t("cli.run", "zh") == i18n.t("cli.run", "en")  # what has no Chinese text stays English


# ---- figures and codes ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min 00 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 05 min"),
        (36_000, "10 h"),
        (187_200, "52 h"),
    ],
)
def test_lengths_of_time(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(900, "0.9 kB"), (4_200_000, "4.2 MB"), (412_000_000, "412 MB"), (1_530_000_000, "1.5 GB")]
)
def test_bytes_are_spelled(count, text):
    assert format_bytes(count) == text


def test_a_code_of_another_version_shows_as_it_is():
    assert text_for_code("notice.from_the_future", "en", {"a": 1}, "from_the_future") == "from_the_future {'a': 1}"
    assert text_for_code("problem.run_missing", "en", {}, "run_missing") == "run_missing {}"
    values = {"minutes": 1, "seconds": None}
    assert text_for_code("ui.time.minutes", "en", values, "x") == f"x {values}"
