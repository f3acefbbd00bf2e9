"""Pasting through the Clipboard portal: offer a text, wait until a program reads it, offer the old content again.

The portal does not tell who reads. A program that did not read the text may do so later, when it gets to the keys; so
the old content, which a person copied for another place, is not offered again then.
"""

import time
from collections.abc import Callable

from molmo_agent.envs.desktop.wayland.portal import PortalSession
from molmo_agent.errors import ActionRefused, EnvError

_TEXT_FORMATS = ("text/plain;charset=utf-8", "text/plain", "UTF8_STRING")
# A format that no program asks for: compositors reject an empty list.
_NOTHING = "application/x-molmo-agent-nothing"
# Clipboard managers read a new content at once: this long without a question means they are done.
_QUIET_S = 0.3
# How long a program may take to read the text after Ctrl+V: nobody knows here whether it has seen the keys.
_TAKE_S = 10.0


class PortalClipboard:
    """The clipboard of a session with the permission to use it."""

    def __init__(self, session: PortalSession) -> None:
        self._session = session
        # Whether keys of an earlier paste may still be before a program.
        self._is_late = False

    def paste(self, text: str, press_paste: Callable[[], None]) -> None:
        """Offer a text, press the keys that paste it and wait until a program has read it.

        The old content is offered again if it is text and the paste was taken; other content is lost, and all of it
        when the session ends.

        Raises:
            ActionRefused: no program read the text: the one with the focus takes no Ctrl+V, as terminals do not.
        """
        old = self._read_old()
        self._session.offer_clipboard(list(_TEXT_FORMATS))
        self._serve(text, _QUIET_S, first_s=_QUIET_S)
        is_taken = False
        try:
            press_paste()
            is_taken = self._serve(text, _QUIET_S, first_s=_TAKE_S) > 0
        finally:
            self._is_late = self._is_late or not is_taken
            if self._is_late:
                # From now on a paste finds nothing.
                self._session.offer_clipboard([_NOTHING])
            elif old is not None:
                self._session.offer_clipboard(list(_TEXT_FORMATS))
                self._serve(old, _QUIET_S, first_s=_QUIET_S)
        if not is_taken:
            raise ActionRefused(
                "the text has characters that cannot be typed on Wayland, and the program with the keyboard focus did "
                "not take it from the clipboard: it may be a terminal, or no text field has the focus. Nothing was "
                "typed. The clipboard is empty now, so that a late paste finds nothing"
            )

    def _read_old(self) -> str | None:
        try:
            content = self._session.read_clipboard(_TEXT_FORMATS[0])
            return None if content is None else content.decode()
        except (EnvError, UnicodeDecodeError):
            # Empty, or not text.
            return None

    def _serve(self, text: str, quiet_s: float, *, first_s: float) -> int:
        """Answer questions until none comes for a while; return how many came."""
        num_answers = 0
        deadline = time.monotonic() + first_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            transfer = self._session.next_transfer(remaining_s)
            if transfer is None:
                break
            self._session.answer_transfer(transfer[1], text.encode())
            num_answers += 1
            deadline = time.monotonic() + quiet_s
        return num_answers
