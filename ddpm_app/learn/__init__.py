"""The Learn tab: one bench (model, picture, noise, timestep), fourteen stations that show what flows through it, and lessons."""
