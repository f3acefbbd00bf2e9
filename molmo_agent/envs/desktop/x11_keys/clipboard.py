"""The X selections for one paste: offer a text, wait until it is read, restore the old content.

We own them ourselves instead of leaving it to a helper program, because only the owner sees whether and by whom a text
was read. Without that, a paste that never happened would pass for text that was entered, and the old content could
come back before a slow program has read the new one.

A program that did not read the text may still do so, when it gets to the keys: seconds or minutes later. What it would
paste then is what a person had copied for another place. So it gets nothing then, see ``clipboard_keeper.py``.
"""

import base64
import contextlib
import enum
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
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
BUSY_S = 20.0
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
ANYBODY = 0
"""Among numbers of clients."""
# How long the process that keeps the old content may take to begin.
_KEEPER_S = 10.0
# How long the new owner of the old content may take to be it.
_OWNER_S = 2.0

Contents = Mapping[str, tuple[str, bytes]]
"""What a selection holds: format that is asked for -> (type of the answer, data)."""


class Taken(enum.Enum):
    """What a program did with a paste."""

    YES = "read the text"
    NO = "did not read the text"
    BUSY = "does not respond"
    OTHER = "did not read the text itself, but another program did"


class Pasteboard:
    """The selections during one paste.

    ``save``; then ``offer``, ``start_wait`` and ``poll`` for each part of the text; then ``close``.

    Args:
        selections: which ones hold the text. PRIMARY is what is selected in some window; terminals paste that.
    """

    def __init__(self, display: Any, *selections: str) -> None:
        self._display = display
        self._selections = selections or (CLIPBOARD,)
        screen = display.screen()
        self._window = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
        self._contents: Contents = {}
        # Selection -> (format, content).
        self._old: dict[str, tuple[str, bytes]] = {}
        # Clients (see _client) that read the text since the paste, and those that read whatever is offered.
        self._readers: set[int] = set()
        self._watchers: set[int] = set()
        self._focus: int | None = None
        self._ping: Ping | None = None
        self._take_s, self._deadline = _TAKE_S, 0.0

    def save(self) -> bool:
        """Save what the selections hold. Return False if the clipboard cannot be saved; then do not replace it."""
        self._focus = getattr(self._display.get_input_focus().focus, "id", None)
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
        self._focus = getattr(self._display.get_input_focus().focus, "id", None)
        data = text.encode()
        self._contents = {
            **{name: ("UTF8_STRING" if name == "TEXT" else name, data) for name in _TEXT_FORMATS},
            _DISCREET: (_DISCREET, b"secret"),
        }
        for selection in self._selections:
            self._window.set_selection_owner(self._display.intern_atom(selection), Xlib.X.CurrentTime)
        self._serve(_QUIET_S)
        self._watchers |= self._readers
        self._readers.clear()

    def focus_answers(self) -> bool:
        """Return whether the program with the keyboard focus responds, or cannot be asked; wait for it a moment.

        Keys for a program that does not respond would be carried out whenever it does.
        """
        if self._ping is None:
            self._ping = Ping(self._display)
        self._serve(_QUIET_S, self._ping)
        if self._ping.window and not self._ping.is_answered:
            return False
        self._ping.close()
        self._ping = None
        return True

    def start_wait(self, keys_come_late: bool = False) -> None:
        """Call after the keys that paste, then ``poll``. The keys come late through an input method."""
        if self._ping:
            self._ping.close()
        self._focus = getattr(self._display.get_input_focus().focus, "id", None)
        self._ping = Ping(self._display)
        self._take_s = _UNKNOWN_S if keys_come_late else _TAKE_S
        self._deadline = time.monotonic() + (BUSY_S if self._ping.window else _UNKNOWN_S)

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
        # A clipboard manager, or another client of the same program on its behalf.
        if self._readers - self._watchers:
            return Taken.OTHER
        return Taken.BUSY if ping.window and not ping.is_answered else Taken.NO

    def suspects(self) -> set[int]:
        """Return the clients that may still ask for the text, see ``close``."""
        return {self._client(self._focus) if self._focus else ANYBODY} | (self._readers - self._watchers)

    def close(self, suspects: Collection[int] = ()) -> None:
        """Restore the old content; what was empty stays empty.

        Args:
            suspects: clients that may have keys that paste before them. They get nothing for a while.
        """
        if self._ping:
            self._ping.close()
        # From here on nobody gets the text.
        self._contents = {}
        if self._old and suspects:
            self._hand_over(suspects)
        # The content belongs to the window and goes with it.
        self._window.destroy()
        self._display.sync()
        if not suspects:
            for selection, (target, content) in self._old.items():
                _write_with_xclip(selection, target, content)
            self._await_owners()

    def _hand_over(self, suspects: Collection[int]) -> None:
        """Leave the old content to a process that knows whom not to give it to."""
        selections = {name: (kind, base64.b64encode(data).decode()) for name, (kind, data) in self._old.items()}
        orders = {"selections": selections, "suspects": [*suspects], "focus": self._focus or 0}
        # It returns when it owns the selections, and answers on in the background, as xclip does.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-m", f"{__package__}.clipboard_keeper", self._display.get_display_name()],
                input=json.dumps(orders).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                timeout=_KEEPER_S,
                check=False,
                env=child_environment(),
            )
        # Those who asked meanwhile get nothing.
        self._serve(_QUIET_S)

    def _await_owners(self) -> None:
        """Wait a moment until the old content is there again: xclip returns before the X server knows its new owner."""
        atoms = [self._display.intern_atom(selection) for selection in self._old]
        end = time.monotonic() + _OWNER_S
        while time.monotonic() < end and any(self._display.get_selection_owner(atom) == Xlib.X.NONE for atom in atoms):
            time.sleep(0.002)

    def _client(self, window_id: int) -> int:
        """Return the number of the client that made a window: the high bits of its id."""
        return int(window_id & ~self._display.display.info.resource_id_mask)

    def _serve(self, quiet_s: float, ping: "Ping | None" = None) -> None:
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
        if answer_request(self._display, request, self._contents) in _TEXT_FORMATS:
            self._readers.add(self._client(request.requestor.id))


def answer_request(display: Any, request: Any, contents: Contents) -> str:
    """Answer a SelectionRequest; return the format that was given, or an empty string.

    Where the contents are empty, the selection seems to hold nothing.
    """
    name = display.get_atom_name(request.target)
    # Old clients leave it to the owner to name the property.
    place = request.property or request.target
    if name == "TARGETS" and contents:
        formats = [display.intern_atom(n) for n in ("TARGETS", *contents)]
        request.requestor.change_property(place, display.intern_atom("ATOM"), 32, formats)
    elif name in contents:
        kind, data = contents[name]
        request.requestor.change_property(place, display.intern_atom(kind), 8, data)
    else:
        name, place = "", Xlib.X.NONE
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
    return name


class Ping:
    """Ask the program of a window whether it has seen the input so far: it answers in the same order.

    Args:
        display: the connection.
        focus: the window; None: the one with the keyboard focus.
    """

    def __init__(self, display: Any, focus: Any = None) -> None:
        self._root = display.screen().root
        self._protocols, self._name = display.intern_atom("WM_PROTOCOLS"), display.intern_atom("_NET_WM_PING")
        self._stamp = secrets.randbits(31) | 1
        # The window that was asked; None if the program cannot be asked.
        self.window = self._find_window(focus or display.get_input_focus().focus)
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


def _write_with_xclip(selection: str, target: str, content: bytes) -> None:
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
