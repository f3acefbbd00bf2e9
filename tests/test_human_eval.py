"""HumanEval: programs of a model run in the sandbox alone, pass only by their tests, and harm nothing."""

import os
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import text_files
from text_files import ADD, ADD_TESTS, TWICE

from molmo_agent.data.question import Question
from molmo_agent.data.readers.text_tasks.tasks import open_text_questions
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.texts import programs
from molmo_agent.evaluation.texts.programs import code_in, failures_of, pass_at_k, program_of
from molmo_agent.sandbox import bubblewrap

try:
    bubblewrap.check_sandbox()
    WHY_NOT = ""
except UsageError as error:
    WHY_NOT = str(error)
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a sandbox can be made")


@pytest.fixture
def problems(tmp_path: Path) -> list[Question]:
    text_files.write_lines(tmp_path / "HumanEval.jsonl", text_files.human_eval_rows())
    return list(open_text_questions("humaneval", tmp_path, shots=0).questions())


def added(problems: list[Question], body: str) -> str:
    """Return the program of the first problem with this body of its function."""
    return program_of(problems[0], body, whole=False)


@needs_sandbox
def test_a_program_passes_only_by_its_tests(problems: list[Question], monkeypatch: pytest.MonkeyPatch) -> None:
    # Busy machines start programs late.
    monkeypatch.setattr(programs, "_LIMITS", bubblewrap.Limits(seconds=60, cpu_s=20))
    right = "    return a + b\n"
    cases = {
        right: "",
        "    print('x' * 1_000_000)\n" + right: "",
        "    import math\n    return math.fsum([a, b])\n": "",
        "    return a - b\n": "AssertionError",
        "    return a +\n": "SyntaxError",
        "    return c\n": "NameError: name 'c' is not defined",
        "    return input()\n": "EOFError",
        "    import sys\n    sys.exit(0)\n": "SystemExit",
        "    import os\n    os._exit(0)\n": "it ended before its tests did",
        "    raise KeyboardInterrupt\n": "KeyboardInterrupt",
        "    return a + b\n\n\nraise SystemExit\n": "SystemExit",
        "    return a + b\n\n\nimport os\nos.write(1, b'passed'); os._exit(0)\n": "it ended before its tests did",
        "    return a + b\n\n\ndef check(candidate):\n    pass\n\n\nadd = None\n": "TypeError",
        "    return '\udcff'\n": "UnicodeEncodeError",
        "    return a + b\n\n\nif __name__ == '__main__':\n    raise ValueError\n": "",
    }
    found = failures_of([added(problems, body) for body in cases])
    assert [
        (body, why) for (body, want), why in zip(cases.items(), found, strict=True)
        if (want == "") != (why == "") or want not in why
    ] == []  # fmt: skip


@needs_sandbox
def test_hostile_programs_harm_nothing_and_are_reported(
    problems: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = bubblewrap.Limits(
        seconds=6, cpu_s=4, memory_bytes=300_000_000, address_bytes=1_500_000_000, processes=12,
        scratch_bytes=3_000_000, output_bytes=100_000,
    )  # fmt: skip
    monkeypatch.setattr(programs, "_LIMITS", limits)
    private = tmp_path / "private.txt"
    private.write_text("the user's")
    mark = f"survivor-{os.getpid()}-{time.time_ns()}"
    hostile = [
        "    while True: pass\n",
        "    import os\n    while True: os.fork()\n",
        "    kept = []\n    while True: kept.append(bytearray(b'1') * 5_000_000)\n",
        f"    import os\n    os.remove({str(private)!r})\n    return a + b\n",
        f"    open({str(private)!r}, 'w').write('gone')\n    return a + b\n",
        "    import socket\n    socket.create_connection(('1.1.1.1', 53), 2)\n    return a + b\n",
        "    open('/tmp/large', 'wb').write(bytes(9_000_000))\n    return a + b\n",
        "    import os, signal\n    os.kill(os.getppid(), signal.SIGKILL)\n    raise ValueError('alive')\n",
        "    import subprocess\n    subprocess.run(['rm', '-rf', '/usr'], check=True)\n    return a + b\n",
        f"    import os, time\n    if os.fork() == 0:\n        os.setsid(); time.sleep(60); '{mark}'\n    while 1: 0\n",
    ]
    found = failures_of([added(problems, body) for body in hostile])
    assert [body for body, why in zip(hostile, found, strict=True) if not why] == []
    assert private.read_text() == "the user's"
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                alive.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    assert [line for line in alive if mark.encode() in line] == []


def test_without_a_sandbox_no_program_is_run(problems: list[Question], monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap.check_sandbox.cache_clear()
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    started: list[object] = []
    monkeypatch.setattr(bubblewrap.subprocess, "Popen", lambda *a, **k: started.append(a))
    with pytest.raises(UsageError, match=r"expected bubblewrap on Linux, which shuts in code that nobody has read"):
        failures_of([added(problems, "    return a + b\n")])
    assert started == []
    bubblewrap.check_sandbox.cache_clear()


def test_code_is_the_last_block_that_defines_the_function() -> None:
    good = "def add(a, b):\n    return a + b"
    cases: dict[str, str | None] = {
        f"```python\n{good}\n```": good,
        f"First:\n```\nprint(1)\n```\nThen:\n```py\n{good}\n```\nand\n```\nadd(1, 2)\n```": good,
        f"```python\n{good}": good,
        good: good,
        "```python\ndef addition(a, b):\n    return a + b\n```": None,
        "I cannot.": None,
        "": None,
    }
    assert {reply: code_in(reply, "add") for reply in cases} == cases


def test_a_whole_function_keeps_the_imports_and_helpers_of_the_prompt(problems: list[Question]) -> None:
    code = "def twice(xs: List[int]) -> List[int]:\n    return [helper(2 * x) for x in xs]\n"
    program = program_of(problems[1], code, whole=True)
    assert program.startswith("from typing import List\n\n\ndef helper(x):\n    return x\n")
    assert program.count("def twice") == 1
    assert program.endswith("check(twice)\n")
    assert program_of(problems[1], "    return []\n", whole=False).startswith(TWICE + "    return []\n")
    assert program_of(problems[0], "", whole=False) == f"{ADD}\n\n{ADD_TESTS}\n\ncheck(add)\n"
    if not WHY_NOT:
        assert failures_of([program]) == [""]


def test_pass_at_k_is_the_share_of_draws_with_a_program_that_passes() -> None:
    for n in range(1, 7):
        for passed in range(n + 1):
            for k in range(1, n + 1):
                draws = [*combinations(range(n), k)]
                share = sum(any(one < passed for one in draw) for draw in draws) / len(draws)
                assert pass_at_k(n, passed, k) == pytest.approx(share)
    assert pass_at_k(200, 1, 100) == pytest.approx(0.5)
    wrong: list[Callable[[], float]] = [
        lambda: pass_at_k(3, 4, 1), lambda: pass_at_k(3, 1, 4), lambda: pass_at_k(3, 1, 0), lambda: pass_at_k(3, -1, 1)
    ]  # fmt: skip
    for call in wrong:
        with pytest.raises(ValueError, match="expected 0 <= passed <= n and 1 <= k <= n"):
            call()
