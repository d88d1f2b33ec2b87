"""The form is the dataclass: every field goes in and comes out, and what is wrong is said under its field."""

import contextlib
import re
import shlex

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import make_run

from ddpm_app import i18n, presets
from ddpm_app.config import AUTOENCODER_SECTIONS, FIELDS, from_dict, from_json, parse
from ddpm_app.errors import Problem
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import config, config_form, config_summary
from ddpm_app.ui.tabs.config import ConfigTab, command_line, restored_values
from ddpm_app.ui.tabs.config_form import Form
from ddpm_app.ui.tabs.config_summary import ConfigSummary

BASE = from_dict(
    {"unet": "tiny", "norm_num_groups": 8, "attention_levels": [0], "image_size": 64, "mixed_precision": "no"}
).to_dict()
CANDIDATES = [False, True, 1, 2, 7, 8, 64, 0.25, 0.75, "something else", "#102030", [32, 64], [2]]


def other(name):
    """A valid value of the field that is not the base's."""
    for value in [*FIELDS[name].choices, *CANDIDATES]:
        if type(value) is not bool or FIELDS[name].kind == "bool":
            with contextlib.suppress(Problem, ValueError):
                config = from_dict({**BASE, name: value})
                if config.to_dict()[name] != BASE[name]:
                    return config
    raise AssertionError(name)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    tab = ui_kit.draw(App(tmp_path_factory.mktemp("runs")), ConfigTab)
    tab.page.form = tab.form
    return tab


@pytest.fixture
def form(tab):
    return tab.form


def filled(form, config, **changes):
    """A handler's values for the form that holds a config, with changes by field name."""
    data = form.updates(config)
    return data | {form.components[name]: value for name, value in changes.items()}


def through(form, config):
    """What the page does: a config into the components, their values back."""
    data = {component: component.postprocess(value) for component, value in filled(form, config).items()}
    return form.read({component: component.preprocess(value) for component, value in data.items()})


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_survives_the_form(form, name):
    assert through(form, other(name)) == other(name)
    if FIELDS[name].optional:
        empty = from_dict({**BASE, name: None})
        assert through(form, empty) == empty


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_presets_and_files_survive_the_form(form, preset):
    config = presets.build(preset)
    assert through(form, config) == config == from_json(config.to_json())


def test_a_number_may_be_typed_as_people_write_it(form):
    changes = {"learning_rate": "1e-4", "max_train_minutes": "", "max_train_steps": " 20 "}
    config = form.read(filled(form, presets.build("first-butterflies"), **changes))
    assert (config.learning_rate, config.max_train_minutes, config.max_train_steps) == (1e-4, None, 20)


def test_no_attention_stays_none(form):
    config = from_dict({**BASE, "attention_levels": []})
    assert through(form, config).unet_shape == config.unet_shape


def edit(tab, config, messages=(), preset="first-butterflies", **changes):
    """What the page does after an edit of the form."""
    inputs = {tab.page.visitor: "me", tab.page.lang: "en", tab.preset: preset, tab.messages: dict(messages)}
    return tab.check(filled(tab.form, config, **changes) | inputs)


def test_every_finding_names_its_field(tab):
    wrong = {"learning_rate": "E-4", "num_epochs": "", "channels": "2"}
    base = presets.build("first-butterflies")
    # pairs are looked at once each value is right
    assert edit(tab, base, image_size="33", **wrong)[tab.messages].keys() == wrong.keys()
    messages = edit(tab, base, image_size="33")[tab.messages]
    assert messages.keys() == {"image_size"} and "divisible by" in messages["image_size"]


def test_only_fields_whose_message_changed_are_sent(tab):
    fields = tab.form.components
    updates = tab.message_updates({"image_size": "wrong", "seed": "old"}, {"seed": "old", "split": "gone"})
    assert updates.keys() == {fields["image_size"], fields["split"]}
    image_size, split = updates[fields["image_size"]], updates[fields["split"]]
    assert image_size["info"] == "wrong" and "wrong" in image_size["elem_classes"]
    assert split["info"].key == "field.split" and "wrong" not in split["elem_classes"]


def test_what_differs_from_the_preset_is_named_with_links(tab):
    base = presets.build("first-butterflies")
    same = edit(tab, base)
    assert same[tab.finder]["links"] == [] and not same[tab.reset]["visible"]
    changes = {
        "image_size": "64",
        "train_batch_size": "",
        "adam_beta2": "0.9",
        "seed": "5",
        "muon_learning_rate": "0.1",
    }
    update = edit(tab, base, trainable=["up"], output_dir="mine", **changes)
    names = ["trainable", "image_size", "train_batch_size", "muon_learning_rate", "adam_beta2"]
    assert [name for name, _ in update[tab.finder]["links"]] == names  # the seed and the name stay with any preset
    assert update[tab.reset]["visible"] and all(f"#field-{name}" in update[tab.style_sheet] for name in names)
    pixels = edit(tab, base, optimizer="adamw", muon_learning_rate="0.1", caption_template="x")
    assert [name for name, _ in pixels[tab.finder]["links"]] == ["optimizer"]  # the others change nothing there


def test_an_edit_is_parsed_once(tab, monkeypatch):
    calls = []
    monkeypatch.setattr(config, "parse", lambda values: calls.append(values) or parse(values))
    edit(tab, presets.build("first-butterflies"), image_size="33")
    assert len(calls) == 1


def test_an_edit_sends_command_and_memory(tab):
    updates = edit(tab, presets.build("first-butterflies"), seed="7")
    assert updates[tab.command].endswith("--preset first-butterflies --seed 7")
    memory = updates[tab.page.form_memory]
    assert memory["preset"] == "first-butterflies" and memory["values"]["seed"] == "7"
    restored = tab.restore(memory)
    assert (restored[tab.preset], restored[tab.form.components["seed"]]) == ("first-butterflies", "7")
    wrong = edit(tab, presets.build("first-butterflies"), image_size="33")
    assert tab.command not in wrong and "note bad" in wrong[tab.summary.panel]
    # what is wrong comes back too, for its message to be read
    assert tab.restore(wrong[tab.page.form_memory])[tab.form.components["image_size"]] == "33"


def test_a_file_of_settings_goes_out_and_in(tab, tmp_path):
    settings, page = presets.build("latent-128", seed=7), tab.page
    file = tab.write_file(filled(tab.form, settings) | {page.lang: "en"})[tab.file]
    path = tmp_path / file["name"]
    path.write_text(file["text"])
    assert path.name == "latent-128.json"
    updates = tab.read_file("en", str(path))
    assert "note good" in updates.pop(page.message) and tab.form.read(updates) == settings
    path.write_text("{")
    assert "note bad" in tab.read_file("en", str(path))[page.message]
    wrong = tab.write_file(filled(tab.form, settings, seed="x") | {page.lang: "en"})
    assert wrong.keys() == {page.message} and "note bad" in wrong[page.message]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_size": 64},
        {"max_train_steps": 5},
        {"num_epochs": 3},
        {"random_flip": False, "output_dir": "two words"},
        {"checkpoints_total_limit": None},
        {"vae": "pictures-vae", "unet": "latent"},
        {"trainable": ("up", "attention"), "init_from": "butterflies-64"},
    ],
)
def test_the_command_line_says_the_same(changes):
    config = presets.build("first-butterflies", **changes)
    words = shlex.split(command_line("first-butterflies", config))
    assert words[:6] == ["python", "-m", "ddpm_app", "train", "--preset", "first-butterflies"]
    given = {option[2:]: value for option, value in zip(words[6::2], words[7::2], strict=True)}
    assert presets.build("first-butterflies", **{k: None if v == "none" else v for k, v in given.items()}) == config
    assert set(given) == set(changes)


def test_what_the_browser_kept_is_checked():
    kept = {
        "preset": "first-butterflies",
        "values": {
            "image_size": "33",
            "random_flip": False,
            "unknown": "1",
            "seed": 5,
            "use_ema": "yes",
            "unet": "huge",
            "trainable": ["up"],
        },
    }
    # a wrong value stays, what no form can hold goes
    assert restored_values(kept) == {"image_size": "33", "random_flip": False, "trainable": ["up"]}
    assert (
        restored_values({"values": {"trainable": ["up", "sideways"]}})
        == restored_values({"values": {"trainable": "up"}})
        == {}
    )
    assert restored_values(None) == restored_values([]) == restored_values({}) == {}


def test_a_new_run_gets_a_free_name(form, tmp_path):
    busy = Form(tmp_path, form.components, form.preset)
    (tmp_path / "first-butterflies").mkdir()
    config = presets.build("first-butterflies")
    assert busy.texts(config)["output_dir"] == "first-butterflies-2"
    data = filled(form, config)
    assert busy.read(data, free=True).output_dir == "first-butterflies-2"
    assert busy.read(data).output_dir == "first-butterflies"  # typed by hand: the old run goes to the trash


def test_help_lines_are_those_of_the_dataclass():
    table = i18n.text_table("en")
    assert {key[6:]: told for key, told in table.items() if key.startswith("field.")} == {
        name: info.help for name, info in FIELDS.items()
    }


def test_the_speed_is_of_the_newest_run_that_can_be_read(runs_dir, monkeypatch):
    make_run(runs_dir, "old", steps=1, previews=0)
    for name, parts in (("settings", {"config": {"from_the_future": 1}}), ("plan", {"plan": {"from_the_future": 1}})):
        make_run(runs_dir, name, steps=1, previews=0).update_record(**parts)
    make_run(runs_dir, "not-here", steps=1, previews=0)  # it stands on a part that isn't on this machine
    monkeypatch.setattr(
        config_summary, "_estimate", lambda config, *rest: {} if config.output_dir == "not-here" else {"flops": 3.0}
    )
    summary = ui_kit.draw(App(runs_dir), ConfigSummary)
    assert summary.speed() == pytest.approx(3.0 / 0.03)


# ---- the questions ------------------------------------------------------------------------------------------------------
@pytest.fixture
def studio(runs_dir):
    runs_dir.mkdir()
    return App(runs_dir)


def values_of(form, preset, **changes):
    return form.values(filled(form, presets.build(preset, **changes)))


def hidden(studio, values, wrong=()):
    """What the page hides: elem_ids, and sections that can't be ticked."""
    sheet = config_form.style_sheet(studio, values, dict.fromkeys(wrong, ""))
    return {*re.findall(r"#([\w-]+)[,{]", sheet), *re.findall(r"name='(\w+)'", sheet)}


def test_only_what_matters_is_shown(form, studio):
    pixels = hidden(studio, values_of(form, "first-butterflies"))
    assert {"group-conditioning", "group-autoencoder", "fit", "field-caption_column", "encoder", "decoder"} <= pixels
    assert not pixels & {"group-kind", "field-vae", "field-conditioning", "field-init_from", "group-model", "down"}
    assert pixels - hidden(studio, values_of(form, "latent-128")) == {"fit"}
    words = hidden(studio, values_of(form, "words-128"))
    assert not words & {"group-conditioning", "field-text_encoder", "field-caption_column", "fit"}
    labels = hidden(studio, values_of(form, "species-64"))
    assert {"field-caption_template", "field-text_encoder"} <= labels and not labels & {
        "group-conditioning",
        "field-condition_dropout",
    }
    coder = hidden(studio, values_of(form, "autoencoder-128"))
    assert {
        "field-vae",
        "field-conditioning",
        "group-model",
        "group-diffusion",
        "group-conditioning",
        "fit",
        "down",
    } <= coder
    assert not coder & {"group-autoencoder", "field-init_from", "encoder"}


def test_what_a_model_brings_is_not_asked(form, studio, parts):
    tuned = hidden(studio, values_of(form, "fine-tune"))
    assert {
        "field-vae",
        "field-conditioning",
        "group-model",
        "field-prediction_type",
        "group-conditioning",
        "fit",
    } <= tuned
    assert "group-diffusion" not in tuned  # the loss's weighting is still one's own
    words = hidden(studio, values_of(form, "fine-tune", init_from=str(parts / "stable-diffusion")))
    assert not words & {"group-conditioning", "field-caption_template", "fit"}
    unknown = hidden(studio, values_of(form, "stable-diffusion"))  # on the Hub: anything may matter
    assert not unknown & {"group-conditioning", "fit"}


def test_what_is_wrong_is_never_hidden(form, studio):
    values = values_of(form, "first-butterflies") | {"latent_channels": "four"}
    assert {"group-autoencoder", "field-latent_channels"} <= hidden(studio, values)
    assert not {"group-autoencoder", "field-latent_channels"} & hidden(studio, values, ["latent_channels"])
    assert "field-kl_weight" in hidden(studio, values, ["latent_channels"])


def test_an_answer_and_back_keeps_what_was_typed(form):
    config = presets.build("latent-128", trainable=("up", "attention"), vae="somewhere/else", conditioning="labels")
    autoencoder = form.read(filled(form, config, objective="autoencoder"))
    assert autoencoder.trainable == ("all",) and autoencoder.vae == "somewhere/else"
    ticks = filled(form, config, objective="autoencoder", trainable=["up", "decoder"])
    assert form.read(ticks).trainable == ("decoder",)
    assert form.read(filled(form, config)) == config
    with pytest.raises(Problem, match="too_short"):
        form.read(filled(form, config, trainable=[]))


def test_an_emptied_choice_is_none(form):
    emptied = filled(form, presets.build("latent-128"), vae=None)
    assert form.read(emptied).vae is None and form.values(emptied)["vae"] == ""


def test_runs_can_be_chosen_once_they_are_saved(studio):
    def names(objective="diffusion"):
        return {
            field: [value for _, value in choices]
            for field, choices in config_form.model_options(studio, "en", objective).items()
        }

    before = names()
    assert before["vae"][0] == before["init_from"][0] == "" and "butterflies-64" in before["init_from"]
    make_run(studio.runs_dir, "drawing", steps=1, previews=0, pipeline=True)
    coder = make_run(studio.runs_dir, "coding", steps=1, previews=0, preset="autoencoder-128")
    studio.monitor.refresh()
    assert names() == before | {"init_from": [*before["init_from"], "drawing"]}
    coder.pipeline.mkdir()
    studio.monitor.refresh()
    assert names()["vae"] == [*before["vae"], "coding"] and "coding" not in names()["init_from"]
    assert names("autoencoder")["init_from"] == names()["vae"]
    studio.public = True
    assert names() == before


def test_the_sections_are_those_of_the_config():
    for objective in ("diffusion", "autoencoder"):
        sections = [
            section
            for section in FIELDS["trainable"].choices
            if section == "all" or (section in AUTOENCODER_SECTIONS) == (objective == "autoencoder")
        ]
        assert from_dict(BASE | {"objective": objective, "trainable": sections}).trainable == tuple(sections)
        for section in {*FIELDS["trainable"].choices} - {*sections}:
            with pytest.raises(Problem, match="trainable_kind"):
                from_dict(BASE | {"objective": objective, "trainable": [section]})


def test_the_page_opens_where_public_pages_may(runs_dir, monkeypatch):
    monkeypatch.setattr(presets, "FIRST", "tutorial-128")
    public = ui_kit.draw(App(runs_dir, public=True), ConfigTab)
    opening = public.preset.value
    assert opening in [value for _, value in public.preset.choices] and opening != presets.FIRST
    assert public.form.components["image_size"].value == str(presets.build(opening).image_size)
    assert not hasattr(public, "examine")  # the doctor tells of this machine
