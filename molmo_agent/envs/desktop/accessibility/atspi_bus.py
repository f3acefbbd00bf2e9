"""Many short questions at once on the accessibility bus of Linux desktops, answered until a deadline."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from jeepney import DBusAddress, HeaderFields, MessageFlag, MessageType, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection

_ACCESSIBLE = "org.a11y.atspi.Accessible"
_COMPONENT = "org.a11y.atspi.Component"
_PROPERTIES = "org.freedesktop.DBus.Properties"
# Coordinates relative to the program's own window.
_OF_WINDOW = 1
# The bus itself is a process of this machine: it answers at once, or hangs.
_CONNECT_S = 0.3


@dataclass(frozen=True, slots=True)
class Node:
    """An element, by the bus name of its program and its path there."""

    program: str
    path: str


@dataclass(frozen=True, slots=True)
class Question:
    """A method call; ``interface`` belongs to ``node``."""

    node: Node
    interface: str
    method: str
    signature: str = ""
    values: tuple[Any, ...] = ()


REGISTRY = Node("org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root")
_BUS = Node("org.freedesktop.DBus", "/org/freedesktop/DBus")


def children_of(node: Node) -> Question:
    """Ask for the elements in another one."""
    return Question(node, _ACCESSIBLE, "GetChildren")


def child_at(node: Node, x: int, y: int) -> Question:
    """Ask for the element in another one at a position in the program's window."""
    return Question(node, _COMPONENT, "GetAccessibleAtPoint", "iiu", (x, y, _OF_WINDOW))


def extents_of(node: Node) -> Question:
    """Ask for left, top, width and height in the program's window."""
    return Question(node, _COMPONENT, "GetExtents", "u", (_OF_WINDOW,))


def states_of(node: Node) -> Question:
    """Ask for the set of states, as a list of numbers of 32 bits, the lowest first."""
    return Question(node, _ACCESSIBLE, "GetState")


def role_of(node: Node) -> Question:
    """Ask for the name of the role, in English."""
    return Question(node, _ACCESSIBLE, "GetRoleName")


def property_of(node: Node, name: str) -> Question:
    """Ask for a property: Name, Description, ChildCount."""
    return Question(node, _PROPERTIES, "Get", "ss", (_ACCESSIBLE, name))


def process_of(node: Node) -> Question:
    """Ask the bus for the process of an element's program."""
    return Question(_BUS, _BUS.program, "GetConnectionUnixProcessID", "s", (node.program,))


class Bus:
    """A connection to a message bus.

    Args:
        address: as D-Bus writes it, such as ``unix:path=/run/user/1000/at-spi/bus_0``; or "SESSION".

    Raises:
        OSError: nothing answers there.
    """

    def __init__(self, address: str) -> None:
        self._connection: DBusConnection = open_dbus_connection(address, auth_timeout=_CONNECT_S)
        # A bus that hangs in the middle of a message.
        self._connection.sock.settimeout(_CONNECT_S)

    def ask(self, questions: Sequence[Question], deadline: float) -> list[Any]:
        """Return the first value of each answer; None where there is none until the deadline, or an error.

        Nothing is started by a question: a program that does not run has no names.
        """
        answers: list[Any] = [None] * len(questions)
        pending: dict[int, int] = {}
        for number, question in enumerate(questions):
            address = DBusAddress(question.node.path, bus_name=question.node.program, interface=question.interface)
            values = (question.signature, question.values) if question.signature else ()
            message = new_method_call(address, question.method, *values)
            message.header.flags |= MessageFlag.no_auto_start
            serial = next(self._connection.outgoing_serial)
            self._connection.send(message, serial=serial)
            pending[serial] = number
        while pending and (remaining_s := deadline - time.monotonic()) > 0:
            try:
                reply = self._connection.receive(timeout=remaining_s)
            except TimeoutError:
                break
            asked = pending.pop(reply.header.fields.get(HeaderFields.reply_serial, -1), None)
            if asked is not None and reply.header.message_type is MessageType.method_return and reply.body:
                answers[asked] = reply.body[0]
        return answers

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def accessibility_address(of_display: str, deadline: float) -> str:
    """Return the address of the accessibility bus, or an empty string.

    Args:
        of_display: the one that the X display names, or an empty string.
        deadline: until when the session bus may answer (time.monotonic).
    """
    if address := os.environ.get("AT_SPI_BUS_ADDRESS") or of_display:
        return address
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return ""
    with Bus("SESSION") as bus:
        launcher = Node("org.a11y.Bus", "/org/a11y/bus")
        (answer,) = bus.ask([Question(launcher, "org.a11y.Bus", "GetAddress")], deadline)
    return answer if isinstance(answer, str) else ""
