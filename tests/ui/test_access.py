"""Who may come in, and what strangers may do."""

import functools

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run

from ddpm_app import access, launch, presets
from ddpm_app import launch as app
from ddpm_app.access import CAPS
from ddpm_app.errors import Problem
from ddpm_app.launch import HostCheck
from ddpm_app.runs import registry
from ddpm_app.ui.state import App


@pytest.fixture
def public(runs_dir):
    return App(runs_dir, public=True)


@pytest.fixture
def home(runs_dir):
    return App(runs_dir)


# ---- the command line --------------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch):
    for name in ("SPACE_ID", "SPACE_HOST", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_the_page_is_private_by_default():
    asked = app.options([])
    assert (asked.host, asked.port, asked.share, asked.public, asked.auth) == ("127.0.0.1", 7860, False, False, None)


@pytest.mark.parametrize(
    "argv",
    [
        ["--share"],
        ["--host", "0.0.0.0"],
        ["--host", "192.168.1.5"],
        ["--auth", "nobody"],
        ["--auth", ":x"],
        ["--port", "0"],
    ],
)
def test_an_open_page_has_to_be_asked_for(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        app.options(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["--share", "--auth", "me:a:b"], ["--host", "0.0.0.0", "--public"], ["--host", "localhost"]]
)
def test_an_open_page_that_is_asked_for(argv):
    app.options(argv)


def test_a_space_is_public_and_sets_its_address(monkeypatch):
    for name, value in (
        ("SPACE_ID", "someone/studio"),
        ("GRADIO_SERVER_NAME", "0.0.0.0"),
        ("GRADIO_SERVER_PORT", "7861"),
    ):
        monkeypatch.setenv(name, value)
    asked = app.options([])
    assert (asked.public, asked.host, asked.port) == (True, "0.0.0.0", 7861)


# ---- Host names ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_this_machine_is_let_in(host):
    assert HostCheck(None).allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "x.gradio.live",
        "192.168.1.5",
        "",
        "127.0.0.1.nip.io",
    ],
)
def test_a_rebound_name_is_not(host):
    assert not HostCheck(None).allowed(host)


@pytest.mark.parametrize(
    "argv", [["--public"], ["--auth", "me:a"], ["--share", "--auth", "me:a"], ["--host", "0.0.0.0", "--auth", "me:a"]]
)
def test_an_open_page_answers_to_any_name(argv):
    """A proxy or a domain of one's own: who comes in is up to the password, or to the rules of public mode."""
    assert launch.host_check(launch.options(argv).open_to_others) == []
    assert [check.cls for check in launch.host_check(launch.options(["--host", "localhost"]).open_to_others)] == [
        HostCheck
    ]


def test_an_unknown_host_gets_no_page():
    sent = []

    async def collect(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"evil.example")]}
    ui_kit.run(lambda: HostCheck(None)(scope, None, collect))
    assert sent[0]["status"] == 421


# ---- public mode -----------------------------------------------------------------------------------------------------------
def refused(studio, visitor="me", **changes):
    with pytest.raises(Problem) as caught:
        studio.access.check_config(presets.build("first-butterflies", **changes), visitor)
    return caught.value.code, caught.value.field


@pytest.mark.parametrize(
    "name", ["first-butterflies", "butterflies-64", "latent-128", "species-64", "words-128", "fine-tune"]
)
def test_small_presets_run_in_public(public, name):
    assert public.access.check_config(presets.build(name), "me") == presets.build(name)


@pytest.mark.parametrize(
    "name", [name for name in CAPS if name not in ("num_train_timesteps", "threads", "image_size")]
)
def test_every_cap_holds(public, name):
    most = CAPS[name]
    assert refused(public, **{name: most + 1}) == ("public_cap", name)


def test_size_length_width_and_hub_are_capped(public):
    assert refused(public, image_size=128) == ("public_cap", "image_size")
    assert refused(public, num_epochs=1) == ("public_needs", "max_train_minutes")
    assert refused(public, max_train_steps=60) == ("public_needs", "max_train_minutes")  # each may take long
    assert refused(public, checkpoints_total_limit=None) == ("public_needs", "checkpoints_total_limit")
    assert refused(public, unet="medium", block_out_channels=[512, 512], norm_num_groups=32) == (
        "public_cap",
        "block_out_channels",
    )
    assert refused(public, push_to_hub=True) == ("public_hub", "push_to_hub")


def test_latents_and_autoencoders_may_be_larger(public):
    for light in ({"vae": "butterflies-vae", "unet": "latent"}, {"objective": "autoencoder"}):
        config = presets.build("first-butterflies", image_size=access.LATENT_SIZE, **light)
        assert public.access.check_config(config, "me") == config
        assert refused(public, image_size=access.LATENT_SIZE + 32, **light) == ("public_cap", "image_size")
        assert refused(public, max_train_minutes=CAPS["max_train_minutes"] + 1, **light) == (
            "public_cap",
            "max_train_minutes",
        )
        assert refused(public, num_epochs=1, **light) == ("public_needs", "max_train_minutes")
    wide = {"objective": "autoencoder", "vae_channels": (16, 2 * access.MAX_VAE_CHANNELS)}
    assert refused(public, **wide) == ("public_cap", "vae_channels")
    # the model to go on from decides, not the idle autoencoder beside it
    assert refused(public, image_size=128, init_from="butterflies-64", vae="butterflies-vae") == (
        "public_cap",
        "image_size",
    )


@pytest.mark.parametrize("field", ["vae", "init_from", "text_encoder"])
@pytest.mark.parametrize(
    "value", ["somebody/something", "/etc", "../models/butterflies-vae", ".", "a-run", "assets/models/butterflies-vae"]
)
def test_only_models_that_ship_in_public(public, home, runs_dir, field, value):
    make_run(runs_dir, "a-run", steps=0)
    assert refused(public, **{field: value}) == ("public_model", field)
    home.access.check_config(presets.build("first-butterflies", **{field: value}), "me")


@pytest.mark.parametrize("name", ["huggan/smithsonian_butterflies_subset", "/etc", "../secret", ".", "upload-123"])
def test_no_path_and_no_hub_in_public(public, name):
    assert refused(public, dataset_name=name) == ("public_data", "dataset_name")


def test_own_uploads_by_name_only(public):
    folder = public.access.uploads_folder("me") / "upload-123"
    folder.mkdir(parents=True)
    config = presets.build("first-butterflies", dataset_name="upload-123")
    assert public.access.check_data(config, "me").dataset_name == str(folder)
    assert refused(public, visitor="you", dataset_name="upload-123") == ("public_data", "dataset_name")
    assert refused(public, dataset_name=str(folder)) == ("public_data", "dataset_name")
    assert folder.is_relative_to(public.runs_dir)


@pytest.mark.parametrize("visitor", ["../../x", "/etc", ""])
def test_a_visitor_s_id_never_leaves_the_uploads(public, visitor):
    assert public.access.uploads_folder(visitor).parent == public.runs_dir / ".uploads"


def test_only_who_started_may_stop(public, home, runs_dir):
    run = registry.create(runs_dir, presets.build("quick-check"), owner="me")
    assert public.access.may_stop(run, "me") and home.access.may_stop(run, "you")
    assert not public.access.may_stop(run, "you") and not public.access.may_stop(run, "")
    with pytest.raises(Problem, match="not_yours"):
        public.access.require_owner(run, "you")
    nobody_s = registry.create(runs_dir, presets.build("quick-check", output_dir="from-terminal"))
    assert not public.access.may_stop(nobody_s, "") and not public.access.may_stop(nobody_s, "me")


def test_switched_off_in_public(public, home):
    home.access.refuse_in_public()
    with pytest.raises(Problem, match="public_off"):
        public.access.refuse_in_public()
    with pytest.raises(Problem, match="public_cap"):
        public.access.check_sampling(access.MAX_IMAGES + 1, 20)
    public.access.check_sampling(access.MAX_IMAGES, access.MAX_STEPS)


def test_no_great_pictures_are_decoded_in_public(public, home):
    great = presets.build("first-butterflies", image_size=1024)
    with pytest.raises(Problem, match="public_cap"):
        public.access.check_data(great, "me")
    assert home.access.check_data(great, "me") == great


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


def test_an_error_tells_strangers_no_paths(public, home):
    error = {
        "code": "folder_missing",
        "field": "dataset_name",
        "values": {"value": "/srv/my runs/.uploads/ab/upload-1"},
    }
    shot = {"error": error, "traceback": "/srv"}
    assert home.access.redact_snapshot(shot) == shot
    assert "/srv" not in str(public.access.redact_snapshot(shot)) and "upload-1" in str(
        public.access.redact_snapshot(shot)
    )
    problem = Problem(
        "crash", reason="OSError: no such file: '/srv/a/b.png', see https://a.example/b/c of huggan/butterflies"
    )
    told = public.access.redact(problem).values["reason"]
    assert told == "OSError: no such file: 'b.png', see https://a.example/b/c of huggan/butterflies"
    assert home.access.redact(problem) is problem


def test_at_home_everything_goes(home):
    config = presets.build("tutorial-128", dataset_name="/somewhere")
    assert home.access.check_config(config, "") == config
    assert home.access.uploads_folder("me") == home.access.uploads_folder("you")
