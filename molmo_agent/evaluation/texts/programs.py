"""HumanEval: a model's programs are run with the published tests, in the sandbox and nowhere else.

A program passes if its tests end without an error, which is known by a word that the program is not given. What hides
in the same process could find the word: a score is not proof against a model that is trained to cheat.
"""

import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from math import comb
from pathlib import Path

from molmo_agent.data.question import Question
from molmo_agent.sandbox.bubblewrap import Limits, check_sandbox, python_command, run_program

TIME_LIMIT_S = 10.0
"""For one program with its tests; the authors' script has 3 s, which a busy machine misses."""

STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```")
"""Where a continued function ends: whatever stands at the beginning of a line begins something else."""

_LIMITS = Limits(
    seconds=TIME_LIMIT_S,
    cpu_s=int(TIME_LIMIT_S),
    memory_bytes=1_000_000_000,
    processes=16,
    scratch_bytes=16_000_000,
    output_bytes=100_000,
)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_DRIVER = Path(__file__).with_name("in_sandbox.py")
_AT_ONCE = 4


def code_in(reply: str, entry_point: str) -> str | None:
    """Return the code in a reply of a conversation: the last block that defines the function; None without one."""
    blocks = _FENCE.findall(reply) or [reply]
    defines = re.compile(rf"^\s*(?:async\s+)?def\s+{re.escape(entry_point)}\s*\(", re.MULTILINE)
    return next((block for block in reversed(blocks) if defines.search(block)), None)


def program_of(question: Question, code: str, *, whole: bool) -> str:
    """Return the program with its tests.

    Args:
        question: of HumanEval.
        code: the model's.
        whole: it defines the function; otherwise it continues the prompt.
    """
    entry = question.extra["entry_point"]
    start = question.text + code
    if whole:
        # What stands in the prompt before the function: imports, and functions that it calls.
        before = re.split(rf"^def\s+{re.escape(entry)}\s*\(", question.text, maxsplit=1, flags=re.MULTILINE)[0]
        start = f"{before}\n{code}"
    return f"{start}\n\n{question.extra['tests']}\n\ncheck({entry})\n"


def failures_of(programs: list[str]) -> list[str]:
    """Run programs in the sandbox; return for each why it failed, "" if it passed.

    Raises:
        UsageError: no sandbox can be made here.
    """
    check_sandbox()
    driver = python_command("-c", _DRIVER.read_text(encoding="utf-8"))

    def run(program: str) -> str:
        word = secrets.token_hex(16)
        job = json.dumps({"program": program, "word": word})
        outcome = run_program(driver, job.encode(), _LIMITS)
        printed = outcome.output.decode("utf-8", "replace")
        if printed == word:
            return ""
        return outcome.problem or (printed if word not in printed else "") or "it ended before its tests did"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(run, programs))


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of ``k`` programs passes (arXiv 2107.03374).

    Args:
        n: programs of a problem.
        passed: those of them that passed.
        k: at most ``n``.

    Raises:
        ValueError: the numbers are none of these.
    """
    if not (0 <= passed <= n and 1 <= k <= n):
        raise ValueError(f"expected 0 <= passed <= n and 1 <= k <= n, got passed {passed}, n {n}, k {k}")
    return 1.0 - comb(n - passed, k) / comb(n, k)
