"""Programs that nobody has read run in a sandbox: whatever they try harms nothing and is reported."""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from molmo_agent.errors import UsageError
from molmo_agent.sandbox import bubblewrap as sandbox
from molmo_agent.sandbox.bubblewrap import Limits, Outcome, python_command, run_program
from molmo_agent.sandbox.seccomp import seccomp_filter

try:
    sandbox.check_sandbox()
    WHY_NOT = ""
except UsageError as error:
    WHY_NOT = str(error)
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a sandbox can be made")

SMALL = Limits(
    seconds=8,
    cpu_s=2,
    memory_bytes=300_000_000,
    address_bytes=1_500_000_000,
    processes=12,
    scratch_bytes=3_000_000,
    output_bytes=500_000,
)
# Program -> what the outcome names. Each is tried in two or more ways.
HOSTILE = {
    "import os\nwhile True: os.fork()": "Resource temporarily unavailable",
    "import subprocess\nkeep = [subprocess.Popen(['/bin/sleep', '30']) for _ in range(200)]": "unavailable",
    "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=(30,)).start()": "thread",
    "while True: pass": "processor time|ended by signal|did not end",
    "import time\ntime.sleep(3600)": "did not end within 3 s",
    "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(3600)\ntime.sleep(3600)":
        "did not end within 3 s",
    "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(99)":
        "did not end within 3 s",
    "kept = []\nwhile True: kept.append(bytearray(b'1') * 5_000_000)": "bytes of memory|MemoryError",
    "import os, time\nfor _ in range(6):\n    if os.fork() == 0: break\nx = bytearray(b'1') * 90_000_000\nwhile 1: 0":
        "bytes of memory",
    "x = bytearray(4_000_000_000)": "MemoryError",
    "import os\nos.memfd_create('hidden')": "Operation not permitted",
    "while True: print('x' * 10_000)": "printed more than 500,000 bytes",
    "import sys\nwhile True: sys.stderr.write('x' * 10_000)": "printed more than 500,000 bytes",
    "import os\nwhile True: os.write(1, bytes(100_000))": "printed more than 500,000 bytes",
    "open('/tmp/a', 'wb').write(bytes(9_000_000))": "File too large|No space left",
    "for i in range(99): open(f'/tmp/{i}', 'wb').write(bytes(1_000_000))": "No space left",
    "import socket\nsocket.create_connection(('1.1.1.1', 53), 2)": "unreachable",
    "import urllib.request\nurllib.request.urlopen('http://example.org', timeout=2)": "URLError",
    "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('9.9.9.9', 53))":
        "unreachable",
    "import os\nos.setuid(0)": "Operation not permitted",
    "import os, signal\nos.kill(1, signal.SIGKILL)\nopen('/proc/1/mem', 'wb')":
        "Permission denied|not permitted|signal",
}  # fmt: skip


def run(code: str, **changes: float) -> Outcome:
    limits = SMALL if not changes else Limits(**{**{n: getattr(SMALL, n) for n in SMALL.__slots__}, **changes})
    return run_program(python_command("-S", "-c", code), b"", limits)


@needs_sandbox
def test_hostile_programs_are_stopped_and_the_reason_is_reported() -> None:
    wrong = []
    with ThreadPoolExecutor(4) as pool:
        outcomes = [*pool.map(lambda code: run(code, seconds=3), HOSTILE)]
    for (code, expected), outcome in zip(HOSTILE.items(), outcomes, strict=True):
        if not outcome.problem or not re.search(expected, outcome.problem + outcome.errors):
            wrong.append(f"{code!r}: {outcome.problem!r}, {outcome.errors[-200:]!r}")
    assert wrong == []


@needs_sandbox
def test_a_program_reads_no_file_of_the_user_and_writes_none_outside_its_scratch_folder(tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("the user's")
    private = [str(tmp_path / "private.txt"), "/etc/passwd", "/root/.bashrc", "/home", "/var", str(Path.cwd())]
    code = (
        f"import os\nprint([p for p in {private!r} if os.path.exists(p) and (os.path.isfile(p) or os.listdir(p))])\n"
        "for place in ('/', '/dev', '/dev/shm', '/usr', '/usr/bin', '/etc', '/proc', '/tmp'):\n"
        "    try:\n        open(place + '/made', 'w').write('x'); print(place)\n"
        "    except OSError: pass\n"
        "print(sorted(os.environ), len([n for n in os.listdir('/proc') if n.isdigit()]) < 4)"
    )
    outcome = run(code)
    assert outcome.problem == ""
    names = ["HOME", "LANG", "MPLBACKEND", "PATH", "PWD"]
    seen, written, environment = outcome.output.decode().strip().split("\n")
    # Folders that lead to the interpreter exist; nothing else lies in them.
    assert "private.txt" not in seen
    assert "passwd" not in seen
    assert ".bashrc" not in seen
    assert written == "/tmp"
    assert environment == f"{names} True"
    assert not Path("/tmp/made").exists()


@needs_sandbox
def test_nothing_of_a_stopped_program_goes_on(tmp_path: Path) -> None:
    mark = f"survivor-{os.getpid()}-{time.time_ns()}"
    code = f"import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n'{mark}'"
    assert run(code, seconds=2).problem in ("", "it did not end within 2 s")
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                alive.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    assert [line for line in alive if mark.encode() in line] == []


@needs_sandbox
@pytest.mark.skipif(
    os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to drop it"
)
def test_a_user_without_privileges_has_the_same_walls(tmp_path: Path) -> None:
    walls = sandbox._NAMESPACES
    probe = subprocess.run(["bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"], user=65534, check=False)
    if probe.returncode or not Path("/usr/bin/python3").exists():
        pytest.skip("users without privileges make no namespaces here")
    line = ["bwrap", *walls, "--unshare-user", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib",
            "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--tmpfs", "/tmp", "--", "/usr/bin/python3",
            "-I", "-S", "-c", sandbox._LAUNCHER.read_text(),
            '{"user": 0, "cpu_s": 2, "scratch_bytes": 1000, "files": 64, "processes": 5, "address_bytes": 0}',
            "/usr/bin/python3", "-I", "-S", "-c", "import os\nwhile True:\n    os.fork()"]  # fmt: skip
    outcome = subprocess.run(
        line, user=65534, group=65534, extra_groups=[], capture_output=True, check=False, timeout=60
    )
    assert b"Resource temporarily unavailable" in outcome.stderr


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.check_sandbox.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    started = []
    monkeypatch.setattr(sandbox.subprocess, "Popen", lambda *a, **k: started.append(a))
    with pytest.raises(UsageError, match=r"expected bubblewrap on Linux, .* install it"):
        run_program(["true"], b"")
    assert started == []
    sandbox.check_sandbox.cache_clear()


def test_a_system_that_makes_no_namespaces_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.check_sandbox.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: "/usr/bin/bwrap")
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    monkeypatch.setattr(sandbox, "_run", lambda *a: Outcome(b"", "it failed with code 1", "No permissions to create"))
    with pytest.raises(UsageError, match=r"but it failed: No permissions to create. Does this system"):
        run_program(["true"], b"")
    sandbox.check_sandbox.cache_clear()


def test_the_filter_of_calls_exists_where_its_numbers_are_known() -> None:
    assert {machine: seccomp_filter(machine) is None for machine in ("x86_64", "aarch64", "riscv64")} == {
        "x86_64": False,
        "aarch64": False,
        "riscv64": True,
    }
    assert sys.maxsize > 2**32
    assert all(len(seccomp_filter(machine) or b"") % 8 == 0 for machine in ("x86_64", "aarch64"))


@needs_sandbox
def test_what_may_be_read_can_lie_in_the_scratch_folder_of_the_system():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        for name in ("given", "kept"):
            Path(folder, name).mkdir()
            Path(folder, name, "text").write_text(name)
        program = f"import os\nprint(open({folder + '/given/text'!r}).read(), os.path.exists({folder + '/kept'!r}))"
        outcome = run_program(python_command(), program.encode(), SMALL, readable=[Path(folder, "given")])
    assert (outcome.output, outcome.problem) == (b"given False\n", "")
