"""Drawn butterflies, set as in a museum drawer: endless pictures, each with its species and a true caption.

Read from the ground up: `geometry`, `wings` (one wing's pixels and coordinates), `marks` (the painters), `species` (the
table: two outlines, a body and its marks for each), `colours`, `captions`, `body`, `drawing` (the whole specimen).
"""

from ddpm_app.specimens.colours import COLOURS, colour_words
from ddpm_app.specimens.drawing import Specimen, draw, draw_many, write
from ddpm_app.specimens.species import SPECIES

__all__ = ["COLOURS", "SPECIES", "Specimen", "colour_words", "draw", "draw_many", "write"]
