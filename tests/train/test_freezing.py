"""What is frozen stays bit for bit what it was, and drawing in between leaves the training mode as it was."""

import re

import pytest
import torch
from kits.engine import new, objective, train
from safetensors.torch import load_file

from ddpm_app import sample
from ddpm_app.model import loaded
from ddpm_app.model.unet import build_unet, count_parameters, freeze, learning, sections
from ddpm_app.train import events, optimizer, plan, state
from ddpm_app.train.batches import Batches
from ddpm_app.train.rehearse import rehearse

pytestmark = pytest.mark.usefixtures("no_rehearsal")

UNET = ("ends", "down", "mid", "up", "attention")
SIDES = {"encoder": ("encoder", "quant_conv"), "decoder": ("decoder", "post_quant_conv")}
IN_SECTION = {
    "ends": lambda name: name.startswith(("conv_in", "time_embedding", "conv_norm_out", "conv_out", "class_embedding")),
    "down": lambda name: name.startswith("down_blocks."),
    "mid": lambda name: name.startswith("mid_block."),
    "up": lambda name: name.startswith("up_blocks."),
    # where words are attended to, a transformer stands around the attention, and that is not attention
    "attention": lambda name: bool(
        re.search(r"\.attentions\.\d+\.(group_norm|to_|transformer_blocks\.\d+\.attn)", name)
    ),
}


def of_sections(names, trainable) -> set[str]:
    """Which of the parameters lie in ``trainable``, told by their names."""
    if set(trainable) & SIDES.keys():
        return {name for name in names if name.split(".")[0] in [part for side in trainable for part in SIDES[side]]}
    return {name for name in names if any(IN_SECTION[section](name) for section in trainable)}


def read(folder) -> dict[str, torch.Tensor]:
    """The weights of what a checkpoint's or pipeline's run trains."""
    places = (folder / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae", "."))
    return load_file(next(file for file in places if file.is_file()))


def moved(before, after) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def untrained(kind_changes, tiny_of) -> state.TrainState:
    config = tiny_of(**kind_changes)
    return state.TrainState(
        config, objective(config), optimizer.lr_lambda(config, 12), state.make_accelerator("no", "cpu")
    )


# ---- sections --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["pixels", "labels", "words"])
def test_sections_of_a_unet(tiny_of, kind):
    unet = objective(tiny_of(kind, attention_levels=(2,))).module
    found, every = sections(unet), {name: p for name, p in unet.named_parameters()}
    assert tuple(found) == UNET
    for section, parameters in found.items():
        assert parameters and {id(p) for p in parameters} == {
            id(p) for name, p in every.items() if IN_SECTION[section](name)
        }, section
    apart = [p for section in UNET[:4] for p in found[section]]
    assert len(apart) == len(every) == len({id(p) for p in apart}), "all but attention part the network"


def test_sections_of_an_autoencoder(tiny_of):
    vae = objective(tiny_of("autoencoder")).module
    found = sections(vae)
    assert set(found) == set(SIDES) and sum(map(len, found.values())) == len(list(vae.parameters()))
    names = {id(p): name.split(".")[0] for name, p in vae.named_parameters()}
    assert all({names[id(p)] for p in found[side]} == set(parts) for side, parts in SIDES.items())


def test_freeze_and_thaw(tiny):
    unet = build_unet(tiny())
    for trainable in (("mid",), ("all",), ("down", "attention"), ("mid", "all")):
        freeze(unet, trainable)
        names = {name for name, p in unet.named_parameters()}
        assert {name for name, p in unet.named_parameters() if p.requires_grad} == (
            names if "all" in trainable else of_sections(names, trainable)
        )
        assert len(learning(unet)) == sum(p.requires_grad for p in unet.parameters())


# ---- real training ---------------------------------------------------------------------------------------------------
CASES = [
    *(("pixels", (section,)) for section in UNET),
    ("labels", ("ends", "up")),
    ("words", ("attention",)),
    ("latents", ("down", "attention")),
    ("autoencoder", ("encoder",)),
    ("autoencoder", ("decoder",)),
    ("tuned-words", ("mid",)),
]


@pytest.mark.parametrize(
    ("kind", "trainable"), CASES, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_only_what_may_learn_moves(runs_dir, tiny_of, kind, trainable):
    run = new(
        runs_dir,
        tiny_of(
            kind,
            trainable=trainable,
            max_train_steps=3,
            checkpointing_steps=3,
            save_image_steps=100,
            weight_decay=0.1,
            lr_warmup_steps=0,
            learning_rate=1e-2,
        ),
    )
    train(run)
    first, last = map(read, run.checkpoints)
    wanted = of_sections(first, trainable)
    assert 0 < len(wanted) < len(first) and moved(first, last) == wanted
    if kind != "autoencoder":  # its averaged weights are scaled when they are saved
        assert moved(first, read(run.pipeline)) == wanted, "the average too"
    kept = torch.load(run.checkpoints[-1] / "training.pt", weights_only=True)["optimizers"]
    assert sum(len(one["state"]) for one in kept) == len(wanted), "no optimiser state for what is frozen"


def test_muon_leaves_frozen_convolutions(runs_dir, tiny_of):
    run = new(
        runs_dir,
        tiny_of(
            "pixels", trainable=("mid",), optimizer="muon", max_train_steps=3, checkpointing_steps=3, lr_warmup_steps=0
        ),
    )
    train(run)
    first, last = map(read, run.checkpoints)
    assert moved(first, last) == of_sections(first, ("mid",))
    assert len(torch.load(run.checkpoints[-1] / "training.pt", weights_only=True)["optimizers"]) == 2, (
        "there is a convolution for Muon"
    )


@pytest.mark.parametrize(
    ("kind", "trainable"), [("pixels", ("attention",)), ("words", ("up",)), ("autoencoder", ("decoder",))]
)
def test_frozen_has_no_gradient_and_no_optimiser(tiny_of, kind, trainable):
    here = untrained(dict(kind=kind, trainable=trainable), tiny_of)
    learns = {id(p) for p in learning(here.module)}
    assert {id(p) for o in here.optimizers for group in o.param_groups for p in group["params"]} == learns
    it = here.objective
    batches = Batches(it.config, it.pictures, it.device, training_tensors=it.training_tensors)
    it.losses(here.network, it.batch(batches, 0, 0, batches.indices(0)[0])).sum().backward()
    assert (
        {id(p) for p in here.module.parameters() if p.grad is not None}
        == learns
        < {id(p) for p in here.module.parameters()}
    )


def test_all_parts_learn_by_default(trained):
    for kind in ("pixels", "labels", "words", "autoencoder"):
        last = trained(kind).checkpoints[-1]
        kept = torch.load(last / "training.pt", weights_only=True)["optimizers"]
        assert sum(len(one["state"]) for one in kept) == len(read(last))


# ---- the other parts -------------------------------------------------------------------------------------------------
@pytest.fixture
def caught(monkeypatch):
    """The objectives and states of the runs that the test trains, with what their other parts were at first."""
    here = []
    make = state.TrainState.__init__

    def spied(self, config, objective, *rest):
        make(self, config, objective, *rest)
        beside = {name: part for name, part in objective.parts().items() if part is not self.module}
        here.append(
            (
                self,
                beside,
                {name: {k: v.clone() for k, v in part.state_dict().items()} for name, part in beside.items()},
            )
        )

    monkeypatch.setattr(state.TrainState, "__init__", spied)
    return here


@pytest.mark.parametrize(
    ("kind", "beside"),
    [
        ("latents", {"vae"}),
        ("words", {"vae", "text_encoder"}),
        ("words-in-pixels", {"text_encoder"}),
        ("tuned-words", {"vae", "text_encoder"}),
        ("pixels", set()),
        ("autoencoder", set()),
    ],
)
def test_the_other_parts_are_frozen_and_stay_as_they_were(runs_dir, tiny_of, caught, kind, beside):
    def look(event, hand):
        ((_, parts, _),) = caught or [(None, {}, None)]
        for part in parts.values():
            assert not part.training and not any(p.requires_grad or p.grad is not None for p in part.parameters())

    run = new(runs_dir, tiny_of(kind, max_train_steps=3))
    train(run, act=look)
    ((_, parts, before),) = caught
    assert set(parts) == beside
    for name, part in parts.items():
        assert not moved(before[name], part.state_dict())
        folder = run.pipeline / ("vqvae" if kind == "latents" and name == "vae" else name)
        saved = load_file(
            folder / ("model.safetensors" if name == "text_encoder" else "diffusion_pytorch_model.safetensors")
        )
        assert set(saved) == set(before[name]) and not moved(before[name], saved)


# ---- drawing leaves the mode as it was -------------------------------------------------------------------------------
def mode(module) -> list:
    return [part.training for part in module.modules()] + [p.requires_grad for p in module.parameters()]


@pytest.mark.parametrize(
    ("kind", "trainable"),
    [
        ("pixels", ("up",)),
        ("words", ("attention",)),
        ("latents", ("all",)),
        ("autoencoder", ("decoder",)),
    ],
)
def test_previews_validation_and_saving_leave_the_mode(runs_dir, tiny_of, caught, kind, trainable):
    seen = []

    def look(event, hand):
        if isinstance(event, (events.Stepped, events.Sampled, events.Validated, events.Saved)):
            seen.append((type(event).__name__, mode(caught[0][0].module)))
            assert torch.is_grad_enabled()

    run = new(
        runs_dir,
        tiny_of(kind, trainable=trainable, max_train_steps=2, save_image_steps=1, checkpointing_steps=1, dropout=0.1),
    )
    train(run, act=look)
    here = caught[0][0]
    assert {name for name, _ in seen} == {"Stepped", "Sampled", "Validated", "Saved"} and all(
        now == seen[0][1] for _, now in seen
    )
    assert all(part.training for part in here.module.modules()) and 0 < len(learning(here.module)) <= len(
        list(here.module.parameters())
    )
    assert not any(part.training for part in here.ema_network.modules()) and not any(
        p.requires_grad for p in here.ema_network.parameters()
    )


def test_sampling_beside_leaves_the_mode(runs_dir, tiny_of, caught):
    """A model loaded for drawing shares nothing with the one that is trained."""
    run = new(runs_dir, tiny_of("words", max_train_steps=2))

    def draw(event, hand):
        if isinstance(event, events.Stepped):
            before = mode(caught[0][0].module)
            it = loaded.load_model(run.path)
            list(sample.draw(it, sample.Request(num_images=1, num_inference_steps=2, prompt=("red bug",))))
            assert mode(caught[0][0].module) == before and not mode(it.unet)[0]

    train(run, act=draw)


@pytest.mark.parametrize("kind", ["pixels", "labels-in-latents", "words", "autoencoder"])
def test_rehearsal_leaves_everything_as_it_was(tiny_of, monkeypatch, kind):
    """The real one: it trains a copy."""
    monkeypatch.undo()
    config = tiny_of(kind, mixed_precision="no")
    it = objective(config)
    before, was = {k: v.clone() for k, v in it.module.state_dict().items()}, mode(it.module)
    torch.manual_seed(3)
    measured = rehearse(config, it, it.pictures, lambda: False)
    assert not moved(before, it.module.state_dict()) and mode(it.module) == was
    assert measured["parameters"] == count_parameters(it.module) and measured["preview_passes"] == (
        1 if kind == "autoencoder" else 2
    )
    assert (
        measured["step_seconds"] > 0
        and measured["forward_seconds"] > 0
        and (measured["precision"], measured["threads"]) == ("no", 1)
    )
    assert plan.make_plan(config, it.pictures, measured, "cpu")["total_steps"] == 12
