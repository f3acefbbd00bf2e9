"""Runs programs that nobody has read: without network, files, time or memory beyond their limits. Linux only.

bubblewrap gives the program namespaces of its own: no network, no other processes, a root of read-only system files
and an empty scratch folder in memory, of limited size. Inside, :mod:`~molmo_agent.sandbox.launcher` sets limits and
gives up root; a seccomp filter refuses calls that get around them. From outside, a watch over all its processes ends
them at the limits of memory, time and output. What the program prints is its only way out.

Where this is not possible, nothing is run: there is no mode without a sandbox.
"""

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from molmo_agent.errors import EnvError, UsageError
from molmo_agent.sandbox.seccomp import seccomp_filter

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.05
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/fonts", "/etc/alternatives", "/etc/ld.so.cache", "/etc/chromium.d")
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
SANDBOX_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use, its children included."""

    seconds: float = 60.0
    # Seconds of processor time, for each process.
    cpu_s: int = 40
    memory_bytes: int = 1_500_000_000
    # Of addresses, for each process; 0: no limit, for programs that reserve far more than they use.
    address_bytes: int = 4_000_000_000
    processes: int = 64
    files: int = 256
    scratch_bytes: int = 64_000_000
    output_bytes: int = 16_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program printed, and why it was stopped or failed: an empty ``problem`` if it ended well."""

    output: bytes
    problem: str
    errors: str


def run_program(
    command: Sequence[str], stdin: bytes, limits: Limits | None = None, *, readable: Sequence[Path] = ()
) -> Outcome:
    """Run a command in the sandbox and return what it printed.

    Args:
        command: program and arguments; the program is looked up in the sandbox.
        stdin: what it reads.
        limits: what it may use.
        readable: files and folders beside the system's that it may read, under their own names.

    Raises:
        UsageError: this machine cannot make a sandbox.
    """
    limits = limits or Limits()
    check_sandbox()
    return _run(command, stdin, limits, readable)


@cache
def check_sandbox() -> None:
    """Check that a sandbox can be made here.

    Raises:
        UsageError: bubblewrap is missing, or the system lets it make no namespaces.
    """
    if not sys.platform.startswith("linux") or shutil.which("bwrap") is None:
        raise UsageError(
            "expected bubblewrap on Linux, which shuts in code that nobody has read, but there is no bwrap on PATH: "
            "install it (apt-get install bubblewrap), or run this in a Linux container"
        )
    outcome = _run(["/bin/true"], b"", Limits(), ())
    if outcome.problem:
        raise UsageError(
            f"expected bubblewrap to make a sandbox, but it failed: {outcome.errors.strip() or outcome.problem}. Does "
            "this system or container allow user namespaces (sysctl kernel.unprivileged_userns_clone)?"
        )


def _run(command: Sequence[str], stdin: bytes, limits: Limits, readable: Sequence[Path]) -> Outcome:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(tempfile.TemporaryFile())
        source.write(stdin)
        source.seek(0)
        descriptors = []
        calls = seccomp_filter()
        if calls is not None:
            rules = stack.enter_context(tempfile.TemporaryFile())
            rules.write(calls)
            rules.seek(0)
            descriptors.append(rules.fileno())
        line = [*_walls(limits, readable, descriptors), "--", *_launch(limits), *command]
        try:
            process = subprocess.Popen(
                line,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=SANDBOX_ENVIRONMENT,
                pass_fds=descriptors,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvError(f"the sandbox did not start: {error.strerror or error}") from error
        with process:
            try:
                output, errors, problem = _watch(process, limits)
            finally:
                _end(process)
    if not problem and process.returncode:
        problem = _ending(process.returncode, errors)
    return Outcome(output, problem, errors.decode("utf-8", "replace")[-4000:])


def _walls(limits: Limits, readable: Sequence[Path], descriptors: Sequence[int]) -> list[str]:
    """Return the part of the command line that makes the sandbox."""
    root = os.geteuid() == 0
    line = ["bwrap", *_NAMESPACES, "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    # Root drops to a user of its own inside, whose processes are counted apart; others have namespaces for that.
    line += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    line += ["--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/etc"]
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink() and name != "/usr":
            line += ["--symlink", os.readlink(path), name]
        elif path.exists():
            line += ["--ro-bind", name, name]
    # First: packages and files may lie in it.
    line += ["--perms", "1777", "--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"]
    for path in _outermost([Path(sys.base_prefix), *map(Path, package_folders()), *readable]):
        # Without this, folders above it would be as closed as those of the user's home.
        for parent in [*path.parents][-2::-1]:
            line += ["--perms", "0755", "--dir", str(parent)]
        line += ["--ro-bind", str(path), str(path)]
    line += ["--chdir", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]
    return line + [part for number in descriptors for part in ("--seccomp", str(number))]


def _launch(limits: Limits) -> list[str]:
    """Return the command that sets the limits, in front of the program's own."""
    # Any user that nobody is: the limit on processes counts those of a user.
    user = 100_000 + secrets.randbelow(1 << 30) if os.geteuid() == 0 else 0
    values = {
        "user": user,
        "cpu_s": limits.cpu_s,
        "scratch_bytes": limits.scratch_bytes,
        "files": limits.files,
        "processes": limits.processes,
        "address_bytes": limits.address_bytes,
    }
    return [_python(), "-I", "-S", "-c", _LAUNCHER.read_text(encoding="utf-8"), json.dumps(values)]


def _python() -> str:
    return os.path.realpath(sys.executable)


def package_folders() -> list[str]:
    """Return the folders of installed packages that programs in the sandbox may import from, once on their path."""
    return [os.path.realpath(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]


def python_command(*arguments: str) -> list[str]:
    """Return a command that runs this Python with its packages, isolated from everything else."""
    return [_python(), "-I", *arguments]


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Return resolved paths that exist and lie in none of the others, nor in the system's folders."""
    resolved = sorted({path.resolve() for path in paths if path.exists()})
    return [path for path in resolved if not any(path != other and path.is_relative_to(other) for other in resolved)
            and not path.is_relative_to("/usr")]  # fmt: skip


def _watch(process: "subprocess.Popen[bytes]", limits: Limits) -> tuple[bytes, bytes, str]:
    """Read what a program prints until it ends or passes a limit."""
    end = time.monotonic() + limits.seconds
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, text in ((process.stdout, output), (process.stderr, errors)):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, text)
        next_look = 0.0
        while selector.get_map():
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            if len(output) + len(errors) > limits.output_bytes:
                return b"", bytes(errors[-4000:]), f"it printed more than {limits.output_bytes:,} bytes"
            now = time.monotonic()
            if now > end:
                return b"", bytes(errors), f"it did not end within {limits.seconds:g} s"
            if now >= next_look:
                used = sum(_memory_of(number) for number in _descendants(process.pid))
                if used > limits.memory_bytes:
                    return b"", bytes(errors), f"it used more than {limits.memory_bytes:,} bytes of memory"
                next_look = now + _POLL_S
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, end - time.monotonic()))
    if process.poll() is None:
        return b"", bytes(errors), f"it did not end within {limits.seconds:g} s"
    return bytes(output), bytes(errors), ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the sandbox: with its first process all others end."""
    for number in [*_descendants(process.pid), process.pid] if process.poll() is None else ():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)
    process.wait()


def _descendants(parent: int) -> Iterator[int]:
    """Yield the processes under a process, outermost first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(entry.path, "stat").read_text(encoding="ascii", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    waiting = list(children.get(parent, ()))
    while waiting:
        number = waiting.pop(0)
        yield number
        waiting += children.get(number, ())


def _memory_of(number: int) -> int:
    """Return the bytes that a process holds in memory; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{number}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _ending(code: int, errors: bytes) -> str:
    number = -code if code < 0 else code - 128
    # bwrap reports the signal of its child as a code above 128.
    if number == signal.SIGXCPU:
        return "it used more processor time than it may"
    if number == signal.SIGXFSZ:
        return "it wrote a larger file than it may"
    if 0 < number < 65:
        return f"it was ended by signal {number}"
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"it failed with code {code}" + (f": {last[:300]}" if last else "")
