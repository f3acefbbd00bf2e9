"""The X clipboard for one paste: offer a text, wait until it is read, restore the old content.

We own the clipboard ourselves instead of leaving it to a helper program, because only its owner sees whether and by
whom it was read. Without that, a paste that never happened would pass for text that was entered, and the old content
could come back before a slow program has read the new one.
"""

import contextlib
import shutil
import subprocess
import time
from typing import Any

import Xlib.X
from Xlib.protocol import event

# How long a program may take to read the text after Ctrl+V.
_TAKE_S = 2.0
# Programs ask in several steps (which formats? then the text): this long without a question means they are done.
_QUIET_S = 0.03
# All of them Unicode. Not STRING, which is Latin-1: a program would show question marks for the rest.
_TEXT_FORMATS = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain", "TEXT")
# Asks clipboard managers not to keep the text in their history.
_DISCREET = "x-kde-passwordManagerHint"
# Formats of the old content to save, the one that loses least first.
_KEEP = ("x-special/gnome-copied-files", "UTF8_STRING", "text/plain;charset=utf-8", "STRING", "image/png", "text/html")


class Pasteboard:
    """The clipboard during one paste: ``save``, then ``offer`` and ``await_taken`` for each part, then ``restore``."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._clipboard = display.intern_atom("CLIPBOARD")
        screen = display.screen()
        self._window = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
        self._text = ""
        self._old: tuple[str, bytes] | None = None
        # Clients (see _client) that read the text since it was offered.
        self._readers: set[int] = set()

    def save(self) -> bool:
        """Save the content of the clipboard. Return False if it cannot be saved; then do not replace it."""
        if self._display.get_selection_owner(self._clipboard) == Xlib.X.NONE:
            return True
        formats = (_read_with_xclip("TARGETS") or b"").decode(errors="replace").split()
        target = next((name for name in (*_KEEP, *(f for f in formats if "/" in f)) if name in formats), None)
        content = _read_with_xclip(target) if target else None
        if target is None or content is None:
            self._window.destroy()
            return False
        self._old = target, content
        return True

    def offer(self, text: str) -> None:
        """Put text on the clipboard and answer the programs that watch it, before the paste itself."""
        self._text = text
        self._window.set_selection_owner(self._clipboard, Xlib.X.CurrentTime)
        self._serve(_QUIET_S)
        self._readers.clear()

    def await_reader(self) -> bool:
        """Wait until the program with the keyboard focus has read the text; return False if none did."""
        focus = getattr(self._display.get_input_focus().focus, "id", None)
        deadline = time.monotonic() + _TAKE_S
        while time.monotonic() < deadline:
            self._serve(_QUIET_S)
            if (focus is None and self._readers) or (focus and self._client(focus) in self._readers):
                return True
        # Another client of the same program may have asked on its behalf.
        return bool(self._readers)

    def restore(self) -> None:
        """Restore the old content; an empty clipboard stays empty."""
        # The content belongs to the window and goes with it.
        self._window.destroy()
        self._display.sync()
        if self._old:
            target, content = self._old
            plain = target in ("UTF8_STRING", "STRING", "text/plain;charset=utf-8")
            # xclip stays behind to answer for the content; it must not hold our output open.
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["xclip", "-selection", "clipboard", *([] if plain else ["-t", target])],
                    input=content,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    timeout=5,
                    check=False,
                )

    def _client(self, window_id: int) -> int:
        """Return the number of the client that made a window: the high bits of its id."""
        return int(window_id & ~self._display.display.info.resource_id_mask)

    def _serve(self, quiet_s: float) -> None:
        """Answer requests until none has come for ``quiet_s`` seconds."""
        deadline = time.monotonic() + quiet_s
        while time.monotonic() < deadline:
            if not self._display.pending_events():
                time.sleep(0.002)
                continue
            request = self._display.next_event()
            if request.type == Xlib.X.SelectionRequest and request.owner == self._window:
                self._answer(request)
                deadline = time.monotonic() + quiet_s

    def _answer(self, request: Any) -> None:
        display, name = self._display, self._display.get_atom_name(request.target)
        # Old clients leave it to the owner to name the property.
        place = request.property or request.target
        if name == "TARGETS":
            formats = [display.intern_atom(n) for n in ("TARGETS", *_TEXT_FORMATS, _DISCREET)]
            request.requestor.change_property(place, display.intern_atom("ATOM"), 32, formats)
        elif name in _TEXT_FORMATS:
            kind = display.intern_atom("UTF8_STRING") if name == "TEXT" else request.target
            request.requestor.change_property(place, kind, 8, self._text.encode())
            self._readers.add(self._client(request.requestor.id))
        elif name == _DISCREET:
            request.requestor.change_property(place, request.target, 8, b"secret")
        else:
            place = Xlib.X.NONE
        request.requestor.send_event(
            event.SelectionNotify(
                time=request.time,
                requestor=request.requestor,
                selection=request.selection,
                target=request.target,
                property=place,
            )
        )
        display.flush()


def _read_with_xclip(kind: str) -> bytes | None:
    """Return the clipboard's content in one format; None if its owner does not give it, or there is no xclip."""
    if not shutil.which("xclip"):
        return None
    command = ["xclip", "-selection", "clipboard", "-o", "-t", kind]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=3, check=False)
    except subprocess.TimeoutExpired:
        return None
    return result.stdout if result.returncode == 0 else None
