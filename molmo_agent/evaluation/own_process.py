"""Play one task of an evaluation in a process of its own: real programs leave traces where they are started."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from molmo_agent.console import say_json
from molmo_agent.errors import RunStopped, UsageError


class NoAnswer(Exception):
    """The process ended without an answer, or not in time; the message says which."""


def ask_own_process(module: str, request: Mapping[str, Any], timeout_s: float) -> Any:
    """Run ``python -m module REQUEST`` and return its answer, the last line of its output.

    The process of our own inherits keys: it asks served models.

    Args:
        module: it calls :func:`answer_in_own_process`.
        request: ready for JSON.
        timeout_s: after which the process is ended.

    Raises:
        NoAnswer: there is no answer.
        UsageError: the other process raised it.
        RunStopped: the user stopped it.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        answer: Any = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"it did not end within {timeout_s:g} s") from error
    except (IndexError, ValueError) as error:
        raise NoAnswer(f"the process ended with {done.returncode}: {done.stderr.strip()[-300:]}") from error
    if "usage" in answer:
        raise UsageError(answer["usage"])
    if "stopped" in answer:
        raise RunStopped(answer["stopped"])
    return answer


def answer_in_own_process(play: Callable[[Any], Mapping[str, Any]]) -> None:
    """Print the answer of ``play`` to the request that :func:`ask_own_process` made, or why there is none."""
    try:
        answer = play(json.loads(sys.argv[1]))
    except UsageError as error:
        answer = {"usage": str(error)}
    except RunStopped as stop:
        answer = {"stopped": str(stop)}
    say_json(answer)
