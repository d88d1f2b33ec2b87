"""A search over the settings, and links to those that differ from the preset."""

from typing import Any, TypedDict

from ddpm_app.ui.components.base import ScriptedHTML


class Differences(TypedDict):
    """``before`` and ``after``: the line around the links; ``links``: (field name, its label); ``find``: the search's placeholder."""

    before: str
    links: list[tuple[str, str]]
    after: str
    find: str


class SettingFinder(ScriptedHTML):
    """Takes Differences; hides fields that don't hold what is typed, and opens the folded part that holds the field of a link."""

    def __init__(self, value: Differences, **options: Any):
        super().__init__(value, **options)
