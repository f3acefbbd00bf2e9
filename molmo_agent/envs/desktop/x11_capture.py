"""Capture an X screen: its monitors as they are now, and its pixels, whatever the depth and the byte order.

mss captures the usual 24-bit screens through shared memory. Everything else is read row by row and decoded here by what
the server declares about its pixels: VNC servers that mss refuses, 30, 16 and 15 bits, colour tables.
"""

import struct
from dataclasses import dataclass
from typing import Any

import mss
import mss.exception
import numpy as np
import Xlib.error
import Xlib.X
from Xlib.protocol import rq

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.capture import Area, Monitor, bgra_to_rgb
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError
from molmo_agent.interrupts import defer_interrupts

# python-xlib copies all that it has of a reply for each piece that arrives: short replies are the fast ones.
_STRIP_BYTES = 64 * 1024
# The longest colour table: 4096 colours.
_TABLE_BITS = 12
# What mss raises; a server that disappears during a request causes an AssertionError.
_MSS_FAILURES = (mss.exception.ScreenShotError, OSError, AssertionError)


class _GetMonitors(rq.ReplyRequest):
    """RandR 1.5: the monitors that are on, the ones that the user declared included. python-xlib has RandR 1.3."""

    _request = rq.Struct(
        rq.Card8("opcode"), rq.Opcode(42), rq.RequestLength(), rq.Window("window"), rq.Bool("active"), rq.Pad(3)
    )
    _reply = rq.Struct(
        rq.ReplyCode(),
        rq.Pad(1),
        rq.Card16("sequence_number"),
        rq.ReplyLength(),
        rq.Card32("timestamp"),
        rq.Card32("count"),
        rq.Card32("output_count"),
        rq.Pad(12),
        # Records of _MONITOR and the numbers of their outputs.
        rq.List("data", rq.Card8Obj, pad=0),
    )


# Name, primary, automatic, number of outputs, x, y, width, height, width and height in mm.
_MONITOR = struct.Struct("=IBBHhhHHII")


def monitors(display: Any, number: int | None = None) -> list[Monitor]:
    """Return the monitors of an X screen as they are now; the whole screen if the server names none.

    Args:
        display: a connection.
        number: which screen of the server; None: the one that the connection is to.

    Raises:
        EnvError: the display is gone.
    """
    with x11.exchange(display):
        root = display.screen(number).root
        entries = _randr_monitors(display, root)
        heads = _xinerama_heads(display)
        size = root.get_geometry()
    # Xinerama joins whole screens, of which RandR knows only the first.
    if len(heads) > len(entries):
        entries = [Monitor(area, index == 0) for index, area in enumerate(heads)]
    return entries or [Monitor(Area(0, 0, size.width, size.height), primary=True)]


def _randr_monitors(display: Any, root: Any) -> list[Monitor]:
    if not display.has_extension("RANDR"):
        return []
    try:
        reply = _GetMonitors(
            display=display.display,
            opcode=display.display.get_extension_major("RANDR"),
            window=root,
            active=True,
        )
    except Xlib.error.BadRequest:
        # A server older than RandR 1.5.
        return []
    entries, data, start = [], bytes(reply.data), 0
    for _ in range(reply.count):
        _, primary, _, num_outputs, left, top, width, height, _, _ = _MONITOR.unpack_from(data, start)
        if width and height:
            entries.append(Monitor(Area(left, top, width, height), bool(primary)))
        start += _MONITOR.size + 4 * num_outputs
    return entries


def _xinerama_heads(display: Any) -> list[Area]:
    if not (display.has_extension("XINERAMA") and display.xinerama_is_active()):
        return []
    return [Area(h.x, h.y, h.width, h.height) for h in display.xinerama_query_screens().screens]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a screen stores its pixels.

    Args:
        depth: bits that matter.
        bits: bits that a pixel takes in memory: 8, 16, 24 or 32.
        row_pad: rows are padded to a multiple of this number of bits.
        big_endian: the most significant byte of a pixel comes first.
        masks: the bits of red, green and blue; all zero where a pixel is an index into a colour table.
        tables: for red, green and blue, the 8-bit value of each index (of the mask's bits, or of the whole pixel); None
            where a channel's value is its brightness.
    """

    depth: int
    bits: int
    row_pad: int
    big_endian: bool
    masks: tuple[int, int, int]
    tables: tuple[Image, Image, Image] | None = None

    @property
    def is_usual(self) -> bool:
        """Whether a pixel is the bytes blue, green, red and one that does not matter, as mss takes for granted."""
        layout = self.bits, self.big_endian, self.masks
        return layout == (32, False, (0xFF0000, 0xFF00, 0xFF)) and self.tables is None

    def row_bytes(self, width: int) -> int:
        """Return the length of a row of ``width`` pixels."""
        return -(-width * self.bits // self.row_pad) * self.row_pad // 8

    def decode(self, data: bytes, width: int, height: int) -> Image:
        """Return the image, (height, width, 3) uint8 RGB, of what the server sent for an area.

        Raises:
            EnvError: the server sent fewer bytes than the area has.
        """
        expected = self.row_bytes(width) * height
        if len(data) < expected:
            raise EnvError(f"the X server sent {len(data)} bytes for {width}x{height} pixels, which take {expected}")
        rows = np.frombuffer(data, np.uint8, expected).reshape(height, -1)[:, : width * self.bits // 8]
        # (height, width, bytes of a pixel), the least significant byte first.
        parts = rows.reshape(height, width, self.bits // 8)[..., :: -1 if self.big_endian else 1]
        pixels = sum(parts[..., i].astype(np.uint32) << (8 * i) for i in range(self.bits // 8))
        image = np.empty((height, width, 3), np.uint8)
        for channel, mask in enumerate(self.masks):
            image[..., channel] = self._table(channel)[_channel(pixels, mask) if mask else pixels]
        return image

    def _table(self, channel: int) -> Image:
        if self.tables is not None:
            return self.tables[channel]
        mask = self.masks[channel]
        top = mask // (mask & -mask)
        return ((np.arange(top + 1) * 255 + top // 2) // top).astype(np.uint8)


def _channel(pixels: Any, mask: int) -> Any:
    return (pixels & np.uint32(mask)) >> np.uint32((mask & -mask).bit_length() - 1)


def pixel_format(display: Any) -> PixelFormat:
    """Return how the screen that a connection is to stores its pixels.

    Raises:
        EnvError: its pixels cannot be read: black and white, 4 bits.
    """
    screen, info = display.screen(), display.display.info
    depth = screen.root_depth
    layout = next((f for f in info.pixmap_formats if f.depth == depth), None)
    # Some servers list a depth several times.
    visuals = [v for d in screen.allowed_depths for v in d.visuals if v.visual_id == screen.root_visual]
    is_table = bool(visuals) and visuals[0].visual_class not in (Xlib.X.TrueColor, Xlib.X.DirectColor)
    if not layout or not visuals or layout.bits_per_pixel not in (8, 16, 24, 32) or (is_table and depth > _TABLE_BITS):
        raise EnvError(
            f"this X screen stores {depth}-bit pixels in a way that cannot be read. "
            "Start the X server with a depth of 24, as in `Xvfb :1 -screen 0 1280x800x24`"
        )
    visual, big_endian = visuals[0], bool(info.image_byte_order)
    masks = (visual.red_mask, visual.green_mask, visual.blue_mask)
    tables = None
    if visual.visual_class == Xlib.X.DirectColor:
        tables = _direct_tables(screen, masks)
    elif is_table:
        masks = (0, 0, 0)
        tables = _colour_tables(screen, list(range(1 << depth)))
    return PixelFormat(depth, layout.bits_per_pixel, layout.scanline_pad, big_endian, masks, tables)


def _direct_tables(screen: Any, masks: tuple[int, int, int]) -> tuple[Image, Image, Image]:
    """Return the tables of a screen whose three channels are looked up one by one."""
    tables = []
    for channel, mask in enumerate(masks):
        step = mask & -mask
        tables.append(_colour_tables(screen, [i * step for i in range(mask // step + 1)])[channel])
    return tables[0], tables[1], tables[2]


def _colour_tables(screen: Any, pixels: list[int]) -> tuple[Image, Image, Image]:
    colours = screen.default_colormap.query_colors(pixels)
    red, green, blue = (
        np.array([getattr(colour, name) >> 8 for colour in colours], np.uint8) for name in ("red", "green", "blue")
    )
    return red, green, blue


class X11Watcher:
    """What the emergency stop asks, by a connection of its own; on whichever screen of the server the pointer is.

    Raises:
        EnvError: the display is gone; so do its methods.
    """

    def __init__(self) -> None:
        self._display: Any = x11.connect()
        self._number = self._display.get_default_screen()

    def pointer(self) -> tuple[int, int]:
        """Return where the pointer is on its screen."""
        with x11.exchange(self._display):
            reply = self._display.screen().root.query_pointer()
        roots = [self._display.screen(number).root for number in range(self._display.screen_count())]
        self._number = roots.index(reply.root)
        return reply.root_x, reply.root_y

    def monitors(self) -> list[Monitor]:
        """Return the monitors of the screen where the pointer was last."""
        return monitors(self._display, self._number)

    def close(self) -> None:
        """Disconnect."""
        x11.disconnect(self._display)


class X11Capture:
    """Captures the screen that DISPLAY names.

    Raises:
        EnvError: there is no such display, or its pixels cannot be read.
    """

    def __init__(self) -> None:
        self._display: Any = x11.connect()
        self._mss: Any = None
        # The layout that mss was opened for: it keeps a buffer of that size.
        self._layout: list[Monitor] = []
        try:
            with x11.exchange(self._display):
                self._format = pixel_format(self._display)
            self.monitors()
        except BaseException:
            self.close()
            raise

    def monitors(self) -> list[Monitor]:
        """Return the monitors as they are now.

        Raises:
            EnvError: the display is gone.
        """
        layout = monitors(self._display)
        if layout != self._layout:
            self._layout = layout
            self._open_mss()
        return layout

    def grab(self, area: Area) -> Image:
        """Return what an area shows.

        Raises:
            EnvError: the capture failed: the display is gone or its size changed.
        """
        try:
            if self._mss is None:
                return self._read(area)
            with defer_interrupts():
                shot = self._mss.grab({"left": area.left, "top": area.top, "width": area.width, "height": area.height})
        except (*_MSS_FAILURES, Xlib.error.BadMatch, Xlib.error.BadDrawable) as error:
            raise EnvError(
                f"the capture of {area.describe()} failed ({error}): the display "
                f"{self._display.get_display_name()!r} is gone or its size changed. Start again"
            ) from error
        return bgra_to_rgb(shot.raw, shot.width, shot.height)

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        if self._mss is not None:
            self._mss.close()
            self._mss = None
        if self._display is not None:
            x11.disconnect(self._display)
            self._display = None

    def _open_mss(self) -> None:
        if self._mss is not None:
            self._mss.close()
            self._mss = None
        if not self._format.is_usual:
            return
        opened = None
        try:
            with defer_interrupts():
                opened = mss.MSS(display=self._display.get_display_name())
                # Some servers accept the connection and fail at the first capture.
                opened.grab({"left": 0, "top": 0, "width": 1, "height": 1})
        except _MSS_FAILURES:
            # It is slower without, and as right.
            if opened is not None:
                opened.close()
            return
        self._mss = opened

    def _read(self, area: Area) -> Image:
        root = self._display.screen().root
        if self._format.tables is not None:
            # Programs fill in a colour table as they start.
            with x11.exchange(self._display):
                self._format = pixel_format(self._display)
        rows = max(1, _STRIP_BYTES // self._format.row_bytes(area.width))
        strips = []
        for top in range(0, area.height, rows):
            height = min(rows, area.height - top)
            with x11.exchange(self._display):
                reply = root.get_image(area.left, area.top + top, area.width, height, Xlib.X.ZPixmap, 0xFFFFFFFF)
            # python-xlib takes bytes for text where it can.
            data = reply.data.encode() if isinstance(reply.data, str) else reply.data
            strips.append(self._format.decode(data, area.width, height))
        return np.concatenate(strips)
