"""Rows become plot frames: small JSON that assets/js/chart.js draws. The colour code of the whole app is here."""

import math
from typing import Any

from ddpm_app.i18n import t

COLOURS = {
    "data": ("#0072b2", "#56b4e9"),
    "noise": ("#8a8f98", "#8b929c"),
    "prediction": ("#d55e00", "#f0883e"),
    "held-out": ("#00805c", "#2fc79a"),
}
"""What each colour stands for, on a light and on a dark page: Okabe and Ito's palette, told apart by colour-blind eyes."""


def css() -> str:
    """The colour code as CSS variables ``--colour-data`` and so on."""
    light, dark = ("".join(f"--colour-{name}: {pair[k]}; " for name, pair in COLOURS.items()) for k in (0, 1))
    return f":root {{ {light}}}\n.dark {{ {dark}}}\n"


def line(label: str, colour: str, points: tuple[list[float], list[float]], style: str = "line") -> dict[str, Any]:
    """One series: ``points`` are (x, y); ``style`` is "line", "faint" (behind, thin), "dots" (with its points),
    "points" (nothing between them), "dashed" or "bars" (of equal width, x their middles)."""
    values = [float(f"{y:.3g}") for y in points[1]] if style == "faint" else points[1]
    return {"label": label, "colour": colour, "style": style, "x": points[0], "y": values}


def chart(
    name: str,
    title: str,
    unit: str,
    lines: list[dict[str, Any]],
    log: bool | None = None,
    x_max: float | None = None,
    wide: bool = False,
    at: float | None = None,
) -> dict[str, Any]:
    """One plot. ``log`` is how its axis starts (None: always linear, no switch); lines without points are left out.
    ``at`` is marked on the x-axis.

    x travels as differences to the one before, short however long the run, and as None where it is that of the line before.
    """
    shown = [
        part | {"x": [b - a for a, b in zip([0, *part["x"]], part["x"], strict=False)]} for part in lines if part["x"]
    ]
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "lines": [part | {"x": None} if k and part["x"] == shown[k - 1]["x"] else part for k, part in enumerate(shown)],
        "log": log,
        "xMax": x_max,
        "wide": wide,
        "at": at,
    }


def training(
    series: dict[str, Any], plan: dict[str, Any], timesteps: int, lang: str = "en", autoencoder: bool = False
) -> dict[str, Any]:
    """The plots of a run: loss, loss by timestep band (an ``autoencoder`` has no timesteps), learning rate. ``series`` as
    ``ui.monitor.History.series`` gives it."""
    total = plan.get("total_steps")
    loss = [
        line(t("ui.train.line_raw", lang), "noise", series["raw"], "faint"),
        line(t("ui.train.line_smooth", lang), "prediction", series["smooth"]),
        line(t("ui.train.line_train", lang), "data", series["train"], "dots"),
        line(t("ui.train.line_held_out", lang), "held-out", series["held_out"], "dots"),
    ]
    rate = [line(t("ui.train.line_rate", lang), "prediction", series["rate"])]
    title, unit = ("chart_reconstruction", "axis_reconstruction") if autoencoder else ("chart_loss", "axis_loss")
    charts = [
        chart("loss", t(f"ui.train.{title}", lang), t(f"ui.train.{unit}", lang), loss, log=True, x_max=total, wide=True)
    ]
    if not autoencoder:
        by_band = bands(series["bands"], timesteps, lang)
        charts.append(
            chart(
                "bands",
                t("ui.train.chart_bands", lang),
                t("ui.train.axis_timestep", lang),
                by_band,
                log=True,
                x_max=timesteps,
            )
        )
    charts.append(
        chart(
            "rate", t("ui.train.chart_rate", lang), t("ui.train.axis_step", lang), rate, x_max=total, wide=autoencoder
        )
    )
    return frame(charts, lang)


def bands(measured: list[tuple[int, list[float]]], timesteps: int, lang: str = "en") -> list[dict[str, Any]]:
    """Loss over the timestep, one line per measurement: the last in full colour, the earlier one dashed."""
    lines = []
    for k, (step, values) in enumerate(measured):
        middles = [round((i + 0.5) * timesteps / len(values)) for i in range(len(values))]
        last = k == len(measured) - 1
        points = [(x, y) for x, y in zip(middles, values, strict=True) if math.isfinite(y)]
        label = t("ui.train.line_bands_now" if last else "ui.train.line_bands_then", lang, step=f"{step:,}")
        lines.append(
            line(
                label,
                "data" if last else "noise",
                ([x for x, _ in points], [y for _, y in points]),
                "dots" if last else "dashed",
            )
        )
    return lines[::-1]


def comparison(curves: list[tuple[str, dict[str, Any]]], lang: str = "en") -> dict[str, Any]:
    """The losses of two runs in one plot: smoothed, and on held-out pictures dashed. ``curves``: (run's name, its series)."""
    lines = []
    for (name, series), colour in zip(curves, ("prediction", "data"), strict=False):
        lines.append(line(name, colour, series["smooth"]))
        lines.append(line(t("ui.runs.line_held_out", lang, name=name), colour, series["held_out"], "dashed"))
    return frame(
        [chart("compare", t("ui.runs.chart_compare", lang), t("ui.train.axis_step", lang), lines, log=True, wide=True)],
        lang,
    )


def frame(charts: list[dict[str, Any]], lang: str = "en") -> dict[str, Any]:
    """What chart.js takes: the plots and the few words it shows."""
    words = {
        "log": t("ui.train.scale_log", lang),
        "linear": t("ui.train.scale_linear", lang),
        "empty": t("ui.train.chart_empty", lang),
    }
    return {"charts": charts, "words": words}
