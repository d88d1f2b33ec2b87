"""Start and the other buttons of the header, pressed by strangers."""

import functools
import types

from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run

from ddpm_app import access, presets
from ddpm_app.runs import registry


def start(demo, output_dir):
    """The message of a press of Start, with a run's name that was typed by hand."""
    header_tab = ui_kit.listener(demo, "Header.start").fn.__self__
    form = {"visitor": "me", "lang": "en", "field-output_dir": output_dir}
    answer = ui_kit.call(demo, "Header.start", **form, typed_name=output_dir)
    return answer[header_tab.page.message]


def test_in_public_a_typed_name_throws_no_run_away(runs_dir, monkeypatch):
    demo, studio = ui_kit.build(runs_dir, public=True)
    made = []
    monkeypatch.setattr(
        studio.jobs,
        "start",
        lambda config, owner: made.append(config) or make_run(runs_dir, config.output_dir, steps=0),
    )
    make_run(runs_dir, "theirs", steps=0)
    start(demo, "theirs")
    assert [config.output_dir for config in made] == ["theirs-2"] and not registry.trash(runs_dir)


def test_a_typed_path_does_not_tell_what_is_there(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    there, not_there = (start(demo, name) for name in ("/etc/passwd", "/etc/nothing"))
    assert "note bad" in there and there.replace("passwd", "nothing") == not_there


def test_in_public_nobody_pauses(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    at_work(run := make_run(runs_dir, "mine", steps=0))
    run.request(owner="me")
    studio.monitor.refresh()
    press = functools.partial(ui_kit.call, selected="mine", visitor="me", lang="en")
    message = ui_kit.listener(demo, "Header.act", "pause").outputs[0]
    assert "switched off" in press(demo, "Header.act", "pause")[message] and not run.requests["pause"]
    assert "note bad" not in press(demo, "Header.act", "stop")[message] and run.requests["stop"]
    press(ui_kit.build(runs_dir)[0], "Header.act", "pause")
    assert run.requests["pause"]


def drawn(demo, studio, visitor):
    header_tab = ui_kit.listener(demo, "Header.start").fn.__self__
    studio.monitor.refresh()
    return header_tab.draw(studio.monitor.snapshot(""), "en", visitor)


def test_three_visitors_each_have_one_thing_to_do(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    at_work(run := make_run(runs_dir, "theirs", steps=0))
    run.request(owner="first")
    run.update_status(state="training", eta_seconds=40)
    message = ui_kit.listener(demo, "Header.leave").outputs[0]

    def wait_turn(visitor):
        return ui_kit.call(demo, "Header.wait_turn", visitor=visitor, lang="en", typed_name="")[message]

    assert (
        drawn(demo, studio, "first")["can"] == "next stop" and "yours" in drawn(demo, studio, "first")["status"]["line"]
    )
    second = drawn(demo, studio, "second")
    assert second["can"] == "next" and "40 s left" in second["notes"] and "yours" not in second["status"]["line"]
    assert "number 1" in wait_turn("second") and "queue already" in wait_turn("second")
    assert "number 2" in wait_turn("third")
    second, third = drawn(demo, studio, "second"), drawn(demo, studio, "third")
    assert second["can"] == third["can"] == "leave" and "2 waiting" in third["status"]["line"]
    assert (
        "number 1 in the queue" in second["notes"] and "About 40 s" in second["notes"] and "number 2" in third["notes"]
    )
    ui_kit.call(demo, "Header.leave", visitor="second", lang="en")
    assert drawn(demo, studio, "second")["can"] == "next" and "number 1" in drawn(demo, studio, "third")["notes"]


def test_who_is_a_moment_late_waits_instead_of_being_told_to_stop_others(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    at_work(make_run(runs_dir, "theirs", steps=0))
    assert "number 1" in start(demo, "mine") and len(studio.jobs.queue.waiting()) == 1


def test_only_the_owner_takes_a_run_out_of_the_queue(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    studio.jobs.queue.add(presets.build("quick-check"), "me")
    tab = ui_kit.listener(demo, "RunsTab.change_queue").fn.__self__
    (waits,) = studio.jobs.queue.waiting()
    click = types.SimpleNamespace(_data={"id": waits["id"], "action": "remove"})
    assert "note bad" in tab.change_queue("you", "en", click)[tab.page.message]
    up = types.SimpleNamespace(_data={"id": waits["id"], "action": "up"})
    assert "note bad" in tab.change_queue("me", "en", up)[tab.page.message]
    rows = [tab.draw({}, "en", "", False, visitor)[tab.waiting]["rows"] for visitor in ("me", "you")]
    assert [row["id"] for (row,) in rows] == [waits["id"], ""]
    assert tab.change_queue("me", "en", click)[tab.page.message] == "" and not studio.jobs.queue.waiting()


def test_limits_stand_in_a_line_and_what_is_refused_is_not_remembered(runs_dir):
    demo, studio = ui_kit.build(runs_dir, public=True)
    tab = ui_kit.listener(demo, "ConfigTab.check").fn.__self__
    line = tab.draw_limits({}, "en")[tab.limits]
    assert all(str(access.CAPS[name]) in line for name in ("image_size", "max_train_minutes"))
    refused = ui_kit.call(demo, "ConfigTab.check", visitor="me", lang="en", **{"field-dataset_name": "/etc"})
    assert tab.page.form_memory not in refused and "dataset_name" in refused[tab.messages]
    assert tab.page.form_memory in ui_kit.call(demo, "ConfigTab.check", visitor="me", lang="en")
