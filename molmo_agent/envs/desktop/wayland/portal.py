"""A session of the RemoteDesktop and ScreenCast portals: the permission, the monitors and the input methods.

The user decides in a dialog of the desktop which monitors to share and whether to allow input, and may end the session
at any time from the desktop's panel. The portal releases what is held down whenever a session ends.
"""

import contextlib
import os
import secrets
import time
from dataclasses import dataclass
from typing import Any

from molmo_agent.console import warn
from molmo_agent.envs.desktop.wayland.dbus import OWNER_CHANGED, Bus, CallError
from molmo_agent.envs.desktop.wayland.pipes import read_all, write_all
from molmo_agent.envs.desktop.wayland.restore_token import load_token, save_token
from molmo_agent.errors import EnvError, RunStopped

_SERVICE, _PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
_REMOTE, _CAST = "org.freedesktop.portal.RemoteDesktop", "org.freedesktop.portal.ScreenCast"
_CLIPBOARD, _SESSION = "org.freedesktop.portal.Clipboard", "org.freedesktop.portal.Session"
# Those that show the dialogs; the one of GTK has no remote desktop.
_BACKENDS, _NO_REMOTE_BACKEND = "org.freedesktop.impl.portal.desktop", ".gtk"
_BACKEND_SESSION = "org.freedesktop.impl.portal.Session"
_REQUEST = "org.freedesktop.portal.Request"
# Its screen casts and positions count in pixels of the stream, those of others in logical units.
_MUTTER = "org.gnome.Mutter.RemoteDesktop"

_KEYBOARD, _POINTER = 1, 2
_MONITORS = 1
_HIDDEN, _EMBEDDED = 1, 2
_UNTIL_REVOKED = 2

_REMEDY = "Log in to an Xorg session, or act on a display of its own with --virtual-display 1280x800"

# For the dialog: a person has to find it, read it and choose.
CONSENT_TIMEOUT_S = 180.0
_ANSWER_TIMEOUT_S = 25.0
# For another program to read or write the content of the clipboard.
_TRANSFER_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Stream:
    """A monitor that the user shares. Positions and sizes are in logical units; None where the desktop has none."""

    # The number of its PipeWire node.
    node: int
    position: tuple[int, int] | None
    # (width, height).
    size: tuple[int, int] | None


class PortalSession:
    """A permission to see some monitors and to control pointer and keyboard.

    Args:
        consent_timeout_s: how long the user may take to answer the dialog.

    Raises:
        EnvError: no portal offers this here, or the user declined or did not answer.
        MissingExtraError: the extra ``wayland`` is not installed.
    """

    def __init__(self, consent_timeout_s: float = CONSENT_TIMEOUT_S) -> None:
        self._bus = Bus()
        self._handle = ""
        self._ended: str | None = None
        self._transfers: list[tuple[str, int]] = []
        try:
            check_portal(self._bus)
            self.is_mutter = self._bus.has_service(_MUTTER)
            self._open(consent_timeout_s)
        except BaseException:
            # The portal closes the dialog and the session together with the connection.
            self._bus.close()
            raise

    # --- Opening --------------------------------------------------------------------------------------------------

    def _property(self, member: str) -> Any:
        return self._bus.property(_SERVICE, _PATH, member)

    def _open(self, consent_timeout_s: float) -> None:
        for interface in (_REQUEST, _SESSION, _CLIPBOARD):
            self._bus.subscribe(interface)
        for name in (_SERVICE, _BACKENDS):
            self._bus.watch_owner(name)
        token = f"molmo_agent_{secrets.token_hex(8)}"
        results = self._request(f"{_REMOTE}.CreateSession", "", options={"session_handle_token": ("s", token)})
        self._handle = _text(results.get("session_handle"))
        if not self._handle.startswith("/"):
            raise EnvError(f"the portal opened no session: it answered {results}. Update xdg-desktop-portal")
        desktop, can_persist = desktop_name(), (self._property(f"{_REMOTE}.version") or 1) >= 2
        restore_token = load_token(desktop) if can_persist else None
        self._select(can_persist, restore_token)
        if not restore_token:
            warn("waiting for the permission: answer the dialog of the desktop (share a monitor and allow interaction)")
        results = self._request(
            f"{_REMOTE}.Start", "os", self._handle, "", timeout_s=consent_timeout_s, what="the permission"
        )
        try:
            self._check_grant(results)
        except EnvError:
            # Restored, it would be the same again, without a question.
            save_token(desktop, None)
            raise
        if can_persist:
            save_token(desktop, _text(results.get("restore_token")) or None)

    def _select(self, can_persist: bool, restore_token: str | None) -> None:
        """Say what the permission is to be for."""
        devices: dict[str, tuple[str, Any]] = {"types": ("u", _KEYBOARD | _POINTER)}
        if can_persist:
            devices["persist_mode"] = ("u", _UNTIL_REVOKED)
        if restore_token:
            devices["restore_token"] = ("s", restore_token)
        self._request(f"{_REMOTE}.SelectDevices", "o", self._handle, options=devices)
        cursors = self._property(f"{_CAST}.AvailableCursorModes") or _HIDDEN
        sources = {
            "types": ("u", _MONITORS),
            "multiple": ("b", True),
            "cursor_mode": ("u", _HIDDEN if cursors & _HIDDEN else _EMBEDDED),
        }
        self._request(f"{_CAST}.SelectSources", "o", self._handle, options=sources)
        if self._property(f"{_CLIPBOARD}.version"):
            self._call(f"{_CLIPBOARD}.RequestClipboard", "oa{sv}", self._handle, {})

    def _check_grant(self, results: dict[str, Any]) -> None:
        devices = results.get("devices", ("u", 0))[1]
        if devices & (_KEYBOARD | _POINTER) != _KEYBOARD | _POINTER:
            raise EnvError(
                "the screen was shared without the permission to control pointer and keyboard. "
                "Start again and switch on 'Allow Remote Interaction' (or 'Control input devices') in the dialog"
            )
        entries = results.get("streams", ("a(ua{sv})", []))[1]
        if not entries:
            raise EnvError("no monitor was shared. Start again and choose a monitor in the dialog")
        self.streams = [
            Stream(int(node), _pair(properties, "position"), _pair(properties, "size")) for node, properties in entries
        ]
        self.has_clipboard = bool(results.get("clipboard_enabled", ("b", False))[1])

    def _request(
        self,
        member: str,
        signature: str,
        *values: Any,
        options: dict[str, tuple[str, Any]] | None = None,
        timeout_s: float = _ANSWER_TIMEOUT_S,
        what: str = "",
    ) -> dict[str, Any]:
        """Call a method that answers by a signal, and return its results; ``what`` it asks for is in the errors."""
        what = what or member
        token = f"molmo_agent_{secrets.token_hex(8)}"
        sender = self._bus.name.lstrip(":").replace(".", "_")
        expected = f"{_PATH}/request/{sender}/{token}"
        all_options = {"handle_token": ("s", token), **(options or {})}
        (path,) = self._call(member, signature + "a{sv}", *values, all_options)
        deadline = time.monotonic() + timeout_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            signal = self._bus.next_signal(min(remaining_s, 0.5))
            if signal is None:
                continue
            if signal[1] == f"{_REQUEST}.Response" and signal[0] in (expected, path):
                code, results = signal[2]
                if code == 1:
                    raise EnvError(f"{what} was declined in the dialog of the desktop. Start again to ask again")
                if code:
                    raise EnvError(
                        f"the portal did not grant {what} (response {code}): the dialog was closed, or "
                        f"the desktop {desktop_name()!r} failed. Start again; its log: journalctl --user -b -g portal"
                    )
                return dict(results)
            self._handle_signal(*signal)
            if self._ended:
                raise EnvError(f"{self._ended}, before {what} was granted. Start again")
        raise EnvError(f"the portal did not answer within {timeout_s:g} s about {what}. Start again")

    # --- While it is open -----------------------------------------------------------------------------------------

    def _call(self, member: str, signature: str, *values: Any) -> tuple[Any, ...]:
        return self._bus.call(_SERVICE, _PATH, member, signature, *values)

    def _handle_signal(self, path: str, member: str, values: tuple[Any, ...]) -> None:
        if member == f"{_SESSION}.Closed" and path == self._handle:
            self._ended = (
                "the desktop ended the permission (its icon in the panel does this, a change of the monitors may)"
            )
        elif member == f"{_CLIPBOARD}.SelectionTransfer" and values[0] == self._handle:
            self._transfers.append((values[1], values[2]))
        elif member == OWNER_CHANGED and self._handle and not values[2] and not values[0].endswith(_NO_REMOTE_BACKEND):
            # There is nobody left to report the end of the session.
            self._ended = f"{values[0]} crashed or was restarted, which ended the permission"
            if values[0] == _SERVICE:
                self._close_backend()

    def _close_backend(self) -> None:
        """End the session where it really is: GNOME's backend outlives the portal, and holds what is down."""
        for name in self._bus.services():
            if name.startswith(f"{_BACKENDS}."):
                # Only one of them has the session.
                with contextlib.suppress(CallError):
                    self._bus.call(name, self._handle, f"{_BACKEND_SESSION}.Close")

    def check(self) -> None:
        """Process what the portal reported since the last call.

        Raises:
            RunStopped: the user or the compositor ended the session, which releases what is held down.
            EnvError: the bus is gone.
        """
        while (signal := self._bus.next_signal(0)) is not None:
            self._handle_signal(*signal)
        if self._ended:
            raise RunStopped(
                f"stopped: {self._ended}. The compositor releases what was held down. To continue, start again and "
                "allow it"
            )

    @property
    def is_open(self) -> bool:
        """Whether input can be sent."""
        return self._ended is None

    def notify(self, method: str, signature: str, *values: Any) -> None:
        """Send one input event: a method of the RemoteDesktop portal without its ``Notify``, such as ``PointerButton``.

        Raises:
            RunStopped: the session has ended.
            EnvError: the portal rejects the event or is gone.
        """
        self._checked_call(f"{_REMOTE}.Notify{method}", "oa{sv}" + signature, self._handle, {}, *values)

    def _checked_call(self, member: str, signature: str, *values: Any) -> tuple[Any, ...]:
        self.check()
        try:
            return self._call(member, signature, *values)
        except CallError:
            # The answer to a call on a session that has just ended is an error; the signal says why.
            self.check()
            raise

    def open_pipewire(self) -> int:
        """Return the descriptor of a new connection to PipeWire that sees the shared monitors; the caller closes it."""
        (descriptor,) = self._checked_call(f"{_CAST}.OpenPipeWireRemote", "oa{sv}", self._handle, {})
        return int(descriptor.to_raw_fd())

    # --- Clipboard ------------------------------------------------------------------------------------------------

    def offer_clipboard(self, mime_types: list[str]) -> None:
        """Become the owner of the clipboard."""
        self._transfers.clear()
        self._checked_call(f"{_CLIPBOARD}.SetSelection", "oa{sv}", self._handle, {"mime_types": ("as", mime_types)})

    def next_transfer(self, timeout_s: float) -> tuple[str, int] | None:
        """Return the next question for the clipboard's content as (mime type, serial); None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            if self._transfers:
                return self._transfers.pop(0)
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return None
            if signal := self._bus.next_signal(min(remaining_s, 0.1)):
                self._handle_signal(*signal)

    def answer_transfer(self, serial: int, content: bytes) -> None:
        """Send the clipboard's content to the program that asked for it."""
        (descriptor,) = self._checked_call(f"{_CLIPBOARD}.SelectionWrite", "ou", self._handle, serial)
        is_written = write_all(descriptor.to_raw_fd(), content, _TRANSFER_TIMEOUT_S)
        self._checked_call(f"{_CLIPBOARD}.SelectionWriteDone", "oub", self._handle, serial, is_written)

    def read_clipboard(self, mime_type: str) -> bytes | None:
        """Return the content of the clipboard in one format; None if the program that has it does not send it."""
        (descriptor,) = self._checked_call(f"{_CLIPBOARD}.SelectionRead", "os", self._handle, mime_type)
        return read_all(descriptor.to_raw_fd(), _TRANSFER_TIMEOUT_S)

    def close(self) -> None:
        """End the session; safe to call twice."""
        if self._handle and self.is_open:
            self._ended = "the session was closed"
            try:
                self._bus.call(_SERVICE, self._handle, f"{_SESSION}.Close")
            except EnvError:
                # A portal or bus that is gone has closed it already.
                self._handle = ""
        self._bus.close()


def check_portal(bus: Bus | None = None) -> None:
    """Check that the desktop has the portals; on a connection of its own without ``bus``.

    Raises:
        EnvError: there is no session bus, or a portal is missing.
    """
    if bus is None:
        with Bus() as own_bus:
            check_portal(own_bus)
        return
    devices = bus.property(_SERVICE, _PATH, f"{_REMOTE}.AvailableDeviceTypes")
    missing = [
        name
        for name, is_missing in (
            ("RemoteDesktop portal (input)", devices is None),
            ("ScreenCast portal (screenshots)", bus.property(_SERVICE, _PATH, f"{_CAST}.version") is None),
        )
        if is_missing
    ]
    if missing:
        raise EnvError(
            f"the desktop {desktop_name()!r} has no {' and no '.join(missing)}: this Wayland session gives programs "
            f"no way to see the screen and to click. {_REMEDY}"
        )
    if devices & (_KEYBOARD | _POINTER) != _KEYBOARD | _POINTER:
        raise EnvError(
            f"the RemoteDesktop portal of {desktop_name()!r} offers no pointer and keyboard (device types "
            f"{devices}). {_REMEDY}"
        )


def desktop_name() -> str:
    """Return the name of the running desktop, as it reports itself."""
    return os.environ.get("XDG_CURRENT_DESKTOP") or os.environ.get("XDG_SESSION_DESKTOP") or "unknown"


def _text(value: Any) -> str:
    """Return the text in a variant; empty if there is none."""
    return str(value[1]) if isinstance(value, tuple) and len(value) == 2 else ""


def _pair(properties: dict[str, Any], name: str) -> tuple[int, int] | None:
    value = properties.get(name)
    return (int(value[1][0]), int(value[1][1])) if value else None
