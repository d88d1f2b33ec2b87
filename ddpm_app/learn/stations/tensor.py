"""Station 1, picture to tensor: squared, mirrored, from bytes to [-1, 1], and back."""

from collections.abc import Iterator
from typing import Any

from PIL import Image

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Slider, Station, StationRequest, Toggle

OWN, MODES = "own", ("squash", "crop", "pad")
SHOWN = 128
"""Longest side of the original as it is shown."""
BINS = 32
FOLLOWED = (0, 64, 128, 255)
"""Bytes that the table follows."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The picture on its way to a tensor and back, its histograms, and some of its numbers."""
    import numpy as np
    import torch

    from ddpm_app.data import preprocess

    own = bench.config.resize_mode
    mode = own if asked["mode"] == OWN else asked["mode"]
    channels = bench.x.shape[1]
    squares = {m: preprocess.square(bench.picture, bench.model.image_size, m, channels).copy() for m in MODES}
    pixels = squares[mode]
    if asked["flip"]:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    x = preprocess.to_tensors(squares[mode][None], np.array([asked["flip"]])) * asked["stretch"]
    back = preprocess.to_display(x)[0]
    apart = int(np.abs(back.astype(int) - pixels.astype(int)).max())
    yield [
        panels.pictures(
            "way", _way(bench, asked, pixels, x, back, mode), note=asked.say("trained", mode=asked.say(f"mode.{own}"))
        ),
        _verdict(asked, apart, x),
        panels.charts(
            "histograms", _histograms(asked, torch.from_numpy(pixels), x, torch.from_numpy(back)), asked.lang
        ),
        _followed(asked),
        panels.pictures(
            "modes",
            [panels.row("", _modes(asked, squares, mode))],
            asked.say("modes"),
            _square_told(bench, asked),
            size="small",
        ),
        panels.flow([(asked.say("pixels"), torch.from_numpy(pixels), "data"), ("x", x, "data")], asked.lang),
    ]


def _way(bench: LearnContext, asked: StationRequest, pixels: Any, x: Any, back: Any, mode: str) -> list[dict[str, Any]]:
    original = bench.picture.copy()
    original.thumbnail((SHOWN, SHOWN))
    size = "{} x {}".format(*bench.picture.size)
    side, names = len(pixels), ("R", "G", "B") if x.shape[1] == 3 else ("",)
    one = [
        panels.image(original, asked.say("original", size=size), colour="data"),
        panels.image(_image(pixels), asked.say("square", mode=asked.say(f"mode.{mode}"), side=side), colour="data"),
        panels.image(_image(back), asked.say("back"), colour="data"),
    ]
    limit = asked["stretch"]
    channels = [panels.heat(values, limit, name) for name, values in zip(names, x[0], strict=True)]
    return [panels.row("", one), panels.row(asked.say("channels"), channels, "data", panels.scale("signed", limit))]


def _image(pixels: Any) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _verdict(asked: StationRequest, apart: int, x: Any) -> Panel:
    outside = float((x.abs() > 1).double().mean())
    if outside or apart:
        return panels.note(asked.say("clamped", share=f"{100 * outside:.1f}", apart=apart), "warn")
    return panels.note(asked.say("exact"), "good")


def _histograms(asked: StationRequest, pixels: Any, x: Any, back: Any) -> list[dict[str, Any]]:
    from ddpm_app.learn.probes.tensors import histogram

    def shares(values: Any, low: float, high: float) -> tuple[list[float], list[float]]:
        middles, found = histogram(values, low, high, BINS)
        return [round(m, 4) for m in middles], [round(100 * share, 3) for share in found]

    reach = asked["stretch"]
    before = [plots.line(asked.say("line_before"), "data", shares(pixels, 0, 256), "bars")]
    if reach > 1:
        before.append(plots.line(asked.say("line_back"), "prediction", shares(back, 0, 256)))
    after = [plots.line(asked.say("line_after"), "data", shares(x, -reach, reach), "bars")]
    return [
        plots.chart("before", asked.say("chart_before"), asked.say("axis_before"), before, x_max=256),
        plots.chart("after", asked.say("chart_after"), asked.say("axis_after"), after, x_max=reach),
    ]


def _followed(asked: StationRequest) -> Panel:
    """Some bytes through every step, and NaN, which no picture holds and a broken network gives."""
    head = [asked.say(f"head_{key}") for key in ("byte", "share", "tensor", "back")]
    rows = []
    for byte in FOLLOWED:
        value = (byte / 255 * 2 - 1) * asked["stretch"]
        rows.append([str(byte), f"{byte / 255:.4f}", f"{value:.4f}", _byte(value)])
    rows.append([asked.say("not_a_byte"), "", "NaN", _byte(float("nan"))])
    return panels.table("followed", head, rows, asked.say("followed"))


def _byte(value: float) -> str:
    import torch

    from ddpm_app.data import preprocess

    return str(int(preprocess.to_display(torch.full((1, 1, 1), value)).item()))


def _modes(asked: StationRequest, squares: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    return [
        panels.image(
            _image(square),
            asked.say(f"mode.{name}"),
            set={"mode": name},
            **({"colour": "data"} if name == mode else {}),
        )
        for name, square in squares.items()
    ]


def _square_told(bench: LearnContext, asked: StationRequest) -> str:
    width, height = bench.picture.size
    return asked.say("is_square" if width == height else "not_square")


STATION = Station(
    "tensor",
    show,
    controls=(Choice("mode", (OWN, *MODES)), Toggle("flip"), Slider("stretch", 1.0, 2.0, 0.1, 1.0)),
    maths=(
        r"x=\frac{p/255-0.5}{0.5}\in[-1,1],\quad p\in\{0,\dots,255\}",
        r"p=\mathrm{round}\left(255\cdot\mathrm{clamp}\left(\frac{x+1}{2},0,1\right)\right)",
    ),
    code=(
        "ddpm_app.data.preprocess:square",
        "ddpm_app.data.preprocess:to_tensors",
        "ddpm_app.data.preprocess:to_display",
    ),
    uses=("picture",),
    network=False,
)
