"""The runs that wait for their turn, as a list; a click moves one up or takes it out."""

from ddpm_app.ui.components.base import ScriptedHTML


class WaitingRuns(ScriptedHTML):
    """Takes {"title", "rows", "words"}: the words of the buttons by action, "up" and "remove". A click brings {"id", "action"}; a row that may
    not be touched has no "id"."""
