"""Station 2, tensor to latent: what the autoencoder keeps of a picture, its scale, and what comes of forgetting it."""

import math
from collections.abc import Iterator

from markupsafe import Markup
from torch import Tensor

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import MarkupPanel, Panel, Picture, PictureRow, PicturesPanel
from ddpm_app.learn.probes import latents
from ddpm_app.learn.probes.latents import Latents
from ddpm_app.learn.probes.tensors import histogram
from ddpm_app.learn.station import StationRequest
from ddpm_app.model.reconstruction import UNFIT_PSNR, psnr

MAP_RANGE, HISTOGRAM_RANGE, BINS = 3.0, 4.0, 32
"""Maps of latents go from minus to plus the one, their histograms from minus to plus the other."""
MAX_ERROR = 0.25
"""The error map ends at this."""
STABLE_DIFFUSION = 0.18215
"""The factor of Stable Diffusion's autoencoder: its latents are 1 / 0.18215 = 5.5 times as large as the UNet wants them, and the UNet's so many
times too small for its decoder."""
SHARE, SEED = 0.4, 0
"""The UNet is asked at this share of T, always with the noise of this seed."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """Picture, latents, reconstruction; with the toggle also what decoder and UNet make of latents that nobody scaled."""
    if context.model.codec.vae is None:
        yield _identity(context, request)
        return
    codec, memory = context.model.codec, request.memory
    if "latents" not in memory:
        memory["latents"] = latents.latents(codec, context.x)
    encoded = memory["latents"]
    yield _panels(context, request, encoded, None, [])
    if "reconstruction" not in memory:
        memory["reconstruction"] = codec.decode(encoded.scaled)
    reconstruction = memory["reconstruction"]
    yield _panels(context, request, encoded, reconstruction, [])
    for rows in _unscaled(context, request, encoded) if request["forget"] else ():
        yield _panels(context, request, encoded, reconstruction, rows)


def _identity(context: LearnContext, request: StationRequest) -> list[Panel]:
    pair = [panels.picture(context.x[0], "x", "data"), panels.picture(context.x0[0], "x₀ = x", "data")]
    button = panels.button(request.say("way_out"), model="shipped:butterflies-words")
    return [
        PicturesPanel("picture", [PictureRow("", pair)]),
        panels.note(request.say("identity", shape=_shape(context.x))),
        MarkupPanel("out", Markup("<p>{}</p>").format(button)),
        panels.flow([("x", context.x, "data"), ("x0", context.x0, "data")], request.lang),
    ]


def _shape(x: Tensor) -> str:
    return " x ".join(map(str, x.shape[1:]))


def _panels(
    context: LearnContext,
    request: StationRequest,
    encoded: Latents,
    reconstruction: Tensor | None,
    unscaled: list[PictureRow],
) -> list[Panel]:
    channels = [
        panels.heat_map(values, MAP_RANGE, request.say("channel", number=k + 1))
        for k, values in enumerate(encoded.scaled[0])
    ]
    channel_row = PictureRow("", channels, "data", panels.colour_bar("signed", MAP_RANGE))
    content: list[Panel] = [
        PicturesPanel("picture", [_reconstruction_row(context, request, reconstruction)]),
        _size_note(context, request, encoded, reconstruction),
        PicturesPanel("channels", [channel_row], request.say("channels", shape=_shape(encoded.scaled))),
    ]
    if unscaled:
        explanation = request.say("forgotten_told", t=_timestep(context))
        content.append(PicturesPanel("forgotten", unscaled, request.say("forgotten"), explanation))
    flows = [("x", context.x, "data"), ("μ", encoded.mean, "data"), ("x0", encoded.scaled, "data")]
    if reconstruction is not None:
        flows.append(("x\u0302", reconstruction, "data"))
    return [
        *content,
        panels.charts("histograms", _histograms(context, request, encoded), request.lang),
        panels.note(_spread(request, encoded), name="spread"),
        panels.flow(flows, request.lang),
    ]


def _spread(request: StationRequest, encoded: Latents) -> str:
    if encoded.spread is None:
        return request.say("no_spread")
    return request.say("spread", share=f"{100 * encoded.spread / float(encoded.mean.std()):.1f}")


def _reconstruction_row(context: LearnContext, request: StationRequest, reconstruction: Tensor | None) -> PictureRow:
    images = [panels.picture(context.x[0], "x", "data")]
    if reconstruction is not None:
        error = (reconstruction.clamp(-1, 1) - context.x)[0].abs().mean(dim=0)
        images += [
            panels.picture(reconstruction[0], request.say("back"), "data"),
            panels.heat_map(error, MAX_ERROR, request.say("error"), "size"),
        ]
    return PictureRow("", images, colour_bar=panels.colour_bar("size", MAX_ERROR, request.say("error_told")))


def _size_note(
    context: LearnContext, request: StationRequest, encoded: Latents, reconstruction: Tensor | None
) -> Panel:
    if reconstruction is None:
        return panels.note(request.say("decoding"))
    decibels, many, few = psnr(context.x, reconstruction), context.x.numel(), encoded.scaled.numel()
    text = request.say("kept", many=f"{many:,}", few=f"{few:,}", times=f"{many / few:.0f}", psnr=f"{decibels:.1f}")
    return panels.note(text, "good" if decibels >= UNFIT_PSNR else "warn")


def _histograms(context: LearnContext, request: StationRequest, encoded: Latents) -> list[plots.Chart]:
    """Before and after scaling on the same axes, with the noise that is to cover them."""
    width = 2 * HISTOGRAM_RANGE / BINS
    charts = []
    for name, values in (("before", encoded.mean), ("after", encoded.scaled)):
        middles, shares = histogram(values, -HISTOGRAM_RANGE, HISTOGRAM_RANGE, BINS)
        bell = [round(100 * width * math.exp(-m * m / 2) / math.sqrt(2 * math.pi), 3) for m in middles]
        label = request.say(f"line_{name}", std=f"{float(values.std()):.2f}")
        lines = [
            plots.line(label, "data", (middles, [round(100 * share, 3) for share in shares]), "bars"),
            plots.line(request.say("line_noise"), "noise", (middles, bell)),
        ]
        title = request.say(f"chart_{name}", factor=f"{context.model.codec.scale:.3g}")
        charts.append(plots.chart(name, title, request.say("axis"), lines, x_max=HISTOGRAM_RANGE))
    return charts


# ---- without the factor -------------------------------------------------------------------------------------------------
def _timestep(context: LearnContext) -> int:
    return round(SHARE * context.timesteps)


def _unscaled(context: LearnContext, request: StationRequest, encoded: Latents) -> Iterator[list[PictureRow]]:
    """The decoder's and the UNet's pictures for latents of the right size, and of the sizes that forgetting this factor gives and forgetting
    Stable Diffusion's would give: who forgets to divide gives the decoder f times what it wants, who forgets to multiply the UNet 1 / f times."""
    codec, noise, t = context.model.codec, context.noise(SEED), _timestep(context)
    decoder: list[Picture] = []
    unet: list[Picture] = []
    for factor in (1.0, codec.scale, STABLE_DIFFUSION):
        guess = latents.missized(context.model, encoded.scaled, 1 / factor, noise, t, context.condition())
        for images, x0, times, colour in (
            (decoder, encoded.scaled * factor, factor, "data"),
            (unet, guess, 1 / factor, "prediction"),
        ):
            x = codec.decode(x0)
            name = request.say("lost", factor=f"{factor:.3g}", times=f"{times:.3g}") if images else request.say("right")
            images.append(panels.picture(x[0], f"{name}: {psnr(context.x, x):.1f} dB", colour))
        yield [
            PictureRow(request.say("decoder"), list(decoder), "data"),
            PictureRow(request.say("unet"), list(unet), "prediction"),
        ]
