"""Whether a planner's "done" can be believed: what the run changed, what failed, and what the screen shows.

A claim is accepted where every step had an effect, the evidence that the planner names stands on the screen, and its
answer was read on one of the screens. What cannot be checked so is doubt, and doubt is not success.
"""

import re
from collections.abc import Callable, Sequence

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.instructions.substep import SubStep
from molmo_agent.risk.folding import fold, words_of
from molmo_agent.screen_text import Line

_QUESTION = re.compile(
    r"\?|\b(?:tell|report|answer|what|which|who|when|where|how (?:many|much|long|old|far)|find out|"
    r"look up (?:the|what)|read (?:me|out)|let me know|give me|say (?:what|which|how))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d.,:/%+-]*\d|\d")
_NAME = re.compile(r"(?<=[^.!?\s]\s)[A-Z][\w'-]{1,}")
_FAILURE = re.compile(
    r"\b(?:error|failed|failure|denied|could not|couldn't|cannot|can't|unable|invalid|incorrect|not found|try again|"
    r"fehler|fehlgeschlagen|erreur|echec|errore|no se pudo|nicht moglich)\b"
)
_MIN_EVIDENCE = 2


def asks_question(task: str) -> bool:
    """Return whether a task asks for an answer."""
    outside_quotes = re.sub(r"\"[^\"]*\"|“[^”]*”", " ", task)
    return _QUESTION.search(outside_quotes) is not None


def compact(text: str) -> str:
    """Return the letters and digits of a text, folded."""
    return "".join(words_of(fold(text)))


def carried_out(task: str, steps: Sequence[SubStep]) -> bool:
    """Return whether a task is a list of steps in the grammar of instructions, and these are just those.

    Args:
        task: what the user asked for.
        steps: what was carried out, with an effect, in order.
    """
    if asks_question(task):
        return False
    try:
        wanted = split_instruction(task)
    except UsageError:
        return False

    def key(step: SubStep) -> tuple[object, ...]:
        targets = tuple(compact(target) for target in step.targets)
        return step.gesture, targets, step.value, step.held, step.direction if step.gesture == "scroll" else ""

    return [key(step) for step in wanted if step.gesture != "wait"] == [
        key(step) for step in steps if step.gesture != "wait"
    ]


def doubt_about_evidence(evidence: str, lines: Sequence[Line]) -> str:
    """Return why words do not show that a task is done, or an empty string."""
    wanted = compact(evidence)
    if len(wanted) < _MIN_EVIDENCE:
        return "it names no words on the screen that show it"
    shown = compact(" ".join(line.text for line in lines))
    if wanted in shown:
        return ""
    # A sentence about the screen: what it quotes is looked for.
    quotes = [compact(quote) for quote in re.findall(r"[\"“']([^\"”']{2,})[\"”']", evidence)]
    if quotes and all(quote and quote in shown for quote in quotes):
        return ""
    return f"the words {evidence[:80]!r} are not on the screen"


def doubt_about_answer(answer: str, screens: Sequence[Callable[[], Sequence[Line]]]) -> str:
    """Return why an answer was not read on the screens of a run, or an empty string.

    Args:
        answer: the planner's words.
        screens: read the screens, the newest first; they are read until everything was found.
    """
    parts = [*_NUMBER.findall(answer), *_NAME.findall(answer)]
    missing = [part for part in map(compact, parts) if part] or [compact(answer)]
    if not missing[0]:
        return "there is no answer"
    for read in screens:
        words = [compact(word) for line in read() for word in line.text.split()]
        shown = "".join(words)
        missing = [part for part in missing if not (part in words if part.isdigit() else part in shown)]
        if not missing:
            return ""
    return f"the answer {answer[:80]!r} was not read on the screen"


def new_failure(before: Sequence[Line], now: Sequence[Line]) -> str:
    """Return a line that reports a failure and was not there before, or an empty string."""
    old = {compact(line.text) for line in before}
    for line in now:
        if compact(line.text) not in old and _FAILURE.search(fold(line.text)):
            return line.text[:80]
    return ""
