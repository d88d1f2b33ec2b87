"""The Dataset tab: choose the pictures, look at them as they are and as the model will see them."""

import html
import pathlib
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app.config import BUILT_IN, FIELDS, TrainConfig
from ddpm_app.data import cache
from ddpm_app.text import t, tell
from ddpm_app.ui import drawings, guard, shelf
from ddpm_app.ui.header import said
from ddpm_app.ui.studio import Shared, Studio, in_form, megabytes, problem_of, words

PAGE = 24
THUMBNAIL = 128
SEEN = 256
"""Side at which one picture is shown, in pixels."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
HUB_EXAMPLE = FIELDS["dataset_name"].default


def build(studio: Studio, shared: Shared) -> None:
    """Draw the tab. ``late`` connects it once the form exists (the Config tab comes after this one)."""
    parts: dict[str, Any] = {}
    _choice(studio, parts)
    with gr.Column(elem_classes="card"):
        gr.Markdown(words("ui.dataset.preview"), elem_classes="title")
        parts["preview"] = gr.HTML(elem_id="preview")
        parts["facts"] = gr.HTML(elem_id="facts")
    with gr.Row():
        with gr.Column(scale=7, min_width=320, elem_classes="card"):
            with gr.Row(elem_id="gallery-bar"):
                gr.Markdown(words("ui.dataset.gallery"), elem_classes="title")
                parts["search"] = gr.Textbox(placeholder=words("ui.dataset.search"), label=words("ui.dataset.search"), show_label=False, container=False, max_lines=1, elem_id="search")
            parts["gallery"] = gr.Gallery(
                label=words("ui.dataset.gallery"), show_label=False, format="png", columns=6, height="auto", object_fit="contain", allow_preview=False, buttons=[],
                interactive=False, elem_id="gallery", elem_classes="pixelated",
            )
            with gr.Row(elem_id="pager"):
                parts["back"] = gr.Button(words("ui.dataset.back"), size="sm", min_width=0)
                parts["where"] = gr.HTML(elem_id="where")
                parts["next"] = gr.Button(words("ui.dataset.next"), size="sm", min_width=0)
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(words("ui.dataset.one"), elem_classes="title")
            parts["one"] = gr.HTML(elem_id="one")
            parts["resize"] = gr.Radio(list(FIELDS["resize_mode"].choices), value="squash", label="resize_mode", info=words("field.resize_mode"), elem_id="resize")
    with gr.Row():
        with gr.Column(scale=7, min_width=320, elem_classes="card"):
            gr.Markdown(words("ui.dataset.sizes"), elem_classes="title")
            parts["sizes"] = gr.HTML(elem_id="sizes")
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(words("ui.dataset.left_out"), elem_classes="title")
            parts["left_out"] = gr.HTML(elem_id="left-out")
            parts["cache"] = gr.HTML(elem_id="cache")
            parts["clear"] = gr.Button(words("ui.dataset.clear"), size="sm", visible=not studio.public)
    shared.later.append(lambda: _wire(studio, shared, parts))


def _choice(studio: Studio, parts: dict[str, Any]) -> None:
    sources = ["built_in", "upload"] if studio.public else ["built_in", "hub", "folder", "upload"]
    with gr.Column(elem_classes="card", elem_id="choose"):
        parts["kind"] = gr.Radio([(words(f"ui.dataset.{kind}"), kind) for kind in sources], value="built_in", label=words("ui.dataset.choose"), elem_id="kind")
        with gr.Row(visible=False, elem_classes="ask") as parts["by_name"]:
            parts["name"] = gr.Textbox(label=words("ui.dataset.name"), info=words("ui.dataset.name_info"), max_lines=1, scale=5)
            parts["split"] = gr.Textbox("train", label="split", info=words("field.split"), max_lines=1, scale=2, min_width=120)
            parts["open"] = gr.Button(words("ui.dataset.open"), variant="primary", scale=1, min_width=100)
        with gr.Row(visible=False) as parts["by_upload"]:
            parts["files"] = gr.File(file_count="multiple", file_types=["image", ".zip", ".jsonl", ".csv"], label=words("ui.dataset.files"), height=140)
        with gr.Row(elem_classes="ask", visible=False) as parts["working"]:
            parts["progress"] = gr.HTML(elem_id="data-progress")
            parts["stop"] = gr.Button(words("ui.dataset.stop"), size="sm", scale=0, min_width=90)
        parts["problem"] = gr.HTML(elem_id="data-problem")


# ---- handlers ----------------------------------------------------------------------------------------------------------
def _wire(studio: Studio, shared: Shared, parts: dict[str, Any]) -> None:
    form = shared.form.components
    key, opened, ended, page, picked = gr.State(""), gr.State(""), gr.State(""), gr.State(0), gr.State(0)
    data_inputs = [form[name] for name in shelf.FIELDS]

    def config_of(visitor: str, given: tuple) -> TrainConfig:
        """The data's settings alone, so that a wrong value elsewhere in the form doesn't keep the pictures from being seen."""
        values = dict(zip(shelf.FIELDS, given, strict=True))
        return guard.check_data(studio, TrainConfig(block_out_channels=(8,), attention_levels=(0,), norm_num_groups=8, **values), visitor)

    def ask(again: bool, visitor: str, lang: str, *given: Any) -> list[Any]:
        try:
            asked = studio.shelf.ask(config_of(visitor, given), again)
        except Exception as error:
            return [gr.skip(), gr.skip(), gr.skip(), said(problem_of(error), lang)]
        studio.shelf.get(asked).opened.wait(4)  # what is in the cache opens in a moment, and needs no tick
        return [asked, *stages(asked, lang)]

    def stages(key: str, lang: str) -> list[Any]:
        """What to keep in ``opened`` and ``ended``, whose change draws the rest, and what stood in the way."""
        entry = studio.shelf.get(key)
        if entry is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        problem = said(entry.problem, lang) if entry.problem else ""
        return [key if entry.source is not None else gr.skip(), key if entry.ended.is_set() else "", problem]

    def first_show(key: str, lang: str) -> list[Any]:
        entry = studio.shelf.get(key)
        if entry is None or entry.source is None:
            return [gr.skip() for _ in range(3 + len(paged))]
        entry.preview = entry.preview or drawings.preview(entry.source)
        return [entry.preview, drawings.sizes(entry.source.sizes(), lang), 0, *turn(key, lang, "", 0)]

    def details(key: str, lang: str) -> list[Any]:
        entry = studio.shelf.get(key)
        if entry is None or entry.source is None:
            return [gr.skip() for _ in told]
        return [_facts(entry, lang), _left_out(entry, lang), "" if studio.public else _cache(lang)]

    def turn(key: str, lang: str, search: str, page: int) -> list[Any]:
        entry = studio.shelf.get(key)
        if entry is None or entry.source is None:
            return [gr.skip() for _ in paged]
        rows = found(entry.source, search)
        pages = max(1, -(-len(rows) // PAGE))
        page = min(max(page, 0), pages - 1)
        shown = rows[page * PAGE : (page + 1) * PAGE]
        told = t("ui.dataset.page", lang, page=page + 1, pages=f"{pages:,}", found=f"{len(rows):,}")
        return [gr.Gallery([_thumbnail(entry.source, i) for i in shown], selected_index=None), told, page, gr.update(interactive=page > 0), gr.update(interactive=page < pages - 1)]

    def one(key: str, lang: str, i: int, mode: str) -> str:
        entry = studio.shelf.get(key)
        if entry is None or entry.source is None or not 0 <= i < len(entry.source):
            return gr.skip()
        try:
            return _one(studio, entry, i, mode, lang)
        except Exception as error:
            return said(problem_of(error), lang)

    def pick(key: str, search: str, page: int, event: gr.SelectData) -> int:
        entry = studio.shelf.get(key)
        rows = found(entry.source, search) if entry and entry.source else []
        at = page * PAGE + event.index
        return rows[at] if at < len(rows) else 0

    def follow(snapshot: dict[str, Any], lang: str, key: str) -> list[Any]:
        entry = studio.shelf.get(key)
        if entry is None:
            return [gr.update(visible=False), "", *stages(key, lang)]
        working = not entry.ended.is_set() and (entry.source is None or studio.warm.is_set())
        return [gr.update(visible=working), _progress(entry, lang) if working else "", *stages(key, lang)]

    told = [parts[name] for name in ("facts", "left_out", "cache")]
    paged = [parts["gallery"], parts["where"], page, parts["back"], parts["next"]]
    look = {"fn": one, "inputs": [key, shared.lang, picked, form["resize_mode"]], "outputs": parts["one"], **QUIET}

    def asking(event: Any, again: bool = False) -> Any:
        return event(lambda *given: ask(again, *given), [shared.visitor, shared.lang, *data_inputs], [key, opened, ended, parts["problem"]], **QUIET)

    shared.each_tick(follow, [parts["working"], parts["progress"], opened, ended, parts["problem"]], [key])
    opened.change(first_show, [key, shared.lang], [parts["preview"], parts["sizes"], picked, *paged], **QUIET).then(**look)
    gr.on([opened.change, ended.change], details, [key, shared.lang], told, **QUIET)
    parts["gallery"].select(pick, [key, parts["search"], page], picked, **QUIET).then(**look)
    for button, step in ((parts["back"], -1), (parts["next"], 1)):
        button.click(lambda k, lang, search, page, step=step: turn(k, lang, search, page + step), [key, shared.lang, parts["search"], page], paged, **QUIET)
    parts["search"].change(lambda k, lang, search: turn(k, lang, search, 0), [key, shared.lang, parts["search"]], paged, trigger_mode="always_last", **QUIET)
    _wire_choice(studio, shared, parts, asking)
    parts["stop"].click(lambda key: _stop(studio, key), key, None, **QUIET)
    parts["resize"].input(lambda mode: mode, parts["resize"], form["resize_mode"], **QUIET)
    form["resize_mode"].change(lambda mode: mode, form["resize_mode"], parts["resize"], **QUIET).then(**look)
    asking(shared.restored.then)
    asking(shared.opened["dataset"].select)
    parts["clear"].click(lambda lang: _clear(studio, lang), shared.lang, [shared.message, parts["cache"]], **QUIET)


def _wire_choice(studio: Studio, shared: Shared, parts: dict[str, Any], asking: Any) -> None:
    """Each way of choosing puts a name into the form's dataset_name, then opens it."""
    form = shared.form.components

    def switch(kind: str, name: str) -> list[Any]:
        named = kind in ("hub", "folder")
        value = HUB_EXAMPLE if kind == "hub" and "/" not in name else gr.skip()
        return [gr.update(visible=named), gr.update(visible=kind == "upload"), gr.update(visible=kind == "hub"), value, BUILT_IN if kind == "built_in" else gr.skip()]

    def upload(visitor: str, lang: str, files: list[str] | None) -> list[Any]:
        from ddpm_app.data.upload import import_upload

        if not files:
            return ["", gr.skip()]
        try:
            folder = import_upload(files, guard.uploads_of(studio, visitor))
        except Exception as error:
            return [said(problem_of(error), lang), gr.skip()]
        return ["", folder.name if studio.public else str(folder)]

    outputs = [parts["by_name"], parts["by_upload"], parts["split"], parts["name"], form["dataset_name"]]
    asking(parts["kind"].input(switch, [parts["kind"], parts["name"]], outputs, **QUIET).then)
    put = {"fn": lambda name, split: (name.strip(), split.strip() or "train"), "inputs": [parts["name"], parts["split"]], "outputs": [form["dataset_name"], form["split"]], **QUIET}
    asking(gr.on([parts["open"].click, parts["name"].submit, parts["split"].submit], **put).then, again=True)
    got = parts["files"].upload(upload, [shared.visitor, shared.lang, parts["files"]], [parts["problem"], form["dataset_name"]], **{**QUIET, "show_progress": "minimal"})
    asking(got.success, again=True)


def _stop(studio: Studio, key: str) -> None:
    if entry := studio.shelf.get(key):
        entry.stop.set()


# ---- what is shown -----------------------------------------------------------------------------------------------------
def found(source: Any, search: str) -> list[int]:
    """Rows whose label, caption or name holds all words of ``search``."""
    asked = search.lower().split()
    if not asked:
        return list(range(len(source)))
    return [i for i in range(len(source)) if all(word in f"{_label(source, i)} {_caption(source, i)} {source.names[i]}".lower() for word in asked)]


def _label(source: Any, i: int) -> str:
    return source.label_names[source.labels[i]] if source.labels and source.labels[i] >= 0 else ""


def _caption(source: Any, i: int) -> str:
    return source.captions[i] if source.captions else ""


def _thumbnail(source: Any, i: int) -> tuple[Image.Image, str]:
    """A picture for the gallery with its label, or its name; an unfit one is an empty square."""
    try:
        return source.thumbnail(i, THUMBNAIL), _label(source, i) or source.names[i]
    except Exception as error:
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#b3261e"), tell(problem_of(error))


def _facts(entry: shelf.Entry, lang: str) -> str:
    source = entry.source
    facts = [t("ui.dataset.pictures", lang, count=len(source))]
    if entry.pictures is not None:
        facts.append(t("ui.dataset.shares", lang, train=len(entry.pictures.train), held_out=len(entry.pictures.held_out)))
    if source.label_names:
        facts.append(t("ui.dataset.labels", lang, count=len(source.label_names)))
    facts += [t("ui.dataset.captions", lang)] if source.captions else []
    kind = t(f"ui.dataset.kind_{source.kind.replace('-', '_')}", lang, name=source.name if source.kind == "hub" else pathlib.Path(source.name).name)
    facts += [kind, t("ui.dataset.license", lang, license=source.license or t("ui.dataset.no_license", lang))][: 1 if source.kind == "built-in" else 2]
    return '<div class="facts">' + "".join(f"<span>{html.escape(fact)}</span>" for fact in facts) + "</div>"


def _left_out(entry: shelf.Entry, lang: str) -> str:
    if entry.pictures is None:
        return f'<p class="quiet">{t("ui.dataset.unchecked", lang)}</p>'
    left = entry.pictures.left_out
    if not left:
        return f'<p class="quiet">{t("ui.dataset.none_left_out", lang)}</p>'
    lines = "".join(f"<li>{html.escape(t(f'notice.left_out_{reason}', lang, name=name))}</li>" for name, reason in left[:50])
    return f"<p>{t('ui.dataset.some_left_out', lang, count=len(left))}</p><ul>{lines}</ul>"


def _one(studio: Studio, entry: shelf.Entry, i: int, mode: str, lang: str) -> str:
    """One picture as it is and as the model sees it, side by side."""
    source, config = entry.source, entry.config
    original = source.picture(i)
    sides = [(original, t("ui.dataset.original", lang, width=original.width, height=original.height))]
    if studio.warm.wait(60):
        from ddpm_app.data.preprocess import square

        pixels = square(original, config.image_size, mode, config.channels)
        seen = Image.fromarray(pixels[..., 0] if config.channels == 1 else pixels)
        sides.append((seen, t("ui.dataset.seen", lang, size=config.image_size, mode=mode)))
    figures = "".join(f"<figure>{drawings.img(picture, told, SEEN)}<figcaption>{html.escape(told)}</figcaption></figure>" for picture, told in sides)
    told = " · ".join(html.escape(part) for part in (_label(source, i), source.names[i]) if part)
    return f'<div class="pair">{figures}</div><p class="told"><b>{told}</b><br>{html.escape(_caption(source, i))}</p>'


def _progress(entry: shelf.Entry, lang: str) -> str:
    amount = ""
    if entry.total:
        amount = t("ui.header.part", lang, done=entry.done, total=entry.total)
    elif entry.phase == "download" and entry.done:
        amount = t("ui.header.megabytes", lang, done=entry.done / 1e6)
    bar = f'<div class="bar"><i style="width:{100 * entry.done / entry.total:.0f}%"></i></div>' if entry.total else '<div class="bar open"><i></i></div>'
    return f'<div role="status">{t(f"ui.phase.{entry.phase}", lang)} {amount}</div>{bar}'


def _cache(lang: str) -> str:
    size = sum(size for _, size, _ in cache.caches())
    return f'<p class="quiet">{t("ui.dataset.cache", lang, path=html.escape(str(cache.cache_folder())), size=megabytes(size))}</p>'


def _clear(studio: Studio, lang: str) -> list[str]:
    try:
        guard.refuse_in_public(studio)
        done = said(t("ui.dataset.cleared", lang, size=megabytes(cache.clear_cache())))
    except Exception as error:
        done = said(problem_of(error), lang)
    return [done, "" if studio.public else _cache(lang)]
