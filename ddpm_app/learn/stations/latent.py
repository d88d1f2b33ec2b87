"""Station 2, tensor to latent: what the autoencoder keeps of a picture, its scale, and what comes of forgetting it."""

import html
import math
from collections.abc import Iterator
from typing import Any

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest, Toggle

SHOWN, RANGE, BINS = 3.0, 4.0, 32
"""Maps of latents go from minus to plus ``SHOWN``, their histograms from minus to plus ``RANGE``."""
WORST = 0.25
"""The error map ends at this."""
STABLE_DIFFUSION = 0.18215
"""The factor of Stable Diffusion's autoencoder: its latents are 1 / 0.18215 = 5.5 times as large as the UNet wants them, and the UNet's so many
times too small for its decoder."""
SHARE, SEED = 0.4, 0
"""The UNet is asked at this share of T, always with the noise of this seed."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """Picture, latents, reconstruction; with the toggle also what decoder and UNet make of latents that nobody scaled."""
    if bench.model.codec.vae is None:
        yield _identity(bench, asked)
        return
    from ddpm_app.learn.probes.latents import latents

    codec, x = bench.model.codec, bench.x
    if "latents" not in asked.memory:
        asked.memory["latents"] = latents(codec, x)
    found = asked.memory["latents"]
    yield _panels(bench, asked, found, None, [])
    if "back" not in asked.memory:
        asked.memory["back"] = codec.decode(found.scaled)
    back = asked.memory["back"]
    yield _panels(bench, asked, found, back, [])
    for rows in _forgotten(bench, asked, found) if asked["forget"] else ():
        yield _panels(bench, asked, found, back, rows)


def _identity(bench: LearnContext, asked: StationRequest) -> list[Panel]:
    told = html.escape(asked.say("way_out"))
    return [
        panels.pictures(
            "picture",
            [
                panels.row(
                    "",
                    [panels.image(bench.x[0], "x", colour="data"), panels.image(bench.x0[0], "x₀ = x", colour="data")],
                )
            ],
        ),
        panels.note(asked.say("identity", shape=_shape(bench.x))),
        panels.markup(
            "out",
            f"<p><button type='button' class='soft' {panels.setting(model='shipped:butterflies-words')}>{told}</button></p>",
        ),
        panels.flow([("x", bench.x, "data"), ("x0", bench.x0, "data")], asked.lang),
    ]


def _shape(x: Any) -> str:
    return " x ".join(map(str, x.shape[1:]))


def _panels(
    bench: LearnContext, asked: StationRequest, found: Any, back: Any, forgotten: list[dict[str, Any]]
) -> list[Panel]:
    channels = [
        panels.heat(values, SHOWN, asked.say("channel", number=k + 1)) for k, values in enumerate(found.scaled[0])
    ]
    row = panels.row("", channels, "data", panels.scale("signed", SHOWN))
    content = [
        panels.pictures("picture", [_there_and_back(bench, asked, back)]),
        _told(bench, asked, found, back),
        panels.pictures("channels", [row], asked.say("channels", shape=_shape(found.scaled))),
    ]
    if forgotten:
        panels.append(
            panels.pictures("forgotten", forgotten, asked.say("forgotten"), asked.say("forgotten_told", t=_t(bench)))
        )
    spread = (
        asked.say("no_spread")
        if found.spread is None
        else asked.say("spread", share=f"{100 * found.spread / float(found.mean.std()):.1f}")
    )
    flows = [("x", bench.x, "data"), ("μ", found.mean, "data"), ("x0", found.scaled, "data")]
    if back is not None:
        flows.append(("x\u0302", back, "data"))
    return [
        *content,
        panels.charts("histograms", _histograms(bench, asked, found), asked.lang),
        panels.note(spread) | {"name": "spread"},
        panels.flow(flows, asked.lang),
    ]


def _there_and_back(bench: LearnContext, asked: StationRequest, back: Any) -> dict[str, Any]:
    images = [panels.image(bench.x[0], "x", colour="data")]
    if back is None:
        return panels.row("", images, scale=panels.scale("size", WORST, asked.say("error_told")))
    error = (back.clamp(-1, 1) - bench.x)[0].abs().mean(dim=0)
    images += [
        panels.image(back[0], asked.say("back"), colour="data"),
        panels.heat(error, WORST, asked.say("error"), "size"),
    ]
    return panels.row("", images, scale=panels.scale("size", WORST, asked.say("error_told")))


def _told(bench: LearnContext, asked: StationRequest, found: Any, back: Any) -> Panel:
    from ddpm_app.model.reconstruction import UNFIT_PSNR, psnr

    if back is None:
        return panels.note(asked.say("decoding"))
    decibels, many, few = psnr(bench.x, back), bench.x.numel(), found.scaled.numel()
    told = asked.say("kept", many=f"{many:,}", few=f"{few:,}", times=f"{many / few:.0f}", psnr=f"{decibels:.1f}")
    return panels.note(told, "good" if decibels >= UNFIT_PSNR else "warn")


def _histograms(bench: LearnContext, asked: StationRequest, found: Any) -> list[dict[str, Any]]:
    """Before and after scaling on the same axes, with the noise that is to cover them."""
    from ddpm_app.learn.probes.tensors import histogram

    width = 2 * RANGE / BINS
    drawn = []
    for name, values in (("before", found.mean), ("after", found.scaled)):
        middles, shares = histogram(values, -RANGE, RANGE, BINS)
        bell = [round(100 * width * math.exp(-m * m / 2) / math.sqrt(2 * math.pi), 3) for m in middles]
        told = asked.say(f"line_{name}", std=f"{float(values.std()):.2f}")
        lines = [
            plots.line(told, "data", (middles, [round(100 * share, 3) for share in shares]), "bars"),
            plots.line(asked.say("line_noise"), "noise", (middles, bell)),
        ]
        title = asked.say(f"chart_{name}", factor=f"{bench.model.codec.scale:.3g}")
        drawn.append(plots.chart(name, title, asked.say("axis"), lines, x_max=RANGE))
    return drawn


def _t(bench: LearnContext) -> int:
    return round(SHARE * bench.timesteps)


def _forgotten(bench: LearnContext, asked: StationRequest, found: Any) -> Iterator[list[dict[str, Any]]]:
    """The decoder's and the UNet's pictures for latents of the right size, and of the sizes that forgetting this factor gives and forgetting
    Stable Diffusion's would give: who forgets to divide gives the decoder f times what it wants, who forgets to multiply the UNet 1 / f times."""
    from ddpm_app.learn.probes.latents import missized
    from ddpm_app.model.reconstruction import psnr

    codec, noise = bench.model.codec, bench.noise(SEED)
    decoder, unet = [], []
    for factor in (1.0, codec.scale, STABLE_DIFFUSION):
        guess = missized(bench.model, found.scaled, 1 / factor, noise, _t(bench), bench.condition())
        for images, latents, times, colour in (
            (decoder, found.scaled * factor, factor, "data"),
            (unet, guess, 1 / factor, "prediction"),
        ):
            picture = codec.decode(latents)
            name = (
                asked.say("lost", factor=f"{factor:.3g}", times=f"{times:.3g}") if len(images) else asked.say("right")
            )
            images.append(panels.image(picture[0], f"{name}: {psnr(bench.x, picture):.1f} dB", colour=colour))
        yield [panels.row(asked.say("decoder"), decoder, "data"), panels.row(asked.say("unet"), unet, "prediction")]


STATION = Station(
    "latent",
    show,
    controls=(Toggle("forget"),),
    maths=(
        r"x_0=f\cdot\mu(x),\quad\mathcal{E}(x)=\mathcal{N}(\mu(x),\sigma(x)^2),\quad f=1/\mathrm{std}(\mu)",
        r"\hat{x}=\mathcal{D}(x_0/f),\quad\mathrm{PSNR}=10\,\log_{10}\frac{2^2}{\mathrm{mean}\,(x-\hat{x})^2}",
    ),
    code=("ddpm_app.model.codec:Vae.encode", "ddpm_app.model.codec:Vae.decode", "ddpm_app.model.reconstruction:psnr"),
    uses=("picture",),
    model="butterflies-words",
)
