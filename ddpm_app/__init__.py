"""DDPM Studio: train a diffusion model by clicking, watch every part of it work, keep a standard diffusers pipeline."""

import os

__version__ = "0.1.0"

# Before torch is imported: its threads wait for each other by spinning. On a busy machine long spinning stalls everything (a
# step took ten times as long); none at all costs a third of the speed on an idle one; this little costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
