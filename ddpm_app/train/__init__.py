"""Training. Read ``loop`` (the loop) and ``denoising`` (the loss) first; ``objective`` is what is learnt behind one interface, ``prepare`` what
comes before the loop, ``plan`` its arithmetic, ``rehearse`` its measurements, ``state`` what a step changes and a checkpoint holds."""
