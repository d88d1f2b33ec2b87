"""The Dataset tab: choose the pictures, look at them as they are and as the model will see them."""

from typing import Any

import gradio as gr

from ddpm_app.config import FIELDS
from ddpm_app.data import open_datasets
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs.dataset_handlers import BUILT_INS, LONGEST_CAPTION, DatasetHandlers, kind_of, rows_for

QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
HUB_EXAMPLE = FIELDS["dataset_name"].default


def build(app: App, shared: Page) -> None:
    """Draw the tab; it is connected once the form exists, which the Config tab makes after this one."""
    parts: dict[str, Any] = {}
    _choice(app, parts)
    with gr.Column(elem_classes="card"):
        gr.Markdown(label("ui.dataset.preview"), elem_classes="title")
        parts["preview"] = gr.HTML(elem_id="preview")
        parts["facts"] = gr.HTML(elem_id="facts")
    with gr.Row():
        with gr.Column(scale=7, min_width=320, elem_classes="card"):
            with gr.Row(elem_id="gallery-bar"):
                gr.Markdown(label("ui.dataset.gallery"), elem_classes="title")
                parts["search"] = gr.Textbox(
                    placeholder=label("ui.dataset.search"),
                    label=label("ui.dataset.search"),
                    show_label=False,
                    container=False,
                    max_lines=1,
                    elem_id="search",
                )
            parts["gallery"] = gr.Gallery(
                label=label("ui.dataset.gallery"),
                show_label=False,
                format="png",
                columns=6,
                height="auto",
                object_fit="contain",
                allow_preview=False,
                buttons=[],
                interactive=False,
                elem_id="gallery",
                elem_classes="pixelated",
            )
            with gr.Row(elem_id="pager"):
                parts["back"] = gr.Button(label("ui.dataset.back"), size="sm", min_width=0)
                parts["where"] = gr.HTML(elem_id="where")
                parts["next"] = gr.Button(label("ui.dataset.next"), size="sm", min_width=0)
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(label("ui.dataset.one"), elem_classes="title")
            parts["one"] = gr.HTML(elem_id="one")
            parts["caption"] = gr.Textbox(
                label=label("ui.dataset.edit_caption"),
                max_lines=4,
                max_length=LONGEST_CAPTION,
                visible=False,
                elem_id="edit-caption",
            )
            parts["label"] = gr.Dropdown(
                [], label=label("ui.dataset.edit_label"), info=label("ui.dataset.edit_label_help"), allow_custom_value=True,
                visible=False, elem_id="edit-label",
            )  # fmt: skip
            parts["save"] = gr.Button(label("ui.dataset.save"), size="sm", visible=False, elem_id="edit-save")
            parts["resize"] = gr.Radio(
                list(FIELDS["resize_mode"].choices),
                value="squash",
                label="resize_mode",
                info=label("field.resize_mode"),
                elem_id="resize",
            )
    with gr.Row():
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(label("ui.dataset.counts"), elem_classes="title")
            parts["counts"] = gr.HTML(elem_id="counts")
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(label("ui.dataset.sizes"), elem_classes="title")
            parts["sizes"] = gr.HTML(elem_id="sizes")
        with gr.Column(scale=4, min_width=300, elem_classes="card"):
            gr.Markdown(label("ui.dataset.left_out"), elem_classes="title")
            parts["left_out"] = gr.HTML(elem_id="left-out")
            parts["cache"] = gr.HTML(elem_id="cache")
            parts["clear"] = gr.Button(label("ui.dataset.clear"), size="sm", visible=not app.public)
    shared.later.append(lambda: _wire(app, shared, parts))


def _choice(app: App, parts: dict[str, Any]) -> None:
    sources = ["built_in", "upload"] if app.public else [*BUILT_INS, "hub", "folder", "upload"]
    with gr.Column(elem_classes="card", elem_id="choose"):
        parts["kind"] = gr.Radio(
            [(label(f"ui.dataset.{kind}"), kind) for kind in sources],
            value="built_in",
            label=label("ui.dataset.choose"),
            elem_id="kind",
        )
        with gr.Row(visible=False, elem_classes="ask") as parts["by_name"]:
            parts["name"] = gr.Textbox(
                label=label("ui.dataset.name"), info=label("ui.dataset.name_info"), max_lines=1, scale=5
            )
            parts["split"] = gr.Textbox(
                "train", label="split", info=label("field.split"), max_lines=1, scale=2, min_width=120
            )
            parts["open"] = gr.Button(label("ui.dataset.open"), variant="primary", scale=1, min_width=100)
        with gr.Row(visible=False) as parts["by_upload"]:
            parts["files"] = gr.File(
                file_count="multiple",
                file_types=["image", ".zip", ".jsonl", ".csv"],
                label=label("ui.dataset.files"),
                height=140,
            )
        with gr.Row(elem_classes="ask", visible=False) as parts["working"]:
            parts["progress"] = gr.HTML(elem_id="data-progress")
            parts["stop"] = gr.Button(label("ui.dataset.stop"), size="sm", scale=0, min_width=90)
        parts["problem"] = gr.HTML(elem_id="data-problem")


# ---- wiring ------------------------------------------------------------------------------------------------------------
def _wire(app: App, shared: Page, parts: dict[str, Any]) -> None:
    browser, form = DatasetHandlers(app), shared.form.components
    key, opened, ended, shown, page, picked = (
        gr.State(""),
        gr.State(""),
        gr.State(""),
        gr.State(""),
        gr.State(0),
        gr.State(0),
    )
    told = [parts[name] for name in ("facts", "left_out", "cache")]
    paged = [parts["gallery"], parts["where"], page, parts["back"], parts["next"]]
    look = {
        "fn": browser.one,
        "inputs": [key, shared.lang, picked, form["resize_mode"]],
        "outputs": parts["one"],
        **QUIET,
    }
    edited = [parts["caption"], parts["label"], parts["save"]]
    edit = {"fn": browser.fields, "inputs": [key, picked, shared.visitor], "outputs": edited, **QUIET}
    asked = {
        "inputs": [shared.visitor, shared.lang, *(form[name] for name in open_datasets.FIELDS)],
        "outputs": [key, opened, ended, parts["problem"]],
        **QUIET,
    }

    def asking(event: Any, again: bool = False) -> Any:
        return event(lambda *given: browser.ask(again, *given), **asked)

    shared.every_tick(browser.follow, [parts["working"], parts["progress"], opened, ended, parts["problem"]], [key])
    first = [parts["preview"], parts["sizes"], parts["counts"], shown, picked, *paged]
    show = {
        "fn": browser.first_show,
        "inputs": [key, shared.lang, shown, parts["search"], page, picked],
        "outputs": first,
        **QUIET,
    }
    detail = {"fn": browser.details, "inputs": [key, shared.lang], "outputs": told, **QUIET}
    opened.change(**show).then(**look).then(**edit)
    gr.on([opened.change, ended.change], **detail)
    asking(shared.language_changed.then).then(**show).then(**look)
    shared.language_changed.then(**detail)
    parts["gallery"].select(browser.pick, [key, parts["search"], page], picked, **QUIET).then(**look).then(**edit)
    gr.on(
        [parts["save"].click, parts["caption"].submit],
        browser.save,
        [key, shared.lang, picked, shared.visitor, *edited[:2]],
        [shared.message, key, opened, ended, parts["problem"]],
        **QUIET | {"show_progress": "minimal", "show_progress_on": parts["save"]},
    )
    for button, step in ((parts["back"], -1), (parts["next"], 1)):
        button.click(
            lambda k, lang, search, page, step=step: browser.turn(k, lang, search, page + step),
            [key, shared.lang, parts["search"], page],
            paged,
            **QUIET,
        )
    parts["search"].change(
        lambda k, lang, search: browser.turn(k, lang, search, 0),
        [key, shared.lang, parts["search"]],
        paged,
        trigger_mode="always_last",
        **QUIET,
    )
    parts["stop"].click(browser.stop, key, None, **QUIET)
    parts["clear"].click(browser.clear, shared.lang, [shared.message, parts["cache"]], **QUIET)
    parts["resize"].input(lambda mode: mode, parts["resize"], form["resize_mode"], **QUIET)
    form["resize_mode"].change(lambda mode: mode, form["resize_mode"], parts["resize"], **QUIET).then(**look)
    _wire_choice(browser, shared, parts, asking)


def _wire_choice(browser: DatasetHandlers, shared: Page, parts: dict[str, Any], asking: Any) -> None:
    """Each way of choosing puts a name into the form's dataset_name, then opens it."""
    form = shared.form.components
    rows = [parts["by_name"], parts["by_upload"], parts["split"]]

    def switch(kind: str, name: str) -> list[Any]:
        return [
            *rows_for(kind),
            HUB_EXAMPLE if kind == "hub" and kind_of(name) != "hub" else gr.skip(),
            BUILT_INS.get(kind, gr.skip()),
        ]

    def show(name: str, split: str) -> list[Any]:
        kind = kind_of(name)
        return [kind, *rows_for(kind), name if kind in ("hub", "folder") else gr.skip(), split]

    shows = {
        "fn": show,
        "inputs": [form["dataset_name"], form["split"]],
        "outputs": [parts["kind"], *rows, parts["name"], parts["split"]],
        **QUIET,
    }
    for event in (shared.form_restored.then, shared.tab_items["dataset"].select):
        asking(event).then(**shows)
    asking(
        parts["kind"]
        .input(switch, [parts["kind"], parts["name"]], [*rows, parts["name"], form["dataset_name"]], **QUIET)
        .then,
        again=True,
    )
    put = {
        "fn": lambda name, split: (name.strip(), split.strip() or "train"),
        "inputs": [parts["name"], parts["split"]],
        "outputs": [form["dataset_name"], form["split"]],
        **QUIET,
    }
    asking(gr.on([parts["open"].click, parts["name"].submit, parts["split"].submit], **put).then, again=True)
    got = {
        "fn": browser.upload,
        "inputs": [shared.visitor, shared.lang, parts["files"]],
        "outputs": [shared.message, form["dataset_name"]],
    }
    asking(parts["files"].upload(**got, **QUIET | {"show_progress": "minimal"}).then, again=True)
