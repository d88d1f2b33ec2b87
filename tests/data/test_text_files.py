import json

import pytest
from kits.problems import expect_problem

from ddpm_app.data.text_files import decode_text, read_table, texts_in


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "grün 蝶"),
        ("utf-8-sig", "grün"),
        ("utf-16", "file_name,text\n1.png,青い蝶\n"),
        ("gb18030", "蓝色的蝴蝶在花上"),
        ("gb18030", "猫/1.png\n狗/2.png"),
        ("shift_jis", "ねこ/1.png"),
        ("shift_jis", "庭の赤い花、三つ"),
        ("big5", "藍色的蝴蝶"),
        ("cp1252", "Schmetterling über grünem Grund"),
        ("cp1252", "ÄÖÜ; été; naïve"),
        ("cp1251", "бабочка красная"),
    ],
)
def test_an_encoding_that_nobody_states(encoding, text):
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp437", "Größe/Mädchen.png"), ("cp437", "été.png"), ("cp866", "кошка/1.png")]
)
def test_names_of_dos(encoding, name):
    assert decode_text(name.encode(encoding), "cp437") == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "file_name,text\na.png,red\n"),
        ("m.csv", 'file_name;text\n"a.png";red\n'),
        ("m.tsv", "file_name\ttext\na.png\tred\n"),
        ("m.csv", "file_name|text\na.png|red\n"),
        ("m.csv", "file_name, text\r\na.png, red\r\n"),
        ("m.jsonl", '{"file_name": "a.png", "text": "red"}\n\n'),
        ("m.json", '[{"file_name": "a.png", "text": "red"}]'),
        ("m.json", '{"a.png": {"text": "red"}}'),
    ],
)
def test_a_table_in_each_of_its_ways(name, text):
    assert read_table(text.encode(), name) == [{"file_name": "a.png", "text": "red"}]


def test_captions_by_picture_in_one_object():
    assert read_table(b'{"a.png": "red"}', "m.json") == [{"file_name": "a.png", "caption": "red"}]


@pytest.mark.parametrize(
    ("name", "text", "line"), [("m.jsonl", '{"a": 1}\n{', 2), ("m.jsonl", "[1]", 1), ("m.json", '{"a":\n}', 2)]
)
def test_what_is_broken_is_named_with_its_line(name, text, line):
    with expect_problem("table_unreadable") as caught:
        read_table(text.encode(), name)
    assert caught.value.values == {"name": name, "line": line}


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("red ", ("red",)),
        (["a", "", "b"], ("a", "b")),
        (7, ("7",)),
        (0, ("0",)),
        (None, ()),
        ("", ()),
        (json.loads("NaN"), ()),
    ],
)
def test_the_texts_of_a_cell(cell, texts):
    assert texts_in(cell) == texts
