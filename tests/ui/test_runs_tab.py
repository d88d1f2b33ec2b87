"""The Runs tab: cards, what can be done with a run, the trash, and who may do it."""

import types
import zipfile

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run

from ddpm_app import hub, presets
from ddpm_app.errors import Problem
from ddpm_app.jobs import Jobs
from ddpm_app.runs import registry
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import run_detail, runs
from ddpm_app.ui.tabs.runs import RunsTab


@pytest.fixture
def app(runs_dir):
    make_run(runs_dir, "one", steps=20, previews=2)
    return App(runs_dir)


@pytest.fixture
def tab(app):
    return drawn_for(app)


@pytest.fixture
def public(app):
    """The tab of a public page over the same runs."""
    return drawn_for(App(app.runs_dir, public=True))


def drawn_for(app):
    tab = ui_kit.draw(app, RunsTab)
    tab.detail.page = tab.page
    tab.page.form = types.SimpleNamespace(updates=lambda config: {"form": config})
    return tab


def do(tab, action, name="one", visitor="", **values):
    """The answer of an action on the run ``name``; ``values`` of its inputs by their name in RunDetail."""
    detail, page = tab.detail, tab.page
    data = {detail.chosen: name, page.visitor: visitor, page.lang: "en"}
    data |= {getattr(detail, key): value for key, value in values.items()}
    return detail.attempt(getattr(detail, action), data)


def message_of(tab, answer):
    return answer[tab.page.message]


def restore(tab, name):
    return message_of(tab, tab.restore({tab.discarded: name, tab.page.lang: "en"}))


def empty_trash(tab):
    return message_of(tab, tab.empty_trash({tab.page.lang: "en"}))


def test_trash_and_back(app, tab):
    answer = do(tab, "discard")
    assert "one" in message_of(tab, answer) and answer[tab.detail.chosen] == ""
    assert app.monitor.names() == []
    (discarded,) = registry.trash(app.runs_dir)
    assert runs.discarded_label(discarded.name).startswith("one (20")
    restore(tab, discarded.name)
    assert app.monitor.names() == ["one"]


def test_only_names_from_the_trash_come_back(tab):
    assert "bad" in restore(tab, "../one")


def test_emptying_the_trash_frees_the_disk(app, tab):
    do(tab, "discard")
    assert "kB" in empty_trash(tab) and not registry.trash(app.runs_dir)


def test_rename(app, tab):
    answer = do(tab, "rename", new_name="  two ")
    assert answer[tab.detail.chosen] == "two" and app.monitor.names() == ["two"]


@pytest.mark.parametrize("name", ["", "../two", "a/b", ".hidden"])
def test_a_name_that_cannot_be_is_said(app, tab, name):
    assert "bad" in message_of(tab, do(tab, "rename", new_name=name))
    assert app.monitor.names() == ["one"]


def test_a_run_at_work_is_left_alone(app, tab):
    at_work(registry.find(app.runs_dir, "one"))
    for action in ("discard", "rename", "resume"):
        assert "bad" in message_of(tab, do(tab, action, new_name="two"))
    assert app.monitor.names() == ["one"]


def test_an_unknown_run_is_said(tab):
    assert "bad" in message_of(tab, do(tab, "discard", name="../one"))


@pytest.mark.parametrize("action", ["discard", "rename", "publish"])
def test_in_public_nobody_throws_away_renames_or_publishes(public, action):
    run, detail = registry.find(public.app.runs_dir, "one"), public.detail
    data = {detail.chosen: "one", public.page.lang: "en", detail.new_name: "two", detail.repository: "me/it"}
    with pytest.raises(Problem, match="public_off"):
        getattr(detail, action)(run, data)


def test_in_public_the_trash_is_closed(app, tab, public):
    do(tab, "discard")
    assert "bad" in empty_trash(public)
    assert "bad" in restore(public, registry.trash(app.runs_dir)[0].name)
    assert len(registry.trash(app.runs_dir)) == 1


def longer(tab, kind, length, visitor):
    return message_of(tab, do(tab, "resume_longer", visitor=visitor, length_kind=kind, length=length))


def test_resume_and_longer_go_through_the_jobs(tab, monkeypatch):
    calls = []
    monkeypatch.setattr(Jobs, "resume", lambda self, name, owner, **longer: calls.append((name, owner, longer)))
    do(tab, "resume", visitor="me")
    longer(tab, "max_train_minutes", 1.5, "me")
    longer(tab, "max_train_steps", 40.0, "me")
    assert calls == [
        ("one", "me", {}),
        ("one", "me", {"max_train_minutes": 1.5}),
        ("one", "me", {"max_train_steps": 40}),
    ]


def test_in_public_only_the_owner_resumes_and_within_the_caps(public, monkeypatch):
    calls = []
    monkeypatch.setattr(Jobs, "resume", lambda self, name, owner, **longer: calls.append(name))
    registry.find(public.app.runs_dir, "one").begin(owner="me")
    registry.find(public.app.runs_dir, "one").update_status(state="stopped")
    assert "bad" in message_of(public, do(public, "resume", visitor="somebody"))
    assert "bad" in longer(public, "max_train_minutes", 600.0, "me")
    assert not calls
    do(public, "resume", visitor="me")
    assert calls == ["one"]


def test_settings_are_copied_into_the_form(tab):
    answer = do(tab, "copy")
    assert answer["form"] == presets.build("first-butterflies", output_dir="one") and "good" in message_of(tab, answer)


def test_in_public_longer_is_minutes_only(public, monkeypatch):
    monkeypatch.setattr(Jobs, "resume", lambda *arguments, **longer: pytest.fail("a run of any length"))
    registry.find(public.app.runs_dir, "one").begin(owner="me")
    assert "“Minutes”" in longer(public, "max_train_steps", 4.0, "me")


def test_strangers_see_an_upload_s_name_and_no_folders(app, tab, public):
    run = registry.find(app.runs_dir, "one")
    place = str(app.runs_dir / ".uploads" / "ab" / "upload-1")
    run.update_record(config=run.config.to_dict() | {"dataset_name": place})
    lines = runs.card(app.monitor.summaries()[0], "en")["lines"]
    assert "upload-1" in lines[0] and ".uploads" not in lines[0]
    copied = [do(each, "copy")["form"].dataset_name for each in (public, tab)]
    assert copied == ["upload-1", place]  # in public an own upload goes by its name


def zipped(tab, name):
    (answer,) = tab.detail.zip({tab.detail.chosen: name, tab.page.lang: "en"})
    return message_of(tab, answer)


def test_the_pipeline_goes_into_a_zip(app, tab):
    run = registry.find(app.runs_dir, "one")
    (run.pipeline / "unet").mkdir(parents=True)
    (run.pipeline / "unet" / "config.json").write_text("{}")
    (run.path / "secret.txt").write_text("not for others")
    for answer in tab.detail.zip({tab.detail.chosen: "one", tab.page.lang: "en"}):
        assert message_of(tab, answer) == ""
        names = zipfile.ZipFile(answer[tab.detail.archive]).namelist()
    assert "pipeline/unet/config.json" in names and not any("secret" in name for name in names)


def test_a_run_without_pipeline_says_so(tab):
    assert "saved nothing yet" in zipped(tab, "one")
    assert "bad" in zipped(tab, "../one")


def publish(tab, repository):
    return message_of(tab, do(tab, "publish", repository=repository))


def test_publishing_needs_a_repository_and_puts_it_into_the_run(app, tab, monkeypatch):
    assert "bad" in publish(tab, "")
    monkeypatch.setattr(hub, "ready", lambda config: None)
    monkeypatch.setattr(hub, "publish", lambda run: f"https://hub/{run.config.hub_model_id}")
    message = publish(tab, "me/it")
    run = registry.find(app.runs_dir, "one")
    assert "https://hub/me/it" in message and run.status["published"] == "https://hub/me/it"


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_a_published_run_stays_as_it_was(app, tab, monkeypatch, state):
    run = registry.find(app.runs_dir, "one")
    at_work(run)
    run.update_status(**({"pid": 2**22 + 1} if state == "interrupted" else {"state": state}))
    monkeypatch.setattr(hub, "ready", lambda config: None)
    monkeypatch.setattr(hub, "publish", lambda run: "https://hub/me/it")
    assert "https://hub/me/it" in publish(tab, "me/it")
    assert run.status["state"] == state


def test_a_run_at_work_is_not_published(app, tab, monkeypatch):
    at_work(registry.find(app.runs_dir, "one"))
    monkeypatch.setattr(hub, "publish", lambda run: pytest.fail("published"))
    assert "is being trained" in publish(tab, "me/it")


@pytest.mark.parametrize(("kind", "name"), [("max_train_minutes", "Minutes"), ("max_train_steps", "Steps")])
def test_longer_without_a_number_is_said(tab, public, kind, name):
    for each in (tab, public):
        registry.find(each.app.runs_dir, "one").begin(owner="me")
        registry.find(each.app.runs_dir, "one").update_status(state="finished")
        assert f"“{name}” is empty" in longer(each, kind, None, "me")


def test_cards_leave_out_what_changes_with_every_step(app):
    (idle,) = app.monitor.summaries()
    assert any("step 20" in line for line in runs.card(idle, "en")["lines"])
    run = registry.find(app.runs_dir, "one")
    at_work(run)
    app.monitor.refresh()
    before = runs.card(app.monitor.summaries()[0], "en")
    run.update_status(step=21, loss=0.5)
    app.monitor.refresh()
    assert runs.card(app.monitor.summaries()[0], "en") == before


def test_buttons_follow_the_state(app):
    (summary,) = app.monitor.summaries()
    assert run_detail.possible_actions(summary) == {
        "resume": False,
        "longer": True,
        "zip": False,
        "rename": True,
        "publish": False,
        "trash": True,
    }
    assert run_detail.possible_actions(summary | {"state": "interrupted", "saved": True})["resume"]
    assert run_detail.possible_actions(summary | {"saved": True})["publish"]
    assert [
        name
        for name, possible in run_detail.possible_actions(summary | {"active": True, "saved": True}).items()
        if possible
    ] == ["zip"]
    assert not any(run_detail.possible_actions(None).values())


def test_facts_are_escaped(app):
    (summary,) = app.monitor.summaries()
    assert "<b>" not in run_detail.facts_of(summary | {"name": "<b>"}, "en")


def test_two_runs_are_compared(app, tab):
    make_run(app.runs_dir, "two", steps=30)
    detail, data = tab.detail, {tab.detail.chosen: "one", tab.detail.other: "two", tab.page.lang: "en"}
    (chart,) = detail.compare(data)[detail.comparison]["charts"]
    assert [line["label"] for line in chart["lines"]] == ["one", "one, held out", "two", "two, held out"]
    assert detail.compare(data | {detail.other: None}) == {detail.comparison: None}


def test_a_thumbnail_is_small(tab):
    uri = tab.thumbnail({"name": "one", "key": "20"})
    assert uri.startswith("data:image/webp") and len(uri) < 20_000
    with pytest.raises(Problem, match="run_missing"):
        tab.thumbnail({"name": "../one", "key": "20"})
