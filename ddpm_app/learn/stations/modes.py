"""Station 9, train(), eval(), no_grad and requires_grad: what each of them changes, measured on copies."""

import html
from collections.abc import Iterator
from typing import Any

from ddpm_app.i18n import format_bytes
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Slider, Station, StationRequest

SECTIONS = ("up", "mid", "down", "ends", "attention", "all")
WAYS = {
    "train": (True, True, True),
    "eval": (False, True, True),
    "no_grad": (False, False, True),
    "frozen": (True, True, False),
}
"""Rows of the table of costs: train mode, gradients on, weights that require them."""
SIDE = 64
"""Larger pictures are shown as means over some pixels."""
BYTES = 12
"""Of each parameter: the copy that runs in each mode, and the copy whose gradients are counted, with them."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The same x_t twice in each mode; who gets a gradient; what it costs."""
    import torch

    from ddpm_app import diffusion
    from ddpm_app.learn.probes import train_eval
    from ddpm_app.train.objective import Batch

    if instead := panels.too_large(bench, asked.lang, BYTES):
        yield instead
        return
    x_t = diffusion.add_noise(bench.x0, bench.noise(asked.seed), bench.abar[asked.t : asked.t + 1].float())
    given = train_eval.PassInput(x_t, asked.t, bench.condition())
    network = train_eval.copied(bench.model.unet, asked["dropout"])
    outputs, guesses = [], []
    for training in (False, True):
        for turn in range(2):
            outputs.append(train_eval.output(network, given, training, asked.seed, turn))
            yield None
            guesses.append(_guess(bench, asked, x_t, outputs[-1]))
            yield None
    content = [_twice(asked, outputs, guesses), _why(asked, train_eval.layers(network), outputs)]
    yield content
    found = []
    for training, trainable in ((False, "all"), (True, asked["trainable"])):
        batch = Batch(bench.x0, bench.noise(asked.seed), torch.tensor([asked.t], device=bench.device), given.condition)
        found.append(
            train_eval.gradients(bench.config, bench.model.unet, batch, bench.abar.float(), training, (trainable,))
        )
        yield None
    content += [_verdict(asked, *found), _gradients(asked, *found)]
    yield content
    costs = {}
    for name, (training, on, learns) in WAYS.items():
        network.requires_grad_(learns)
        kept = train_eval.activation_bytes(network, given, training, on)
        yield None
        costs[name] = kept, *train_eval.seconds(network, given, training, on)
        yield [*content, _costs(asked, costs)]
    flows = [("x_t", x_t, "noise"), ("eval()", outputs[0], "prediction"), ("train()", outputs[2], "prediction")]
    yield [*content, _costs(asked, costs), panels.flow(flows, asked.lang)]


def _guess(bench: LearnContext, asked: StationRequest, x_t: Any, output: Any) -> Any:
    """The clean picture [C, H, W] that an output means, as it is shown."""
    from ddpm_app import diffusion

    kind, level = bench.model.scheduler.config.prediction_type, bench.abar[asked.t : asked.t + 1].float()
    return panels.small(bench.model.codec.decode(diffusion.x0_from(kind, output, x_t, level)), SIDE)[0]


def _twice(asked: StationRequest, outputs: list[Any], guesses: list[Any]) -> Panel:
    """A row for each mode: both passes and where they differ."""
    apart = [(outputs[k] - outputs[k + 1]).abs().amax(dim=1)[0] for k in (0, 2)]
    limit = max(float(part.max()) for part in apart) or 1.0
    rows = []
    for k, mode in enumerate(("eval", "train")):
        pair = guesses[2 * k : 2 * k + 2]
        images = [
            panels.image(guess, asked.say("turn", turn=turn + 1), colour="prediction")
            for turn, guess in enumerate(pair)
        ]
        images.append(panels.heat(apart[k], limit, asked.say("apart", most=f"{float(apart[k].max()):.3g}"), "size"))
        bar = panels.scale("size", limit, asked.say("scale")) if k else None
        rows.append(panels.row(asked.say(f"mode_{mode}"), images, "prediction", bar))
    return panels.pictures("twice", rows, asked.say("twice", t=asked.t), size="normal")


def _why(asked: StationRequest, layers: Any, outputs: list[Any]) -> Panel:
    """What in this network a mode could change."""
    found, share = layers
    between = float((outputs[0] - outputs[2]).abs().max())
    counts = {
        "dropouts": found["Dropout"],
        "groups": found["GroupNorm"] + found["LayerNorm"],
        "batches": found["BatchNorm"],
    }
    key = "why_dropout" if share else "why_same" if not between else "why_other"
    return panels.markup(
        "why",
        f'<p class="remark">{html.escape(asked.say(key, share=f"{share:g}", between=f"{between:.3g}", **counts))}</p>',
    )


def _verdict(asked: StationRequest, whole: dict[str, tuple], chosen: dict[str, tuple]) -> Panel:
    """The reader's own question, answered by what was just measured."""
    disjoint = [name for name in whole if name != "attention"]
    total = sum(whole[name][0] for name in disjoint)
    trained, learns = (
        f"{sum(found[name][0] for name in disjoint if found[name][1] is not None):,}" for found in (whole, chosen)
    )
    part = asked.say(f"trainable.{asked['trainable']}")
    return panels.note(asked.say("verdict", total=f"{total:,}", trained=trained, learns=learns, part=part), "good")


def _gradients(asked: StationRequest, whole: dict[str, tuple], chosen: dict[str, tuple]) -> Panel:
    """Every section under eval() with all learning, and under train() with the rest frozen."""
    most = max((norm for found in (whole, chosen) for _, norm in found.values() if norm), default=1.0)

    def cell(norm: float | None) -> Any:
        return "None" if norm is None else {"text": f"{norm:.3g}", "bar": norm / most}

    labels = {name: asked.say("within", section=name) if name == "attention" else name for name in whole}
    rows = [
        [label, cell(whole[name][1]), cell(chosen[name][1]), f"{whole[name][0]:,}"] for name, label in labels.items()
    ]
    head = ["section", "eval_all", "train_some", "parameters"]
    part = asked.say(f"trainable.{asked['trainable']}")
    return panels.table(
        "gradients", [asked.say(f"head_{key}", part=part) for key in head], rows, asked.say("gradients")
    )


def _costs(asked: StationRequest, costs: dict[str, tuple]) -> Panel:
    most = max(kept for kept, _, _ in costs.values()) or 1
    rows = []
    for name in WAYS:
        kept, forward, backward = costs.get(name, (None, None, None))
        memory = {"text": format_bytes(kept) if kept else "0", "bar": kept / most} if kept is not None else "…"
        times = [f"{1000 * time:.0f} ms" if time else "-" if name in costs else "…" for time in (forward, backward)]
        rows.append([asked.say(f"way_{name}"), memory, *times])
    return panels.table(
        "costs",
        [asked.say(f"head_{key}") for key in ("way", "memory", "forward", "backward")],
        rows,
        asked.say("costs"),
    )


STATION = Station(
    "modes",
    show,
    controls=(Slider("dropout", 0.0, 0.5, 0.05, 0.0), Choice("trainable", SECTIONS)),
    maths=(
        r"\mathrm{train:}\;\mathrm{Dropout}_p(h)=\frac{m\odot h}{1-p},\;m_i\sim\mathrm{Bernoulli}(1-p)",
        r"\mathrm{eval:}\;\mathrm{Dropout}_p(h)=h",
        r"\mathrm{both:}\;\mathrm{GroupNorm}(h)=\gamma\,\frac{h-\mu_g}{\sqrt{\sigma_g^2+\varepsilon}}+\beta",
    ),
    code=(
        "ddpm_app.model.unet:freeze",
        "ddpm_app.learn.probes.train_eval:gradients",
        "ddpm_app.learn.probes.train_eval:activation_bytes",
    ),
)
