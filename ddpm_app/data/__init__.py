"""Pictures: open any source, decode it once, hand it out as tensors.

The way of a picture: ``open_source`` opens a source, an ``image_source`` - a folder by our own walk (``folder``, with what lies ``beside`` pictures and in
``shards``), tables and the Hub through `datasets` (prepared by a child process, ``prepare``) - ``decode`` makes clean RGB of a file,
``preprocess`` squares it, ``image_dataset`` keeps all of them decoded in the ``cache`` and hands out tensors. The ``account`` says what
everything in the source was taken for. The page imports ``open_datasets``, ``upload`` and ``cache``, which need neither torch nor datasets.
"""
