"""Read what is looked for: ``search for "cats"``, ``go to example.com``. A field gets the text, then Enter."""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.quoting import Part
from molmo_agent.policies.instructions.reading import need
from molmo_agent.policies.instructions.substep import SubStep

_INTO = re.compile(r"\s(?:in|into|inside|to|at|on)\s", re.IGNORECASE)
_SEARCH = re.compile(
    r"(?P<text>.+?)(?:\s+(?:in|into|with|using|on)\s+(?P<field>(?:the|this)\s+[^,;]{0,40}?(?:field|box|bar)))?",
    re.IGNORECASE,
)


# What is looked for in no search field: "search for updates" presses a button, "search for the red car" points at one.
_NO_QUERY = re.compile(
    r"(?:the|an?|my|your|his|her|their|our|this|that|these|those|some|any|all|every|it|them|him|other|more|new|another"
    r"|updates?|errors?|devices?|problems?|virus(?:es)?|malware|networks?|help|solutions?|drivers?|printers?|files?"
    r"|emails?|mails?|messages?|photos?|pictures?|images?|people|contacts?|apps?|programs?|text|words?)(?!\w)"
    r"|.*(?<!\w)(?:from|with|named|called|that|which|who|by|under|over|in\s+the|larger|smaller|newer|older|cheaper|between|like"
    r"|similar|then|and|on|to|at|into|without|it)(?!\w)|(?:\S+\s+){5}|.*[,;:]",
    re.IGNORECASE,
)


def read_search(part: Part, rest: Part) -> list[SubStep]:
    """Read ``"cats" in the search bar``: the field holds the text then, and Enter is pressed.

    Raises:
        UsageError: there is neither a quoted text nor a field.
    """
    match = _SEARCH.fullmatch(rest.mask)
    text = rest.cut(*match.span("text")) if match else rest
    is_doubtful = _NO_QUERY.match(text.mask) if match is None or match["field"] is None else _INTO.search(text.mask)
    if match is None or (text.quoted() is None and is_doubtful):
        raise UsageError(
            f"{part.text!r}: it is not clear where to search; say for example: search for "
            f'"{text.text if chr(0) not in text.mask else "Ada"}" in the search field'
        )
    field = rest.cut(*match.span("field")).text if match["field"] else "the search field"
    return _enter_into(part, field, need(part, text.quoted() or text.text))


ADDRESS = (
    r"(?:https?://\S|www\.\S|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|dev|edu|gov|info|de|fr|es|it|nl|se|ch|at|uk|eu|us|ca|au"
    r"|jp|in|br)(?:[/:?#]\S*|[.!]?(?=[\s,;]|$)))"
)
"""A pattern for the address of a web page, without the names of files."""


def read_address(part: Part, rest: Part) -> list[SubStep]:
    """Read ``example.com``: the address bar holds the address then, and Enter is pressed.

    Raises:
        UsageError: more than an address follows.
    """
    address = rest.quoted() or rest.text
    if len(address.split()) != 1:
        raise UsageError(
            f"{part.text!r}: expected only an address, got {rest.text!r}; say for example: go to example.com"
        )
    return _enter_into(part, "the address bar", address)


def _enter_into(part: Part, field: str, text: str) -> list[SubStep]:
    return [
        SubStep(text=part.text, gesture="click", targets=(field,)),
        SubStep(text=part.text, gesture="type", value=text, replace=True),
        SubStep(text=part.text, gesture="key", value="enter"),
    ]
