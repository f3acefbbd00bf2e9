"""What the words of a reply say: that there is nothing, that the model declines, that there is another answer.

Words never make a point. They only take one away: an answer that its own words deny is not clear, and is not clicked.
All patterns run in linear time: their quantifiers are possessive or bounded.
"""

import re
from collections.abc import Iterable


class UnparsedReply(Exception):
    """The reply is not a well-formed answer; the message has the reason."""


class PointOutOfRange(Exception):
    """A well-formed answer has a point outside of the image."""


class NoPoints(Exception):
    """The reply has no points; it may be another kind of sentence."""


_NOT = r"(?:\s{1,3}not|n['’]t)"
_PICTURE = r"(?:image|picture|photo|screenshot|screen|page|window|desktop|display|app|view|interface)\b"
_THE_PICTURE = rf"(?:the|this|that|your|my|any)\s{{1,3}}(?:\w{{1,20}}\s{{1,3}})?{_PICTURE}"

_NONE_SENTENCE = re.compile(r"(?:^|[.!?:\n])\s{0,8}there are none\s{0,8}(?:[.!]|$)", re.IGNORECASE)
# "There is no such button", "It isn't in the image", "I can't see it", "No button is visible".
_CANNOT_SEE = (
    r"\b(?:cannot|can['’]?t|can not|could not|couldn['’]?t|do not|don['’]?t|did not|didn['’]?t|unable to|not able to)"
    r"\s{1,3}"
    rf"(?:see|find(?!\s{{1,3}}out\b)|locate|spot|detect)\b(?!\s{{1,3}}{_THE_PICTURE})"
)
_START = r"(?:^|[.!?:\n])\W{0,4}"
_ABSENT = re.compile(
    "|".join(
        (
            r"\bthere(?:['’]s|\s{1,3}(?:is|are|was|were))\s{1,3}(?:no|nothing|not)\b",
            r"\bthere\s{1,3}(?:is|are|was|were)n['’]t\b",
            r"\bthere\s{1,3}(?:seems?|appears?)\s{1,3}to\s{1,3}be\s{1,3}(?:no|nothing)\b",
            rf"\b(?:is|are|was|were){_NOT}\s{{1,3}}(?:\w{{1,12}}\s{{1,3}})?(?:visible|present|shown|displayed|found|"
            rf"available|t?here\b|anywhere|part of|(?:in|on)\s{{1,3}}{_THE_PICTURE})",
            r"\b(?:is|are|was|were)\s{1,3}(?:absent|missing)\b",
            _CANNOT_SEE,
            r"\bi\s{1,3}(?:can\s{1,3})?(?:see|find)\s{1,3}no(?:thing)?\b",
            r"\b(?:(?:could|can)\s{1,3}not|cannot|can['’]?t|couldn['’]?t)\s{1,3}be\s{1,3}(?:found|seen|located)\b",
            rf"\b(?:does|do|did){_NOT}\s{{1,3}}(?:appear|seem|exist|contain|include|show|have)\b",
            rf"\b{_PICTURE}\s{{1,3}}(?:contains?|shows?|has|includes?)\s{{1,3}}no\b",
            rf"{_START}(?:it['’]s\s{{1,3}})?not\s{{1,3}}(?:visible|present|found|shown|here|"
            rf"(?:in|on)\s{{1,3}}{_THE_PICTURE})",
            rf"{_START}no(?:ne|\s[^.!?\n]{{1,60}})?\s{{1,3}}(?:(?:is|are|was|were)\s{{1,3}})?(?:visible|present|found|shown)\b",
            rf"{_START}no\s{{1,3}}(?:such|match|matches|matching)\b",
            rf"{_START}nothing\s{{1,3}}(?:[^.!?\n]{{1,30}}\s{{1,3}})?matche[sd]\b",
        )
    ),
    re.IGNORECASE,
)
_CANNOT = rf"(?!{_CANNOT_SEE})(?:cannot|can['’]?t|can not|won['’]?t|will not)\b"
_DECLINES = (
    rf"(?:(?:i['’]?m |i am )?(?:very |so )?sorry\b|i {_CANNOT}|"
    rf"i(?:['’]m| am) (?!{_CANNOT_SEE})(?:unable|not able|not allowed)\b|as an ai\b)"
)
_REFUSAL = re.compile(rf"\W*+(?:unfortunately,? )?{_DECLINES}", re.IGNORECASE)
_DECLINES_SOMEWHERE = re.compile(rf"\b{_DECLINES}", re.IGNORECASE)
_TOTAL = re.compile(r"\ba total of ([0-9]{1,6})\b")
# Whatever could be part of another answer: coordinates in brackets, attributes, pieces of tags, a pair of numbers.
_OTHER_ANSWER = re.compile(
    r"[\[{]\s{0,4}[-+.]?\d"
    r"|[\[{]\s{0,4}[\[{\"']"
    r"|[\"']\s{0,4}:\s{0,4}[\[{\d]|[\"']\w{1,20}[\"']\s{0,4}:"
    r"|\b[xy]\d{0,4}\s{0,4}[=:]\s{0,4}[\"'“]?\s{0,4}[-+.]?\d"
    r"|\bcoords\s{0,4}="
    r"|</?point?s?(?![a-z])|<[/a-z]{0,8}\Z|</?b?box\b|<\|(?:box|object|point)"
    r"|\d\s{0,4}[)\]]?\s{0,4}[,;]\s{0,4}[-+(\[]?\.?\d|\d\s{0,4}[)\]]\s{0,4},",
    re.IGNORECASE,
)
# A longer text without points is a story, not the answer that there are none.
_LONGEST_ANSWER = 400


def says_none(text: str) -> bool:
    """Return whether a text contains the sentence "There are none."."""
    return _NONE_SENTENCE.search(text) is not None


def says_absent(text: str) -> bool:
    """Return whether a short text says in English that the target is not in the image, in whatever words."""
    return len(text) <= _LONGEST_ANSWER and (says_none(text) or _ABSENT.search(text) is not None)


def refuses(text: str) -> bool:
    """Return whether a text begins with a refusal."""
    return _REFUSAL.match(text) is not None


def check_prose(parts: Iterable[str], num_points: int) -> None:
    """Reject an answer that the text around it contradicts.

    Args:
        parts: the text before, between and after.
        num_points: of the answer.

    Raises:
        UnparsedReply: the text denies the answer, declines, counts otherwise, or could hold another answer.
    """
    parts = list(parts)
    prose = "\n".join(parts)
    if says_none(prose):
        raise UnparsedReply("it says that there are none and points all the same")
    if _ABSENT.search(prose):
        raise UnparsedReply("it says that the target is not there and points all the same")
    if _DECLINES_SOMEWHERE.search(prose):
        raise UnparsedReply("it declines and points all the same")
    for total in _TOTAL.findall(" ".join(parts)):
        if int(total) != num_points:
            raise UnparsedReply(f"it counts {total} and points at {num_points}")
    if other := _OTHER_ANSWER.search(prose):
        raise UnparsedReply(f"beside its answer there is {other[0][:20]!r}, which could be another one")


def check_complete(before: str, after: str) -> None:
    """Reject an answer that touches other text, which may be its lost beginning or end.

    Raises:
        UnparsedReply: a digit, a sign or a bracket touches the answer.
    """
    if re.search(r"[\w.+\-\[({]\Z", before) or re.match(r"[\w%)\]}]|[.,]\d", after):
        raise UnparsedReply("the answer touches other text: a part of it may be lost")


# --- Thoughts before the answer ---------------------------------------------------------------------------------------

_THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning|grounding_think)"
_THOUGHTS = re.compile(
    rf"\s*+(?:<{_THOUGHT}>|◁think▷)?(?:[^<◁]|<(?!/?{_THOUGHT}>)|◁(?!/?think▷))*+(?:</{_THOUGHT}>|◁/think▷)"
)
_ANY_THOUGHT = re.compile(rf"</?{_THOUGHT}>|◁/?think▷")
_OPEN_THOUGHT = re.compile(rf"\s*+(?:<{_THOUGHT}>|◁think▷)")


def is_thinking(reply: str) -> bool:
    """Return whether a reply ends within its thoughts."""
    return _OPEN_THOUGHT.match(reply) is not None and _THOUGHTS.match(reply) is None


def without_thoughts(reply: str) -> str:
    """Return the answer that follows a model's thoughts, such as ``<think>...</think>``; any other reply as it is.

    The opening tag may be missing: some chat templates put it into the prompt.

    Raises:
        UnparsedReply: the thoughts do not end, or begin again.
    """
    if _ANY_THOUGHT.search(reply) is None:
        return reply
    thoughts = _THOUGHTS.match(reply)
    answer = reply[thoughts.end() :] if thoughts else reply
    if thoughts is None or _ANY_THOUGHT.search(answer):
        raise UnparsedReply("its thoughts do not end, or begin again")
    return answer
