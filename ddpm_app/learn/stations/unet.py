"""Station 4, inside the UNet: the real model as a map, the feature maps of a chosen block, and how the network is told t."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.i18n import format_count
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, ColourBar, MarkupPanel, Panel, Picture, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import blocks
from ddpm_app.learn.probes.blocks import Block
from ddpm_app.learn.station import StationRequest
from ddpm_app.learn.stations import FIRST_BLOCK

SIDE = 64
"""Larger feature maps are averaged down to this."""
SHARE = 0.995
"""Of the activations that the colours of a row tell apart; what is larger takes the last colour."""
COLUMNS, ROWS = {"sinus": 500, "learned": 100}, 128
"""Timesteps and values of an embedding that are drawn at most: the fastest sine turns once in six timesteps."""

# The map, in units of its viewBox
WIDTH, BOX, TALL, PITCH, TOP, EDGE = 360, 112, 46, 66, 2, 2
LEFT, RIGHT = EDGE, WIDTH - EDGE - BOX
ARROW_HEAD = Markup(
    '<defs><marker id="unet-tip" markerWidth="7" markerHeight="7" refX="5" refY="3" orient="auto">'
    '<path class="unet-tip" d="M0 0L6 3L0 6z"/></marker></defs>'
)
Point = tuple[float, float]


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The map with the chosen block, its feature maps, all blocks as a table, the timestep embedding."""
    x_t, traced = _traced(context, request)
    name = request["block"].strip() or FIRST_BLOCK
    block = traced.get(name) or traced.get(FIRST_BLOCK) or traced["mid"]
    content: list[Panel] = [
        MarkupPanel("map", _map(list(traced.values()), block.name, request)),
        _maps(block, request),
        _table(traced, block.name, request),
    ]
    if name not in traced:
        content.insert(0, panels.note(request.say("unknown", block=name, known=", ".join(traced)), "warn"))
    yield content
    waves, learned, strips = _embedding(context, request)
    flows = [("x_t", x_t, "noise"), *_output(block), ("sin/cos(t)", waves, ""), ("emb(t)", learned, "")]
    yield [*content, strips, panels.flow(flows, request.lang)]


def _traced(context: LearnContext, request: StationRequest) -> tuple[Tensor, dict[str, Block]]:
    """x_t and the blocks at t by name; another block of the same x_t takes no other pass."""
    key, memory = (request.t, request.seed), request.memory
    if memory.get("key") != key:
        x_t = diffusion.add_noise(context.x0, context.noise(request.seed), context.alpha_bar(request.t))
        trace = blocks.trace(context.model.unet, x_t, request.t, context.condition())
        memory.update(key=key, x_t=x_t, blocks={block.name: block for block in trace})
    return memory["x_t"], memory["blocks"]


def _output(block: Block) -> list[tuple[str, Tensor, str]]:
    return [] if block.maps is None else [(f"{block.name} [:{len(block.maps)}]", block.maps, "prediction")]


def _spell(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _count(parameters: int) -> str:
    return format_count(parameters) if parameters >= 1000 else str(parameters)


def _maps(block: Block, request: StationRequest) -> Panel:
    sentences = [
        request.say(
            "chosen",
            kind=block.kind,
            shape=_spell(block.shape) or "-",
            parameters=_count(block.parameters),
            size=f"{block.size:.3g}",
        )
    ]
    if block.skips:
        skips = ", ".join(f"{skip.source} ({_spell(skip.shape)})" for skip in block.skips)
        sentences.append(request.say("receives", skips=skips))
    images: list[Picture] = []
    bar = None
    if block.maps is None:
        sentences.append(request.say("vector"))
    else:
        maps = block.maps
        factor = -(-max(maps.shape[1:]) // SIDE)
        if factor > 1:
            maps = torch.nn.functional.avg_pool2d(maps, factor)
            sentences.append(request.say("averaged", factor=factor))
        limit = float(maps.abs().flatten().quantile(SHARE)) or 1.0
        captions = [
            request.say("channel", channel=k, size=f"{float(values.abs().mean()):.2g}")
            for k, values in enumerate(block.maps)
        ]
        images = [panels.heat_map(values, limit, caption) for values, caption in zip(maps, captions, strict=True)]
        bar = panels.colour_bar("signed", limit, request.say("scale", share=f"{100 * SHARE:g}"))
    row, title = PictureRow("", images, "prediction", bar), request.say("maps", block=block.name)
    return PicturesPanel("maps", [row], title, " ".join(sentences), "small")


def _table(traced: dict[str, Block], chosen: str, request: StationRequest) -> Panel:
    most = max(block.parameters for block in traced.values())
    total = sum(block.parameters for block in traced.values())
    head = [request.say(f"head_{key}") for key in ("block", "shape", "parameters", "size", "attention")]
    rows: list[list[str | Cell]] = []
    for block in traced.values():
        layers = zip(("to_itself", "to_words"), block.attention, strict=True)
        rows.append(
            [
                Cell(f"▸ {block.name}" if block.name == chosen else block.name, set={"block": block.name}),
                _spell(block.shape),
                Cell(f"{block.parameters:,}", bar=block.parameters / most),
                f"{block.size:.3g}",
                ", ".join(request.say(key, count=count) for key, count in layers if count),
            ]
        )
    return TablePanel("blocks", head, rows, request.say("table", parameters=f"{total:,}"))


# ---- the map --------------------------------------------------------------------------------------------------------
def _map(trace: list[Block], chosen: str, request: StationRequest) -> Markup:
    """The UNet as an SVG: the way down on the left, the way up on the right, skip connections between them."""
    by_name = {block.name: block for block in trace}
    downs, ups = ([b for b in trace if b.name.startswith(side)] for side in ("down.", "up."))
    levels = max(len(downs), len(ups))
    places = {"conv_in": (LEFT, TOP), "out": (RIGHT, TOP), "mid": ((WIDTH - BOX) / 2, TOP + (levels + 1) * PITCH)}
    places |= {b.name: (LEFT, TOP + (k + 1) * PITCH) for k, b in enumerate(downs)}
    places |= {b.name: (RIGHT, TOP + (levels - k) * PITCH) for k, b in enumerate(ups)}
    height = places["mid"][1] + TALL + 2
    lines = [line for block in ups for line in _skips(block, places, chosen)]
    ways = [["conv_in", *(b.name for b in downs)], [*(b.name for b in ups), "out"]]
    lines += [_arrow(places[a], places[b]) for way in ways for a, b in zip(way, way[1:], strict=False)]
    if "mid" in by_name:
        (x, y), below = places["mid"], TOP + levels * PITCH + TALL
        lines += [
            _path(f"M{LEFT + BOX / 2} {below}V{y + TALL / 2}H{x - 1}"),
            _path(f"M{x + BOX} {y + TALL / 2}H{RIGHT + BOX / 2}V{below + 1}"),
        ]
    boxes = [_box(by_name[name], *place, name == chosen, request) for name, place in places.items() if name in by_name]
    beside = [block for block in trace if block.name not in places]
    boxes += [_pill(block, k, block.name == chosen, request) for k, block in enumerate(beside)]
    drawing = Markup('<svg viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        WIDTH, height, request.say("map"), _join([ARROW_HEAD, *lines, *boxes])
    )
    legend = request.say("legend_words" if any(block.attention[1] for block in trace) else "legend")
    return Markup('<figure class="unet-map">{}<figcaption>{}</figcaption></figure>').format(drawing, legend)


def _join(parts: Sequence[Markup]) -> Markup:
    return Markup("").join(parts)


def _path(d: str, kind: str = "unet-way", tip: str = "") -> Markup:
    title = Markup("<title>{}</title>").format(tip) if tip else ""
    return Markup('<path class="{}" d="{}" marker-end="url(#unet-tip)">{}</path>').format(kind, d, title)


def _arrow(start: Point, end: Point) -> Markup:
    """Down on the left, up on the right."""
    middle, down = start[0] + BOX / 2, end[1] > start[1]
    return _path(f"M{middle} {start[1] + TALL}V{end[1] - 1}" if down else f"M{middle} {start[1]}V{end[1] + TALL + 1}")


def _skips(block: Block, places: Mapping[str, Point], chosen: str) -> Iterator[Markup]:
    """What the block receives: tensors made inside the block across start at its side, the one that came into it above it."""
    top = places[block.name][1]
    for k, skip in enumerate(block.skips):
        lit = " lit" if chosen in (block.name, skip.source) else ""
        y = top + TALL - 8 - k * (TALL - 16) / max(1, len(block.skips) - 1)
        across = places.get(skip.source, (LEFT, top))[1] == top
        start = f"M{LEFT + BOX} {y}" if across else f"M{LEFT + BOX / 2} {top - 9}H{LEFT + BOX + 12}V{y}"
        tip = f"{skip.source} → {block.name}: {_spell(skip.shape)}"
        yield _path(f"{start}H{RIGHT - 1}", f"unet-skip{lit}", tip)


def _box(block: Block, x: float, y: float, chosen: bool, request: StationRequest) -> Markup:
    words = [
        (block.name, 15, "name"),
        (_spell(block.shape), 28.5, ""),
        (request.say("box", parameters=_count(block.parameters)), 40.5, "small"),
    ]
    texts = [_text(word, x + 8, y + dy, kind) for word, dy, kind in words]
    letters = [letter for letter, count in zip("AW", block.attention, strict=True) if count]
    marks = [_mark(letter, x + BOX - 12 - 17 * k, y + 11) for k, letter in enumerate(reversed(letters))]
    return _block_button(block, chosen, _join([_rectangle(x, y, BOX, TALL, 6), *texts, *marks]))


def _text(text: str, x: float, y: float, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y, text)


def _rectangle(x: float, y: float, width: float, height: float, radius: float) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="{}"/>').format(x, y, width, height, radius)


def _mark(letter: str, x: float, y: float) -> Markup:
    return Markup(
        '<g class="unet-mark"><circle cx="{x}" cy="{y}" r="7.5"/><text x="{x}" y="{below}">{letter}</text></g>'
    ).format(x=x, y=y, below=y + 3.6, letter=letter)


def _pill(block: Block, k: int, chosen: bool, request: StationRequest) -> Markup:
    """What is given to all blocks at once: the timestep, and a label where the model has labels."""
    x, y, width = LEFT + BOX + 14, TOP + 24 * k, RIGHT - LEFT - BOX - 28
    name = f"t = {request.t}" if block.name == "time" else block.name.removesuffix("_embedding")
    text = _text(f"{name} → {_spell(block.shape) or '-'}", x + width / 2, y + 14, "small middle")
    return _block_button(block, chosen, _join([_rectangle(x, y, width, 20, 10), text]))


def _block_button(block: Block, chosen: bool, content: Markup) -> Markup:
    return Markup(
        '<g {clickable} class="unet-box{chosen}" aria-pressed="{pressed}" aria-label="{name}"><title>{name}</title>{content}</g>'
    ).format(
        clickable=panels.clickable(block=block.name),
        chosen=" chosen" if chosen else "",
        pressed=str(chosen).lower(),
        name=f"{block.name}: {block.kind}, {_spell(block.shape)}",
        content=content,
    )


# ---- the timestep ---------------------------------------------------------------------------------------------------
def _embedding(context: LearnContext, request: StationRequest) -> tuple[Tensor, Tensor, Panel]:
    """The sinusoids and the learned embedding of t, and both over all timesteps as strips."""
    unet, last = context.model.unet, context.timesteps - 1
    strips = []
    for k, (key, count) in enumerate(COLUMNS.items()):
        values = blocks.embedding(unet, torch.linspace(0, last, min(count, last + 1)).round().long())[k]
        rows = values[:, :ROWS].T
        limit = float(rows.abs().max()) or 1.0
        picture, bar = panels.heat_map(rows, limit), panels.colour_bar("signed", limit)
        strips.append(_strip(picture, bar, 100 * request.t / last, request.say(key, size=values.shape[1]), request))
    waves, learned = blocks.embedding(unet, torch.tensor([request.t]))
    html = Markup('<div class="unet-time"><h4>{}</h4>{}</div>').format(request.say("embedding"), _join(strips))
    return waves, learned, MarkupPanel("embedding", html, "beside")


def _strip(picture: Picture, bar: ColourBar, at: float, caption: str, request: StationRequest) -> Markup:
    """``at``: where t is marked, in percent of the width."""
    image = Markup(
        '<div class="unet-strip"><img src="{}" alt=""><b style="left:{:.2f}%"><span>t = {}</span></b></div>'
    ).format(picture.src, at, request.t)
    stops = _join([Markup('<i style="background:{}"></i>').format(colour) for colour in bar.stops])
    scale = Markup('<div class="unet-bar">{}{}{}</div>').format(bar.low, stops, bar.high)
    return Markup("<p>{}</p>{}{}").format(caption, image, scale)
