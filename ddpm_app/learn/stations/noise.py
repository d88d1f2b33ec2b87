"""Station 3, adding noise: x_t of the picture at every timestep, and how the schedule mixes it."""

from collections.abc import Iterator

from torch import Tensor

from ddpm_app import diffusion, plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Panel, PictureRow, PicturesPanel
from ddpm_app.learn.probes import forward_process
from ddpm_app.learn.probes.forward_process import Levels
from ddpm_app.learn.station import StationRequest

STRIP = 9
"""Pictures from t = 0 to T."""
POINTS = 100
"""Points of a curve."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The picture, its noise and their mixture at t; the strip; the curves."""
    alphas_cumprod = _schedule(context, request)
    levels, x0, eps = forward_process.levels(alphas_cumprod), context.x0, context.noise(request.seed)
    last = len(alphas_cumprod) - 1
    t = min(last, round(request.t * last / (context.timesteps - 1)))
    x_t = diffusion.add_noise(x0, eps, alphas_cumprod[t : t + 1].float().to(x0.device))
    flows = [("x0", x0, "data"), ("eps", eps, "noise"), ("x_t", x_t, "noise")]
    left = f"{100 * levels.left:.1f}"
    warning = request.say("shows" if levels.shows else "gone", left=left, last=last)
    yield [
        _mixture(context, request, levels, t, eps, x_t),
        _strip(context, request, alphas_cumprod, eps),
        panels.note(warning, "warn" if levels.shows else "good"),
        panels.charts("curves", _curves(levels, t, request), request.lang),
        panels.flow(flows, request.lang),
    ]


def _schedule(context: LearnContext, request: StationRequest) -> Tensor:
    """alpha-bar [T] of the schedule chosen; where both are "own" the model's."""
    name, length = request["schedule"], request["length"]
    if name == length == "own":
        return context.alphas_cumprod.cpu()
    timesteps = context.timesteps if length == "own" else int(length)
    if name == "own":
        return forward_process.stretched(context.model.scheduler, timesteps)
    return forward_process.schedule(name, timesteps)


def _mixture(context: LearnContext, request: StationRequest, levels: Levels, t: int, eps: Tensor, x_t: Tensor) -> Panel:
    model = context.model
    images = [
        panels.picture(model.codec.decode(context.x0)[0], "x₀", "data"),
        panels.picture(panels.viewable(model, eps[0]), "ε", "noise"),
        panels.picture(panels.viewable(model, x_t[0]), f"x_t, t = {t}", "noise"),
    ]
    shares = {
        "signal": f"{levels.signal[t]:.3f}",
        "noise": f"{levels.noise[t]:.3f}",
        "share": f"{levels.alphas_cumprod[t]:.3f}",
    }
    return PicturesPanel("mixture", [PictureRow("", images)], note=request.say("mixture", **shares))


def _strip(context: LearnContext, request: StationRequest, alphas_cumprod: Tensor, eps: Tensor) -> Panel:
    """The picture from t = 0 to T; a click goes there."""
    times, mixed = forward_process.strip(context.x0, eps, alphas_cumprod, STRIP)
    stretch = (context.timesteps - 1) / (len(alphas_cumprod) - 1)
    images = [
        panels.picture(
            panels.viewable(context.model, x), f"t = {k}", "noise" if k else "data", {"t": round(k * stretch)}
        )
        for k, x in zip(times, mixed, strict=True)
    ]
    return PicturesPanel("strip", [PictureRow("", images)], request.say("strip"), size="small")


def _curves(levels: Levels, t: int, request: StationRequest) -> list[plots.Chart]:
    last = len(levels.alphas_cumprod) - 1
    at = sorted({round(k * last / (POINTS - 1)) for k in range(POINTS)})

    def line(key: str, colour: str, values: Tensor) -> plots.Line:
        points = {
            k: round(float(values[k]), 4) for k in at if values[k].isfinite()
        }  # ln(SNR) isn't where no picture is left
        return plots.line(request.say(key), colour, (list(points), list(points.values())))

    mixing = [line("line_signal", "data", levels.signal), line("line_noise", "noise", levels.noise)]
    snr = [line("line_snr", "prediction", levels.log_snr)]
    unit = request.say("axis")
    return [
        plots.chart("mixing", request.say("chart_mixing"), unit, mixing, x_max=last, at=t),
        plots.chart("snr", request.say("chart_snr"), unit, snr, x_max=last, at=t),
    ]
