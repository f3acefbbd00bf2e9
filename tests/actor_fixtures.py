"""What acts on a module's ``screen``, and a window that reports what arrives. Load it as a pytest plugin."""

import pytest
from desktop_screen import Actor, EventWindow


@pytest.fixture(scope="module")
def actor(screen):
    actor = Actor()
    yield actor
    actor.close()


@pytest.fixture
def window(screen):
    with EventWindow() as window:
        yield window
