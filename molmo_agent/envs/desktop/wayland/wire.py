"""A small Wayland client: just the messages, for the few requests that screens and keyboards need.

The protocol is a stream of messages over a Unix socket: the object's number, the opcode, the arguments in 32-bit words.
https://wayland.freedesktop.org/docs/html/ch04.html describes it.
"""

import array
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import EnvError
from molmo_agent.interrupts import defer_interrupts

_DISPLAY = 1
_SYNC, _GET_REGISTRY, _BIND = 0, 1, 0
_ERROR, _DELETE_ID = 0, 1
_TIMEOUT_S = 10.0
# The kernel passes at most this many descriptors with one message.
_MAX_DESCRIPTORS = 253

# Called with the opcode and the arguments' bytes.
Handler = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Global:
    """A global object that the compositor offers."""

    name: int
    interface: str
    version: int


class WaylandConnection:
    """A connection to the compositor.

    Raises:
        EnvError: there is no compositor, or it does not answer.
    """

    def __init__(self) -> None:
        path = socket_path()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT_S)
        self._next_id = 2
        self._handlers: dict[int, Handler] = {_DISPLAY: self._display_event}
        self._data = b""
        self.descriptors: list[int] = []
        self.globals: list[Global] = []
        try:
            self._socket.connect(path)
            self.registry = self.create(_DISPLAY, _GET_REGISTRY, handler=self._registry_event)
            self.roundtrip()
        except OSError as error:
            self.close()
            raise EnvError(
                f"the Wayland compositor does not answer on {path!r} ({error}). Start from a terminal inside of the "
                "graphical session, where WAYLAND_DISPLAY is set"
            ) from error
        except EnvError:
            self.close()
            raise

    # --- Requests -------------------------------------------------------------------------------------------------

    def send(self, target: int, opcode: int, *values: int | str | float, descriptors: Sequence[int] = ()) -> None:
        """Send a request: integers and objects as int, fixed-point numbers as float, text as str.

        Raises:
            EnvError: the compositor is gone.
        """
        body = b"".join(_encode(value) for value in values)
        message = struct.pack("=II", target, (len(body) + 8) << 16 | opcode) + body
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            with defer_interrupts(self._break_off):
                num_sent = self._socket.sendmsg([message], ancillary)
                self._socket.sendall(message[num_sent:])
        except OSError as error:
            raise EnvError(f"the Wayland compositor is gone ({error}): log in again and start again") from error

    def create(
        self,
        target: int,
        opcode: int,
        *values: int | str | float,
        handler: Handler | None = None,
        descriptors: Sequence[int] = (),
        last: bool = False,
    ) -> int:
        """Send a request that creates an object, and return the object's number.

        The new number is the first argument; the last one with ``last``.
        """
        number, self._next_id = self._next_id, self._next_id + 1
        if handler:
            self._handlers[number] = handler
        arguments = (*values, number) if last else (number, *values)
        self.send(target, opcode, *arguments, descriptors=descriptors)
        return number

    def find(self, interface: str) -> list[Global]:
        """Return the global objects of an interface."""
        return [entry for entry in self.globals if entry.interface == interface]

    def bind(self, entry: Global, version: int, handler: Handler | None = None) -> int:
        """Bind a global object, in the version asked for or the highest one offered below it."""
        version = min(version, entry.version)
        return self.create(self.registry, _BIND, entry.name, entry.interface, version, handler=handler, last=True)

    def roundtrip(self) -> None:
        """Send everything and process every event until the compositor has processed it.

        Raises:
            EnvError: the compositor rejects a request or is gone.
        """
        done: list[int] = []
        self.create(_DISPLAY, _SYNC, handler=lambda opcode, body: done.append(opcode))
        self.dispatch_until(lambda: bool(done))

    def dispatch_until(self, is_done: Callable[[], bool]) -> None:
        """Process events until a condition holds.

        Raises:
            EnvError: it does not come to hold in time, the compositor rejects a request or is gone.
        """
        while not is_done():
            with defer_interrupts(self._break_off):
                self._receive()
                self._process()

    def _break_off(self) -> None:
        """Let a request to a compositor that does not answer end, from another thread."""
        self._socket.shutdown(socket.SHUT_RDWR)

    # --- Events ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(4 * _MAX_DESCRIPTORS))
        except TimeoutError as error:
            raise EnvError(f"the Wayland compositor did not answer within {_TIMEOUT_S:g} s. Is it frozen?") from error
        except OSError as error:
            raise EnvError(f"the Wayland compositor is gone ({error}): log in again and start again") from error
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) // numbers.itemsize * numbers.itemsize])
                self.descriptors.extend(numbers)
        if not data:
            raise EnvError("the Wayland compositor closed the connection: log in again and start again")
        self._data += data

    def _process(self) -> None:
        while len(self._data) >= 8:
            target, word = struct.unpack_from("=II", self._data)
            size, opcode = word >> 16, word & 0xFFFF
            if size < 8:
                raise EnvError(f"the Wayland compositor sent a message of {size} bytes, which is none: log in again")
            if len(self._data) < size:
                return
            body, self._data = self._data[8:size], self._data[size:]
            handler = self._handlers.get(target)
            if handler:
                handler(opcode, body)

    def _display_event(self, opcode: int, body: bytes) -> None:
        if opcode == _ERROR:
            target, code, message = decode("uus", body)
            raise EnvError(f"the Wayland compositor rejected a request: {message} (object {target}, error {code})")
        if opcode == _DELETE_ID:
            self._handlers.pop(decode("u", body)[0], None)

    def _registry_event(self, opcode: int, body: bytes) -> None:
        if opcode == 0:
            self.globals.append(Global(*decode("usu", body)))
        else:
            (name,) = decode("u", body)
            self.globals = [entry for entry in self.globals if entry.name != name]

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        self._socket.close()
        while self.descriptors:
            os.close(self.descriptors.pop())


def socket_path() -> str:
    """Return the path of the compositor's socket."""
    name = os.environ.get("WAYLAND_DISPLAY") or "wayland-0"
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", name)


def decode(signature: str, body: bytes) -> tuple[Any, ...]:
    """Read arguments: ``u`` unsigned, ``i`` signed, ``s`` text.

    Raises:
        EnvError: they end early.
    """
    values: list[Any] = []
    offset = 0
    for kind in signature:
        if len(body) < offset + 4:
            raise EnvError(f"the Wayland compositor sent a message that ends after {len(body)} bytes: log in again")
        (word,) = struct.unpack_from("=i" if kind == "i" else "=I", body, offset)
        offset += 4
        if kind == "s":
            values.append(body[offset : offset + word].rstrip(b"\0").decode(errors="replace"))
            offset += (word + 3) & ~3
        else:
            values.append(word)
    return tuple(values)


def _encode(value: int | str | float) -> bytes:
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return struct.pack("=I", len(text)) + text + b"\0" * (-len(text) % 4)
    # Fixed-point numbers have 8 bits after the point.
    number = round(value * 256) if isinstance(value, float) else value
    return struct.pack("=I", number & 0xFFFFFFFF)
