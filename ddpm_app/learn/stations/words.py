"""Station 12, words and guidance: what a text becomes, how alike two of them are, and what the UNet makes of them."""

import html
from collections.abc import Iterator
from typing import Any

from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest, Words

SCALES = (0, 1, 3, 7)
STEPS = 10
TEXTS = 1000
"""Captions looked through for another one than the picture's."""
OTHERS = 24
"""Captions of the data set among which likeness is measured, for comparison."""
LABELS = 40
"""Labels offered at most."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The tokens and guesses at once, then four pictures that grow out of the same noise."""
    if bench.model.conditioning.kind == "none":
        yield no_words(asked)
        return
    said = said_of(bench, asked, "prompt", "other")
    first = [*_asked_for(bench, asked, said), *_guesses(bench, asked, said)]
    key = (asked.seed, asked.lang, *said)
    if asked.memory.get("key") != key:
        asked.memory |= {"key": key, "grown": (grown := _grown(bench, asked, said)), "panel": next(grown)}
    yield [*first, asked.memory["panel"]]
    for panel in asked.memory["grown"]:  # goes on where it was when t has moved
        asked.memory["panel"] = panel or asked.memory["panel"]
        yield [*first, panel] if panel else None


def said_of(bench: LearnContext, asked: StationRequest, *controls: str) -> list[Any]:
    """What two controls ask for: texts, or numbers of labels. Left empty, what the picture shows, and what another picture does."""
    asking, known, mine = bench.model.conditioning, bench.source, bench.index or 0
    first, second = (asked[name] for name in controls)
    if asking.kind == "text":
        first = first or bench.text(mine)
        return [
            first,
            second or next((bench.text(i) for i in range(min(TEXTS, len(known))) if bench.text(i) != first), ""),
        ]
    from ddpm_app.learn.probes.words import label_of

    own = known.labels[mine] if known.labels and 0 <= known.labels[mine] < asking.none else 0
    first = label_of(asking.names, first, own)
    return [first, label_of(asking.names, second, (first + 1) % asking.none)]


def name_of(bench: LearnContext, said: Any) -> str:
    """What was asked for, in words."""
    return bench.model.conditioning.names[said] if isinstance(said, int) else f"\u201c{said}\u201d"


def called(bench: LearnContext, asked: StationRequest) -> list[str]:
    """What the two things asked for are called."""
    return [asked.say(f"{key}_{bench.model.conditioning.kind}") for key in ("one", "two")]


def condition_of(bench: LearnContext, said: Any) -> dict[str, Any]:
    """The UNet's arguments that ask for a text, for the number of a label, or, None, for nothing."""
    asking = bench.model.conditioning
    found = (
        asking.unconditional(1)
        if said is None
        else asking.conditional(1, (said,), ())
        if isinstance(said, str)
        else asking.conditional(1, (), (said,))
    )
    return {name: value.to(bench.device) for name, value in found.items()}


def no_words(asked: StationRequest) -> list[Panel]:
    """Why a model without condition has nothing to show here, and the way to one with words."""
    button = f'<button type="button" class="soft" {panels.setting(model="shipped:butterflies-words")}>{asked.say("take_words")}</button>'
    return [panels.markup("way", f'<div class="note">{asked.say("unconditional")}</div><p>{button}</p>')]


# ---- what was asked for -------------------------------------------------------------------------------------------------
def _asked_for(bench: LearnContext, asked: StationRequest, said: list[Any]) -> list[Panel]:
    return _texts(bench, asked, said) if bench.model.conditioning.kind == "text" else [_labels(bench, asked, said)]


def _texts(bench: LearnContext, asked: StationRequest, said: list[str]) -> list[Panel]:
    """Tokens as chips, the tensor they become, and how alike the texts are."""
    from ddpm_app.learn.probes import words

    asking, rows = bench.model.conditioning, []
    for name, text in zip(called(bench, asked), said, strict=True):
        found = words.tokens(asking, text)
        chips = "".join(_chip(token, asked) for token in found)
        told = [asked.say("tokens", count=len(found), longest=asking.longest)]
        told += [asked.say("cut", text=unread)] if (unread := asking.unread(text)) else []
        remarks = "".join(f'<p class="remark">{html.escape(line)}</p>' for line in told)
        rows.append(f'<h4>{html.escape(name)}</h4><p class="chips">{chips}</p>{remarks}')
    captions = list(dict.fromkeys(bench.text(i) for i in range(min(OTHERS, len(bench.source)))))
    alike = words.similarity(asking, [*said, "", *captions])
    named = [*called(bench, asked), asked.say("nothing")]
    table = [
        [{"text": name}, *({"text": f"{float(alike[i, k]):.3f}", "bar": float(alike[i, k])} for k in range(3))]
        for i, name in enumerate(named)
    ]
    rest = alike[3:, 3:]
    count = len(captions)
    usual = (
        asked.say("usual", count=count, mean=f"{float((rest.sum() - count) / (count * (count - 1))):.3f}")
        if count > 1
        else None
    )
    return [
        panels.markup("tokens", "".join(rows)),
        panels.table("alike", ["", *named], table, asked.say("alike")),
        panels.note(asked.say("cosine")) | {"name": "cosine"},
        *([panels.note(usual) | {"name": "usual"}] if usual else []),
    ]


def _chip(token: Any, asked: StationRequest) -> str:
    tone = "" if token.kind == "word" and token.read else " unread" if not token.read else " end"
    text = asked.say(token.kind) if token.kind != "word" else token.piece
    return f'<span class="chip{tone}"><b>{html.escape(text)}</b><small>{token.id}</small></span>'


def _labels(bench: LearnContext, asked: StationRequest, said: list[int]) -> Panel:
    """All labels, each a button, for the first and for the second."""
    names, rows = bench.model.conditioning.names, []
    for key, title, chosen in zip(("prompt", "other"), called(bench, asked), said, strict=True):
        chips = "".join(
            f'<span class="chip{" chosen" if k == chosen else ""}" {panels.setting(**{key: name})}><b>{html.escape(name)}</b><small>{k}</small></span>'
            for k, name in enumerate(names[:LABELS])
        )
        rows.append(f'<h4>{html.escape(title)}</h4><p class="chips">{chips}</p>')
    return panels.markup(
        "tokens", "".join(rows) + f'<p class="remark">{html.escape(asked.say("no_tokens", count=len(names)))}</p>'
    )


# ---- what the network makes of it ---------------------------------------------------------------------------------------
def _guesses(bench: LearnContext, asked: StationRequest, said: list[Any]) -> list[Panel]:
    """The guesses of one x_t at this t for nothing and for both, and where they differ."""
    from ddpm_app import diffusion
    from ddpm_app.learn.probes import words

    model, level = bench.model, bench.abar[asked.t : asked.t + 1]
    x_t = diffusion.add_noise(bench.x0, bench.noise(asked.seed), level)
    conditions = [condition_of(bench, one) for one in (None, *said)]
    found = words.outputs(model.unet, x_t, asked.t, conditions)
    x0 = diffusion.x0_from(model.scheduler.config.prediction_type, found, x_t, level)
    seen = model.codec.decode(x0)
    names = [asked.say("nothing"), *called(bench, asked)]
    maps = [words.difference(x0[k], x0[j]) for k, j in ((1, 0), (2, 0), (1, 2))]
    limit = max(float(each.max()) for each in maps) or 1.0
    told = [f"{names[1]} \u2212 {names[0]}", f"{names[2]} \u2212 {names[0]}", f"{names[1]} \u2212 {names[2]}"]
    guesses = [panels.image(x, name, colour="prediction") for x, name in zip(seen, names, strict=True)]
    apart = [panels.heat(each, limit, name, "size") for each, name in zip(maps, told, strict=True)]
    rows = [
        panels.row(asked.say("guesses", t=asked.t), guesses, "prediction"),
        panels.row(asked.say("apart"), apart, "", panels.scale("size", limit, asked.say("unit"))),
    ]
    condition = next(iter(conditions[1].values()))
    flows = [
        (asked.say("flow_condition"), condition, ""),
        ("x_t", x_t, "noise"),
        (asked.say("flow_guess"), x0[1:2], "prediction"),
        (asked.say("flow_difference"), x0[1:2] - x0[:1], "prediction"),
    ]
    return [panels.pictures("guesses", rows), panels.flow(flows, asked.lang)]


def _grown(bench: LearnContext, asked: StationRequest, said: list[Any]) -> Iterator[Panel | None]:
    """One noise, drawn at every guidance scale side by side: the panel now and then, None after the other passes."""
    import torch

    from ddpm_app import sample

    model, noise = bench.model, bench.noise(asked.seed)
    steps = min(STEPS, bench.timesteps)
    blank, wanted = (condition_of(bench, one) for one in (None, said[0]))
    guided = [sample.CFGDenoiser(model.unet, wanted, blank, scale) for scale in SCALES]
    rows = [sample.denoise(unet, noise, sample.make_sampler("dpmpp_2m", model.scheduler), steps) for unet in guided]
    yield _scales(bench, asked, said, noise, 0, steps)
    for step in range(1, steps + 1):
        guesses = []
        for row in rows:
            guesses.append(next(row).x0)
            yield None
        if step in (1, 3, 6, steps):
            yield _scales(bench, asked, said, torch.cat(guesses), step, steps)


def _scales(bench: LearnContext, asked: StationRequest, said: list[Any], x0: Any, step: int, steps: int) -> Panel:
    seen = bench.model.codec.decode(x0)
    seen = seen if step else seen.expand(len(SCALES), -1, -1, -1)
    shown = [
        panels.image(
            x,
            asked.say(f"scale_{scale}" if scale < 2 else "scale", scale=scale),
            colour="prediction" if step else "noise",
        )
        for x, scale in zip(seen, SCALES, strict=True)
    ]
    return panels.pictures(
        "guidance",
        [panels.row(asked.say("guidance", name=name_of(bench, said[0])), shown, "prediction")],
        note=asked.say("grown", step=step, steps=steps),
    )


STATION = Station(
    "words",
    show,
    controls=(Words("prompt", asking=True), Words("other", asking=True)),
    maths=(
        r"\hat x_w=f_\theta(x_t,t,\varnothing)+w\left(f_\theta(x_t,t,c)-f_\theta(x_t,t,\varnothing)\right)",
        r"\cos(a,b)=\frac{a\cdot b}{\Vert a\Vert\,\Vert b\Vert}",
    ),
    code=(
        "ddpm_app.sample:CFGDenoiser",
        "ddpm_app.learn.probes.words:tokens",
        "ddpm_app.learn.probes.words:similarity",
    ),
    model="butterflies-words",
)
