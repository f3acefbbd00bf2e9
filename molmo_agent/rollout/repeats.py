"""When a run leads nowhere: one action repeated without effect, or a screen that changes before each try."""

from collections.abc import Sequence
from typing import Any

from molmo_agent.actions import Action, Wait, action_to_dict, describe, points_of
from molmo_agent.episode import Step

# This many equal actions in a row without an effect end the run. The policy sees the first ones in its history.
MAX_REPEATS = 3
# Points of a repeated action may differ by this fraction of the image: models are not exact.
SAME_POINT = 0.01
# So many looks in a row at a screen that then changes before the input end the run.
MAX_LOOKS = 3


def same_action(first: Action, second: Action) -> bool:
    """Return whether two actions are equal up to small differences of their points."""
    if type(first) is not type(second):
        return False
    if first == second:
        return True
    old, new = points_of(first), points_of(second)
    if not old or len(old) != len(new) or any(a.distance(b) > SAME_POINT for a, b in zip(old, new, strict=True)):
        return False
    return _but_points(first) == _but_points(second)


def _but_points(action: Action) -> dict[str, Any]:
    return {
        key: value for key, value in action_to_dict(action).items() if key not in ("point", "start", "end", "points")
    }


def stuck(history: Sequence[Step]) -> str:
    """Return why the last steps lead nowhere, or an empty string.

    Waiting does not count as repetition: a slow screen may need it.
    """
    return _repeats(history) or _restless(history)


def _repeats(history: Sequence[Step]) -> str:
    last = history[-MAX_REPEATS:]
    if len(last) < MAX_REPEATS or isinstance(last[-1].action, Wait):
        return ""
    for step in last:
        idle = step.effect == "unchanged" or step.refused or step.dry_run
        if not idle or not same_action(step.action, last[-1].action):
            return ""
    if last[-1].refused:
        return f"{describe(last[-1].action)} was refused {MAX_REPEATS} times: {last[-1].refused}"
    return f"{describe(last[-1].action)} was repeated {MAX_REPEATS} times and nothing changed"


def _restless(history: Sequence[Step]) -> str:
    tries = [step for step in history if not isinstance(step.action, Wait)][-MAX_LOOKS:]
    if len(tries) < MAX_LOOKS or not all(step.refused and step.refused.kind == "changed" for step in tries):
        return ""
    return (
        f"the screen changed before each of the last {MAX_LOOKS} inputs, so none was sent: {tries[-1].refused}. "
        "Close what moves there, then start again"
    )
