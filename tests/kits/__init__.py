"""What tests share, one file per need."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
"""The project's folder."""
