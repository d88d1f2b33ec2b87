"""Measurements for teaching, on a copy of what trains or on a snapshot of it: pure functions, no page."""
