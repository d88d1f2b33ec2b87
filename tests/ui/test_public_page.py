"""Start and the other buttons of the header, pressed by strangers."""

import functools

from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run

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
