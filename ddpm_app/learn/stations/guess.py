"""Station 5, the guess: noise, clean picture and velocity of one x_t, as they are and as the network says, and where it is good."""

import math
from collections.abc import Iterator
from typing import Any

from ddpm_app import plots
from ddpm_app.film import LATENT_RANGE
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest

NAMES = {"epsilon": "ε", "sample": "x₀", "v_prediction": "v"}
LINES = {"epsilon": "noise", "sample": "data", "v_prediction": "prediction"}
"""The colours of the error curves."""
MEASURED = 8
"""Timesteps of the curve."""
LIMIT = 1.0
"""Error maps end at this."""
WILD = 10
"""An error that grows by more than this deserves a warning."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """Target, prediction and error of eps, x0 and v at t; then, timestep by timestep, the errors of the whole schedule."""
    from ddpm_app import diffusion
    from ddpm_app.learn.probes import guess as probe

    x0, eps, condition = bench.x0, bench.noise(asked.seed), bench.condition()
    found = probe.guess(bench.model, x0, eps, asked.t, condition)
    content = _at_t(bench, asked, found)
    curve = asked.memory.setdefault(("errors", asked.seed), {})
    yield [*content, _curve(bench, asked, curve), _flow(asked, bench, found)]
    times = diffusion.stratified_timesteps(MEASURED, bench.timesteps).tolist()
    for t in [t for t in times if t not in curve]:
        there = probe.guess(bench.model, x0, eps, t, condition)
        curve[t] = {kind: there.error(kind) for kind in NAMES}
        yield [*content, _curve(bench, asked, curve), _flow(asked, bench, found)]


def _at_t(bench: LearnContext, asked: StationRequest, found: Any) -> list[Panel]:
    errors = [
        panels.heat(
            (found.prediction[kind] - found.target[kind])[0].square().mean(dim=0).sqrt(),
            LIMIT,
            f"{name}: {_number(found.error(kind))}",
            "size",
        )
        for kind, name in NAMES.items()
    ]
    rows = [
        panels.row(
            asked.say("given"),
            [panels.image(panels.seen(bench.model, found.x_t[0]), f"x_t, t = {asked.t}", colour="noise")],
            "noise",
        ),
        panels.row(asked.say("target"), _three(bench, found.target), "data"),
        panels.row(asked.say("said"), _three(bench, found.prediction), "prediction"),
        panels.row(asked.say("error"), errors, scale=panels.scale("size", LIMIT)),
    ]
    latent = bench.model.codec.vae is not None
    note = asked.say("latent_told" if latent else "pixel_told", range=LATENT_RANGE)
    return [panels.pictures("guess", rows, note=note), _warning(bench, asked), _ways(bench, asked)]


def _three(bench: LearnContext, named: dict[str, Any]) -> list[dict[str, Any]]:
    decoded = bench.model.codec.decode(named["sample"].nan_to_num())[0]
    return [
        panels.image(decoded if kind == "sample" else panels.seen(bench.model, named[kind][0]), name)
        for kind, name in NAMES.items()
    ]


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _coefficients(bench: LearnContext, asked: StationRequest) -> dict[str, tuple[float, float]]:
    from ddpm_app.learn.probes.guess import coefficients

    return coefficients(bench.model.scheduler.config.prediction_type, float(bench.abar[asked.t]))


def _warning(bench: LearnContext, asked: StationRequest) -> Panel:
    """What the largest growth of an error at this t means, or which of the three the network says itself."""
    said = NAMES[bench.model.scheduler.config.prediction_type]
    growth = {kind: abs(q) for kind, (_, q) in _coefficients(bench, asked).items()}
    if any(math.isnan(value) for value in growth.values()):
        lost = ", ".join(NAMES[kind] for kind, value in growth.items() if math.isnan(value))
        return panels.note(asked.say("undefined", said=said, lost=lost), "bad")
    if wild := [kind for kind, value in growth.items() if value > WILD]:
        times = max(growth.values())
        return panels.note(
            asked.say("wild", said=said, lost=", ".join(NAMES[kind] for kind in wild), times=f"{times:,.0f}"), "warn"
        )
    return panels.note(asked.say("calm", said=said), "good")


def _ways(bench: LearnContext, asked: StationRequest) -> Panel:
    """Each of the three as a sum of x_t and the output, with this timestep's numbers."""
    kind = bench.model.scheduler.config.prediction_type
    formulas = {
        "epsilon": {"sample": "(x_t - √(1-ᾱ) ε) / √ᾱ", "v_prediction": "(ε - √(1-ᾱ) x_t) / √ᾱ"},
        "sample": {"epsilon": "(x_t - √ᾱ x₀) / √(1-ᾱ)", "v_prediction": "(√ᾱ x_t - x₀) / √(1-ᾱ)"},
        "v_prediction": {"epsilon": "√(1-ᾱ) x_t + √ᾱ v", "sample": "√ᾱ x_t - √(1-ᾱ) v"},
    }[kind]
    rows = []
    for name, (p, q) in _coefficients(bench, asked).items():
        output = NAMES[kind]
        now = asked.say("itself") if name == kind else f"{p:.4g} x_t {'-' if q < 0 else '+'} {abs(q):.4g} {output}"
        rows.append([NAMES[name], formulas.get(name, output), now if math.isfinite(q) else "-", f"x {_number(abs(q))}"])
    return panels.table(
        "ways", [asked.say(f"head_{key}") for key in ("name", "formula", "now", "growth")], rows, asked.say("ways")
    )


def _curve(bench: LearnContext, asked: StationRequest, measured: dict[int, dict[str, float]]) -> Panel:
    lines = []
    for kind, name in NAMES.items():
        points = [(t, measured[t][kind]) for t in sorted(measured) if math.isfinite(measured[t][kind])]
        lines.append(
            plots.line(
                asked.say("line", name=name),
                LINES[kind],
                ([t for t, _ in points], [float(f"{e:.4g}") for _, e in points]),
                "dots",
            )
        )
    chart = plots.chart(
        "errors",
        asked.say("chart"),
        asked.say("axis"),
        lines,
        log=True,
        x_max=bench.timesteps - 1,
        wide=True,
        at=asked.t,
    )
    return panels.charts("errors", [chart], asked.lang)


def _flow(asked: StationRequest, bench: LearnContext, found: Any) -> Panel:
    kind = bench.model.scheduler.config.prediction_type
    flows = [("x_t", found.x_t, "noise"), (asked.say("output", name=NAMES[kind]), found.prediction[kind], "prediction")]
    targets = [
        (asked.say("target_of", name=name), found.target[k], "noise" if k == "epsilon" else "data")
        for k, name in NAMES.items()
    ]
    return panels.flow([*flows, *targets], asked.lang)


STATION = Station(
    "guess",
    show,
    maths=(
        r"x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\quad v=\sqrt{\bar\alpha_t}\,\epsilon-\sqrt{1-\bar\alpha_t}\,x_0",
        r"\epsilon=\frac{x_t-\sqrt{\bar\alpha_t}\,x_0}{\sqrt{1-\bar\alpha_t}},\quad x_0=\sqrt{\bar\alpha_t}\,x_t-\sqrt{1-\bar\alpha_t}\,v",
    ),
    code=("ddpm_app.learn.probes.guess:guess", "ddpm_app.learn.probes.guess:coefficients", "ddpm_app.diffusion:target"),
)
