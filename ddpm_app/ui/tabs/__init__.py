"""One file per tab, with the helpers that belong to it beside it."""
