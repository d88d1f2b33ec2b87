"""What tests of the Learn tab share."""

import pytest
from kits import learn as learn_kit


@pytest.fixture(scope="session")
def context_of(told, parts):
    """A tiny model of a kind with a picture: ``context_of("latents", own=picture)``, see learn_kit.context."""
    return lambda kind, **options: learn_kit.context(kind, told, parts, **options)
