"""Curves become plots: small JSON that ui/components/chart.js draws. The colour code of the whole app is here."""

import math
from collections.abc import Sequence
from typing import TypedDict

from ddpm_app.i18n import t
from ddpm_app.runs.records import CurvePoints, Plan, Points

COLOURS = {
    "data": ("#0072b2", "#56b4e9"),
    "noise": ("#8a8f98", "#8b929c"),
    "prediction": ("#d55e00", "#f0883e"),
    "held-out": ("#00805c", "#2fc79a"),
}
"""What each colour stands for, on a light and on a dark page: Okabe and Ito's palette, told apart by colour-blind eyes."""


class Line(TypedDict):
    """One series, see ``line``."""

    label: str
    colour: str
    style: str
    x: Sequence[float] | None
    y: Sequence[float]


class Chart(TypedDict):
    """One plot, see ``chart``."""

    name: str
    title: str
    unit: str
    lines: list[Line]
    log: bool | None
    xMax: float | None
    wide: bool
    at: float | None


class ChartFrame(TypedDict):
    """What chart.js draws: plots, and the few words that it shows."""

    charts: list[Chart]
    words: dict[str, str]


def css() -> str:
    """The colour code as CSS variables ``--colour-data`` and so on."""
    light, dark = ("".join(f"--colour-{name}: {pair[k]}; " for name, pair in COLOURS.items()) for k in (0, 1))
    return f":root {{ {light}}}\n.dark {{ {dark}}}\n"


def line(label: str, colour: str, points: Points, style: str = "line") -> Line:
    """One series: ``points`` are (x, y); ``style`` is "line", "faint" (behind, thin), "dots" (with its points),
    "points" (nothing between them), "dashed" or "bars" (of equal width, x their middles)."""
    values = [float(f"{y:.3g}") for y in points[1]] if style == "faint" else points[1]
    return {"label": label, "colour": colour, "style": style, "x": points[0], "y": values}


def chart(
    name: str,
    title: str,
    unit: str,
    lines: Sequence[Line],
    log: bool | None = None,
    x_max: float | None = None,
    wide: bool = False,
    at: float | None = None,
) -> Chart:
    """One plot. ``log`` is how its axis starts (None: always linear, no switch); lines without points are left out.
    ``at`` is marked on the x-axis.

    x travels as differences to the one before, short however long the run, and as None where it is that of the line before.
    """
    packed: list[Line] = []
    previous: list[float] | None = None
    for series in lines:
        if series["x"]:
            steps = [b - a for a, b in zip([0, *series["x"]], series["x"], strict=False)]
            packed.append({**series, "x": None if steps == previous else steps})
            previous = steps
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "lines": packed,
        "log": log,
        "xMax": x_max,
        "wide": wide,
        "at": at,
    }


def training(
    series: CurvePoints, plan: Plan, timesteps: int, lang: str = "en", autoencoder: bool = False
) -> ChartFrame:
    """The plots of a run: loss, loss by timestep band (an ``autoencoder`` has no timesteps), learning rate."""
    total = plan.get("total_steps")
    loss = [
        line(t("ui.train.line_raw", lang), "noise", series["raw"], "faint"),
        line(t("ui.train.line_smooth", lang), "prediction", series["smooth"]),
        line(t("ui.train.line_train", lang), "data", series["train"], "dots"),
        line(t("ui.train.line_held_out", lang), "held-out", series["held_out"], "dots"),
    ]
    title, unit = ("chart_reconstruction", "axis_reconstruction") if autoencoder else ("chart_loss", "axis_loss")
    title, unit = t(f"ui.train.{title}", lang), t(f"ui.train.{unit}", lang)
    charts = [chart("loss", title, unit, loss, log=True, x_max=total, wide=True)]
    if not autoencoder:
        title, unit = t("ui.train.chart_bands", lang), t("ui.train.axis_timestep", lang)
        by_band = bands(series["bands"], timesteps, lang)
        charts.append(chart("bands", title, unit, by_band, log=True, x_max=timesteps))
    title, unit = t("ui.train.chart_rate", lang), t("ui.train.axis_step", lang)
    rate = [line(t("ui.train.line_rate", lang), "prediction", series["rate"])]
    return frame([*charts, chart("rate", title, unit, rate, x_max=total, wide=autoencoder)], lang)


def bands(measured: Sequence[tuple[int, list[float]]], timesteps: int, lang: str = "en") -> list[Line]:
    """Loss over the timestep, one line per measurement: the last in full colour, the earlier one dashed."""
    lines = []
    for k, (step, values) in enumerate(measured):
        last = k == len(measured) - 1
        middles = [round((i + 0.5) * timesteps / len(values)) for i in range(len(values))]
        finite = [(x, y) for x, y in zip(middles, values, strict=True) if math.isfinite(y)]
        label = t("ui.train.line_bands_now" if last else "ui.train.line_bands_then", lang, step=f"{step:,}")
        points = [x for x, _ in finite], [y for _, y in finite]
        lines.append(line(label, "data" if last else "noise", points, "dots" if last else "dashed"))
    return lines[::-1]


def comparison(curves: Sequence[tuple[str, CurvePoints]], lang: str = "en") -> ChartFrame:
    """The losses of two runs in one plot: smoothed, and on held-out pictures dashed. ``curves``: (run's name, its points)."""
    lines = []
    for (name, series), colour in zip(curves, ("prediction", "data"), strict=False):
        lines.append(line(name, colour, series["smooth"]))
        lines.append(line(t("ui.runs.line_held_out", lang, name=name), colour, series["held_out"], "dashed"))
    title, unit = t("ui.runs.chart_compare", lang), t("ui.train.axis_step", lang)
    return frame([chart("compare", title, unit, lines, log=True, wide=True)], lang)


def frame(charts: list[Chart], lang: str = "en") -> ChartFrame:
    """What chart.js takes: the plots and the few words it shows."""
    words = {
        "log": t("ui.train.scale_log", lang),
        "linear": t("ui.train.scale_linear", lang),
        "empty": t("ui.train.chart_empty", lang),
    }
    return {"charts": charts, "words": words}
