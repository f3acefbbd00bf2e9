"""Calls and signals on the user's D-Bus session bus. Used from one thread."""

import socket
import struct
from collections import deque
from typing import Any, Self

from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.interrupts import defer_interrupts

try:
    from jeepney import DBusAddress, DBusErrorResponse, HeaderFields, MatchRule, message_bus
    from jeepney import new_method_call as new_call
    from jeepney.io.blocking import open_dbus_connection
    from jeepney.wrappers import unwrap_msg
except ImportError as error:
    raise MissingExtraError("the desktop of a Wayland session", "wayland") from error

# Portals answer a call at once; what a person has to decide comes later, as a signal.
_CALL_TIMEOUT_S = 10.0
# A lost connection, and what jeepney raises where a message is damaged.
_LOST = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, struct.error)
OWNER_CHANGED = "org.freedesktop.DBus.NameOwnerChanged"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class CallError(EnvError):
    """A call was answered with an error; ``name`` is its D-Bus name, such as ``org.freedesktop.DBus.Error.Failed``."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Bus:
    """A connection to the session bus.

    Raises:
        EnvError: there is no session bus.
        MissingExtraError: the extra ``wayland`` is not installed.
    """

    def __init__(self) -> None:
        try:
            self._connection = open_dbus_connection(bus="SESSION", enable_fds=True)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise EnvError(
                f"the D-Bus session bus does not answer ({type(error).__name__}: {error}), and the desktop portals are "
                "on it. Start from a terminal inside of the graphical session, where DBUS_SESSION_BUS_ADDRESS is set"
            ) from error
        self._signals: deque[Any] = deque()
        # A filter without conditions would take replies too.
        self._connection.filter(MatchRule(type="signal"), queue=self._signals).__enter__()

    @property
    def name(self) -> str:
        """The unique name of this connection, such as ``:1.42``."""
        return str(self._connection.unique_name)

    def call(self, service: str, path: str, member: str, signature: str = "", *values: Any) -> tuple[Any, ...]:
        """Call a method and return what it returns.

        Args:
            service: the bus name.
            path: the object.
            member: ``interface.Method``.
            signature: the D-Bus signature of the values.
            values: the arguments.

        Raises:
            CallError: the service answered with an error, or there is no such service.
            EnvError: no answer, or the bus is gone.
        """
        interface, _, method = member.rpartition(".")
        address = DBusAddress(path, bus_name=service, interface=interface)
        message = new_call(address, method, signature, values) if signature else new_call(address, method)
        try:
            # Interrupted in the middle of a message, the connection could not be used to release the buttons.
            with defer_interrupts(self._break_off):
                reply = self._connection.send_and_get_reply(message, timeout=_CALL_TIMEOUT_S)
            return tuple(unwrap_msg(reply))
        except DBusErrorResponse as error:
            detail = next((str(part) for part in error.data if isinstance(part, str)), error.name)
            raise CallError(f"{member} failed: {detail}", error.name) from error
        except TimeoutError as error:
            raise EnvError(f"{member} was not answered within {_CALL_TIMEOUT_S:g} s: is {service} running?") from error
        except _LOST as error:
            raise EnvError(
                f"the D-Bus session bus is gone or damaged ({error!r}): start again in a running session"
            ) from error

    def _break_off(self) -> None:
        """Let a call to a service that does not answer end, from another thread."""
        self._connection.sock.shutdown(socket.SHUT_RDWR)

    def property(self, service: str, path: str, member: str) -> Any:
        """Return the value of a property, ``interface.Name``; None if there is no such property or service.

        Raises:
            EnvError: no answer, or the bus is gone.
        """
        interface, _, name = member.rpartition(".")
        try:
            answer = self.call(service, path, f"{_PROPERTIES}.Get", "ss", interface, name)
        except CallError:
            return None
        match answer:
            case ((_, value),):
                return value
        raise EnvError(f"expected {service} to answer with the value of {member}, got {answer!r:.80}: update it")

    def has_service(self, name: str) -> bool:
        """Return whether a bus name has an owner now."""
        (answer,) = self.call(
            message_bus.bus_name, message_bus.object_path, f"{message_bus.interface}.NameHasOwner", "s", name
        )
        return bool(answer)

    def services(self) -> list[str]:
        """Return the names of all services that run now."""
        (names,) = self.call(message_bus.bus_name, message_bus.object_path, f"{message_bus.interface}.ListNames")
        return [str(name) for name in names]

    def subscribe(self, interface: str, path: str | None = None) -> None:
        """Ask the bus for the signals of an interface, of one object or of all."""
        rule = MatchRule(type="signal", interface=interface, **({"path": path} if path else {}))
        self.call(
            message_bus.bus_name, message_bus.object_path, f"{message_bus.interface}.AddMatch", "s", rule.serialise()
        )

    def watch_owner(self, name: str) -> None:
        """Ask for ``OWNER_CHANGED`` when a service, or one whose name starts with ``name.``, comes or goes.

        Its values are the service's name and its old and new owner, empty for none.
        """
        rule = f"type='signal',interface='{message_bus.interface}',member='NameOwnerChanged',arg0namespace='{name}'"
        self.call(message_bus.bus_name, message_bus.object_path, f"{message_bus.interface}.AddMatch", "s", rule)

    def next_signal(self, timeout_s: float) -> tuple[str, str, tuple[Any, ...]] | None:
        """Return the next signal as (path, ``interface.Name``, values); None if none comes in time.

        Raises:
            EnvError: the bus is gone.
        """
        try:
            with defer_interrupts(self._break_off):
                message = self._connection.recv_until_filtered(self._signals, timeout=timeout_s)
            fields = message.header.fields
            member = f"{fields[HeaderFields.interface]}.{fields[HeaderFields.member]}"
            return str(fields[HeaderFields.path]), member, tuple(message.body)
        except TimeoutError:
            return None
        except _LOST as error:
            raise EnvError(
                f"the D-Bus session bus is gone or damaged ({error!r}): start again in a running session"
            ) from error

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
