"""``agent run --planner``: the planner's part of a run at the terminal."""

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.prompt import Prompt

from molmo_agent.console import plain_text
from molmo_agent.episode import Trajectory
from molmo_agent.errors import UsageError
from molmo_agent.policies.planner.loading import load_planner

POLICY = "planner"


def planner_options(planner: str | None, policy: str | None, *, ask: Any) -> dict[str, Any]:
    """Return the options of the policy for ``--planner``, checked before anything heavy is loaded; empty without one.

    Args:
        planner: "rules" or an address.
        policy: what ``--policy`` names.
        ask: asks the user a question; None: there is nobody.

    Raises:
        UsageError: another policy was asked for, or there is no such planner.
    """
    if planner is None and policy != POLICY:
        return {}
    if policy not in (None, POLICY):
        raise UsageError(f"--planner has a policy of its own; got --policy {policy}")
    return {"planner": load_planner(planner or "rules"), "ask_user": ask}


def asker(console: Console, *, as_json: bool) -> Callable[[str], str] | None:
    """Return what asks the user a planner's question; None where nobody reads the terminal."""
    if as_json or not sys.stdin.isatty():
        return None

    def ask(question: str) -> str:
        # Nobody answers at a terminal that was closed.
        with contextlib.suppress(EOFError, OSError):
            return Prompt.ask(plain_text(f"the planner asks: {question}"), console=console)
        return ""

    return ask


def answer_of(trajectory: Trajectory) -> str:
    """Return a planner's answer to the task; empty where there is none."""
    plan = trajectory.steps[-1].decision.plan if trajectory.steps else None
    return plan.answer if plan is not None else ""


def witness(trajectory: Trajectory) -> str:
    """Return what a verdict is based on where the env has none."""
    planned = trajectory.steps and trajectory.steps[-1].decision.plan is not None
    return "by what the screen shows" if planned else "by the policy's own word"
