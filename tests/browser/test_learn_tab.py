"""Every station in a real browser, in both languages: it opens, shows its pictures with a shipped model, reacts, and complains of nothing."""

import re

import pytest
from kits.browser import StudioPage
from playwright.sync_api import expect

from ddpm_app.i18n import text_table
from ddpm_app.learn import stations
from ddpm_app.learn.station import Slider

PANELS = "[...document.querySelectorAll('.panels .panel')].map((panel) => panel.innerHTML).join()"
PANELS_HTML = f"() => {PANELS}"
CONTROLS = ":is(.learn-controls, .dock-controls) > *"
MOVES = {"loss": ".control.choice"}
"""What is moved where it isn't the first control: a model that ships has no earlier losses to choose among."""
FOLDS = "#learn-texts .label-wrap"
READY = ".learn[data-station={}][data-state=ready]"


def open_link(page, url, **query):
    """The Learn tab at a link, when everything has come."""
    page.goto(url + "?" + "&".join(f"{name}={value}" for name, value in query.items()))
    page.wait_for_selector(READY.format(query["station"]))
    expect(page.locator(".panels .panel").first).to_be_visible()


def react(page):
    """Use the station's own control, or t; True when the panels have changed."""
    before = page.evaluate(PANELS_HTML)
    control = page.locator(MOVES.get(page.locator(".learn").get_attribute("data-station"), CONTROLS)).first
    if not control.count():
        page.locator(".pick-t input").press("PageDown")
    elif control.evaluate("node => node.matches('button')"):
        control.click()
    elif (select := control.locator("select")).count():
        select.select_option(index=select.locator("option").count() - 1)
    elif control.locator("input[type=checkbox]").count():
        control.locator("input").click()
    elif control.locator("input[type=text]").count():
        control.locator("input").fill("red")
        control.locator("input").press("Enter")
    else:
        control.locator("input").press("PageUp")
    wait_for_change(page, before)
    page.wait_for_selector(".learn[data-state=ready]")


DRAG = """async () => {
  const input = document.querySelector(".pick-t input"), looks = new Set();
  let moving = true;
  const look = () => { for (const canvas of document.querySelectorAll(".panels canvas")) looks.add(canvas.toDataURL()); if (moving) requestAnimationFrame(look); };
  look();
  for (let k = 0; k < 100; k++) {
    input.value = Math.round(input.max * (0.05 + 0.009 * k));
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((go) => setTimeout(go, 30));
  }
  moving = false;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return looks.size;
}"""
"""A hand that pulls t for 3 s, an input every 30 ms: how many different pictures it saw."""


@pytest.mark.parametrize("name", ["noise", "guess"])
def test_pictures_follow_the_hand_and_are_exact_when_it_lets_go(page, studio, name):
    open_link(page, studio[0], station=name, t=300, lang="en")
    page.wait_for_selector(".learn[data-key-frames='16']")
    assert page.evaluate(DRAG) >= 30
    expect(page.locator(".panels canvas")).to_have_count(0)  # the exact pictures have come
    expect(page.locator(".panels figcaption", has_text="x_t, t =").first).to_have_text(
        f"x_t, t = {page.locator('.pick-t input').input_value()}"
    )
    assert not page.complaints


def test_without_key_frames_every_answer_is_shown(page, studio):
    """An answer that comes when the hand has moved on is shown all the same: a hand that never rests sees pictures change."""
    open_link(page, studio[0], station="tensor", lang="en")
    changes = page.evaluate(
        """async () => {
          const input = document.querySelector("[data-control=stretch] input"), looks = new Set();
          for (let k = 0; looks.size < 4 && k < 4000; k++) {
            input.value = 1 + (k % 10) / 10;
            input.dispatchEvent(new Event("input", { bubbles: true }));
            looks.add([...document.querySelectorAll(".panels .panel")].map((panel) => panel.innerHTML).join());
            await new Promise((go) => setTimeout(go, 5));
          }
          return looks.size;
        }"""
    )
    assert changes >= 4


def wait_for_change(page, before):
    """Wait until the panels are others than ``before``."""
    page.wait_for_function(f"before => {PANELS} !== before", arg=before)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_station_opens_shows_and_reacts(page, studio, lang):
    url, _ = studio
    open_link(page, url, station="noise", lang=lang)
    for name in stations.ORDER:
        page.click(f".learn-path [data-station={name}]")
        page.wait_for_selector(READY.format(name))
        expect(page.locator(".learn-head h3")).to_have_text(text_table(lang)[f"ui.learn.{name}.title"])
        assert page.locator(".panels img, .panels svg").count(), name
        assert not page.locator(".learn-error .note").count(), name
        if lang == "en":  # the controls have no language
            react(page)
            assert not page.locator(".learn-error .note").count(), name
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    assert not page.complaints


def test_the_keyboard_walks_the_path_and_the_folds_open(page, studio):
    open_link(page, studio[0], station="tensor")
    page.locator("[data-station=noise]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(READY.format("noise"))
    before = page.evaluate(PANELS_HTML)
    page.locator(".pick-t input").focus()
    page.keyboard.press("PageUp")
    wait_for_change(page, before)
    for fold in page.locator(FOLDS).all():
        fold.press("Enter")
    expect(page.locator("#learn-texts .katex-display").first).to_be_visible()
    expect(page.locator("#learn-texts .cm-content")).to_contain_text("def add_noise")
    expect(page.locator("#learn-texts p").last).to_contain_text(text_table("en")["ui.learn.noise.answer"])
    assert not page.complaints


def test_every_station_has_its_formulas_code_and_question(page, studio):
    open_link(page, studio[0], station="tensor", lang="en")
    for fold in page.locator(FOLDS).all():
        fold.click()
    for name, spec in stations.SPECS.items():
        page.click(f".learn-path [data-station={name}]")
        expect(page.locator(FOLDS).last).to_have_text(
            re.compile(re.escape(text_table("en")[f"ui.learn.{name}.question"]))
        )
        expect(page.locator("#learn-texts .katex-display .katex-html")).to_have_count(len(spec.maths))
        expect(page.locator("#learn-texts .katex-error")).to_have_count(0)
        function = spec.code[0].rpartition(":")[2].rpartition(".")[2]
        expect(page.locator("#learn-texts .cm-content")).to_contain_text(re.compile(rf"(def|class) {function}\b"))
    assert not page.complaints


def test_a_link_holds_the_moment(page, studio):
    open_link(page, studio[0], station="noise", t=123, seed=7)
    expect(page.locator(".pick-t output")).to_contain_text("123")
    page.locator(".thumb").nth(3).click()
    page.wait_for_selector(READY.format("noise"))
    moment, panels = page.url, page.evaluate(PANELS_HTML)
    assert "t=123" in moment and "seed=7" in moment and "picture=" in moment
    page.goto("about:blank")
    page.goto(moment)
    page.wait_for_selector(READY.format("noise"))
    page.wait_for_function(f"panels => {PANELS} === panels", arg=panels)


def test_a_lesson_leads_through_the_tabs(page, studio):
    page.goto(studio[0] + "?lesson=first-model")
    coach = page.locator("#coach")
    expect(coach).to_be_visible()
    steps = int(coach.locator("footer span").inner_text().split("/")[1])
    for step in range(2, steps + 1):
        coach.locator("footer .strong").click()
        expect(coach.locator("footer span")).to_have_text(f"{step} / {steps}")
    assert f"step={steps - 1}" in page.url
    expect(coach.locator(".dot-step.done")).to_have_count(steps)
    coach.locator("footer .strong").click()
    page.wait_for_function("() => location.search.includes('lesson=why-noise&step=0')")
    coach.locator(".close").click()
    expect(coach).to_have_count(0)
    expect(page.locator(".learn-lessons button").first).to_contain_text("✓")
    assert not page.complaints


def test_an_instruction_is_a_button_that_does_it_and_keeps_its_tick(page, studio):
    page.goto(studio[0] + "?lesson=why-noise&step=3&lang=en")
    button = page.locator("#coach .do", has_text="t = 900")
    button.click()
    expect(page.locator(".pick-t output")).to_contain_text("900")
    page.reload()
    expect(button).to_have_class(re.compile("done"))
    page.goto(studio[0] + "?lesson=when-it-goes-wrong&step=1&lang=en")
    expect(page.field("image_size")).to_have_value("16")  # the step's preset is there
    page.locator("#coach .do").first.click()
    expect(page.field("learning_rate")).to_have_value("1")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_a_lesson_never_covers_its_subject(new_context, studio, size):
    page = StudioPage(new_context(viewport={"width": size[0], "height": size[1]}), studio[0])
    open_link(page, studio[0], station="noise", lesson="why-noise", step=0)
    lesson, picture, slider = (
        page.locator(place).first.bounding_box() for place in ("#coach", ".on-stage img", ".dock input[type=range]")
    )
    for subject in (picture, slider):
        beside = subject["x"] >= lesson["x"] + lesson["width"]
        assert beside or subject["y"] + subject["height"] <= lesson["y"] + 1


def test_presenting_leaves_the_stage_turns_by_arrows_and_shows_a_code(page, studio):
    open_link(page, studio[0], station="noise", lang="en")
    page.keyboard.press("f")
    expect(page.locator("#header")).to_be_hidden()
    expect(page.locator(".moment svg")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(READY.format("unet"))
    page.keyboard.press("Escape")
    expect(page.locator("#header")).to_be_visible()
    assert not page.complaints


SLIDERS = {
    name
    for name, spec in stations.SPECS.items()
    if "t" in spec.uses or any(isinstance(c, Slider) for c in spec.controls)
}
IN_VIEW = """() => {
  const inside = (node) => { const box = node.getBoundingClientRect(); return box.height > 0 && box.top >= 0 && box.top < innerHeight - 100 && box.bottom > 0; };
  const slider = [...document.querySelectorAll(".dock input[type=range]")].find((node) => node.getClientRects().length), box = slider?.getBoundingClientRect();
  return { slider: Boolean(box) && box.top >= 0 && box.bottom <= innerHeight, subject: [...document.querySelectorAll(".on-stage :is(img, svg, ol)")].some(inside) };
}"""


def test_on_a_phone_the_slider_and_what_it_moves_are_on_one_screen(new_context, studio):
    page = StudioPage(new_context(viewport={"width": 390, "height": 844}), studio[0])
    open_link(page, studio[0], station="noise", lang="en")
    for name in stations.ORDER:
        if name in SLIDERS:
            page.evaluate("name => document.querySelector(`.learn-path [data-station=${name}]`).click()", name)
            page.wait_for_selector(READY.format(name))
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_function(f"() => Object.values(({IN_VIEW})()).every(Boolean)")


COVERED = """() => [...document.querySelectorAll(".on-stage :is(img, canvas)")].reduce((sum, node) => {
  const box = node.getBoundingClientRect(), side = (low, high, most) => Math.max(0, Math.min(high, most) - Math.max(low, 0));
  return sum + side(box.left, box.right, innerWidth) * side(box.top, box.bottom, innerHeight);
}, 0) / innerWidth / innerHeight"""
MAIN_STATIONS = ("tensor", "latent", "noise", "guess", "step", "walk", "between")


def test_pictures_cover_a_quarter_of_a_large_screen(new_context, studio):
    page = StudioPage(new_context(viewport={"width": 1920, "height": 1080}), studio[0])
    open_link(page, studio[0], station="noise", lang="en")
    for name in MAIN_STATIONS:
        page.click(f".learn-path [data-station={name}]")
        page.wait_for_selector(READY.format(name))
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_function(f"() => ({COVERED})() > 0.25")


def test_a_station_that_needs_another_model_takes_it_and_says_so(page, studio):
    open_link(page, studio[0], station="noise", model="shipped:butterflies-64", lang="en")
    page.click(".learn-path [data-station=words]")
    page.wait_for_selector(READY.format("words"))
    expect(page.locator(".learn-error .note")).to_contain_text("butterflies-words stands in")
    expect(page.locator(".pick-model select")).to_have_value("shipped:butterflies-words")
    page.click(".learn-path [data-station=noise]")
    page.wait_for_selector(READY.format("noise"))
    expect(page.locator(".pick-model select")).to_have_value("shipped:butterflies-64")


def test_a_link_with_a_preset_fills_the_form(page, studio):
    page.goto(studio[0] + "?tab=config&preset=quick-check")
    expect(page.locator("#tab-config-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#field-max_train_steps input, #field-max_train_steps textarea").first).to_have_value("60")
    expect(page.locator(".presets input:checked")).to_have_value("quick-check")


def test_what_a_link_names_that_is_not_there_is_told(page, studio):
    page.goto(studio[0] + "?tab=nowhere&preset=<b>none</b>&station=nope&lesson=zzz&lang=en")
    message = page.locator("#message")
    for part in ("tab=nowhere", "preset=<b>none</b>", "station=nope", "lesson=zzz"):
        expect(message).to_contain_text(part)
    expect(page.locator("#tab-home-button")).to_have_attribute("aria-selected", "true")


def test_a_seed_beyond_the_largest_is_shown_as_it_is_taken(page, studio):
    open_link(page, studio[0], station="noise", seed=10**15)
    expect(page.locator(".pick-seed input")).to_have_value(str(2**31))


def test_a_viewers_own_picture(page, studio, tmp_path):
    from PIL import Image

    Image.new("RGB", (50, 40), "teal").save(tmp_path / "mine.png")
    open_link(page, studio[0], station="tensor")
    before = page.evaluate(PANELS_HTML)
    page.locator(".own input").set_input_files(tmp_path / "mine.png")
    wait_for_change(page, before)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.locator(".own input").set_input_files(tmp_path / "broken.png")
    expect(page.locator(".learn-error .note")).to_be_visible()
    assert not page.complaints
