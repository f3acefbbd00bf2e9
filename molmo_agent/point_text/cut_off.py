"""The marks of a reply in words that is cut off or no answer: half of a text must not be typed, nor an error read."""

import re

_MARK = " [cut off here]"
_NO_ANSWER = re.compile(r"\[no answer: ([^\]]*)\]")


def mark_cut(reply: str) -> str:
    """Return a reply that was cut off, with the mark at its end."""
    return reply + _MARK


def is_cut(reply: str) -> bool:
    """Return whether a reply has the mark."""
    return reply.endswith(_MARK)


def mark_no_answer(reason: str, text: str) -> str:
    """Return what came instead of an answer, with the reason why it must not be read as one before it."""
    reason = re.sub(r"[\[\]]", "", reason)
    return f"[no answer: {reason}] {text}".rstrip()


def why_no_answer(reply: str) -> str:
    """Return the reason of :func:`mark_no_answer`; empty for an answer."""
    match = _NO_ANSWER.match(reply)
    return match[1] if match else ""


def without_mark(reply: str) -> str:
    """Return a reply as it is scored and shown: one that is no answer as empty, one that was cut off without the mark.

    The published scores read what there is of a reply that was cut off.
    """
    return "" if why_no_answer(reply) else reply.removesuffix(_MARK)
