"""A run on disk: ``run`` its folder, ``metrics`` and ``curves`` its numbers, ``registry`` all runs of a folder, ``monitor`` what viewers see of them."""
