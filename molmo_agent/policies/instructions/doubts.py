"""Phrases that a plain reading would misread: two things for one, a manner for a part of a text.

"Click the red square and the blue circle" is not one thing, and in "type hello twice" the last word is hardly to be
typed. Each kind has its pattern, and says what to write instead.
"""

import re
from dataclasses import dataclass

from molmo_agent.policies.instructions.counts import COUNT
from molmo_agent.policies.instructions.keys import MODIFIERS
from molmo_agent.policies.instructions.plain_names import BEFORE_DETERMINER
from molmo_agent.policies.instructions.pressing import ends_with_chord

_ONE_EACH = "name one thing, and one step for each"
_RANGE = "a range is not one thing: drag from its first to its last, or click the first and shift-click the last"
_ORDINAL = r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last"
_LITERALLY = "put the text to type in quotes, without what is not a part of it"
_WHERE_IT_ENDS = 'it is not clear where the text ends: say for example: type "Ada" into the Name field'
# What a text is written into, below or beside.
_WRITTEN_AT = (
    r"(?:end|beginning|start|top|bottom|line|row|document|page|heading|paragraph|sentence|field|box|bar|cell|cursor|caret|sheet"
    r"|table|picture|image|photo|form|dialog|window|list)"
)
_NAMED_VALUE = (
    r"(?:passcode|password|pin|user\s?name|e-?mail(?:\s+address)?|amount|quantity|value"
    r"|(?:[a-z]+\s)?(?:name|code|number))"
)
# Things that are counted, one of which is a single target.
_COUNTED = (
    r"(?:(?:[a-z]+\s)?(?:files|folders|documents|rows|columns|cells|tabs|icons|links|emails|mails|messages|photos|pictures|images"
    r"|items|names|fields|entries|songs|tracks|cards|contacts|circles|squares|shapes|dots|lines|apps|boxes|checkboxes|buttons"
    r"|switches|toggles|keys|tiles))"
)


@dataclass(frozen=True, slots=True)
class _Kind:
    # What verbs do, as in the table of verbs; empty: all but typing.
    does: frozenset[str]
    # Verbs, in small letters; empty: any.
    verb: str
    pattern: re.Pattern[str]
    advice: str


def _kind(pattern: str, advice: str, *, does: str = "", verb: str = "", flags: int = 0) -> _Kind:
    return _Kind(frozenset(does.split()), verb, re.compile(pattern, flags), advice)


_POINTED = "click double_click triple_click right_click middle_click long_press move whole press"
_TARGETS = (
    _kind(
        rf"(?<!\w)(?:{_ORDINAL})(?:,\s+(?:and\s+)?|\s+and\s+)(?:the\s+)?(?:{_ORDINAL})(?!\w)", _ONE_EACH, does=_POINTED
    ),
    _kind(rf"^the\s+(?:first|last|next|top|bottom|other)\s+(?!one\s)(?:{COUNT})\s+[a-z]+s$", _ONE_EACH, does=_POINTED),
    _kind(
        r"(?<!\w)(?:as\s+well\s+as|along\s+with|together\s+with|followed\s+by|at\s+the\s+same\s+time(?:\s+as)?"
        r"|in\s+(?:that|this)\s+order|one\s+after\s+the\s+other|and\s+back(?:\s+again)?$"
        r"|and\s+(?:afterwards?|subsequently|finally|next)\s)",
        _ONE_EACH,
        does=f"{_POINTED} drag scroll open_app",
    ),
    _kind(r"\s(?:&|\+|->|=>|→)\s+(?:click|tap|press|type|drag|hit)\s", _ONE_EACH, does=_POINTED, flags=re.IGNORECASE),
    _kind(r"^between\s", _RANGE, verb=r"select|choose|pick|toggle|switch(?:\s+to)?|tick|check"),
    _kind(
        r"(?:^|\s)from\s.*\s(?:to|until|through)\s|\d\s+(?:to|through|-|–)\s+\d|\sthrough\s|(?<!\w)[A-Z]{1,2}\d+:[A-Z]{1,2}\d",
        _RANGE,
        verb="select|choose|pick|tick|check|untick|uncheck",
    ),
    _kind(r"^(?:again|here|there|around|everywhere|away)$", "name one thing on the screen", does=_POINTED),
    _kind(
        r"^(?:(?:the|this|that|these|those)\s+)?(?:(?:same|other|usual|previous|former|latter|remaining)\s+(?:ones?|things?)"
        r"|others|rest|former|latter)(?:\s+of\s.*)?$|^(?:the\s+)(?:same|other|usual)$|^(?:this|that|these|those)\s+ones?$"
        r"|^(?:these|those|one)$",
        "name the one thing that is meant",
        does=f"{_POINTED} drag",
    ),
    _kind(
        rf"^(?:the\s+)?{_COUNTED}\s+(?!(?:in|on|at|with|from|under|of|to|by|that|which|and|left|right|below|above)\s)\S.*?"
        r"(?:,|\s(?:and|&)\s).*|(?<!between\s)(?<!\w)\d+\s+(?:and|&)\s+\d+$",
        _ONE_EACH,
        does=f"{_POINTED} drag",
    ),
    _kind(
        r"\swith\s+(?:two|three|four|five|both|\d)\s+(?:fingers|thumbs|hands)(?!\w)",
        "one finger is all there is: name a tap, a long press or a swipe",
        does=f"{_POINTED} drag scroll",
    ),
    _kind(
        r"\sto\s+(?:about|around|roughly|approximately|nearly|almost|halfway|half)(?:\s|$)",
        "name the place to drag to",
        does="drag",
    ),
    _kind(
        r"\sand\s+(?:type|click|tap|press|enter|hit|drag|scroll|swipe|write|select|choose)$",
        "a step after 'and' does not say what; put a sign to type in quotes",
        does=_POINTED,
    ),
    _kind(
        r"^(?:and|off|up|down|out|away|along|through|around)\s",
        "name one thing on the screen",
        does=f"{_POINTED} drag",
    ),
    _kind(r"^to\s+[a-z]+(?:\s|$)", "name one thing on the screen", verb="click|tap|touch"),
    _kind(r"^right\s+on\s", "say right-click for the other button, and leave out the word otherwise", does="click"),
    _kind(
        r"^(?:the\s+)?(?:(?:left|right|middle)\s+)?mouse\s+button$",
        "name what is clicked: right-click the file",
        does=_POINTED,
    ),
    _kind(
        r"^(?:the\s+)?(?:(?:very|absolute)\s+)?(?:top|bottom|end|start|beginning)(?:\s+of\s+(?:the|this)\s+\w+)?$",
        "say for example: scroll down 20",
        verb="(?:go|navigate) to",
    ),
    _kind(
        r"\s(?:with|using)\s+(?:the\s+)?[A-Z]\w+(?:\s+[A-Z]\w+)?$",
        "the program cannot be chosen: name what is clicked, step by step",
        verb="open(?: up)?",
    ),
    _kind(r"\sby\s+(?:click|tapp|press|hitt|dragg)ing\s", "name one thing on the screen", does=_POINTED),
    _kind(r"^(?:from|of|by)\s", "name one thing on the screen", does=_POINTED),
    _kind(r"^(?:once|twice|\S+\s+times)\s", "say for example: click Next 3 times", does=_POINTED),
    _kind(
        rf"\swith\s+(?:the\s+)?(?:{MODIFIERS})$", "say for example: ctrl-click Name", does=_POINTED, flags=re.IGNORECASE
    ),
    _kind(rf"^all\s+(?:{COUNT})$", _ONE_EACH, does=_POINTED),
    _kind(
        r"^the\s+(?:correct|best|proper|appropriate|suitable|matching|relevant|obvious|cheapest|right)"
        r"(?:\s+(?:ones?|answer|choice|solution))?$",
        "name the one thing that is meant",
        verb="select|choose|pick|click|tap",
    ),
    _kind(
        r"^(?:on\s+)?(?:the|an?)\s+(?:correct|best|proper|appropriate|suitable|relevant|obvious|cheapest|nice|good|fitting"
        r"|reasonable|convenient)\s+[a-z]+$",
        "name the one thing that is meant",
        verb="select|choose|pick|click|tap|open",
    ),
    _kind(
        r"\s(?:>|->|→)\s",
        "one gesture has one target: name the next step behind 'then'",
        does="double_click triple_click right_click middle_click long_press move drag",
    ),
    # "Click (640, 480)": a number of pixels is nothing that can be seen.
    _kind(
        r"(?:^|(?:^|\s)(?:at|to|from|position|point|pixel)\s+)(?:\(\d{1,4},\s*\d{1,4}\)|\d{2,4},\s+\d{2,4}$)",
        "coordinates are not read: name what is seen there",
        does=f"{_POINTED} drag",
    ),
    _kind(
        r"^(?:your|my)\s+(?:own\s+)?(?:favou?rites?|choice|pick|preference)$",
        "name the one thing that is meant",
        does=_POINTED,
    ),
    # "Terms and Conditions" is one box, "Wi-Fi and Bluetooth" are two switches.
    _kind(
        r"^(?!Terms\s)[A-Z][\w-]*\s+(?:and|&)\s+(?!Conditions|Close|Exit)[A-Z][\w-]*(?:\s+(?:on|off))?$",
        "say one step for each, or put it in quotes where it is one name",
        verb="(?:un)?(?:tick|check)|enable|disable|(?:turn|switch)(?: on| off)?|(?:put|place|add|remove|clear) .*",
    ),
    _kind(
        r"^(?:both\s+)?\0+(?:,|\s(?:and|&))\s+(?:and\s+)?\0+",
        _ONE_EACH,
        does="double_click triple_click right_click middle_click long_press move whole drag",
    ),
    _kind(
        r"\sthat\s+(?:fits|suits|works|matches)(?:\s+(?:best|better|well|most))?$",
        "name the one thing that is meant",
        does=f"{_POINTED} drag",
    ),
    _kind(
        r"^\S\s+to\s+[a-z]|^the\s+(?:letter|number|digit)\s+key\s",
        "for a key, say for example: press the M key",
        does="press",
    ),
    _kind(
        r"^(?:on\s+)?an?\s+(?:option|item|entry|value|file|button|row|link|key|photo|picture|song|video|name|colou?r|size"
        r"|number|seat|time|day|month|year|message|mail|email|contact|folder|page|product|result|answer)$"
        r"|^the\s+(?:shortcut|keys?|key\s+combination)$",
        "name the one thing that is meant",
        does=_POINTED,
        verb=r"\S.*",
    ),
    _kind(r"^(?:the\s+)?(?:same|usual)\s", "name the one thing that is meant", does=f"{_POINTED} drag"),
    _kind(r"^all$", 'say: press ctrl+a; or name a button: click "Select all"', does="click"),
    _kind(
        r"^(?:enter|return|escape|esc|tab|space|backspace|delete|f\d+)\s+(?:key\s+)?(?:to|a\s+couple|a\s+few)\s",
        "say only which keys are pressed",
        does="press",
        flags=re.IGNORECASE,
    ),
    _kind(
        r"^(?:enter|return|escape|esc|tab|space|backspace|delete)\s+(?:once|twice|\d+|quickly|slowly|again|now)(?!\w)",
        "say for example: press Tab 3 times",
        does="press",
        flags=re.IGNORECASE,
    ),
    _kind(rf"^(?:the\s+)?(?:{MODIFIERS})$", "say for example: ctrl-click Name", does="long_press", flags=re.IGNORECASE),
    _kind(
        r"\s\d+\s*(?:px|pixels?|points?|cm|mm|inch(?:es)?)\s+(?:to|up|down)(?!\w)",
        "a distance cannot be chosen: name the place to drag to",
        does="drag",
    ),
    _kind(r"\s(?:and|in|on|with|to|from|as|for)\s", "name one app, as its icon does", does="open_app"),
)
_TEXTS = (
    _kind(
        r"^(?:it|that|this|them|everything|the\s+same)(?:\s+(?:again|too|as\s+well|here|there|in|into|down|out))*$",
        _LITERALLY,
    ),
    _kind(
        rf"(?:^|\s)(?:once|twice|thrice|(?:{COUNT}|a\s+few|several)\s+(?:more\s+)?times|again|slowly|quickly|carefully"
        r"|letter\s+by\s+letter)$",
        _LITERALLY,
    ),
    _kind(
        r"\sin\s+(?:all\s+)?(?:capitals?|caps|upper\s?case|lower\s?case|bold|italics?|block)(?:\s+(?:letters?|text|type))?$",
        _LITERALLY,
    ),
    _kind(r"\s(?:with|using|on|via)\s+(?:the|your|my|an?)\s+(?:[\w-]+\s+)?keyboard$", _LITERALLY),
    # "The answer", "the current date": a text that is described, not named.
    _kind(r"^the\s+[a-z]", _LITERALLY),
    _kind(
        r"^[A-Za-z]+'s\s+(?:[a-z]+\s)?(?:date|name|number|address|e-?mail|phone|password|birthday|age|answer|title|time|weather|code)$",
        _LITERALLY,
    ),
    _kind(
        r"^(?:current|correct|valid|missing|right)\s+(?:date|time|name|number|password|value|answer|address|e-?mail|code)s?$",
        _LITERALLY,
    ),
    _kind(r"^(?:data|text|details|info(?:rmation)?|credentials|content|values?|numbers?|words?)$", _LITERALLY),
    _kind(r"^(?:say|read|be|contain|show|have)\s", _LITERALLY, verb="fill"),
    _kind(r"^the\s+\S\s+(?:sign|symbol|character|key)$", _LITERALLY),
    _kind(
        r"[<{\[](?:enter|return|tab|esc(?:ape)?|space|backspace|del(?:ete)?|ctrl|cr|lf)[>}\]]",
        'say keys as steps: type "Ada", then press Enter',
        flags=re.IGNORECASE,
    ),
    _kind(r"^(?:back|to|about|that)\s", _LITERALLY, verb="write"),
    # "Enter password hunter2" types one word of them, or two.
    _kind(rf"^{_NAMED_VALUE}\s+[^\s\0]+$", _WHERE_IT_ENDS, verb="enter|input|key in"),
    _kind(r"^(?:full\s?screen|[a-z]+\s+mode)$", _LITERALLY, verb="enter"),
    _kind(r"^(?:my|your|his|her|their|our|some|any)\s+[a-z]", _LITERALLY, verb="fill.*|set|put"),
    # "What I told you" is not known here; "what is this" may be a text.
    _kind(r"^what(?:ever)?\s+(?:I|you|he|she|it|we|they|was|is\s+(?:on|in|shown|written|displayed))(?!\w)", _LITERALLY),
    _kind(r"", 'say: press ctrl+v; or put the text to paste in quotes: paste "Ada" into Name', verb="paste"),
)
# A text without quotes that ends with a place or a role: "hello in Name", "hello on line 3", "Ada as first name".
_ENDS = (
    _kind(r"\sin\s+(?:[A-Z][\w-]*(?:\s(?:[A-Z][\w-]*|\d+)){0,2}|[a-z]+\s\d+)$", _WHERE_IT_ENDS),
    _kind(
        rf"\s(?:at|on|to|in|below|above|under|underneath|beneath|next\s+to|beside|before|after|behind)\s+(?:the|this|my)\s+"
        rf"(?:[\w-]+\s+){{0,2}}?{_WRITTEN_AT}(?:\s+of\s.*)?$",
        _WHERE_IT_ENDS,
    ),
    _kind(rf"\s(?:on|at|to|in)\s+{_WRITTEN_AT}\s+\w+$", _WHERE_IT_ENDS),
    _kind(r"^\S*\d\S*\s+for\s", _WHERE_IT_ENDS),
    # "Write hello to Bob" is a message to him.
    _kind(r"^[\w'-]+(?:\s[\w'-]+)?\sto\s(?:(?:my|the)\s[a-z]+|[A-Z][\w-]*)$", _WHERE_IT_ENDS, verb="write"),
    _kind(
        r"\s(?:as\s+(?:the\s+)?|for\s+the\s+)(?:[a-z]+\s)?(?:name|title|subject|password|username|e-?mail|description|amount|value"
        r"|quantity|price|age|address|code)$",
        _WHERE_IT_ENDS,
    ),
)
VALUE_CALLED = re.compile(rf"{_NAMED_VALUE}\s+(?=\S*[\d@]\S*(?:$|\s+(?:in|into)\s))")
"""A pattern for what an entered number or address is called: ``zip code`` of "enter zip code 90210"."""
# "The word hello", "my code 1234": what is typed stands behind them. "The word shown above" is described.
CALLED = re.compile(
    r"(?:exactly\s+)?(?:this|exactly|as\s+follows|verbatim)\s*:\s+(?=\S)"
    r"|(?:the|my|your)\s+(?:(?:following\s+)?(?:word|letter|digit|number)\s*:?\s+"
    r"(?!(?:shown|displayed|visible|written|seen|highlighted|above|below|again|here|there|twice)(?!\w))"
    r"(?=[^\s\0]+(?:$|\s+(?:in|into)\s))"
    r"|(?:following\s+)?(?:text|words|phrase|sentence|string|letters|digits|numbers)\s*:\s+(?=\S)"
    r"|following\s*:\s+(?=\S)"
    r"|(?:(?:zip|postal|post|phone|telephone|mobile|order|invoice|account|card|room|flight|tracking|serial|promo|coupon|discount"
    r"|voucher|security|verification|access|first|last|full|middle|family|company|file|project|start|end|due|birth|delivery"
    r"|departure|arrival)\s+)?(?:(?:pass)?code|password|pin|user\s?name|name|e-?mail(?:\s+address)?|amount|value|date|time|title"
    r"|number|quantity|price|city|year)\s*:?\s+"
    r"(?=\S*[\d@A-Z]\S*(?:$|\s+(?:in|into)\s)))",
)
"""A pattern for what a text is called: ``the word`` of "type the word hello"."""

_COORDINATED = re.compile(r"(?:,|\s+(?:and|&))\s+(?:the|an?|my|your|this|these|those)\s+", re.IGNORECASE)
_LIST = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+&\s+")
_MAX_ITEM_WORDS = 3
_ADJECTIVES = "left right next top bottom opposite half both all up down off"
_PREPOSITIONS = BEFORE_DETERMINER - frozenset(_ADJECTIVES.split())


def why_misread(target: str, does: str, verb: str) -> tuple[str, str]:
    """Return the words that make more than one thing of a target, and what to do instead; nothing if it is one.

    Args:
        target: masked text behind the verb and its preposition.
        does: what the verb does.
        verb: the verb as written.
    """
    if does in _POINTED.split():
        if several := _several(target):
            return several, _ONE_EACH
        if ends_with_chord(target):
            return target.split()[-1].replace("\0", ""), "press the keys, or name one thing to click"
    return _first(_TARGETS, target, does, verb)


def why_no_text(text: str, verb: str) -> tuple[str, str]:
    """Return the words of an unquoted text that are hardly to be typed, and what to do instead; nothing if all are.

    Args:
        text: masked text without the field behind it.
        verb: the verb as written.
    """
    if ends_with_chord(text):
        return text.split()[-1], _LITERALLY
    return _first(_TEXTS, text, "type", verb)


def why_no_end(text: str, verb: str) -> tuple[str, str]:
    """Return the words at the end of an unquoted text that may be a place or a role, and what to do instead."""
    return _first(_ENDS, text, "type", verb)


def _first(kinds: tuple[_Kind, ...], phrase: str, does: str, verb: str) -> tuple[str, str]:
    verb = " ".join(verb.lower().split())
    for kind in kinds:
        if (kind.does and does not in kind.does) or (kind.verb and not re.fullmatch(kind.verb, verb)):
            continue
        if match := kind.pattern.search(phrase):
            return match[0].replace("\0", "").strip() or verb, kind.advice
    return "", ""


def _several(target: str) -> str:
    """Return what joins two things with an article each, or three without: ``the A and the B``, ``A, B and C``."""
    for joint in _COORDINATED.finditer(target):
        words = target[: joint.start()].lower().split()
        # "The button, the blue one" is one thing.
        is_apposition = joint[0][0] == "," and (words[:1] != ["the"] or re.search(r"(?<!\w)ones?$", target))
        if not is_apposition and not any(word in _PREPOSITIONS for word in words):
            return joint[0].strip(" ,")
    items, joints = _LIST.split(target), [joint[0].strip() for joint in _LIST.finditer(target)]
    short = all(0 < len(item.split()) <= _MAX_ITEM_WORDS and item.split()[0] not in _PREPOSITIONS for item in items)
    # "Terms and Conditions, the blue one" is no list.
    if len(items) > 2 and short and all(joint == "," for joint in joints[:-1]):
        return ", ".join(items).replace("\0", "...")
    return ""
