"""One network is made at a time. While diffusers or transformers loads one, they change torch for the whole process: new parameters land on the
meta device (accelerate.init_empty_weights) and are not drawn (no_init_weights). What another thread made meanwhile would have no weights, and
two loads that overlap would leave torch so."""

import threading

BUILDING = threading.RLock()
"""Held while a network is made or loaded. Nothing waits for the device under it."""
