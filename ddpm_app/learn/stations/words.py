"""Station 12, words and guidance: what a text becomes, how alike two of them are, and what the UNet makes of them."""

from collections.abc import Iterator, Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from ddpm_app import diffusion, sample
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, MarkupPanel, Panel, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import words as probe
from ddpm_app.learn.probes.words import Token
from ddpm_app.learn.station import StationRequest

SCALES = (0, 1, 3, 7)
STEPS = 10
SHOWN_STEPS = (1, 3, 6, STEPS)
"""Steps after which the pictures are shown."""
MAX_TEXTS = 1000
"""Captions looked through for another one than the picture's."""
OTHERS = 24
"""Captions of the data set among which likeness is measured, for comparison."""
MAX_LABELS = 40
"""Labels offered at most."""

Prompt = str | int
"""A text, or the number of a label."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The tokens and guesses at once, then four pictures that grow out of the same noise."""
    if context.model.conditioning.kind == "none":
        yield unconditional_panels(request)
        return
    prompts, memory = read_prompts(context, request, "prompt", "other"), request.memory
    first = [*_prompt_panels(context, request, prompts), *_guesses(context, request, prompts)]
    key = (request.seed, request.lang, *prompts)
    if memory.get("key") != key:
        growing = _grow(context, request, prompts[0])
        memory |= {"key": key, "growing": growing, "panel": next(growing)}
    yield [*first, memory["panel"]]
    for panel in memory["growing"]:  # goes on where it was when t has moved
        memory["panel"] = panel or memory["panel"]
        yield [*first, panel] if panel else None


# ---- prompts, of this station and of "between" ---------------------------------------------------------------------------
def read_prompts(context: LearnContext, request: StationRequest, *controls: str) -> list[Prompt]:
    """What two controls ask for. Left empty, the first takes what goes with the picture, the second what goes with another one."""
    conditioning, source, index = context.model.conditioning, context.source, context.index or 0
    first, second = (request[name] for name in controls)
    if conditioning.kind == "text":
        first = first or context.text(index)
        texts = (context.text(i) for i in range(min(MAX_TEXTS, len(source))))
        return [first, second or next((text for text in texts if text != first), "")]
    has_label = source.labels and 0 <= source.labels[index] < conditioning.none
    label = probe.label_of(conditioning.names, first, source.labels[index] if has_label else 0)
    return [label, probe.label_of(conditioning.names, second, (label + 1) % conditioning.none)]


def prompt_name(context: LearnContext, prompt: Prompt) -> str:
    """A prompt in words."""
    return context.model.conditioning.names[prompt] if isinstance(prompt, int) else f"\u201c{prompt}\u201d"


def condition_for(context: LearnContext, prompt: Prompt | None) -> dict[str, Tensor]:
    """The UNet's arguments for a prompt, or, None, for nothing."""
    if prompt is None:
        return context.unconditional()
    texts, labels = ((prompt,), ()) if isinstance(prompt, str) else ((), (prompt,))
    return context.on_device(context.model.conditioning.conditional(1, texts, labels))


def unconditional_panels(request: StationRequest) -> list[Panel]:
    """Why a model without condition has nothing to show here, and the way to one with words."""
    button = panels.button(request.say("take_words"), model="shipped:butterflies-words")
    html = Markup('<div class="note">{}</div><p>{}</p>').format(request.say("unconditional"), button)
    return [MarkupPanel("way", html)]


def _titles(context: LearnContext, request: StationRequest) -> list[str]:
    """What the two prompts are called."""
    return [request.say(f"{key}_{context.model.conditioning.kind}") for key in ("one", "two")]


def _prompt_panels(context: LearnContext, request: StationRequest, prompts: list[Prompt]) -> list[Panel]:
    if context.model.conditioning.kind == "text":
        return [_tokens(context, request, prompts), *_similarity(context, request, prompts)]
    return [_labels(context, request, prompts)]


def _tokens(context: LearnContext, request: StationRequest, texts: Sequence[str]) -> Panel:
    """The tokens of both texts as chips."""
    conditioning, sections = context.model.conditioning, []
    for title, text in zip(_titles(context, request), texts, strict=True):
        tokens = probe.tokens(conditioning, text)
        remarks = [request.say("tokens", count=len(tokens), longest=conditioning.longest)]
        if unread := conditioning.unread(text):
            remarks.append(request.say("cut", text=unread))
        sections.append(_section(title, [_chip(token, request) for token in tokens], remarks))
    return MarkupPanel("tokens", Markup("").join(sections), "beside")


def _section(title: str, chips: Sequence[Markup], remarks: Sequence[str] = ()) -> Markup:
    paragraphs = Markup("").join(map(Markup('<p class="remark">{}</p>').format, remarks))
    return Markup('<h4>{}</h4><p class="chips">{}</p>{}').format(title, Markup("").join(chips), paragraphs)


def _chip(token: Token, request: StationRequest) -> Markup:
    tone = " unread" if not token.read else "" if token.kind == "word" else " end"
    text = token.piece if token.kind == "word" else request.say(token.kind)
    return Markup('<span class="chip{}"><b>{}</b><small>{}</small></span>').format(tone, text, token.id)


def _similarity(context: LearnContext, request: StationRequest, texts: Sequence[str]) -> list[Panel]:
    """How alike the texts are, and how alike captions usually are."""
    captions = list(dict.fromkeys(context.text(i) for i in range(min(OTHERS, len(context.source)))))
    cosines = probe.similarity(context.model.conditioning, [*texts, "", *captions])
    titles = [*_titles(context, request), request.say("nothing")]
    rows = [
        [Cell(title), *(Cell(f"{float(cosines[i, k]):.3f}", bar=float(cosines[i, k])) for k in range(3))]
        for i, title in enumerate(titles)
    ]
    result = [
        TablePanel("alike", ["", *titles], rows, request.say("alike")),
        panels.note(request.say("cosine"), name="cosine"),
    ]
    if (count := len(captions)) > 1:
        mean = float((cosines[3:, 3:].sum() - count) / (count * (count - 1)))
        result.append(panels.note(request.say("usual", count=count, mean=f"{mean:.3f}"), name="usual"))
    return result


def _labels(context: LearnContext, request: StationRequest, prompts: Sequence[Prompt]) -> Panel:
    """All labels, each a button, for the first and for the second."""
    names, sections = context.model.conditioning.names, []
    for control, title, prompt in zip(("prompt", "other"), _titles(context, request), prompts, strict=True):
        chips = [
            Markup('<span class="chip{}" {}><b>{}</b><small>{}</small></span>').format(
                " chosen" if label == prompt else "", panels.clickable(**{control: name}), name, label
            )
            for label, name in enumerate(names[:MAX_LABELS])
        ]
        sections.append(_section(title, chips))
    remark = Markup('<p class="remark">{}</p>').format(request.say("no_tokens", count=len(names)))
    return MarkupPanel("tokens", Markup("").join([*sections, remark]), "beside")


# ---- what the network makes of it ---------------------------------------------------------------------------------------
def _guesses(context: LearnContext, request: StationRequest, prompts: list[Prompt]) -> list[Panel]:
    """The guesses of one x_t at this t for nothing and for both, and where they differ."""
    model, alpha_bar = context.model, context.alpha_bar(request.t)
    x_t = diffusion.add_noise(context.x0, context.noise(request.seed), alpha_bar)
    conditions = [condition_for(context, prompt) for prompt in (None, *prompts)]
    outputs = probe.outputs(model.unet, x_t, request.t, conditions)
    x0 = diffusion.x0_from(model.scheduler.config.prediction_type, outputs, x_t, alpha_bar)
    names = [request.say("nothing"), *_titles(context, request)]
    pairs = ((1, 0), (2, 0), (1, 2))
    differences = [probe.difference(x0[k], x0[j]) for k, j in pairs]
    limit = max(float(difference.max()) for difference in differences) or 1.0
    guesses = [panels.picture(x, name, "prediction") for x, name in zip(model.codec.decode(x0), names, strict=True)]
    maps = [
        panels.heat_map(difference, limit, f"{names[k]} \u2212 {names[j]}", "size")
        for difference, (k, j) in zip(differences, pairs, strict=True)
    ]
    bar = panels.colour_bar("size", limit, request.say("unit"))
    rows = [
        PictureRow(request.say("guesses", t=request.t), guesses, "prediction"),
        PictureRow(request.say("apart"), maps, "", bar),
    ]
    flows = [
        (request.say("flow_condition"), next(iter(conditions[1].values())), ""),
        ("x_t", x_t, "noise"),
        (request.say("flow_guess"), x0[1:2], "prediction"),
        (request.say("flow_difference"), x0[1:2] - x0[:1], "prediction"),
    ]
    return [PicturesPanel("guesses", rows), panels.flow(flows, request.lang)]


def _grow(context: LearnContext, request: StationRequest, prompt: Prompt) -> Iterator[Panel | None]:
    """One noise, drawn at every guidance scale side by side: the panel now and then, None after the other passes."""
    model, noise, steps = context.model, context.noise(request.seed), min(STEPS, context.timesteps)
    blank, condition = condition_for(context, None), condition_for(context, prompt)
    walks = []
    for scale in SCALES:
        denoiser = sample.CFGDenoiser(model.unet, condition, blank, scale)
        sampler = sample.make_sampler("dpmpp_2m", model.scheduler)
        walks.append(sample.denoise(denoiser, noise, sampler, steps))
    yield _scales(context, request, prompt, noise, 0, steps)
    for step in range(1, steps + 1):
        guesses = []
        for walk in walks:
            guesses.append(next(walk).x0)
            yield None
        if step in SHOWN_STEPS or step == steps:
            yield _scales(context, request, prompt, torch.cat(guesses), step, steps)


def _scales(context: LearnContext, request: StationRequest, prompt: Prompt, x0: Tensor, step: int, steps: int) -> Panel:
    """What every scale has come to; before the first step all stand at the same noise."""
    captions = [request.say(f"scale_{scale}" if scale < 2 else "scale", scale=scale) for scale in SCALES]
    decoded = context.model.codec.decode(x0).expand(len(SCALES), -1, -1, -1)
    colour = "prediction" if step else "noise"
    images = [panels.picture(x, caption, colour) for x, caption in zip(decoded, captions, strict=True)]
    row = PictureRow(request.say("guidance", name=prompt_name(context, prompt)), images, "prediction")
    return PicturesPanel("guidance", [row], note=request.say("grown", step=step, steps=steps))
