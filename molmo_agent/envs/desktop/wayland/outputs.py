"""The monitors of a Wayland session, as the compositor reports them to every program."""

from collections.abc import Callable
from dataclasses import dataclass

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland.wire import Global, WaylandConnection, decode

MANAGER = "zxdg_output_manager_v1"
_GET_XDG_OUTPUT = 1


@dataclass(slots=True)
class Output:
    """A monitor that is switched on."""

    number: int
    # How its image is turned on the desktop: quarter turns, and 4 more if mirrored.
    transform: int = 0
    position: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)

    @property
    def area(self) -> Area:
        """Where it is on the desktop, in logical units."""
        return Area(*self.position, *self.size)


class Outputs:
    """Follows the monitors.

    Args:
        connection: the caller's.
    """

    def __init__(self, connection: WaylandConnection) -> None:
        self._connection = connection
        self._positions = connection.bind(connection.find(MANAGER)[0], 1)
        self._outputs: dict[Global, Output] = {}

    def now(self) -> list[Output]:
        """Return the monitors as they are now, in the compositor's order.

        Raises:
            EnvError: the compositor is gone.
        """
        connection = self._connection
        connection.roundtrip()
        entries = connection.find("wl_output")
        for entry in self._outputs.keys() - {*entries}:
            del self._outputs[entry]
        if entries != [*self._outputs]:
            for entry in entries:
                if entry not in self._outputs:
                    output = Output(0)
                    output.number = connection.bind(entry, 1, _geometry_handler(output))
                    connection.create(self._positions, _GET_XDG_OUTPUT, output.number, handler=_area_handler(output))
                    self._outputs[entry] = output
            connection.roundtrip()
        return [output for output in self._outputs.values() if min(output.size) > 0]


def _geometry_handler(output: Output) -> Callable[[int, bytes], None]:
    def handle(opcode: int, body: bytes) -> None:
        if opcode == 0:
            output.transform = decode("iiiiissi", body)[-1]

    return handle


def _area_handler(output: Output) -> Callable[[int, bytes], None]:
    def handle(opcode: int, body: bytes) -> None:
        if opcode == 0:
            output.position = decode("ii", body)
        elif opcode == 1:
            output.size = decode("ii", body)

    return handle
