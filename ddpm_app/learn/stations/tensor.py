"""Station 1, picture to tensor: squared, mirrored, from bytes to [-1, 1], and back."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddpm_app import plots
from ddpm_app.data import preprocess
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, Panel, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes.tensors import histogram
from ddpm_app.learn.station import StationRequest

MODES = ("squash", "crop", "pad")
ORIGINAL_SIDE = 128
"""Longest side of the original as it is shown."""
BINS = 32
FOLLOWED = (0, 64, 128, 255)
"""Bytes that the table follows."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The picture on its way to a tensor and back, its histograms, and some of its numbers."""
    own = context.config.resize_mode
    mode = own if request["mode"] == "own" else request["mode"]
    squares = {
        name: preprocess.square(context.picture, context.model.image_size, name, context.channels).copy()
        for name in MODES
    }
    pixels = squares[mode]
    if request["flip"]:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    x = preprocess.to_tensors(squares[mode][None], np.array([request["flip"]])) * request["stretch"]
    back = preprocess.to_display(x)[0]
    greatest_error = int(np.abs(back.astype(int) - pixels.astype(int)).max())
    trained_mode = request.say("trained", mode=request.say(f"mode.{own}"))
    bytes_before, bytes_after = torch.from_numpy(pixels), torch.from_numpy(back)
    yield [
        PicturesPanel("way", _way(context, request, pixels, x, back, mode), note=trained_mode),
        _verdict(request, greatest_error, x),
        panels.charts("histograms", _histograms(request, bytes_before, x, bytes_after), request.lang),
        _followed(request),
        _modes(context, request, squares, mode),
        panels.flow([(request.say("pixels"), bytes_before, "data"), ("x", x, "data")], request.lang),
    ]


def _way(
    context: LearnContext, request: StationRequest, pixels: np.ndarray, x: Tensor, back: np.ndarray, mode: str
) -> list[PictureRow]:
    original = context.picture.copy()
    original.thumbnail((ORIGINAL_SIDE, ORIGINAL_SIDE))
    size = "{} x {}".format(*context.picture.size)
    square = request.say("square", mode=request.say(f"mode.{mode}"), side=len(pixels))
    stages = [
        panels.picture(original, request.say("original", size=size), "data"),
        panels.picture(_image(pixels), square, "data"),
        panels.picture(_image(back), request.say("back"), "data"),
    ]
    limit, names = request["stretch"], ("R", "G", "B") if x.shape[1] == 3 else ("",)
    channels = [panels.heat_map(values, limit, name) for name, values in zip(names, x[0], strict=True)]
    return [
        PictureRow("", stages),
        PictureRow(request.say("channels"), channels, "data", panels.colour_bar("signed", limit)),
    ]


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _verdict(request: StationRequest, greatest_error: int, x: Tensor) -> Panel:
    outside = float((x.abs() > 1).double().mean())
    if outside or greatest_error:
        return panels.note(request.say("clamped", share=f"{100 * outside:.1f}", apart=greatest_error), "warn")
    return panels.note(request.say("exact"), "good")


def _histograms(request: StationRequest, pixels: Tensor, x: Tensor, back: Tensor) -> list[plots.Chart]:
    def percentages(values: Tensor, low: float, high: float) -> tuple[list[float], list[float]]:
        middles, shares = histogram(values, low, high, BINS)
        return [round(m, 4) for m in middles], [round(100 * share, 3) for share in shares]

    reach = request["stretch"]
    before = [plots.line(request.say("line_before"), "data", percentages(pixels, 0, 256), "bars")]
    if reach > 1:
        before.append(plots.line(request.say("line_back"), "prediction", percentages(back, 0, 256)))
    after = [plots.line(request.say("line_after"), "data", percentages(x, -reach, reach), "bars")]
    return [
        plots.chart("before", request.say("chart_before"), request.say("axis_before"), before, x_max=256),
        plots.chart("after", request.say("chart_after"), request.say("axis_after"), after, x_max=reach),
    ]


def _followed(request: StationRequest) -> Panel:
    """Some bytes through every step, and NaN, which no picture holds and a broken network gives."""
    head = [request.say(f"head_{key}") for key in ("byte", "share", "tensor", "back")]
    rows: list[list[str | Cell]] = []
    for byte in FOLLOWED:
        value = (byte / 255 * 2 - 1) * request["stretch"]
        rows.append([str(byte), f"{byte / 255:.4f}", f"{value:.4f}", _byte(value)])
    rows.append([request.say("not_a_byte"), "", "NaN", _byte(float("nan"))])
    return TablePanel("followed", head, rows, request.say("followed"))


def _byte(value: float) -> str:
    return str(int(preprocess.to_display(torch.full((1, 1, 1), value)).item()))


def _modes(context: LearnContext, request: StationRequest, squares: dict[str, np.ndarray], mode: str) -> Panel:
    """The picture squared in each way; a click takes it."""
    images = [
        panels.picture(_image(square), request.say(f"mode.{name}"), "data" if name == mode else "", {"mode": name})
        for name, square in squares.items()
    ]
    width, height = context.picture.size
    shape = request.say("is_square" if width == height else "not_square")
    return PicturesPanel("modes", [PictureRow("", images)], request.say("modes"), shape, "small", "beside")
