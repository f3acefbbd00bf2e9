"""Images of the monitors that a portal session shares: PipeWire streams, read by GStreamer.

A stream delivers a frame when its monitor changes. One ``gst-launch-1.0`` for each monitor writes the frames into a
pipe; a thread keeps the newest one.
"""

import copy
import os
import re
import select
import shutil
import subprocess
import threading
import time

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.desktop.capture import Area, Monitor, bgra_to_rgb
from molmo_agent.envs.desktop.wayland.areas import arrange, compose, cut
from molmo_agent.envs.desktop.wayland.outputs import Outputs
from molmo_agent.envs.desktop.wayland.portal import PortalSession
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

_PROGRAM = "gst-launch-1.0"
_INSTALL = (
    "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-pipewire "
    "(Fedora: dnf install gstreamer1 gstreamer1-plugins-base pipewire-gstreamer)"
)
# stdin is a leash: when this process ends, however it ends, the pipe closes, `read` returns and GStreamer is stopped.
# It does not stop by itself when the session ends. `exec` drops the shell's own hold on the report.
_SUPERVISOR = '"$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill -9 $!; wait'
# A change on the screen passes the compositor, PipeWire and GStreamer before its frame is here: a capture waits this
# long and takes the newest frame. From a key to the frame with its letter, the redraw of the program included, it took
# 52 ms (median of 40; 39 of them within 76 ms, one 370 ms).
_LATENCY_S = 0.1
_FIRST_FRAME_S = 20.0
_FRAME_PAUSE_S = 0.01
_PIPE_BYTES = 1 << 20
_LOG_BYTES = 20_000
# As reported for what the last element takes.
_SIZE = re.compile(rb"GstFdSink:[^\n]*caps = [^\n]*width=\(int\)(\d+), height=\(int\)(\d+)[^\n]*\n")


def check_program() -> None:
    """Raise EnvError if GStreamer is not installed."""
    if not shutil.which(_PROGRAM):
        raise EnvError(f"{_PROGRAM}, which reads the screen on Wayland, is not installed. Install it: {_INSTALL}")


class FrameReader:
    """The newest frame of one stream.

    Args:
        descriptor: a connection to PipeWire; the caller closes it.
        node: the number of the stream's node.

    Raises:
        EnvError: GStreamer or its PipeWire plugin is missing, or no frame comes.
    """

    def __init__(self, descriptor: int, node: int) -> None:
        check_program()
        # (width, height) in pixels; (0, 0) before the first frame.
        self.size = (0, 0)
        self._log = b""
        self._changed = threading.Condition()
        self._frame: bytes | None = None
        self._is_over = False
        frames, sink = os.pipe()
        # -v reports the size of the frames on stdout; the frames have a pipe of their own.
        newest = ["queue", "leaky=downstream", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0"]
        source = ["pipewiresrc", f"fd={descriptor}", f"path={node}", "always-copy=true"]
        output = ["videoconvert", "!", "video/x-raw,format=BGRx", "!", "fdsink", f"fd={sink}", "sync=false"]
        try:
            self._process = subprocess.Popen(
                ["sh", "-c", _SUPERVISOR, "sh", _PROGRAM, "-v", *source, "!", *newest, "!", *output],
                pass_fds=[descriptor, sink],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=child_environment(),
            )
        finally:
            os.close(sink)
        self._thread = threading.Thread(target=self._read, args=(frames,), daemon=True)
        self._thread.start()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._is_over, _FIRST_FRAME_S)
                if self._frame is None and not self._is_over:
                    raise EnvError(
                        f"the shared monitor sent no image within {_FIRST_FRAME_S:g} s: is the screen off or locked? "
                        "If not, restart PipeWire: systemctl --user restart pipewire"
                    )
            self.check()
        except BaseException:
            self.close()
            raise

    def _read(self, frames: int) -> None:
        """Keep the newest frame until the stream ends or its size changes."""
        assert self._process.stdout
        report = self._process.stdout.fileno()
        frame = bytearray()
        is_open = True
        while is_open:
            # The size of a frame is reported before it is written.
            ready, _, _ = select.select([report, frames], [], [])
            if report in ready:
                is_open = self._read_report(report)
            elif self.size == (0, 0):
                select.select([report], [], [], _FRAME_PAUSE_S)
            else:
                missing = 4 * self.size[0] * self.size[1] - len(frame)
                part = os.read(frames, min(missing, _PIPE_BYTES))
                is_open = bool(part)
                frame += part
                if len(part) == missing:
                    with self._changed:
                        self._frame = bytes(frame)
                        self._changed.notify_all()
                    frame.clear()
                    # The rest waits in the pipeline, which keeps the newest one only.
                    select.select([report], [], [], _FRAME_PAUSE_S)
        os.close(frames)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _read_report(self, report: int) -> bool:
        """Read what the program prints; return False at its end, and if the size of the frames has changed."""
        text = os.read(report, _PIPE_BYTES)
        self._log = (self._log + text)[-_LOG_BYTES:]
        for found in _SIZE.finditer(self._log):
            size = int(found[1]), int(found[2])
            if self.size == (0, 0):
                self.size = size
            elif size != self.size:
                return False
        return bool(text)

    def check(self) -> None:
        """Raise EnvError if no frames come any more."""
        if self._is_over or self._frame is None:
            raise EnvError(_failure(self._log.decode(errors="replace")))

    def image(self) -> Image:
        """Return the newest frame: (height, width, 3) uint8 RGB.

        Raises:
            EnvError: the stream has ended, or the size of the monitor has changed.
        """
        self.check()
        assert self._frame is not None
        return bgra_to_rgb(self._frame, *self.size)

    def close(self) -> None:
        """Stop reading; safe to call twice."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()


class PortalCapture:
    """Captures the monitors of a portal session.

    Args:
        session: the permission; closed together with the capture.
        connection: one to the compositor, closed together with the capture.

    Raises:
        EnvError: their images cannot be read.
    """

    def __init__(self, session: PortalSession, connection: WaylandConnection) -> None:
        self._session, self._connection = session, connection
        self._readers: list[FrameReader] = []
        try:
            # A stream of a monitor that is gone just stops sending, so the monitors are followed by other means.
            self._outputs = Outputs(connection)
            self._layout = [copy.copy(output) for output in self._outputs.now()]
            for stream in session.streams:
                descriptor = session.open_pipewire()
                try:
                    self._readers.append(FrameReader(descriptor, stream.node))
                finally:
                    os.close(descriptor)
        except BaseException:
            self.close()
            raise
        self.areas = arrange([(s.position, s.size) for s in session.streams], self.frame_sizes)

    @property
    def frame_sizes(self) -> list[tuple[int, int]]:
        """The (width, height) of each monitor's image, in pixels."""
        return [reader.size for reader in self._readers]

    def monitors(self) -> list[Monitor]:
        """Return the shared monitors in the order in which the desktop listed them; the first one is the primary."""
        return [Monitor(area, primary=index == 0) for index, area in enumerate(self.areas)]

    def grab(self, area: Area) -> Image:
        """Return what an area shows; several monitors at the largest of their scale factors.

        Raises:
            RunStopped: the permission was withdrawn.
            EnvError: the stream has ended: a monitor was removed, or its size changed.
        """
        time.sleep(_LATENCY_S)
        self._check()
        parts = [
            (overlap, cut(reader.image(), overlap, own))
            for reader, own in zip(self._readers, self.areas, strict=True)
            if (overlap := own.intersection(area))
        ]
        return compose(area, parts)

    def _check(self) -> None:
        self._session.check()
        if self._outputs.now() != self._layout:
            raise EnvError(
                "the monitors of the desktop have changed (one was added, removed, scaled or turned), and the images "
                "of the shared ones may be old. Start again"
            )

    def close(self) -> None:
        """Stop reading and end the session; safe to call twice."""
        for reader in self._readers:
            reader.close()
        self._session.close()
        self._connection.close()


def _failure(log: str) -> str:
    if "pipewiresrc" in log and "no element" in log:
        return f"GStreamer has no plugin for PipeWire, which carries the screen on Wayland. Install it: {_INSTALL}"
    lines = [line.strip() for line in log.splitlines() if "ERROR" in line or "error" in line]
    reason = lines[0] if lines else "it ended without a message"
    return (
        f"the images of the shared monitor stopped ({reason}): it was removed, its size changed, or PipeWire ended. "
        "Start again"
    )
