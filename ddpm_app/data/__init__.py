"""Pictures: open any source, decode it once, hand it out as tensors.

Import what you need from its module: ``source.originals`` (no torch), ``upload.import_upload`` and ``cache.caches`` (neither
torch nor datasets), ``pictures.load`` (the trainer's entry), ``preprocess.to_display``.
"""
