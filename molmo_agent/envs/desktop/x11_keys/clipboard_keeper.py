"""A process that keeps a person's clipboard after a paste that was not taken, and outlives the run.

The program that did not take it may have the keys before it still, and ask for the clipboard when it gets to them. It
would paste what the person had copied for another place. So it gets nothing until it responds and some time has passed,
whereas all other programs get the content at once. Reads its orders as JSON from stdin; ends when somebody else copies
something.
"""

import base64
import contextlib
import json
import math
import os
import sys
import time
from typing import Any

import Xlib.display
import Xlib.error
import Xlib.X

from molmo_agent.envs.desktop.x11_keys.clipboard import ANYBODY, Contents, Ping, answer_request

# A program that responds may still have its keys in another process, as browsers do.
_RESPONDS_S = 60.0
_LOOK_EVERY_S = 1.0
_TEXT = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain", "TEXT")


def contents_of(kind: str, data: bytes) -> Contents:
    """Return what to answer with: text in all formats of text, everything else as it is."""
    if kind not in ("UTF8_STRING", "text/plain;charset=utf-8", "STRING"):
        return {kind: (kind, data)}
    text = data if kind != "STRING" else data.decode("latin-1").encode()
    contents = {name: ("UTF8_STRING" if name == "TEXT" else name, text) for name in _TEXT}
    with contextlib.suppress(UnicodeError):
        contents["STRING"] = "STRING", text.decode().encode("latin-1")
    return contents


class Keeper:
    """Owns selections and answers for them.

    Args:
        display: the connection.
        selections: selection -> (format, data in base64).
        suspects: numbers of the clients that get nothing for now.
        focus: id of the window that the keys went to; 0 if it is not known.
    """

    def __init__(self, display: Any, selections: dict[str, tuple[str, str]], suspects: list[int], focus: int) -> None:
        self._display = display
        screen = display.screen()
        self._window = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
        self._contents = {
            display.intern_atom(name): contents_of(kind, base64.b64decode(data))
            for name, (kind, data) in selections.items()
        }
        self._suspects, self._focus = suspects, focus
        self._ping: Ping | None = None
        self._next_look_s = 0.0
        # When the suspects get the content.
        self._trusted_s = math.inf
        for atom in self._contents:
            self._window.set_selection_owner(atom, Xlib.X.CurrentTime)
        display.sync()

    def serve(self) -> None:
        """Answer until somebody else owns the selections."""
        while self._contents:
            self._look_at_focus()
            if not self._display.pending_events():
                time.sleep(0.01)
                continue
            message = self._display.next_event()
            if message.type == Xlib.X.SelectionClear:
                self._contents.pop(message.atom, None)
            elif message.type == Xlib.X.SelectionRequest:
                self._answer(message)
            elif self._ping:
                self._ping.note(message)

    def _answer(self, request: Any) -> None:
        client = request.requestor.id & ~self._display.display.info.resource_id_mask
        # The number of a client that is gone may be that of another program now.
        self._next_look_s = 0.0
        self._look_at_focus()
        trusts = time.monotonic() >= self._trusted_s
        is_given = trusts or not {client, ANYBODY} & set(self._suspects)
        # The one who asks may be gone meanwhile; python-xlib reports that on stderr only.
        answer_request(self._display, request, self._contents.get(request.selection, {}) if is_given else {})

    def _look_at_focus(self) -> None:
        """Find out from when on the window responds or is gone."""
        now = time.monotonic()
        if now < self._next_look_s or now >= self._trusted_s:
            return
        self._next_look_s = now + _LOOK_EVERY_S
        window = self._display.create_resource_object("window", self._focus)
        try:
            if self._focus:
                window.get_geometry()
        except Xlib.error.BadDrawable:
            self._trusted_s = now
            return
        if self._ping is None and self._focus:
            self._ping = Ping(self._display, window)
        if self._trusted_s == math.inf and (self._ping is None or not self._ping.window or self._ping.is_answered):
            self._trusted_s = now + _RESPONDS_S


def main() -> None:
    """Keep what stdin says, on the display that the first argument names."""
    orders = json.load(sys.stdin)
    # The X server may end first: then there is nothing to keep.
    with contextlib.suppress(Xlib.error.ConnectionClosedError, Xlib.error.DisplayError, OSError):
        display = Xlib.display.Display(sys.argv[1])
        keeper = Keeper(display, orders["selections"], orders["suspects"], orders["focus"])
        if os.fork():
            # Without a word to the X server: the connection is the other process's now.
            os._exit(0)
        keeper.serve()


if __name__ == "__main__":
    main()
