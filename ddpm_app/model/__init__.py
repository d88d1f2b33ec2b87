"""Networks and what stands around them: UNets and their average, codecs (pixels, VAE), conditioning (none, labels, text), pipelines."""
