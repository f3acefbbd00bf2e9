"""An adb server of our own, so that no phone that is plugged into this machine is ever seen or touched. Needs Linux."""

import contextlib
import gc
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.android.device import load_adbutils
from molmo_agent.errors import EnvError

# Emulators are looked for from port 5555 on: none of this machine.
_NO_EMULATORS = "5554"
_START_S = 60.0


class OwnAdbServer:
    """An adb server on a port of its own.

    Raises:
        MissingExtraError: adbutils is not installed.
        EnvError: the server does not start, or lists a phone all the same.
    """

    def __init__(self) -> None:
        adbutils = load_adbutils()
        binary = Path(adbutils.__file__).parent / "binaries" / "adb"
        program = str(binary) if binary.exists() else "adb"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        self._error = adbutils.AdbError
        self._values = {"ANDROID_ADB_SERVER_PORT": port, "ADBUTILS_ADB_PATH": program, "ANDROID_SERIAL": None}
        self._folder = tempfile.TemporaryDirectory(prefix="adb-")
        home = self._folder.name
        self._environment = child_environment(
            HOME=home, ANDROID_USER_HOME=home, ADB_MDNS="0", ADB_LOCAL_TRANSPORT_MAX_PORT=_NO_EMULATORS
        )
        try:
            done = subprocess.run(
                [program, "-P", port, "start-server"],
                env=self._environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_START_S,
                check=False,
            )
            problem = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        if problem:
            self._folder.cleanup()
            raise EnvError(f"the adb server of this process does not start: {problem}. Check `adb start-server`")
        with self.used() as client:
            if client.list():
                self.stop()
                raise EnvError("a phone is plugged into this machine, which our own adb server must not see: unplug it")

    @contextlib.contextmanager
    def used(self) -> Iterator[Any]:
        """Let this process's clients use this server inside the block, and yield one."""
        with _variables(self._values):
            yield load_adbutils().AdbClient()

    def stop(self) -> None:
        """End the server. Safe to call twice."""
        with self.used() as client, contextlib.suppress(self._error, OSError):
            client.server_kill()
        # adbutils leaves sockets to the garbage collector.
        gc.collect()
        self._folder.cleanup()


@contextlib.contextmanager
def _variables(values: dict[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
