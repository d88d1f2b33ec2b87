"""The look of the page: theme, style sheets, head. Museum white (or true dark), one accent: the blue of a morpho's wing."""

import inspect
import pathlib
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes

from ddpm_app import plots
from ddpm_app.i18n import ASSETS
from ddpm_app.ui.state import label

COMPONENTS = pathlib.Path(__file__).parent / "components"
SANS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Arial",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

MORPHO = colors.Color(
    "#eef5fd",
    "#d8e8fa",
    "#b3d2f4",
    "#84b5ec",
    "#4f92df",
    "#2574c9",
    "#0b5cab",
    "#0a4c8d",
    "#0b3f73",
    "#0c335b",
    "#08233f",
    name="morpho",
)
MUSEUM = colors.Color(
    "#fbfaf7",
    "#f3f1ec",
    "#e7e3da",
    "#d5cfc3",
    "#a8a297",
    "#78736a",
    "#57534c",
    "#3d3a35",
    "#262421",
    "#191816",
    "#100f0e",
    name="museum",
)
FAVICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
    "<path fill='%230b5cab' d='M15 16C12 5 4 3 2 6s2 11 9 11c-5 1-7 5-5 8s7 2 9-6zM17 16C20 5 28 3 30 6s-2 11-9 11c5 1 7 5 5 8s-7 2-9-6z'/>"
    "<path stroke='%23262421' stroke-width='1.6' d='M16 10v14'/></svg>"
)
HEAD = f'<link rel="icon" href="{FAVICON}"><meta name="color-scheme" content="light dark">'


VARIABLES = {
    "body_background_fill": "var(--paper)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--quiet)",
    "background_fill_primary": "var(--card)",
    "background_fill_secondary": "var(--paper)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent": "var(--accent)",
    "color_accent_soft": "var(--tint)",
    "link_text_color": "var(--accent)",
    "block_background_fill": "var(--card)",
    "block_border_color": "var(--line)",
    "block_border_width": "1px",
    "block_shadow": "none",
    "block_radius": "10px",
    "block_padding": "12px 14px",
    "block_label_background_fill": "transparent",
    "block_label_border_width": "0px",
    "block_label_text_color": "var(--quiet)",
    "block_label_shadow": "none",
    "block_title_text_color": "var(--ink)",
    "block_title_text_weight": "550",
    "block_title_background_fill": "transparent",
    "block_info_text_color": "var(--quiet)",
    "block_info_text_size": "*text_xs",
    "input_background_fill": "var(--paper)",
    "input_border_color": "var(--line)",
    "input_border_width": "1px",
    "input_border_color_focus": "var(--accent)",
    "input_radius": "7px",
    "input_padding": "7px 10px",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 3px var(--tint)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_text_color": "var(--on-accent)",
    "button_secondary_background_fill": "var(--card)",
    "button_secondary_background_fill_hover": "var(--paper)",
    "button_secondary_border_color": "var(--line)",
    "button_secondary_text_color": "var(--ink)",
    "button_border_width": "1px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "7px",
    "button_large_text_weight": "550",
    "button_medium_text_weight": "550",
    "checkbox_background_color_selected": "var(--accent)",
    "checkbox_border_color_selected": "var(--accent)",
    "checkbox_label_background_fill": "var(--card)",
    "checkbox_label_background_fill_hover": "var(--paper)",
    "checkbox_label_background_fill_selected": "var(--tint)",
    "checkbox_label_border_color": "var(--line)",
    "checkbox_label_border_color_selected": "var(--accent)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_padding": "6px 11px",
    "checkbox_label_gap": "8px",
    "slider_color": "var(--accent)",
    "loader_color": "var(--accent)",
    "layout_gap": "14px",
    "form_gap_width": "0px",
}
"""Gradio's variables. The colours are those of assets/styles/base.css, which change with light and dark by themselves."""


def theme() -> gr.themes.Base:
    """Gradio's variables; what they can't say stands in style sheets. Fonts are those of the system: nothing is fetched."""
    base = gr.themes.Base(
        primary_hue=MORPHO,
        secondary_hue=MORPHO,
        neutral_hue=MUSEUM,
        font=SANS,
        font_mono=MONO,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
    )
    parameters = inspect.signature(base.set).parameters
    dark = {f"{name}_dark": value for name, value in VARIABLES.items() if f"{name}_dark" in parameters}
    return base.set(**VARIABLES, **dark)


def style_sheets() -> list[pathlib.Path]:
    """The style sheets in their order: those of the page and its tabs, then those of the components."""
    return [*sorted((ASSETS / "styles").glob("*.css")), *sorted(COMPONENTS.glob("*.css"))]


def look() -> dict[str, Any]:
    """Arguments for ``launch()``."""
    return {
        "theme": theme(),
        "css": plots.css() + "\n".join(sheet.read_text(encoding="utf-8") for sheet in style_sheets()),
        "head": HEAD,
        "i18n": label,
        "footer_links": [],
    }
