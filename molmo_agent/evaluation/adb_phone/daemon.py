"""A phone's end of the adb protocol: enough of adbd to be driven by the real adb server and its clients.

Commands run in a real /bin/sh in which the phone's programs are functions that call back, and with nothing else on its
PATH: quoting, ";", "&&", "|" and "$?" behave as on a phone, and a command that slips through does no harm.
"""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from molmo_agent.envs.sim_phone.state import Phone
from molmo_agent.evaluation.adb_phone.shell import PhoneSystem

_COMMANDS = ("screencap", "input", "wm", "dumpsys", "settings", "ime", "cmd", "pm", "am", "getprop", "reboot", "rm")
# From this machine; harmless ones.
_BORROWED = ("grep", "cat", "sleep")
# Through pipes and not as programs of their own: many run in every test, and starting a program takes its time.
_CALL_BACK = """
_phone() {{
    printf '%s\\0' "$@" > {at}/asked
    cat {at}/answer
    cat {at}/errors >&2
    read -r _status < {at}/status
    return "$_status"
}}
"""
# For lines with commands in the background: one at a time uses the pipes.
_IN_TURN = """
_phone() {{
    until {mkdir} {at}/turn 2>/dev/null; do sleep 0.01; done
    _phone_alone "$@"
    _result=$?
    {rmdir} {at}/turn
    return "$_result"
}}
"""
_BACKGROUND = re.compile(r"(?<![&>])&(?![&\d])")
_VERSION, _MAX_DATA = 0x01000001, 256 * 1024
_BANNER = b"device::ro.product.name=sim;ro.product.model=Sim_Phone;ro.product.device=sim;features=shell_v2,cmd"


class AdbDevice:
    """A phone that waits for `adb connect`.

    Args:
        phone: what it shows.
        system: what its commands act on; None makes one.
        authorised: False: it does not trust the computer.
    """

    def __init__(self, phone: Phone, *, system: PhoneSystem | None = None, authorised: bool = True) -> None:
        self.system, self.authorised = system or PhoneSystem(phone), authorised
        # The lines of shell that came, and how long each `input` takes to start.
        self.lines: list[str] = []
        self.input_start_s = 0.0
        self.files: dict[str, bytes] = {}
        self.failures: list[BaseException] = []
        self.serving: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._links: list[socket.socket] = []
        self.folder = Path(tempfile.mkdtemp(prefix="phone"))
        (self.folder / "bin").mkdir()
        for name in _BORROWED:
            (self.folder / "bin" / name).symlink_to(str(shutil.which(name)))
        self._environment = {"PATH": str(self.folder / "bin")}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def phone(self) -> Phone:
        """What it shows."""
        return self.system.phone

    def unplug(self) -> None:
        """Break the connection and answer no new one."""
        for link in (self._listener, *self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def close(self) -> None:
        """Unplug it and remove its files."""
        self.unplug()
        for thread in self.serving:
            thread.join(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- Commands -------------------------------------------------------------------------------------------------

    def shell(self, line: str, errors: int) -> subprocess.CompletedProcess[bytes]:
        """Run a line of shell to its end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            at = Path(name)
            for pipe in ("asked", "answer"):
                os.mkfifo(at / pipe)
            ended = threading.Event()
            answering = threading.Thread(target=self._answer, args=(at, ended), daemon=True)
            answering.start()
            self.lines.append(line)
            done = subprocess.run(
                ["/bin/sh", "-c", f"{self._functions(at, line)}{line}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                cwd=self.folder,
                check=False,
            )
            ended.set()
            # It waits for a question: ask none.
            (at / "asked").write_bytes(b"")
            answering.join()
            return done

    def _functions(self, at: Path, line: str) -> str:
        """Return the phone's programs as functions of the shell."""
        call_back = _CALL_BACK.format(at=at)
        if _BACKGROUND.search(line):
            call_back = call_back.replace("_phone()", "_phone_alone()") + _IN_TURN.format(
                at=at, mkdir=shutil.which("mkdir"), rmdir=shutil.which("rmdir")
            )
        starts = {"input": f"sleep {self.input_start_s}; "} if self.input_start_s else {}
        functions = (f'{name}() {{ {starts.get(name, "")}_phone {name} "$@"; }}\n' for name in _COMMANDS)
        return call_back + "".join(functions)

    def _answer(self, at: Path, ended: threading.Event) -> None:
        while True:
            asked = (at / "asked").read_bytes()
            if ended.is_set():
                return
            argv = asked.decode().split("\0")[:-1]
            try:
                with self._lock:
                    status, out, errors = self.system.run(argv)
            except BaseException as error:
                self.failures.append(error)
                status, out, errors = 70, b"", repr(error).encode()
            (at / "errors").write_bytes(errors)
            (at / "status").write_text(f"{status}\n")
            with contextlib.suppress(BrokenPipeError):
                (at / "answer").write_bytes(out)

    # --- The protocol ---------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.append(link)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_Transport(self, link).run, daemon=True).start()


class _Transport:
    """One connection of the adb server, with its streams."""

    def __init__(self, device: AdbDevice, link: socket.socket) -> None:
        self._device, self._link = device, link
        self._writing = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._next = 1

    def run(self) -> None:
        with contextlib.suppress(OSError, EOFError), self._link:
            while True:
                command, first, second, length, _, _ = struct.unpack("<4s5I", self._read(24))
                self._handle(command, first, second, self._read(length))

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        with self._writing:
            self._link.sendall(struct.pack("<4s5I", command, first, second, len(data), sum(data), magic) + data)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._link.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _handle(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN" and self._device.authorised:
            self.send(b"CNXN", _VERSION, _MAX_DATA, _BANNER)
        elif command == b"CNXN" or (command == b"AUTH" and first == 2):
            self.send(b"AUTH", 1, 0, os.urandom(20))  # no key is ever good enough; the last offer stays unanswered
        elif command == b"OPEN":
            stream = _Stream(self, self._next, first)
            self._streams[self._next] = stream
            self._next += 1
            service = data.rstrip(b"\0").decode()
            self.send(b"OKAY", stream.local, first)
            serving = threading.Thread(target=stream.serve, args=(self._device, service), daemon=True)
            self._device.serving.append(serving)
            serving.start()
        elif second in self._streams:
            stream = self._streams[second]
            if command == b"OKAY":
                stream.ready.release()
            elif command == b"WRTE":
                stream.incoming += data
                stream.arrived.release()
                self.send(b"OKAY", stream.local, stream.remote)
            elif command == b"CLSE":
                stream.closed = True
                stream.ready.release()
                stream.arrived.release()


class _Stream:
    """One service that the server has opened."""

    def __init__(self, transport: _Transport, local: int, remote: int) -> None:
        self._transport, self.local, self.remote = transport, local, remote
        self.ready, self.arrived = threading.Semaphore(1), threading.Semaphore(0)
        self.incoming, self.closed = b"", False

    def serve(self, device: AdbDevice, service: str) -> None:
        with contextlib.suppress(OSError, EOFError):
            kind, _, rest = service.partition(":")
            if kind.split(",")[0] in ("shell", "exec"):
                self._shell(device, rest, packets="v2" in kind.split(","))
            elif kind == "sync":
                self._sync(device)
            self._transport.send(b"CLSE", self.local, self.remote)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), _MAX_DATA):
            self.ready.acquire()
            if self.closed:
                raise EOFError
            self._transport.send(b"WRTE", self.local, self.remote, data[start : start + _MAX_DATA])

    def _shell(self, device: AdbDevice, line: str, *, packets: bool) -> None:
        done = device.shell(line, subprocess.PIPE if packets else subprocess.STDOUT)
        if not packets:
            self.write(done.stdout)
            return
        for number, data in ((1, done.stdout), (2, done.stderr), (3, bytes([done.returncode & 255]))):
            if data:
                self.write(struct.pack("<BI", number, len(data)) + data)

    def _read(self, count: int) -> bytes:
        while len(self.incoming) < count:
            if self.closed:
                raise EOFError
            self.arrived.acquire()
        data, self.incoming = self.incoming[:count], self.incoming[count:]
        return data

    def _sync(self, device: AdbDevice) -> None:
        """Keep files: STAT, RECV and SEND."""
        while True:
            request, length = struct.unpack("<4sI", self._read(8))
            name = self._read(length).decode() if length else ""
            kept = device.files.get(name)
            if request == b"STAT":
                mode = 0o100644 if kept is not None else 0
                self.write(struct.pack("<4s3I", b"STAT", mode, len(kept or b""), 1 if kept is not None else 0))
            elif request == b"RECV":
                if kept is None:
                    self.write(struct.pack("<4sI", b"FAIL", 7) + b"no file")
                    continue
                for start in range(0, len(kept), 65536):
                    part = kept[start : start + 65536]
                    self.write(struct.pack("<4sI", b"DATA", len(part)) + part)
                self.write(struct.pack("<4sI", b"DONE", 0))
            elif request == b"SEND":
                data = b""
                while True:
                    part, size = struct.unpack("<4sI", self._read(8))
                    if part == b"DONE":
                        break
                    data += self._read(size)
                device.files[name.rpartition(",")[0]] = data
                self.write(struct.pack("<4sI", b"OKAY", 0))
            else:
                return
