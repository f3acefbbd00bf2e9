"""Screens of the compositors that let any program copy them: sway, Hyprland, river, labwc, Wayfire and others.

The protocol is wlr-screencopy. A copy is of the present moment and needs no permission.
"""

import mmap
import os
from dataclasses import dataclass, field

import numpy as np

from molmo_agent.envs.desktop.capture import Area, Monitor, bgra_to_rgb
from molmo_agent.envs.desktop.wayland.areas import compose, cut
from molmo_agent.envs.desktop.wayland.outputs import MANAGER, Output, Outputs
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, decode
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

_SCREENCOPY = "zwlr_screencopy_manager_v1"
POINTER, KEYBOARD = "zwlr_virtual_pointer_manager_v1", "zwp_virtual_keyboard_manager_v1"
_NEEDED = (_SCREENCOPY, MANAGER, POINTER, KEYBOARD)
# wl_shm's formats with four bytes for each pixel, and whether their first byte is red instead of blue.
_FORMATS = {0: False, 1: False, 0x34324258: True, 0x34324241: True}
_Y_INVERTED = 1


def has_protocols(connection: WaylandConnection) -> bool:
    """Return whether the compositor lets programs copy the screen and send input."""
    return all(connection.find(name) for name in _NEEDED)


@dataclass(slots=True)
class _Frame:
    """One copy: the buffer that it needs, and how it went."""

    layout: tuple[int, int, int, int] | None = None
    flags: int = 0
    result: list[bool] = field(default_factory=list)


class WlrootsCapture:
    """Captures the monitors of a compositor.

    Args:
        connection: the caller's to close.

    Raises:
        EnvError: there is no monitor.
    """

    def __init__(self, connection: WaylandConnection) -> None:
        self._connection = connection
        self._shm = connection.bind(connection.find("wl_shm")[0], 1)
        self._manager = connection.bind(connection.find(_SCREENCOPY)[0], 1)
        self._outputs = Outputs(connection)
        self.monitors()

    def monitors(self) -> list[Monitor]:
        """Return the monitors as they are now, the first one as the primary.

        Raises:
            EnvError: there is none, or the compositor is gone.
        """
        outputs = self._outputs.now()
        if not outputs:
            raise EnvError("this Wayland session has no monitor that is switched on. Switch one on and start again")
        return [Monitor(output.area, primary=index == 0) for index, output in enumerate(outputs)]

    def grab(self, area: Area) -> Image:
        """Return what an area shows; several monitors at the largest of their scale factors.

        Raises:
            EnvError: the compositor refuses the copy or is gone, or no monitor is there.
        """
        parts = [
            (overlap, cut(self._copy(output), overlap, output.area))
            for output in self._outputs.now()
            if (overlap := output.area.intersection(area))
        ]
        return compose(area, parts)

    def _copy(self, output: Output) -> Image:
        connection, frame = self._connection, _Frame()

        def handle(opcode: int, body: bytes) -> None:
            if opcode == 0:
                frame.layout = decode("uuuu", body)
            elif opcode == 1:
                (frame.flags,) = decode("u", body)
            elif opcode in (2, 3):
                frame.result.append(opcode == 2)

        number = connection.create(self._manager, 0, 0, output.number, handler=handle)
        connection.dispatch_until(lambda: bool(frame.layout or frame.result))
        if frame.layout is None:
            raise EnvError(_refused(output))
        pixel_format, width, height, stride = frame.layout
        if pixel_format not in _FORMATS or stride < 4 * width:
            raise EnvError(
                f"the compositor offers images in the format {pixel_format:#x} with {stride} bytes per line, expected "
                "four bytes per pixel. Set the output to 8 bits per color"
            )
        descriptor = os.memfd_create("molmo-agent-screen", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, stride * height)
            pool = connection.create(self._shm, 0, stride * height, descriptors=[descriptor])
            buffer = connection.create(pool, 0, 0, width, height, stride, pixel_format)
            connection.send(pool, 1)
            connection.send(number, 0, buffer)
            connection.dispatch_until(lambda: bool(frame.result))
            connection.send(number, 1)
            connection.send(buffer, 0)
            if not frame.result[0]:
                raise EnvError(_refused(output))
            with mmap.mmap(descriptor, stride * height, access=mmap.ACCESS_READ) as pixels:
                rows = np.frombuffer(pixels[:], dtype=np.uint8).reshape(height, stride)[:, : 4 * width]
        finally:
            os.close(descriptor)
        image = bgra_to_rgb(rows.tobytes(), width, height)
        if _FORMATS[pixel_format]:
            image = np.ascontiguousarray(image[..., ::-1])
        if frame.flags & _Y_INVERTED:
            image = image[::-1]
        return upright(image, output.transform)

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        self._connection.close()


def upright(image: Image, transform: int) -> Image:
    """Return the image of a monitor as its user sees it; ``transform`` is that of wl_output."""
    turned = np.rot90(image, -(transform % 4))
    return np.ascontiguousarray(turned[:, ::-1] if transform >= 4 else turned)


def _refused(output: Output) -> str:
    return (
        f"the compositor refused to copy the monitor {output.area.describe()}: it is off, or was removed just now. "
        "Switch it on and start again"
    )
