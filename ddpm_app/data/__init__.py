"""Pictures: open any source, decode it once, hand it out as tensors.

The way of a picture: ``image_source`` opens a source through `datasets` (prepared by a child process, ``prepare``), ``decode``
makes clean RGB of a file, ``preprocess`` squares it, ``image_dataset`` keeps all of them decoded in the ``cache`` and hands out
tensors. The page imports ``open_datasets``, ``upload`` and ``cache``, which need neither torch nor datasets.
"""
