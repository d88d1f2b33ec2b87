"""What can be done with a run that has ended, and by whom."""

from kits import page as ui_kit
from kits.fabricated_runs import make_run

from ddpm_app.ui.tabs.run_end import LONGER_MINUTES


def pressed(demo, name, *arguments, visitor="me"):
    return ui_kit.call(demo, name, *arguments, selected="done", visitor=visitor, lang="en")


def test_train_longer_goes_on_for_the_owner_alone(runs_dir, monkeypatch):
    demo, studio = ui_kit.build(runs_dir, public=True)
    resumed = []
    monkeypatch.setattr(studio.jobs, "resume", lambda name, owner, **longer: resumed.append((name, owner, longer)))
    make_run(runs_dir, "done", steps=20, previews=2).request(owner="me")
    message = ui_kit.listener(demo, "RunEnd.train_longer").fn.__self__.page.message
    assert "note bad" in pressed(demo, "RunEnd.train_longer", visitor="you")[message] and not resumed
    assert pressed(demo, "RunEnd.train_longer")[message] == ""
    assert resumed == [("done", "me", {"max_train_minutes": LONGER_MINUTES})]


def test_draw_more_takes_the_model_to_sample(runs_dir):
    demo, _ = ui_kit.build(runs_dir)
    make_run(runs_dir, "done", steps=20, previews=2)
    assert "run:done" in pressed(demo, "RunEnd.draw_more").values()
