"""Training: ``loop.train`` is the loop, ``plan`` what is decided before it, ``state`` what a checkpoint holds."""
