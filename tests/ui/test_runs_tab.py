import types
import zipfile

import pytest
from kits.fabricated_runs import at_work, make_run

from ddpm_app import hub, presets
from ddpm_app.errors import Problem
from ddpm_app.jobs import Jobs
from ddpm_app.runs import registry
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import runs as tab
from ddpm_app.ui.tabs import runs_handlers as actions


@pytest.fixture
def studio(runs_dir):
    make_run(runs_dir, "one", steps=20, previews=2)
    return App(runs_dir)


def do(studio, act, *given, name="one", visitor=""):
    return actions.doing(studio, act, [None, None, None])(name, visitor, "en", *given)


def test_trash_and_back(studio):
    message, chosen = do(studio, actions.throw_away)
    assert "one" in message and chosen == ""
    assert studio.monitor.names() == []
    (thrown,) = registry.trash(studio.runs_dir)
    assert tab.thrown_label(thrown.name).startswith("one (20")
    actions.restorer(studio)(thrown.name, "en")
    assert studio.monitor.names() == ["one"]


def test_only_names_from_the_trash_come_back(studio):
    message, _ = actions.restorer(studio)("../one", "en")
    assert "bad" in message


def test_emptying_the_trash_frees_the_disk(studio):
    do(studio, actions.throw_away)
    message, *_ = actions.emptier(studio)("en")
    assert "kB" in message and not registry.trash(studio.runs_dir)


def test_rename(studio):
    _, name, _ = do(studio, actions.rename, "  two ")
    assert name == "two" and studio.monitor.names() == ["two"]


@pytest.mark.parametrize("name", ["", "../two", "a/b", ".hidden"])
def test_a_name_that_cannot_be_is_said(studio, name):
    assert "bad" in do(studio, actions.rename, name)[0]
    assert studio.monitor.names() == ["one"]


def test_a_run_at_work_is_left_alone(studio):
    at_work(registry.find(studio.runs_dir, "one"))
    for act, given in ((actions.throw_away, ()), (actions.rename, ("two",)), (actions.resume, ())):
        assert "bad" in do(studio, act, *given)[0]
    assert studio.monitor.names() == ["one"]


def test_an_unknown_run_is_said(studio):
    assert "bad" in do(studio, actions.throw_away, name="../one")[0]


@pytest.mark.parametrize(
    ("act", "given"), [(actions.throw_away, ()), (actions.rename, ("two",)), (actions.publish, ("me/it",))]
)
def test_in_public_nobody_throws_away_renames_or_publishes(studio, act, given):
    studio.public = True
    with pytest.raises(Problem, match="public_off"):
        act(studio, registry.find(studio.runs_dir, "one"), "en", "visitor", *given)


def test_in_public_the_trash_is_closed(studio):
    do(studio, actions.throw_away)
    studio.public = True
    assert "bad" in actions.emptier(studio)("en")[0]
    assert "bad" in actions.restorer(studio)(registry.trash(studio.runs_dir)[0].name, "en")[0]
    assert len(registry.trash(studio.runs_dir)) == 1


def test_resume_and_longer_go_through_the_jobs(studio, monkeypatch):
    asked = []
    monkeypatch.setattr(Jobs, "resume", lambda self, name, owner, **longer: asked.append((name, owner, longer)))
    do(studio, actions.resume, visitor="me")
    do(studio, actions.resume, "max_train_minutes", 1.5, visitor="me")
    do(studio, actions.resume, "max_train_steps", 40.0, visitor="me")
    assert asked == [
        ("one", "me", {}),
        ("one", "me", {"max_train_minutes": 1.5}),
        ("one", "me", {"max_train_steps": 40}),
    ]


def test_in_public_only_the_owner_resumes_and_within_the_caps(studio, monkeypatch):
    asked = []
    monkeypatch.setattr(Jobs, "resume", lambda self, name, owner, **longer: asked.append(name))
    studio.public = True
    registry.find(studio.runs_dir, "one").begin(owner="me")
    registry.find(studio.runs_dir, "one").update_status(state="stopped")
    assert "bad" in do(studio, actions.resume, visitor="somebody")[0]
    assert "bad" in do(studio, actions.resume, "max_train_minutes", 600.0, visitor="me")[0]
    assert not asked
    do(studio, actions.resume, visitor="me")
    assert asked == ["one"]


def test_settings_are_copied_into_the_form(studio):
    filled = []
    shared = types.SimpleNamespace(form=types.SimpleNamespace(fill=lambda config: filled.append(config) or ["a", "b"]))
    message, _, *values = do(studio, actions.copier(shared))
    assert filled == [presets.build("first-butterflies", output_dir="one")]
    assert values == ["a", "b"] and "good" in message


def test_in_public_longer_is_minutes_only(studio, monkeypatch):
    monkeypatch.setattr(Jobs, "resume", lambda *given, **longer: pytest.fail("a run of any length"))
    studio.public = True
    registry.find(studio.runs_dir, "one").begin(owner="me")
    assert "max_train_minutes" in do(studio, actions.resume, "max_train_steps", 4.0, visitor="me")[0]


def test_strangers_see_an_upload_s_name_and_no_folders(studio):
    run = registry.find(studio.runs_dir, "one")
    place = str(studio.runs_dir / ".uploads" / "ab" / "upload-1")
    run.update_record(config=run.config.to_dict() | {"dataset_name": place})
    studio.monitor.refresh()
    lines = tab.card(studio.monitor.summaries()[0], "en")["lines"]
    assert "upload-1" in lines[0] and ".uploads" not in lines[0]
    copied = []
    shared = types.SimpleNamespace(
        form=types.SimpleNamespace(fill=lambda config: copied.append(config.dataset_name) or [])
    )
    for studio.public in (True, False):
        do(studio, actions.copier(shared))
    assert copied == ["upload-1", place]  # in public the guard knows an own upload by its name


def test_the_pipeline_goes_into_a_zip(studio):
    run = registry.find(studio.runs_dir, "one")
    (run.pipeline / "unet").mkdir(parents=True)
    (run.pipeline / "unet" / "config.json").write_text("{}")
    (run.path / "secret.txt").write_text("not for others")
    for message, path in actions.zipper(studio)("one", "en"):
        assert message == ""
        names = zipfile.ZipFile(path).namelist()
    assert "pipeline/unet/config.json" in names and not any("secret" in name for name in names)


def test_a_run_without_pipeline_says_so(studio):
    ((message, _),) = actions.zipper(studio)("one", "en")
    assert "saved nothing yet" in message
    ((message, _),) = actions.zipper(studio)("../one", "en")
    assert "bad" in message


def test_publishing_needs_a_repository_and_puts_it_into_the_run(studio, monkeypatch):
    assert "bad" in do(studio, actions.publish, "")[0]
    monkeypatch.setattr(hub, "ready", lambda config: None)
    monkeypatch.setattr(hub, "publish", lambda run: f"https://hub/{run.config.hub_model_id}")
    message, _ = do(studio, actions.publish, "me/it")
    run = registry.find(studio.runs_dir, "one")
    assert "https://hub/me/it" in message and run.status["published"] == "https://hub/me/it"


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_a_published_run_stays_as_it_was(studio, monkeypatch, state):
    run = registry.find(studio.runs_dir, "one")
    at_work(run)
    run.update_status(**({"pid": 2**22 + 1} if state == "interrupted" else {"state": state}))
    monkeypatch.setattr(hub, "ready", lambda config: None)
    monkeypatch.setattr(hub, "publish", lambda run: "https://hub/me/it")
    assert "https://hub/me/it" in do(studio, actions.publish, "me/it")[0]
    assert run.status["state"] == state


def test_a_run_at_work_is_not_published(studio, monkeypatch):
    at_work(registry.find(studio.runs_dir, "one"))
    monkeypatch.setattr(hub, "publish", lambda run: pytest.fail("published"))
    assert "is being trained" in do(studio, actions.publish, "me/it")[0]


@pytest.mark.parametrize("kind", ["max_train_minutes", "max_train_steps"])
def test_longer_without_a_number_is_said(studio, kind):
    for studio.public in (False, True):
        registry.find(studio.runs_dir, "one").begin(owner="me")
        registry.find(studio.runs_dir, "one").update_status(state="finished")
        assert f"{kind} is empty" in do(studio, actions.resume, kind, None, visitor="me")[0]


def test_cards_leave_out_what_changes_with_every_step(studio):
    (idle,) = studio.monitor.summaries()
    assert any("step 20" in line for line in tab.card(idle, "en")["lines"])
    run = registry.find(studio.runs_dir, "one")
    at_work(run)
    studio.monitor.refresh()
    before = tab.card(studio.monitor.summaries()[0], "en")
    run.update_status(step=21, loss=0.5)
    studio.monitor.refresh()
    assert tab.card(studio.monitor.summaries()[0], "en") == before


def test_buttons_follow_the_state(studio):
    (brief,) = studio.monitor.summaries()
    assert tab.able(brief) == {
        "resume": False,
        "longer": True,
        "zip": False,
        "rename": True,
        "publish": False,
        "trash": True,
    }
    assert tab.able(brief | {"state": "interrupted", "saved": True})["resume"]
    assert tab.able(brief | {"saved": True})["publish"]
    assert [name for name, possible in tab.able(brief | {"active": True, "saved": True}).items() if possible] == ["zip"]
    assert not any(tab.able(None).values())


def test_facts_are_escaped(studio):
    (brief,) = studio.monitor.summaries()
    assert "<b>" not in tab.facts_of(brief | {"name": "<b>"}, "en")


def test_two_runs_are_compared(studio):
    make_run(studio.runs_dir, "two", steps=30)
    (chart,) = actions.comparer(studio)("en", "one", "two")["charts"]
    assert [line["label"] for line in chart["lines"]] == ["one", "one, held out", "two", "two, held out"]
    assert actions.comparer(studio)("en", "one", None) is None


def test_a_thumbnail_is_small(studio):
    uri = actions.thumbnailer(studio)({"name": "one", "key": "20"})
    assert uri.startswith("data:image/webp") and len(uri) < 20_000
    with pytest.raises(Problem, match="run_missing"):
        actions.thumbnailer(studio)({"name": "../one", "key": "20"})
