r"""Convert any string to text that is safe to draw and to print on one line.

Instructions, replies, labels and error messages come from models, web pages and other people. Unchanged, a line end
breaks the layout of a caption, an escape sequence moves the cursor of a terminal, and a direction override reverses the
name of a target. So every character without a visible shape is replaced by a sign:

    character                                                   sign
    line feed, carriage return, tab                             \n  \r  \t
    any other control, surrogate, line or paragraph separator   its escape: \x1b  \x85  \u2028  \ud800
    direction marks, overrides and isolates                     \u202e
    zero-width, soft hyphen, filler and other invisible ones    \u200b  \xad  \u3164
    private use and unassigned                                  \ue000  \U0010ffff
    more than six combining marks on one character              the first six, then (+57 marks)
    a combining mark without a character before it              a dotted circle under it

Ordinary text of any script stays unchanged: accents and vowel signs, joiners between letters of the scripts that need
them and within emoji, a variation selector after a symbol. A sign looks the same as its characters in the original
text; JSON output has the exact text.
"""

import re
import unicodedata

MAX_MARKS = 6
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Controls, formats, surrogates, private use, unassigned, line and paragraph separators.
_SHAPELESS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Format characters that have a shape: the signs around numbers and the like in Arabic, Syriac and Kaithi.
_VISIBLE_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# Letters and marks without a glyph.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_JOINERS = "\u200c\u200d"
# Reserved for pictographs: emoji that are newer than this Python.
_FUTURE_EMOJI = range(0x1F000, 0x1FB00)
# The scripts that need joiners begin here; in Latin, Greek, Cyrillic and Armenian text a joiner is only invisible.
_FIRST_JOINER_SCRIPT = 0x0590
# The flags of England, Scotland and Wales are spelled with invisible tags; elsewhere tags only hide text.
_TAGGED_FLAG = re.compile("\U0001f3f4\U000e0067\U000e0062(?:eng|sct|wls)\U000e007f".translate(
    {ord(letter): 0xE0000 + ord(letter) for letter in "engsctwl"}
))  # fmt: skip


def visible_text(text: str) -> str:
    """Return a text on one line, with a sign for every character that is invisible or changes the text around it."""
    if text.isascii() and text.isprintable():
        return text
    flags = {place for match in _TAGGED_FLAG.finditer(text) for place in range(*match.span())}
    pieces: list[str] = []
    # Combining marks on the current character, and whether there is a character to carry them.
    marks, has_base = 0, False
    for place, character in enumerate(text):
        if character in _JOINERS:
            plain = has_base and marks < MAX_MARKS and _joins(text, place)
        elif _is_selector(character):
            plain = has_base and _selects(text, place)
        else:
            plain = place in flags or not _is_shapeless(character)
        if not plain:
            pieces.append(_surplus(marks) + _escape(character))
            marks, has_base = 0, False
        elif character in _JOINERS or _is_selector(character):
            pieces.append(character)
        elif unicodedata.category(character) in ("Mn", "Me"):
            marks += 1
            if marks <= MAX_MARKS:
                pieces.append(character if has_base else f"\u25cc{character}")
            has_base = True
        else:
            pieces.append(_surplus(marks) + character)
            marks, has_base = 0, True
    return "".join(pieces) + _surplus(marks)


def visible_lines(text: str) -> str:
    """Return a text with its line feeds, each line converted by :func:`visible_text`."""
    return "\n".join(visible_text(line) for line in text.replace("\r\n", "\n").split("\n"))


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _surplus(marks: int) -> str:
    return f"(+{marks - MAX_MARKS} marks)" if marks > MAX_MARKS else ""


def _is_shapeless(character: str) -> bool:
    if character in _BLANK:
        return True
    category = unicodedata.category(character)
    if category == "Cn" and ord(character) in _FUTURE_EMOJI:
        return False
    return category in _SHAPELESS and character not in _VISIBLE_FORMATS


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _selects(text: str, place: int) -> bool:
    """Return whether a variation selector follows something that has variants; a row of them carries hidden text."""
    before = text[place - 1] if place else ""
    if not before or _is_selector(before) or _is_shapeless(before):
        return False
    return before in "#*0123456789" or (not before.isascii() and unicodedata.category(before)[0] in "LSP")


def _joins(text: str, place: int) -> bool:
    """Return whether a joiner stands between two characters of a script, or of an emoji, that joiners shape."""
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    return _takes_joiners(before) and _takes_joiners(after) and not _is_selector(after)


def _takes_joiners(character: str) -> bool:
    if not character or ord(character) < _FIRST_JOINER_SCRIPT or _is_shapeless(character):
        return False
    category = unicodedata.category(character)
    return category[0] in "LM" or category in ("So", "Sk", "Cn")
