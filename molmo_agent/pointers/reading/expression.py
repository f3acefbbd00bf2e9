"""Reads a referring expression: ``the second "Save" button in the Find dialog`` -> name, kind, order, place."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "button", "checkbox", "radio", "switch", "field", "dropdown", "menu", "item", "tab", "link", "icon", "text"
]
Relation = Literal["left", "right", "above", "below", "beside", "in"]
Place = Literal["top", "bottom", "left", "right"]

# What people call widgets, longest first within the pattern; "box" alone may be a field or a check box.
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"radio(?: ?button)?s?|option button", "radio"),
    (r"check ?-?box(?:es)?|tick ?-?box|check mark", "checkbox"),
    (r"(?:toggle )?switch|toggle(?! button)", "switch"),
    (r"drop[- ]?down(?: (?:list|menu|box|button))?|combo ?-?box|select(?:or| box)|list ?box|pop-?up menu", "dropdown"),
    (
        r"(?:(?:search|text|input|entry|number|edit)[- ]?)?field|"
        r"(?:search|text|input|entry|edit|address|url|location)[- ]?(?:box|bar|edit)|spin[- ]?(?:box|button)|"
        r"text ?area|input(?: (?:field|box))?|entry field|spinner",
        "field",
    ),
    (r"menu (?:item|entry|option|command)", "item"),
    (r"menu", "menu"),
    (r"(?:(?:push|tool ?bar|tool|toggle|menu|command) ?)?button", "button"),
    (r"(?:hyper)?link", "link"),
    (r"(?:tool ?bar )?(?:icon|symbol)", "icon"),
    (r"(?:page |notebook )?tab", "tab"),
    (
        r"(?:list |tree |table )?(?:item|row|entry|cell)|option|file|folder|(?:column )?header|column|section|category",
        "item",
    ),
    (r"text|word|label|heading|title", "text"),
)
KIND_WORDS = "|".join(f"(?:{pattern})" for pattern, _ in _KINDS)
"""A pattern of the words for kinds of widgets."""
_KIND = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, (pattern, _) in enumerate(_KINDS)), re.IGNORECASE)
_NAMED = re.compile(r"\s+(?:named|called|labell?ed|titled|that says|saying|with the (?:text|label|name)|for)\s+", re.I)
_ASK = re.compile(
    r"(?:please\s+|now\s+|then\s+)*(?:(?:where(?:'s| is| are)|show me|point (?:to|at|out)|locate|find"
    r"|(?:(?:left|right|middle|double|triple)[- ])?click(?: on)?|tap(?: on)?|press|push|hit|select|choose|pick|open"
    r"|un(?:tick|check)|tick|check|toggle|follow|go to|switch to|focus|expand|mark)\s+)",
    re.IGNORECASE,
)
# Wordings that ask, whatever follows: no name begins with them.
_SURELY_ASK = re.compile(
    r"(?:where(?:'s| is| are)|point (?:to|at|out)|show me|locate|(?:click|tap)(?: on)? the)\s", re.I
)
# How to do something, after what it is for: 'close the dialog by clicking the "x"'.
_BY = re.compile(
    r"\s+by\s+(?:(?:double|left|right)[- ])?(?:clicking|pressing|tapping|selecting|choosing)(?:\s+on)?\s+(?=\S)", re.I
)
# A kind before a name in capitals: "button ONE", "checkbox A".
_KIND_FIRST = re.compile(r"(?P<kind>[a-z -]+?)\s+(?P<name>[A-Z][A-Z0-9]*)$")
_ARTICLE = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_ORDINALS = {
    word: number
    for number, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th"), 1
    )
    for word in words.split()
} | {"last": -1, "final": -1}
_ORDINAL = re.compile(rf"({'|'.join(_ORDINALS)})\s+(?=\S)", re.IGNORECASE)
_RELATIONS: tuple[tuple[str, Relation], ...] = (
    (r"(?:directly |just )?(?:to the )?left of", "left"),
    (r"(?:directly |just )?(?:to the )?right of|after", "right"),
    (r"(?:directly |just )?(?:above|over|on top of)", "above"),
    (r"(?:directly |just )?(?:below|under(?:neath)?|beneath)", "below"),
    (r"next to|beside|near|belonging to|in front of|at", "beside"),
    (r"in(?:side)?(?: of)?|within|of|on|from", "in"),
)
_RELATION = re.compile(
    r"\s+(?:(?:that is|which is|located|placed)\s+)?(?:"
    + "|".join(f"(?P<r{i}>{pattern})" for i, (pattern, _) in enumerate(_RELATIONS))
    + r")\s+(?P<anchor>the\s+.+|[\"'“‘«„`].+|[A-Z].*)$",
    re.IGNORECASE,
)
_AT_EDGE = re.compile(
    r"\s+(?:at|in|on|near)\s+the\s+(?:very\s+)?(top|bottom|left|right|upper|lower)"
    r"(?:[- ](?:left|right))?(?:\s+(?:side|edge|corner|part|end))?(?:\s+of\s+the\s+(?:screen|window|page))?$",
    re.IGNORECASE,
)
_CONTAINER = re.compile(
    r"(?:the\s+)?(?P<name>.+?)\s+(?:dialog(?:ue)?(?: box)?|window|menu|panel|pane|section|group|list|tool ?bar|page|"
    r"form|card|row|table|side ?bar|box|tab)$",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "`": "`"}
_PLURAL = re.compile(r"(?:all|every|each|how many|count|both)(?:\s+of)?(?:\s+the)?\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """What a referring expression says."""

    # Readings of the name, the likeliest first; empty: only a kind or a place is named.
    names: tuple[str, ...]
    # The name stood in quotes: it is written on the screen like this, or is the accessible name of what is meant.
    quoted: bool = False
    kind: Kind | None = None
    # 1 for the first, -1 for the last; None: not said.
    ordinal: int | None = None
    relation: Relation | None = None
    # What the relation leads to.
    anchor: str | None = None
    place: Place | None = None
    # More than one thing may be meant.
    several: bool = False


def read_expression(text: str) -> Expression:
    """Read what an instruction refers to. Anything can be a name, so this never fails."""
    text = re.sub(r"\s+", " ", text).strip()
    if text[-1:] in ("?", ".", "!") and text[-2:-1] not in ("?", ".", "!", ""):
        text = text[:-1].rstrip()
    if by := _BY.search(_outside_quotes(text)):
        return _read_noun_phrase(text[by.end() :])
    asked = _ASK.match(text)
    sure = _SURELY_ASK.match(text)
    rest = text[asked.end() :] if asked and asked.end() < len(text) else text
    whole = _read_noun_phrase(rest)
    if rest == text or sure:
        return whole
    # "Open" may be a verb before a name, or the name's first word: "Check for updates".
    literal = _read_noun_phrase(text)
    names = tuple(dict.fromkeys((*literal.names, *whole.names)) if not whole.quoted else whole.names)
    return Expression(
        names=names,
        quoted=whole.quoted,
        kind=whole.kind,
        ordinal=whole.ordinal,
        relation=whole.relation,
        anchor=whole.anchor,
        place=whole.place,
        several=whole.several,
    )


def _read_noun_phrase(text: str) -> Expression:
    several = bool(_PLURAL.match(text))
    if several:
        text = _PLURAL.sub("", text)
        singular = re.sub(r"(?:(?<=box|tch)e)?s$", "", text)
        text = singular if _ends_in_kind(singular) else text
    place: Place | None = None
    if edge := _AT_EDGE.search(text):
        words: dict[str, Place] = {"upper": "top", "lower": "bottom"}
        place = words.get(edge[1].lower()) or edge[1].lower()  # type: ignore[assignment]
        text = text[: edge.start()]
    relation, anchor = None, None
    match = _RELATION.search(_outside_quotes(text))
    if match is not None and _is_anchor(text, match):
        relation = next(
            _RELATIONS[int(name[1:])][1] for name, value in match.groupdict().items() if value and name[0] == "r"
        )
        anchor = _anchor_name(text[match.start("anchor") :], relation)
        literal = text
        text = text[: match.start()]
    else:
        literal = ""
    # "Ada from the list" may be a name, or say where "Ada" stands.
    listed = text[: match.start()] if match is not None and not literal and _is_container(match) else ""
    body = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    ordinal = None
    if (order := _ORDINAL.match(body)) and body[order.end() :]:
        ordinal, body = _ORDINALS[order[1].lower()], body[order.end() :]
    name, kind, quoted = _name_and_kind(body)
    if not name and not quoted and body == text and ordinal is None:
        # "File" alone is the name of something; "the file" is any.
        name, kind = body, None
    names = [name] if name else []
    if name and not quoted:
        # What looked like grammar may have been a part of the name.
        names += [part for part in (body, text, literal, listed) if part]
    if name and kind and not quoted and (named := _named_by_kind(body, name)):
        names.append(named)
    if not kind and not quoted and (first := _KIND_FIRST.fullmatch(body)) and (kind := _kind_of(first["kind"])):
        names.append(first["name"])
    return Expression(
        names=tuple(dict.fromkeys(part.strip() for part in names if part.strip())),
        quoted=quoted,
        kind=kind,
        ordinal=ordinal,
        relation=relation,
        anchor=anchor,
        place=place,
        several=several,
    )


def _outside_quotes(text: str) -> str:
    """Return the text with quoted parts blotted out, of the same length."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|„[^“]*“|(?<!\w)'[^']*'(?!\w)|‘[^’]*’(?!\w)|`[^`]*`", _blot, text)


def _blot(match: re.Match[str]) -> str:
    # The first sign stays, so that a quoted anchor is seen as one.
    return match[0][0] + "\0" * (len(match[0]) - 1)


def _is_anchor(text: str, match: re.Match[str]) -> bool:
    """Tell whether a relation is grammar: "Save in folder" is a name, "the Save button in the toolbar" is not."""
    before = text[: match.start()]
    if not before.strip():
        return False
    grammar = match.group("anchor").lower().startswith("the ") or match.group("anchor")[0] in _QUOTES
    if _ends_in_kind(before) and match.group("anchor")[0].isupper():
        return True
    described = bool(_ARTICLE.match(text)) or before.strip()[-1] in "\"'”’»`" or _ends_in_kind(before)
    return grammar and described


def _is_container(match: re.Match[str]) -> bool:
    anchor = match.group("anchor")
    return bool(_ARTICLE.match(anchor) and _CONTAINER.fullmatch(anchor))


def _ends_in_kind(text: str) -> bool:
    return any(match.end() == len(text.rstrip()) for match in _KIND.finditer(text.rstrip()))


def _anchor_name(text: str, relation: Relation) -> str:
    body = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    container = _CONTAINER.fullmatch(body)
    if container and relation in ("in", "beside"):
        body = container["name"]
    name, _, _ = _name_and_kind(body)
    return name or body


def _name_and_kind(body: str) -> tuple[str, Kind | None, bool]:
    """Split "Save button", "button named Save" or "checkbox for Wrap lines"; the name may be empty."""
    masked = _outside_quotes(body)
    if body and body[0] in _QUOTES and "\0" in masked:
        length = len(masked[1:]) - len(masked[1:].lstrip("\0"))
        inner, rest = body[1:length], body[length + 1 :].strip()
        kind = _kind_of(rest)
        if not rest or kind or _ARTICLE.match(rest):
            return inner, kind, True
    if "\0" in masked:
        # A kind and then the quoted name: checkbox "Wrap lines".
        start = masked.index("\0") - 1
        length = len(masked[start + 1 :]) - len(masked[start + 1 :].lstrip("\0"))
        before = _NAMED.sub("", f" {body[:start]} ").strip()
        if not body[start + length + 1 :].strip() and (kind := _kind_of(before)):
            return body[start + 1 : start + length], kind, True
    named = _NAMED.search(masked)
    if named and (kind := _kind_of(body[: named.start()])):
        return body[named.end() :], kind, False
    best: tuple[int, Kind] | None = None
    for match in _KIND.finditer(masked):
        starts_word = match.start() == 0 or not masked[match.start() - 1].isalnum()
        if starts_word and match.end() == len(masked):
            best = match.start(), _kind_of_match(match)
            break
    if best is None:
        return body, None, False
    start, kind = best
    name = body[:start].strip()
    # "the search box": the kind's own first word is the name.
    if not name and (word := re.match(r"(search|address|url|location)\b", body, re.IGNORECASE)):
        return word[1], kind, False
    return name, kind, False


def _named_by_kind(body: str, name: str) -> str:
    """Return a name with all of its kind but the last word: "the Source text field" may be labelled "Source text"."""
    words = body[len(name) :].split()[:-1] if body.startswith(name) else []
    return " ".join([name, *words]) if words else ""


def _kind_of(text: str) -> Kind | None:
    match = _KIND.fullmatch(text.strip())
    return _kind_of_match(match) if match else None


def _kind_of_match(match: re.Match[str]) -> Kind:
    return next(_KINDS[int(name[1:])][1] for name, value in match.groupdict().items() if value is not None)
