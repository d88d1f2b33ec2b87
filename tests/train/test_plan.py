"""Seconds become steps: previews by time, the fewest steps of a picture, the warm-up's share, and the second look."""

import itertools
import types

import pytest
from kits.engine import MEASURED, Hand, new, outcome, rows, train
from PIL import Image

from ddpm_app.i18n import LANGUAGES, t
from ddpm_app.train import events, loop, optimizer, plan

pytestmark = pytest.mark.usefixtures("no_rehearsal")
BY_TIME = dict(save_image_steps=None, save_image_epochs=None, checkpointing_steps=1000)
QUICK = MEASURED | dict(step_seconds=0.2, forward_seconds=0.03, quick_seconds=0.16, preview_passes=20)
"""latent-128 on two idle cores, about."""
VALIDATION = 2 * plan.VALIDATION_PICTURES * 0.2 / 4 * plan.FORWARD_SHARE
"""Seconds of one validation of these, with batches of four."""


def planned(config, most_minutes=None, **measured):
    pictures = types.SimpleNamespace(train=range(950), held_out=range(50))
    return plan.make_plan(config, pictures, QUICK | measured, "cpu", most_minutes=most_minutes)


def minutes(tiny, count, **changes):
    return tiny(**BY_TIME | dict(max_train_steps=None, max_train_minutes=count) | changes)


# ---- previews by time -------------------------------------------------------------------------------------------------
def test_a_minute_has_ten_previews_the_first_soon_the_next_ever_later(tiny):
    chosen = planned(minutes(tiny, 1))
    steps = chosen["preview_steps"]
    seconds = [b * 0.2 for b in steps]
    gaps = [b - a for a, b in itertools.pairwise(seconds)]
    assert steps[0] == 0 and steps[-1] == chosen["total_steps"] and len(steps) >= 11
    assert 3 <= seconds[1] <= 5 and all(4 <= gap + 0.2 for gap in gaps[:-1]) and gaps[-2] > gaps[0]
    assert chosen["total_seconds"] == pytest.approx(60, abs=VALIDATION)
    assert [plan.has_preview(chosen, step) for step in (0, 1, steps[1], chosen["total_steps"])] == [1, 0, 1, 1]
    assert [plan.is_quick(chosen, step) for step in (0, steps[1], chosen["total_steps"])] == [True, True, False]


@pytest.mark.parametrize("minutes_", [1, 5, 60])
@pytest.mark.parametrize("quick_seconds", [0.02, 0.5, 3])
def test_previews_take_their_share_at_most_and_come_every_quarter_of_a_minute(tiny, minutes_, quick_seconds):
    chosen = planned(minutes(tiny, minutes_), step_seconds=0.05, quick_seconds=quick_seconds)
    count = len(chosen["preview_steps"])
    spent = (count - 1) * quick_seconds + chosen["preview_seconds"]
    assert spent <= (plan.PREVIEW_SHARE + 0.01) * 60 * minutes_ and count <= plan.MOST_PREVIEWS + 2
    assert chosen["total_seconds"] == pytest.approx(60 * minutes_, rel=0.02)
    if minutes_ == 5 and quick_seconds < 1:
        gaps = [b - a for a, b in itertools.pairwise(chosen["preview_steps"])]
        assert max(gaps[:-1]) * 0.05 == pytest.approx(plan.PREVIEW_SECONDS, rel=0.1)


def test_who_sets_epochs_or_steps_gets_them(tiny):
    per_epoch = planned(tiny())["steps_per_epoch"]
    for changes, every in ((dict(save_image_epochs=2), 2 * per_epoch), (dict(save_image_steps=7), 7)):
        chosen = planned(minutes(tiny, 5, **changes))
        assert (chosen["save_image_every"], chosen["preview_steps"]) == (every, [])
        assert plan.has_preview(chosen, 2 * every) and not plan.has_preview(chosen, every - 1)
        assert not plan.is_quick(chosen, every)


# ---- how long ---------------------------------------------------------------------------------------------------------
def said(config, chosen):
    told = list(plan.notices(config, chosen))
    for lang in LANGUAGES:
        assert all(t(f"notice.{notice.code}", lang, **notice.values) for notice in told)
    return [notice.code for notice in told]


@pytest.mark.parametrize(
    ("step_seconds", "most_minutes", "code"),
    [(0.2, None, []), (0.8, None, ["extended"]), (0.8, 1.5, ["too_short"]), (9, None, ["too_short"])],
)
def test_a_run_too_short_for_a_picture_is_extended_or_it_is_said(tiny, step_seconds, most_minutes, code):
    config = minutes(tiny, 1)
    chosen = planned(config, most_minutes, step_seconds=step_seconds)
    assert said(config, chosen) == code
    assert (chosen["total_steps"] >= plan.FEWEST_STEPS) == (code != ["too_short"])
    if step_seconds < 1 and code != ["extended"]:  # the longest that it may take comes nearest
        limit = 60 * (most_minutes or 5) if code else 60
        assert chosen["total_seconds"] == pytest.approx(limit, abs=max(step_seconds, VALIDATION))


def test_where_no_extension_is_enough_the_longest_comes_nearest(tiny):
    longest = planned(
        minutes(tiny, 5, init_from="butterflies-64"), step_seconds=9
    )  # what goes on from a model is never extended
    assert planned(minutes(tiny, 1), step_seconds=9)["total_steps"] == longest["total_steps"] > 2 * 60 / 9


@pytest.mark.parametrize("step_seconds", [0.02, 2.5])
def test_validations_are_as_many_as_a_tenth_of_the_steps_time_holds(tiny, step_seconds):
    chosen = planned(minutes(tiny, 5, init_from="butterflies-64"), step_seconds=step_seconds)
    count = chosen["total_steps"] // chosen["validate_every"]
    seconds = 2 * plan.VALIDATION_PICTURES * step_seconds / chosen["batch_size"] * plan.FORWARD_SHARE
    assert count * seconds <= plan.VALIDATION_SHARE * chosen["total_steps"] * step_seconds
    assert count >= plan.VALIDATIONS if step_seconds < 1 else 1 <= count < plan.VALIDATIONS
    assert chosen["total_seconds"] == pytest.approx(60 * 5, rel=0.02)


def test_a_number_of_steps_and_a_model_that_draws_already_may_be_short(tiny):
    assert planned(tiny(max_train_steps=7))["total_steps"] == 7 and not said(tiny(), planned(tiny()))
    config = minutes(tiny, 0.1, init_from="butterflies-64")
    assert planned(config)["total_steps"] < plan.FEWEST_STEPS and not said(config, planned(config))


def test_of_minutes_the_warm_up_is_a_share_and_a_number_of_steps_is_taken_as_it_is(tiny):
    chosen = planned(minutes(tiny, 1, lr_warmup_steps=500))
    assert chosen["warmup_steps"] == pytest.approx(chosen["total_steps"] / 10, abs=1)
    assert planned(tiny(max_train_steps=40, lr_warmup_steps=30))["warmup_steps"] == 30


# ---- the second look --------------------------------------------------------------------------------------------------
def test_nothing_is_looked_at_again_where_nothing_is_to_decide(tiny):
    assert planned(tiny())["look_step"] == 0
    assert planned(minutes(tiny, 1))["look_step"] == planned(minutes(tiny, 1))["preview_steps"][1]


def test_the_second_look_decides_for_good_and_leaves_what_was(tiny):
    config = minutes(tiny, 1, lr_warmup_steps=15)
    first = planned(config, step_seconds=0.6)
    later = plan.settled(config, first, 0.2, 0.16, None)
    fresh = planned(config)
    look_step = first["look_step"]
    assert first["total_steps"] == plan.FEWEST_STEPS < later["total_steps"]
    assert later["total_steps"] == pytest.approx(fresh["total_steps"], rel=0.02)
    assert [s for s in later["preview_steps"] if s <= look_step] == [
        s for s in first["preview_steps"] if s <= look_step
    ]
    assert later["preview_steps"][-1] == later["total_steps"] and len(later["preview_steps"]) >= 11
    before, after, alone = (optimizer.planned_lr(config, p) for p in (first, later, later | {"first_course": None}))
    assert [after(k) for k in range(look_step)] == [before(k) for k in range(look_step)]
    assert [after(k) for k in range(look_step, 200)] == [alone(k) for k in range(look_step, 200)]
    assert not any(plan.has_validation(later, k) for k in range(1, look_step + 1)) and plan.has_validation(later, 0)


@pytest.fixture
def look(monkeypatch):
    """Runs whose second look finds steps twice as slow as the rehearsal did: it takes 40 steps for fewer."""
    monkeypatch.setattr(plan, "FEWEST_STEPS", 1)
    monkeypatch.setattr(plan, "VALIDATIONS", 4)
    looks = []

    def settled(config, first, step_seconds, quick_seconds, most_minutes):
        looks.append(step_seconds)
        return plan.settled(config, first, 0.02, 0.01, most_minutes)

    monkeypatch.setattr(loop, "settled", settled)
    return looks


@pytest.mark.parametrize("leave", [7, 12])
def test_a_run_left_before_or_after_its_second_look_ends_as_if_nothing_had_been(runs_dir, tiny, look, leave):
    whole, broken = (new(runs_dir, minutes(tiny, 0.01, output_dir=name)) for name in ("whole", "broken"))
    told = train(whole)
    (change,) = [event.plan for event in told if isinstance(event, events.Settled)]
    course = whole.plan["first_course"]
    assert change == whole.plan and 12 < change["total_steps"] < course["total_steps"] and change["look_step"] < 12
    assert told[-1] == events.Ended(change["total_steps"], "finished")
    work = loop.train(broken.config, broken, Hand())
    while not (isinstance(event := next(work), events.Stepped) and event.step == leave):
        pass
    work.close()
    train(broken)
    assert broken.plan == whole.plan and outcome(broken) == outcome(whole) and len(look) == 2
    assert [path.name for path in broken.samples] == [path.name for path in whole.samples]
    assert rows(broken) == rows(whole)


def test_a_quick_preview_is_a_part_of_the_whole_one(runs_dir, tiny):
    run = new(runs_dir, tiny(**BY_TIME, preview_images=10, learning_rate=1e-12, weight_decay=0.0))
    train(run)
    sizes = []
    for path in run.samples:
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sizes[0] == (38, 18) and sizes[-1] == (38, 28)
