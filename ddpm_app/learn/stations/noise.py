"""Station 3, adding noise: x_t of the picture at every timestep, and how the schedule mixes it."""

from collections.abc import Iterator
from typing import Any

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Station, StationRequest

OWN = "own"
SCHEDULES = (OWN, "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
LENGTHS = (OWN, "1000", "200", "50")
STRIP = 9
"""Pictures from t = 0 to T."""
POINTS = 100
"""Points of a curve."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The picture, its noise and their mixture at t; the strip; the curves."""
    from ddpm_app import diffusion
    from ddpm_app.learn.probes import forward_process

    abar = _schedule(bench, asked)
    found, x0, eps = forward_process.levels(abar), bench.x0, bench.noise(asked.seed)
    t = min(len(abar) - 1, round(asked.t * (len(abar) - 1) / (bench.timesteps - 1)))
    x_t = diffusion.add_noise(x0, eps, abar[t : t + 1].float().to(x0.device))
    times, mixed = forward_process.strip(x0, eps, abar, STRIP)
    one = [
        panels.image(bench.model.codec.decode(x0)[0], "x₀", colour="data"),
        panels.image(panels.seen(bench.model, eps[0]), "ε", colour="noise"),
        panels.image(panels.seen(bench.model, x_t[0]), f"x_t, t = {t}", colour="noise"),
    ]
    told = asked.say(
        "mixture", signal=f"{found.signal[t]:.3f}", noise=f"{found.noise[t]:.3f}", share=f"{found.alphas_cumprod[t]:.3f}"
    )
    share = (bench.timesteps - 1) / (len(abar) - 1)
    walk = [
        panels.image(
            panels.seen(bench.model, x), f"t = {k}", colour="noise" if k else "data", set={"t": round(k * share)}
        )
        for k, x in zip(times, mixed, strict=True)
    ]
    warning = asked.say("shows" if found.shows else "gone", left=f"{100 * found.left:.1f}", last=len(abar) - 1)
    yield [
        panels.pictures("mixture", [panels.row("", one)], note=told),
        panels.pictures("strip", [panels.row("", walk)], asked.say("strip"), size="small"),
        panels.note(warning, "warn" if found.shows else "good"),
        panels.charts("curves", _curves(found, t, asked), asked.lang),
        panels.flow([("x0", x0, "data"), ("eps", eps, "noise"), ("x_t", x_t, "noise")], asked.lang),
    ]


def _schedule(bench: LearnContext, asked: StationRequest) -> Any:
    """The schedule chosen, where both are "own" the model's."""
    from ddpm_app.learn.probes import forward_process

    name, length = asked["schedule"], asked["length"]
    if name == OWN and length == OWN:
        return bench.abar.cpu()
    timesteps = bench.timesteps if length == OWN else int(length)
    return (
        forward_process.stretched(bench.model.scheduler, timesteps)
        if name == OWN
        else forward_process.schedule(name, timesteps)
    )


def _curves(found: Any, t: int, asked: StationRequest) -> list[dict[str, Any]]:
    last = len(found.alphas_cumprod) - 1
    at = sorted({round(k * last / (POINTS - 1)) for k in range(POINTS)})

    def line(key: str, colour: str, values: Any) -> dict[str, Any]:
        return plots.line(asked.say(key), colour, (at, [round(float(values[k]), 4) for k in at]))

    mixing = [line("line_signal", "data", found.signal), line("line_noise", "noise", found.noise)]
    unit = asked.say("axis")
    return [
        plots.chart("mixing", asked.say("chart_mixing"), unit, mixing, x_max=last, at=t),
        plots.chart(
            "snr", asked.say("chart_snr"), unit, [line("line_snr", "prediction", found.log_snr)], x_max=last, at=t
        ),
    ]


STATION = Station(
    "noise",
    show,
    controls=(Choice("schedule", SCHEDULES), Choice("length", LENGTHS)),
    maths=(
        r"x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\quad\epsilon\sim\mathcal{N}(0,I)",
        r"\bar\alpha_t=\prod_{s\leq t}(1-\beta_s),\quad\mathrm{SNR}_t=\bar\alpha_t/(1-\bar\alpha_t)",
    ),
    code=("ddpm_app.diffusion:add_noise", "ddpm_app.learn.probes.forward_process:levels"),
)
