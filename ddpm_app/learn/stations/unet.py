"""Station 4, inside the UNet: the real model as a map, the feature maps of a chosen block, and how the network is told t."""

import html
from collections.abc import Iterator
from typing import Any

from ddpm_app.i18n import format_count
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest, Words

FIRST = "up.1"
"""The block that is chosen at first."""
SIDE = 64
"""Larger feature maps are averaged down to this."""
SHARE = 0.995
"""Of the activations that the colours of a row tell apart; what is larger takes the last colour."""
COLUMNS, ROWS = {"sinus": 500, "learned": 100}, 128
"""Timesteps and values of an embedding that are drawn at most: the fastest sine turns once in six timesteps."""

# The map, in units of its viewBox
WIDTH, BOX, TALL, PITCH, TOP, EDGE = 360, 112, 46, 66, 2, 2
LEFT, RIGHT = EDGE, WIDTH - EDGE - BOX
TIP = (
    '<defs><marker id="unet-tip" markerWidth="7" markerHeight="7" refX="5" refY="3" orient="auto">'
    '<path class="unet-tip" d="M0 0L6 3L0 6z"/></marker></defs>'
)


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The map with the chosen block, its feature maps, all blocks as a table, the timestep embedding."""
    x_t, found = _traced(bench, asked)
    wanted = asked["block"].strip() or FIRST
    chosen = found.get(wanted) or found.get(FIRST) or found["mid"]
    content = [
        panels.markup("map", _map(list(found.values()), chosen.name, asked)),
        _maps(chosen, asked),
        _table(found, chosen.name, asked),
    ]
    if wanted not in found:
        panels.insert(0, panels.note(asked.say("unknown", block=wanted, known=", ".join(found)), "warn"))
    yield content
    waves, learned, strips = _embedding(bench, asked)
    yield [
        *content,
        strips,
        panels.flow(
            [("x_t", x_t, "noise"), *_output(chosen), ("sin/cos(t)", waves, ""), ("emb(t)", learned, "")], asked.lang
        ),
    ]


def _traced(bench: LearnContext, asked: StationRequest) -> tuple[Any, dict[str, Any]]:
    """x_t and the blocks at t; another block of the same x_t takes no other pass."""
    from ddpm_app import diffusion
    from ddpm_app.learn.probes import blocks

    key = asked.t, asked.seed
    if asked.memory.get("key") != key:
        x_t = diffusion.add_noise(bench.x0, bench.noise(asked.seed), bench.abar[asked.t : asked.t + 1].float())
        found = blocks.trace(bench.model.unet, x_t, asked.t, bench.condition())
        asked.memory.update(key=key, x_t=x_t, found={block.name: block for block in found})
    return asked.memory["x_t"], asked.memory["found"]


def _output(block: Any) -> list[tuple[str, Any, str]]:
    return [] if block.maps is None else [(f"{block.name} [:{len(block.maps)}]", block.maps, "prediction")]


def _spell(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _count(parameters: int) -> str:
    return format_count(parameters) if parameters >= 1000 else str(parameters)


def _maps(block: Any, asked: StationRequest) -> Panel:
    import torch

    told = asked.say(
        "chosen",
        kind=block.kind,
        shape=_spell(block.shape) or "-",
        parameters=_count(block.parameters),
        size=f"{block.size:.3g}",
    )
    if block.skips:
        told += " " + asked.say(
            "receives", skips=", ".join(f"{skip.source} ({_spell(skip.shape)})" for skip in block.skips)
        )
    maps, images, bar = block.maps, [], None
    if maps is None:
        told += " " + asked.say("vector")
    else:
        factor = -(-max(maps.shape[1:]) // SIDE)
        if factor > 1:
            maps = torch.nn.functional.avg_pool2d(maps, factor)
            told += " " + asked.say("averaged", factor=factor)
        limit = float(maps.abs().flatten().quantile(SHARE)) or 1.0
        sizes = [f"{float(one.abs().mean()):.2g}" for one in block.maps]
        told_of = [asked.say("channel", channel=k, size=size) for k, size in enumerate(sizes)]
        images = [panels.heat(one, limit, words) for one, words in zip(maps, told_of, strict=True)]
        bar = panels.scale("signed", limit, asked.say("scale", share=f"{100 * SHARE:g}"))
    return panels.pictures(
        "maps", [panels.row("", images, "prediction", bar)], asked.say("maps", block=block.name), told, "small"
    )


def _table(found: dict[str, Any], chosen: str, asked: StationRequest) -> Panel:
    most = max(block.parameters for block in found.values())
    head = [asked.say(f"head_{key}") for key in ("block", "shape", "parameters", "size", "attention")]
    rows = [
        [
            {"text": f"▸ {block.name}" if block.name == chosen else block.name, "set": {"block": block.name}},
            _spell(block.shape),
            {"text": f"{block.parameters:,}", "bar": block.parameters / most},
            f"{block.size:.3g}",
            ", ".join(
                asked.say(key, count=n) for key, n in zip(("to_itself", "to_words"), block.attention, strict=True) if n
            ),
        ]
        for block in found.values()
    ]
    return panels.table(
        "blocks", head, rows, asked.say("table", parameters=f"{sum(block.parameters for block in found.values()):,}")
    )


# ---- the map --------------------------------------------------------------------------------------------------------
def _map(blocks: list[Any], chosen: str, asked: StationRequest) -> str:
    """The UNet as an SVG: the way down on the left, the way up on the right, skip connections between them."""
    at = {block.name: block for block in blocks}
    downs, ups = ([b for b in blocks if b.name.startswith(side)] for side in ("down.", "up."))
    levels = max(len(downs), len(ups))
    place = {"conv_in": (LEFT, TOP), "out": (RIGHT, TOP), "mid": ((WIDTH - BOX) / 2, TOP + (levels + 1) * PITCH)}
    place |= {b.name: (LEFT, TOP + (k + 1) * PITCH) for k, b in enumerate(downs)}
    place |= {b.name: (RIGHT, TOP + (levels - k) * PITCH) for k, b in enumerate(ups)}
    height = place["mid"][1] + TALL + 2
    lines = [_skips(block, place, chosen) for block in ups]
    ways = [["conv_in", *(b.name for b in downs)], [*(b.name for b in ups), "out"]]
    lines += [_arrow(*(place[name] for name in pair)) for way in ways for pair in zip(way, way[1:], strict=False)]
    if "mid" in at:
        (x, y), below = place["mid"], TOP + levels * PITCH + TALL
        lines += [
            _path(f"M{LEFT + BOX / 2} {below}V{y + TALL / 2}H{x - 1}"),
            _path(f"M{x + BOX} {y + TALL / 2}H{RIGHT + BOX / 2}V{below + 1}"),
        ]
    boxes = [_box(at[name], *spot, name == chosen, asked) for name, spot in place.items() if name in at]
    beside = [block for block in blocks if block.name not in place]
    boxes += [_pill(block, k, block.name == chosen, asked) for k, block in enumerate(beside)]
    legend = asked.say("legend_words" if any(b.attention[1] for b in blocks) else "legend")
    frame = f'viewBox="0 0 {WIDTH} {height}" role="group" aria-label="{html.escape(asked.say("map"))}"'
    drawn = f"<svg {frame}>{TIP}{''.join(lines)}{''.join(boxes)}</svg>"
    return f'<figure class="unet-map">{drawn}<figcaption>{html.escape(legend)}</figcaption></figure>'


def _path(d: str, kind: str = "unet-way", told: str = "") -> str:
    tip = f"<title>{html.escape(told)}</title>" if told else ""
    return f'<path class="{kind}" d="{d}" marker-end="url(#unet-tip)">{tip}</path>'


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Down on the left, up on the right."""
    middle = start[0] + BOX / 2
    return _path(
        f"M{middle} {start[1] + TALL}V{end[1] - 1}"
        if end[1] > start[1]
        else f"M{middle} {start[1]}V{end[1] + TALL + 1}"
    )


def _skips(block: Any, place: dict[str, tuple[float, float]], chosen: str) -> str:
    """What the block receives: tensors made inside the block across start at its side, the one that came into it above it."""
    drawn, y = [], place[block.name][1]
    for k, skip in enumerate(block.skips):
        lit = " lit" if chosen in (block.name, skip.source) else ""
        here = y + TALL - 8 - k * (TALL - 16) / max(1, len(block.skips) - 1)
        across = place.get(skip.source, (LEFT, y))[1] == y
        start = f"M{LEFT + BOX} {here}" if across else f"M{LEFT + BOX / 2} {y - 9}H{LEFT + BOX + 12}V{here}"
        drawn.append(
            _path(f"{start}H{RIGHT - 1}", f"unet-skip{lit}", f"{skip.source} → {block.name}: {_spell(skip.shape)}")
        )
    return "".join(drawn)


def _box(block: Any, x: float, y: float, chosen: bool, asked: StationRequest) -> str:
    words = [
        (block.name, 15, "name"),
        (_spell(block.shape), 28.5, ""),
        (asked.say("box", parameters=_count(block.parameters)), 40.5, "small"),
    ]
    texts = "".join(
        f'<text class="{kind}" x="{x + 8}" y="{y + dy}">{html.escape(word)}</text>' for word, dy, kind in words
    )
    marks = [letter for letter, count in zip("AW", block.attention, strict=True) if count]
    marked = "".join(_mark(letter, x + BOX - 12 - 17 * k, y + 11) for k, letter in enumerate(reversed(marks)))
    return _button(block, chosen, f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="6"/>{texts}{marked}')


def _mark(letter: str, x: float, y: float) -> str:
    return f'<g class="unet-mark"><circle cx="{x}" cy="{y}" r="7.5"/><text x="{x}" y="{y + 3.6}">{letter}</text></g>'


def _pill(block: Any, k: int, chosen: bool, asked: StationRequest) -> str:
    """What is given to all blocks at once: the timestep, and a label where the model has labels."""
    x, y = LEFT + BOX + 14, TOP + 24 * k
    told = f"t = {asked.t}" if block.name == "time" else block.name.removesuffix("_embedding")
    width = RIGHT - LEFT - BOX - 28
    text = f'<text class="small middle" x="{x + width / 2}" y="{y + 14}">{html.escape(told)} → {_spell(block.shape) or "-"}</text>'
    return _button(block, chosen, f'<rect x="{x}" y="{y}" width="{width}" height="20" rx="10"/>{text}')


def _button(block: Any, chosen: bool, inside: str) -> str:
    told = f"{block.name}: {block.kind}, {_spell(block.shape)}"
    pressed = f'class="unet-box{" chosen" if chosen else ""}" aria-pressed="{str(chosen).lower()}" aria-label="{html.escape(told)}"'
    return f"<g {panels.setting(block=block.name)} {pressed}><title>{html.escape(told)}</title>{inside}</g>"


# ---- the timestep ---------------------------------------------------------------------------------------------------
def _embedding(bench: LearnContext, asked: StationRequest) -> tuple[Any, Any, Panel]:
    """The sinusoids and the learned embedding of t, and both over all timesteps as strips."""
    import torch

    from ddpm_app.learn.probes import blocks

    unet, last = bench.model.unet, bench.timesteps - 1
    strips = []
    for k, (key, count) in enumerate(COLUMNS.items()):
        values = blocks.embedding(unet, torch.linspace(0, last, min(count, last + 1)).round().long())[k]
        shown = values[:, :ROWS].T
        limit = float(shown.abs().max()) or 1.0
        told = asked.say(key, size=values.shape[1])
        strips.append(
            _strip(panels.heat(shown, limit), panels.scale("signed", limit), 100 * asked.t / last, told, asked)
        )
    now = blocks.embedding(unet, torch.tensor([asked.t]))
    head = f"<h4>{html.escape(asked.say('embedding'))}</h4>"
    return *now, panels.markup("embedding", f'<div class="unet-time">{head}{"".join(strips)}</div>')


def _strip(heat: dict[str, Any], bar: dict[str, Any], at: float, told: str, asked: StationRequest) -> str:
    stops = "".join(f'<i style="background:{colour}"></i>' for colour in bar["stops"])
    image = f'<div class="unet-strip"><img src="{heat["src"]}" alt=""><b style="left:{at:.2f}%"><span>t = {asked.t}</span></b></div>'
    return f'<p>{html.escape(told)}</p>{image}<div class="unet-bar">{bar["low"]}{stops}{bar["high"]}</div>'


STATION = Station(
    "unet",
    show,
    controls=(Words("block", FIRST),),
    maths=(
        r"\mathrm{emb}(t)=W_2\,\mathrm{SiLU}(W_1\,\gamma(t)),\quad\gamma(t)_{i}=\cos(t\,10000^{-i/(d/2)}),\;\gamma(t)_{d/2+i}=\sin(t\,10000^{-i/(d/2)})",
        r"h_{\mathrm{up}}=\mathrm{ResNet}(\,[\,h_{\mathrm{below}},\;h_{\mathrm{skip}}\,],\;\mathrm{emb}(t)\,)",
    ),
    code=(
        "ddpm_app.model.unet:unet_of",
        "ddpm_app.learn.probes.blocks:trace",
        "ddpm_app.learn.probes.blocks:embedding",
    ),
)
