"""Station 9, train(), eval(), no_grad and requires_grad: what each of them changes, measured on copies."""

from collections import Counter
from collections.abc import Iterator

import torch
from markupsafe import Markup
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.i18n import format_bytes
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, MarkupPanel, Panel, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import train_eval
from ddpm_app.learn.station import StationRequest
from ddpm_app.train.objective import Batch

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

Gradients = dict[str, tuple[int, float | None]]
"""By section: parameters that require a gradient, and the length of the section's gradient, None where it got none."""
Costs = dict[str, tuple[int, float, float | None]]
"""By way: bytes of activations, seconds of the forward and of the backward pass."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The same x_t twice in each mode; who gets a gradient; what it costs."""
    if warning := panels.size_warning(context, request.lang, BYTES):
        yield warning
        return
    condition, noise, alpha_bar = context.condition(), context.noise(request.seed), context.alpha_bar(request.t)
    x_t = diffusion.add_noise(context.x0, noise, alpha_bar)
    inputs = train_eval.PassInput(x_t, request.t, condition)
    network = train_eval.copied(context.model.unet, request["dropout"])
    outputs, guesses = [], []
    for training in (False, True):
        for turn in range(2):
            outputs.append(train_eval.output(network, inputs, training, request.seed, turn))
            yield None
            guesses.append(_guess(context, x_t, outputs[-1], alpha_bar))
            yield None
    content = [_twice(request, outputs, guesses), _why(request, *train_eval.layers(network), outputs)]
    yield content
    config, unet, schedule = context.config, context.model.unet, context.alphas_cumprod.float()
    batch = Batch(context.x0, noise, torch.tensor([request.t], device=context.device), condition)
    gradients = []
    for training, trainable in ((False, "all"), (True, request["trainable"])):
        gradients.append(train_eval.gradients(config, unet, batch, schedule, training, (trainable,)))
        yield None
    content += [_verdict(request, *gradients), _gradients(request, *gradients)]
    yield content
    costs: Costs = {}
    for name, (training, with_gradients, trainable) in WAYS.items():
        network.requires_grad_(trainable)
        memory = train_eval.activation_bytes(network, inputs, training, with_gradients)
        yield None
        costs[name] = memory, *train_eval.seconds(network, inputs, training, with_gradients)
        yield [*content, _costs(request, costs)]
    flows = [("x_t", x_t, "noise"), ("eval()", outputs[0], "prediction"), ("train()", outputs[2], "prediction")]
    yield [*content, _costs(request, costs), panels.flow(flows, request.lang)]


def _guess(context: LearnContext, x_t: Tensor, output: Tensor, alpha_bar: Tensor) -> Tensor:
    """The clean picture [C, H, W] that an output means, as it is shown."""
    prediction_type = context.model.scheduler.config.prediction_type
    x0 = diffusion.x0_from(prediction_type, output, x_t, alpha_bar)
    return panels.shrink(context.model.codec.decode(x0), SIDE)[0]


def _twice(request: StationRequest, outputs: list[Tensor], guesses: list[Tensor]) -> Panel:
    """A row for each mode: both passes and where they differ."""
    differences = [(outputs[k] - outputs[k + 1]).abs().amax(dim=1)[0] for k in (0, 2)]
    limit = max(float(difference.max()) for difference in differences) or 1.0
    rows = []
    for k, (mode, difference) in enumerate(zip(("eval", "train"), differences, strict=True)):
        images = [
            panels.picture(guess, request.say("turn", turn=turn), "prediction")
            for turn, guess in enumerate(guesses[2 * k : 2 * k + 2], 1)
        ]
        greatest = request.say("apart", most=f"{float(difference.max()):.3g}")
        images.append(panels.heat_map(difference, limit, greatest, "size"))
        bar = panels.colour_bar("size", limit, request.say("scale")) if k else None
        rows.append(PictureRow(request.say(f"mode_{mode}"), images, "prediction", bar))
    return PicturesPanel("twice", rows, request.say("twice", t=request.t))


def _why(request: StationRequest, layers: Counter, dropout: float, outputs: list[Tensor]) -> Panel:
    """What in this network a mode could change."""
    between = float((outputs[0] - outputs[2]).abs().max())
    counts = {
        "dropouts": layers["Dropout"],
        "groups": layers["GroupNorm"] + layers["LayerNorm"],
        "batches": layers["BatchNorm"],
    }
    key = "why_dropout" if dropout else "why_same" if not between else "why_other"
    reason = request.say(key, share=f"{dropout:g}", between=f"{between:.3g}", **counts)
    return MarkupPanel("why", Markup('<p class="remark">{}</p>').format(reason), "beside")


def _verdict(request: StationRequest, in_eval: Gradients, in_train: Gradients) -> Panel:
    """The reader's own question, answered by what was just measured."""
    disjoint = [name for name in in_eval if name != "attention"]
    total = sum(in_eval[name][0] for name in disjoint)
    trained, learns = (
        f"{sum(gradients[name][0] for name in disjoint if gradients[name][1] is not None):,}"
        for gradients in (in_eval, in_train)
    )
    part = request.say(f"trainable.{request['trainable']}")
    return panels.note(request.say("verdict", total=f"{total:,}", trained=trained, learns=learns, part=part), "good")


def _gradients(request: StationRequest, in_eval: Gradients, in_train: Gradients) -> Panel:
    """Every section under eval() with all learning, and under train() with the rest frozen."""
    most = max((norm for gradients in (in_eval, in_train) for _, norm in gradients.values() if norm), default=1.0)

    def cell(norm: float | None) -> str | Cell:
        return "None" if norm is None else Cell(f"{norm:.3g}", bar=norm / most)

    rows = []
    for name, (count, norm) in in_eval.items():
        label = request.say("within", section=name) if name == "attention" else name
        rows.append([label, cell(norm), cell(in_train[name][1]), f"{count:,}"])
    part = request.say(f"trainable.{request['trainable']}")
    head = [request.say(f"head_{key}", part=part) for key in ("section", "eval_all", "train_some", "parameters")]
    return TablePanel("gradients", head, rows, request.say("gradients"))


def _costs(request: StationRequest, costs: Costs) -> Panel:
    most = max(memory for memory, _, _ in costs.values()) or 1
    rows: list[list[str | Cell]] = []
    for name in WAYS:
        label = request.say(f"way_{name}")
        if name not in costs:
            rows.append([label, "…", "…", "…"])
            continue
        memory, *seconds = costs[name]
        times = [f"{1000 * time:.0f} ms" if time else "-" for time in seconds]
        rows.append([label, Cell(format_bytes(memory) if memory else "0", bar=memory / most), *times])
    head = [request.say(f"head_{key}") for key in ("way", "memory", "forward", "backward")]
    return TablePanel("costs", head, rows, request.say("costs"))
