"""What the words of a reply say: that there is nothing, that the model declines, that there is another answer.

Words never make a point. They only take one away: an answer that its own words deny is not clear, and is not clicked.
All patterns run in linear time: their quantifiers are possessive or bounded.
"""

import re
from collections.abc import Iterable

from molmo_agent.point_text.denials import denial, plain_words


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
_COUNTS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_TOTAL = re.compile(
    rf"\b(?:total of|there (?:is|are)(?= \w{{1,6}} of (?:them|these))) "
    rf"([0-9]{{1,6}}|{'|'.join(_COUNTS)})\b"
)
# Whatever could be part of another answer: coordinates in brackets, attributes, pieces of tags, a pair of numbers.
_NUMBER = r"\d{1,12}(?:[.,]\d{1,12})?"
_UNIT = r"(?:\s{0,2}(?:%|percent\b|px\b|pixels?\b|pt\b))"
_OTHER_ANSWER = re.compile(
    r"[\[{]\s{0,4}[-+.]?\d"
    r"|[\[{]\s{0,4}[\[{\"']"
    r"|[\"']\s{0,4}:\s{0,4}[\[{\d]|[\"']\w{1,20}[\"']\s{0,4}:"
    r"|\b[xy]\d{0,4}\s{0,4}(?:[=:]|is\b)\s{0,4}[\"'“]?\s{0,4}[-+.]?\d"
    r"|\b\w{1,20}\s{0,4}=\s{0,4}[\"'“]"
    r"|\bcoord\w{0,8}\s{0,4}[=:]|\bcoord\w{0,8}\s{1,4}\(?\d"
    r"|</?point?s?(?![a-z])|<[/a-z]{0,8}\Z|</?b?box\b|<\|(?:box|object|point|quad)|</?tool_?c"
    r"|\d\s{0,4}[)\]]?\s{0,4}[,;]\s{0,4}[-+(\[]?\.?\d|\d\s{0,4}[)\]]\s{0,4},"
    rf"|{_NUMBER}{_UNIT}?[ \t]{{1,4}}[-+]?\.?\d|{_NUMBER}{_UNIT}?\s{{0,3}}[/|⁄×]\s{{0,3}}[-+]?\.?\d"
    rf"|{_NUMBER}{_UNIT}?\s{{1,3}}(?:by|x)\s{{1,3}}\.?\d|{_NUMBER}{_UNIT}\W{{1,4}}(?:and\s|und\s|et\s|y\s)?\s{{0,3}}\.?\d"
    rf"|{_NUMBER}{_UNIT}[^\n]{{1,40}}?{_NUMBER}{_UNIT}",
    re.IGNORECASE,
)
# Labels that are a remark about the target, not its name.
_DENYING_LABEL = re.compile(
    r"\s{0,4}(?:there (?:is|are) (?:not )?(?:no|none|any)\b|i (?:cannot|can ?not|do not|could not|am unable)\b|"
    r"(?:(?:the |this )?(?:target|element|object|item|button|icon)(?: is)? )?not (?:visible|present|found|shown|"
    r"available|applicable|(?:in|on) (?:the|this) (?:image|picture|screen|screenshot))\W{0,4}\Z|"
    r"(?:absent|n/a|null|undefined)\W{0,2}\Z|"
    r"[^(]{0,200}\([^()]{0,40}\b(?:not (?:visible|present|found|shown|available|in|on)|absent|missing)\b[^()]{0,40}\))"
)
# What takes an answer back: a comment, a deletion, another way round.
_TAKEN_BACK = re.compile(r"<!--|-->|~~|</?(?:del|s|strike)>", re.IGNORECASE)
_MARKUP = re.compile(r"</?([a-z][a-z_]{0,15})>", re.IGNORECASE)
# Markup that may stand around an answer.
_AROUND = frozenset(
    (
        "b",
        "i",
        "u",
        "em",
        "strong",
        "code",
        "pre",
        "p",
        "div",
        "span",
        "answer",
        "final",
        "output",
        "response",
        "result",
    )
)
# The end of a tag whose beginning is lost. Arrows, quotations and menus have a blank or a sign before it.
_STRAY_END = re.compile(r"(?<![\s<>=\-|?\]])>|\A>|>>")
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


def check_prose(parts: Iterable[str], num_points: int, *, reasoning: str = "") -> None:
    """Reject an answer that the text around it contradicts.

    Args:
        parts: the text before, between and after.
        num_points: of the answer.
        reasoning: the text before a call, if the answer is one; it may have negations that are about something else.

    Raises:
        UnparsedReply: the text denies the answer, declines, counts otherwise, or could hold another answer.
    """
    parts = list(parts)
    everything = [reasoning, *parts]
    prose = plain_words("\n".join(everything))
    if says_none(prose):
        raise UnparsedReply("it says that there are none and points all the same")
    if _ABSENT.search(prose):
        raise UnparsedReply("it says that the target is not there and points all the same")
    if _DECLINES_SOMEWHERE.search(prose):
        raise UnparsedReply("it declines and points all the same")
    for total in _TOTAL.findall(prose):
        if (_COUNTS.index(total) if total in _COUNTS else int(total)) != num_points:
            raise UnparsedReply(f"it counts {total} and points at {num_points}")
    if other := _OTHER_ANSWER.search(prose):
        raise UnparsedReply(f"beside its answer there is {other[0][:20]!r}, which could be another one")
    _check_markup(everything)
    if words := denial("\n".join(parts)) or denial(reasoning, reasoning=True):
        raise UnparsedReply(f"beside its answer it says {words[:30]!r}, which could deny it")


def _check_markup(parts: list[str]) -> None:
    """Reject an answer within markup that is not about its looks, or beside the rest of a lost tag.

    Raises:
        UnparsedReply: see above.
    """
    taken_back = _TAKEN_BACK.search("\n".join(parts))
    if taken_back:
        raise UnparsedReply(f"it takes its answer back with {taken_back[0]!r}")
    opened: set[str] = set()
    for part in parts:
        closing = {name.lower() for name in re.findall(r"</([a-z][a-z_]{0,15})>", part, re.IGNORECASE)}
        opening = {name.lower() for name in re.findall(r"<([a-z][a-z_]{0,15})>", part, re.IGNORECASE)}
        if around := (closing & opened) - _AROUND:
            raise UnparsedReply(f"its answer is within <{min(around)}>, which could take it back")
        opened |= opening - closing
        if _STRAY_END.search(_MARKUP.sub(" ", part)):
            raise UnparsedReply("beside its answer there is the end of another tag")


def check_complete(before: str, after: str, *, glue: str = r"\w") -> None:
    """Reject an answer that touches other text, which may be its lost beginning or end.

    Args:
        before: the text before the answer.
        after: the text behind it.
        glue: a pattern of the characters that may not touch it, beside signs and brackets.

    Raises:
        UnparsedReply: a digit, a sign, a bracket or a comma touches the answer, or another answer begins behind it.
    """
    before, after = _MARKUP.sub(" ", before), _MARKUP.sub(" ", after)
    if re.search(rf"(?:{glue}|[+\-\[({{]|(?:\A|\W|\d)\.)\Z|[,;/]\s{{0,4}}\Z", before) or re.match(
        rf"{glue}|[%)\]}}/]|\s{{0,4}}[.,;]\s{{0,4}}[-+(\[{{]?\.?\d|\s{{0,4}}[,;]\s{{0,4}}(?:[(\[{{<]|\Z)", after
    ):
        raise UnparsedReply("the answer touches other text: a part of it may be lost")
    if re.search(r"[(\[{<]\s{0,4}\Z|\d\s{0,2}[:)]\s{0,4}\Z", after):
        raise UnparsedReply("another answer begins behind it, and is cut off")


def check_label(label: str) -> None:
    """Reject an answer whose label says that there is nothing to label.

    Raises:
        UnparsedReply: see above.
    """
    if match := _DENYING_LABEL.match(plain_words(label[:400])):
        raise UnparsedReply(f"its label says {match[0].strip()[:40]!r}")


# --- Thoughts before the answer ---------------------------------------------------------------------------------------

_THOUGHT = (
    r"(?:(?:seed:|grounding_)?think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|analysis|scratchpad|rationale|cot)"
)
_OPENS = rf"<{_THOUGHT}>|◁think▷|\[THINK\]|<\|begin_of_thought\|>"
_CLOSES = rf"</{_THOUGHT}>|◁/think▷|\[/THINK\]|<\|end_of_thought\|>"
_THOUGHTS = re.compile(rf"\s*+(?:{_OPENS})?(?:[^<◁\[]|(?!{_OPENS}|{_CLOSES})[<◁\[])*+(?:{_CLOSES})", re.IGNORECASE)
ANY_THOUGHT = re.compile(rf"{_OPENS}|{_CLOSES}", re.IGNORECASE)
_OPEN_THOUGHT = re.compile(rf"\s*+(?:{_OPENS})", re.IGNORECASE)


# "<|im_end|>", "</s>", "<end_of_turn>"
_END_TOKENS = re.compile(
    r"(?:\s{0,4}(?:<\|?(?:im_end|end|endoftext|end_of_text|eot_id|eos|end_of_turn|return)\|?>|</s>|<｜end▁of▁sentence｜>)){1,4}"
    r"\s{0,4}\Z"
)


def is_thinking(reply: str) -> bool:
    """Return whether a reply ends within its thoughts."""
    return _OPEN_THOUGHT.match(reply) is not None and _THOUGHTS.match(reply) is None


def without_end_tokens(reply: str) -> str:
    """Return a reply without the tokens that end it, which some servers leave in the text."""
    return _END_TOKENS.sub("", reply)


def without_thoughts(reply: str) -> str:
    """Return the answer that follows a model's thoughts, such as ``<think>...</think>``; any other reply as it is.

    The opening tag may be missing: some chat templates put it into the prompt.

    Raises:
        UnparsedReply: the thoughts do not end, or begin again.
    """
    if ANY_THOUGHT.search(reply) is None:
        return reply
    thoughts = _THOUGHTS.match(reply)
    answer = reply[thoughts.end() :] if thoughts else reply
    if thoughts is None or ANY_THOUGHT.search(answer):
        raise UnparsedReply("its thoughts do not end, or begin again")
    return answer
