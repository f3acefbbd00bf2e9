"""What the inputs of both ways to a Wayland desktop share."""

import re
from collections.abc import Callable, Sequence

from molmo_agent.envs.desktop.input import do_nothing

# No protocol reports the user's setting. The defaults of GNOME and KDE are 0.4 s, that of others 0.5 s at most.
_DOUBLE_CLICK_S = 0.5


class CommonInput:
    """The parts of an input that need no compositor; ``key_name`` is the way's own."""

    # A compositor reports the pointer's position to no program.
    reads_position = False
    between_events: Callable[[], object] = staticmethod(do_nothing)

    def key_name(self, key: str) -> str:
        """Return a key as it is sent; raises ActionRefused if there is no such key."""
        raise NotImplementedError

    def key_names(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of a chord as they are sent.

        Raises:
            ActionRefused: there is no such key.
        """
        return [self.key_name(key) for key in keys]

    def split_text(self, text: str) -> list[str]:
        """Split text into pieces: every line end and tab is a key, as which program has the focus is not known."""
        return re.findall(r"[^\n\t]+|[\n\t]", text)

    def double_click_s(self) -> float:
        """Return for how many seconds after a press another one at the same place counts as a double click."""
        return _DOUBLE_CLICK_S

    def release_leftovers(self) -> None:
        """Do nothing: the compositor releases what a program held when it ends, and buttons when they are opened."""
        # Whether a person holds a key cannot be read.
