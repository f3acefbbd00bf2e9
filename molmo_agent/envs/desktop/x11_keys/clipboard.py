"""The X selections for one paste: offer a text, wait until it is read, restore the old content.

We own them ourselves instead of leaving it to a helper program, because only the owner sees whether and by whom a text
was read. Without that, a paste that never happened would pass for text that was entered, and the old content could
come back before a slow program has read the new one.
"""

import contextlib
import enum
import secrets
import shutil
import subprocess
import time
from typing import Any

import Xlib.error
import Xlib.X
from Xlib.protocol import event

from molmo_agent.child_environment import child_environment

# How long a program that has seen the keys may take to read the text.
_TAKE_S = 2.0
# The same where nobody knows whether it has seen them: it cannot be asked, or an input method passes them on later.
_UNKNOWN_S = 10.0
# How long it may take to see them, if it can be asked.
_BUSY_S = 20.0
# Programs ask in several steps (which formats? then the text): this long without a question means they are done.
_QUIET_S = 0.03
# A clipboard manager may ask again and again.
_SERVE_S = 0.3
# All of them Unicode. Not STRING, which is Latin-1: a program would show question marks for the rest.
_TEXT_FORMATS = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain", "TEXT")
# Asks clipboard managers not to keep the text in their history.
_DISCREET = "x-kde-passwordManagerHint"
# Formats of the old content to save, the one that loses least first.
_KEEP = ("x-special/gnome-copied-files", "UTF8_STRING", "text/plain;charset=utf-8", "STRING", "image/png", "text/html")

CLIPBOARD, PRIMARY = "CLIPBOARD", "PRIMARY"


class Taken(enum.Enum):
    """What a program did with a paste."""

    YES = "read the text"
    NO = "saw the keys and did not read the text"
    BUSY = "does not respond"


class Pasteboard:
    """The selections during one paste.

    ``save``; then ``offer``, ``start_wait`` and ``poll`` for each part of the text; then ``restore``.

    Args:
        selections: which ones hold the text. PRIMARY is what is selected in some window; terminals paste that.
    """

    def __init__(self, display: Any, *selections: str) -> None:
        self._display = display
        self._selections = selections or (CLIPBOARD,)
        screen = display.screen()
        self._window = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
        self._text = ""
        # Selection -> (format, content).
        self._old: dict[str, tuple[str, bytes]] = {}
        # Clients (see _client) that read the text since the paste, and those that read whatever is offered.
        self._readers: set[int] = set()
        self._watchers: set[int] = set()
        self._focus: int | None = None
        self._ping: _Ping | None = None
        self._take_s, self._deadline = _TAKE_S, 0.0

    def save(self) -> bool:
        """Save what the selections hold. Return False if the clipboard cannot be saved; then do not replace it."""
        for selection in self._selections:
            if self._display.get_selection_owner(self._display.intern_atom(selection)) == Xlib.X.NONE:
                continue
            formats = (_read_with_xclip(selection, "TARGETS") or b"").decode(errors="replace").split()
            target = next((name for name in (*_KEEP, *(f for f in formats if "/" in f)) if name in formats), None)
            content = _read_with_xclip(selection, target) if target else None
            if target is not None and content is not None:
                self._old[selection] = target, content
            elif selection == CLIPBOARD:
                self._window.destroy()
                return False
        return True

    def offer(self, text: str) -> None:
        """Put text on the selections and answer the programs that watch them, before the paste itself."""
        self._text = text
        for selection in self._selections:
            self._window.set_selection_owner(self._display.intern_atom(selection), Xlib.X.CurrentTime)
        self._serve(_QUIET_S)
        self._watchers |= self._readers
        self._readers.clear()

    def start_wait(self, keys_come_late: bool = False) -> None:
        """Call after the keys that paste, then ``poll``. The keys come late through an input method."""
        if self._ping:
            self._ping.close()
        self._focus = getattr(self._display.get_input_focus().focus, "id", None)
        self._ping = _Ping(self._display)
        self._take_s = _UNKNOWN_S if keys_come_late else _TAKE_S
        self._deadline = time.monotonic() + (_BUSY_S if self._ping.window else _UNKNOWN_S)

    def poll(self) -> Taken | None:
        """Answer questions for a moment. Return what the program with the keyboard focus did; None: wait on."""
        ping, focus = self._ping, self._focus
        assert ping
        self._serve(_QUIET_S, ping)
        if (focus is None and self._readers) or (focus and self._client(focus) in self._readers):
            return Taken.YES
        if ping.is_answered and not ping.is_counted:
            ping.is_counted, self._deadline = True, time.monotonic() + self._take_s
        if time.monotonic() < self._deadline:
            return None
        # Another client of the same program may have asked on its behalf.
        if self._readers - self._watchers:
            return Taken.YES
        return Taken.BUSY if ping.window and not ping.is_answered else Taken.NO

    def restore(self) -> None:
        """Restore the old content; what was empty stays empty."""
        if self._ping:
            self._ping.close()
        # The content belongs to the window and goes with it.
        self._window.destroy()
        self._display.sync()
        for selection, (target, content) in self._old.items():
            plain = target in ("UTF8_STRING", "STRING", "text/plain;charset=utf-8")
            # xclip stays behind to answer for the content; it must not hold our output open.
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["xclip", "-selection", selection.lower(), *([] if plain else ["-t", target])],
                    input=content,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    timeout=5,
                    check=False,
                    env=child_environment(),
                )

    def _client(self, window_id: int) -> int:
        """Return the number of the client that made a window: the high bits of its id."""
        return int(window_id & ~self._display.display.info.resource_id_mask)

    def _serve(self, quiet_s: float, ping: "_Ping | None" = None) -> None:
        """Answer requests until none has come for ``quiet_s`` seconds, or long enough if they never end."""
        deadline = time.monotonic() + quiet_s
        end = time.monotonic() + _SERVE_S
        while time.monotonic() < min(deadline, end):
            if not self._display.pending_events():
                time.sleep(0.002)
                continue
            request = self._display.next_event()
            if request.type == Xlib.X.SelectionRequest and request.owner == self._window:
                self._answer(request)
                deadline = time.monotonic() + quiet_s
            elif ping:
                ping.note(request)

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


class _Ping:
    """Ask the program with the keyboard focus whether it has seen the input so far: it answers in the same order."""

    def __init__(self, display: Any) -> None:
        self._root = display.screen().root
        self._protocols, self._name = display.intern_atom("WM_PROTOCOLS"), display.intern_atom("_NET_WM_PING")
        self._stamp = secrets.randbits(31) | 1
        # The window that was asked; None if the program cannot be asked.
        self.window = self._find_window(display.get_input_focus().focus)
        self.is_answered = self.is_counted = False
        # The answer goes to the root window.
        self._old_mask = self._root.get_attributes().your_event_mask
        if self.window:
            self._root.change_attributes(event_mask=self._old_mask | Xlib.X.SubstructureNotifyMask)
            data = (32, [self._name, self._stamp, self.window.id, 0, 0])
            self.window.send_event(event.ClientMessage(window=self.window, client_type=self._protocols, data=data))
            display.flush()

    def _find_window(self, window: Any) -> Any:
        with contextlib.suppress(Xlib.error.BadWindow):
            while hasattr(window, "get_wm_protocols") and window.id != self._root.id:
                if self._name in window.get_wm_protocols():
                    return window
                window = window.query_tree().parent
        return None

    def note(self, message: Any) -> None:
        """Look whether an event is the answer."""
        if message.type & 0x7F == Xlib.X.ClientMessage and message.client_type == self._protocols:
            name, stamp, *_ = message.data[1]
            self.is_answered = self.is_answered or (name, stamp) == (self._name, self._stamp)

    def close(self) -> None:
        """Listen no longer."""
        self._root.change_attributes(event_mask=self._old_mask)


def _read_with_xclip(selection: str, kind: str) -> bytes | None:
    """Return a selection's content in one format; None if its owner does not give it, or there is no xclip."""
    if not shutil.which("xclip"):
        return None
    command = ["xclip", "-selection", selection.lower(), "-o", "-t", kind]
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=3,
            check=False,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired:
        return None
    return result.stdout if result.returncode == 0 else None
