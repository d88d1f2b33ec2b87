"""Who may come in, and what strangers may do."""

import pytest
import ui_kit

import app
from ddpm_app import presets, runs
from ddpm_app.jobs import Jobs
from ddpm_app.problems import Problem
from ddpm_app.ui import guard
from ddpm_app.ui.board import Board
from ddpm_app.ui.guard import CAPS, HostCheck
from ddpm_app.ui.studio import Studio


@pytest.fixture
def public(runs_dir):
    return Studio(runs_dir, Jobs(runs_dir), Board(runs_dir), public=True)


@pytest.fixture
def home(runs_dir):
    return Studio(runs_dir, Jobs(runs_dir), Board(runs_dir))


# ---- the command line --------------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch):
    for name in ("SPACE_ID", "SPACE_HOST", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_the_page_is_private_by_default():
    asked = app.options([])
    assert (asked.host, asked.port, asked.share, asked.public, asked.auth) == ("127.0.0.1", 7860, False, False, None)


@pytest.mark.parametrize(
    "argv", [["--share"], ["--host", "0.0.0.0"], ["--host", "192.168.1.5"], ["--auth", "nobody"], ["--auth", ":x"], ["--port", "0"]]
)
def test_an_open_page_has_to_be_asked_for(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        app.options(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("argv", [["--share", "--auth", "me:a:b"], ["--host", "0.0.0.0", "--public"], ["--host", "localhost"]])
def test_an_open_page_that_is_asked_for(argv):
    app.options(argv)


def test_a_space_is_public_and_sets_its_address(monkeypatch):
    for name, value in (("SPACE_ID", "someone/studio"), ("GRADIO_SERVER_NAME", "0.0.0.0"), ("GRADIO_SERVER_PORT", "7861")):
        monkeypatch.setenv(name, value)
    asked = app.options([])
    assert (asked.public, asked.host, asked.port) == (True, "0.0.0.0", 7861)


# ---- Host names ----------------------------------------------------------------------------------------------------------
def checked(host, bound="127.0.0.1", share=False):
    [middleware] = guard.host_check(bound, share)
    return HostCheck(None, **middleware.kwargs).allowed(host)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_this_machine_is_let_in(host):
    assert checked(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "localhost.evil.example", "x.gradio.live", "192.168.1.5", "", "127.0.0.1.nip.io"]
)
def test_a_rebound_name_is_not(host):
    assert not checked(host)


def test_names_that_were_asked_for(monkeypatch):
    assert checked("abc.gradio.live", share=True) and not checked("gradio.live.evil.example", share=True)
    assert checked("192.168.1.5:7860", bound="0.0.0.0") and checked("[fe80::1]:7860", bound="::") and not checked("evil.example", bound="0.0.0.0")
    monkeypatch.setenv("SPACE_HOST", "someone-studio.hf.space")
    assert checked("someone-studio.hf.space")


def test_an_unknown_host_gets_no_page():
    sent = []

    async def collect(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"evil.example")]}
    ui_kit.run(lambda: HostCheck(None, frozenset({"localhost"}), False, False)(scope, None, collect))
    assert sent[0]["status"] == 421


# ---- public mode -----------------------------------------------------------------------------------------------------------
def refused(studio, visitor="me", **changes):
    with pytest.raises(Problem) as caught:
        guard.check_config(studio, presets.build("first-butterflies", **changes), visitor)
    return caught.value.code, caught.value.field


@pytest.mark.parametrize("name", ["first-butterflies", "butterflies-64", "quick-check"])
def test_small_presets_run_in_public(public, name):
    assert guard.check_config(public, presets.build(name), "me") == presets.build(name)


@pytest.mark.parametrize("name", [name for name in CAPS if name not in ("num_train_timesteps", "threads", "image_size")])
def test_every_cap_holds(public, name):
    most = CAPS[name]
    changes = {name: most + 1, "max_train_minutes": None} if name == "max_train_steps" else {name: most + 1}
    assert refused(public, **changes) == ("public_cap", name)


def test_size_length_width_and_hub_are_capped(public):
    assert refused(public, image_size=128) == ("public_cap", "image_size")
    assert refused(public, num_epochs=1) == ("public_length", "max_train_minutes")
    assert refused(public, unet="medium", block_out_channels=[512, 512], norm_num_groups=32) == ("public_cap", "block_out_channels")
    assert refused(public, push_to_hub=True) == ("public_hub", "push_to_hub")


@pytest.mark.parametrize("name", ["huggan/smithsonian_butterflies_subset", "/etc", "../secret", ".", "upload-123"])
def test_no_path_and_no_hub_in_public(public, name):
    assert refused(public, dataset_name=name) == ("public_data", "dataset_name")


def test_own_uploads_by_name_only(public):
    folder = guard.uploads_of(public, "me") / "upload-123"
    folder.mkdir(parents=True)
    config = presets.build("first-butterflies", dataset_name="upload-123")
    assert guard.check_data(public, config, "me").dataset_name == str(folder)
    assert refused(public, visitor="you", dataset_name="upload-123") == ("public_data", "dataset_name")
    assert refused(public, dataset_name=str(folder)) == ("public_data", "dataset_name")
    assert folder.is_relative_to(public.runs_dir)


@pytest.mark.parametrize("visitor", ["../../x", "/etc", ""])
def test_a_visitor_s_id_never_leaves_the_uploads(public, visitor):
    assert guard.uploads_of(public, visitor).parent == public.runs_dir / ".uploads"


def test_only_who_started_may_stop(public, home, runs_dir):
    run = runs.create(runs_dir, presets.build("quick-check"), owner="me")
    assert guard.may_stop(public, run, "me") and guard.may_stop(home, run, "you")
    assert not guard.may_stop(public, run, "you") and not guard.may_stop(public, run, "")
    with pytest.raises(Problem, match="not_yours"):
        guard.require_owner(public, run, "you")
    nobody_s = runs.create(runs_dir, presets.build("quick-check", output_dir="from-terminal"))
    assert not guard.may_stop(public, nobody_s, "") and not guard.may_stop(public, nobody_s, "me")


def test_switched_off_in_public(public, home):
    guard.refuse_in_public(home)
    with pytest.raises(Problem, match="public_off"):
        guard.refuse_in_public(public)
    with pytest.raises(Problem, match="public_cap"):
        guard.check_request(guard.MAX_IMAGES + 1, 20)
    guard.check_request(guard.MAX_IMAGES, guard.MAX_STEPS)


def test_at_home_everything_goes(home):
    config = presets.build("tutorial-128", dataset_name="/somewhere")
    assert guard.check_config(home, config, "") == config
    assert guard.uploads_of(home, "me") == guard.uploads_of(home, "you")
