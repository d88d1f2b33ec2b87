"""The look of the page: theme, style sheet, head."""

from typing import Any

import gradio as gr

from ddpm_app.text import ASSETS
from ddpm_app.ui.studio import words

STYLES = ASSETS / "styles"
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "PingFang SC", "Microsoft YaHei", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    return gr.themes.Base(font=SANS, font_mono=MONO)


def look() -> dict[str, Any]:
    """Arguments for ``launch()``."""
    return {"theme": theme(), "i18n": words, "footer_links": ["settings"]}
