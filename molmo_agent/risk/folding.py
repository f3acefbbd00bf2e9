"""Spellings of one name as one string: case, accents, look-alike letters, invisible and spaced-out letters.

A name on a screen may be written to be read by people and missed by programs: a Cyrillic letter in a Latin word, a
zero-width space, "D e l e t e". Text engines make some of these mistakes by themselves.
"""

import re
import unicodedata

# Letters of the small alphabet without a decomposition.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "ı": "i", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"})
# Small Cyrillic, Greek and phonetic letters -> the Latin ones that they, or their capitals, look like.
_LOOKALIKES = str.maketrans(
    "авеиклмнопрстухіјѕԁһԛԝӏгзєүαβεικνορτυχηωɑɡᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ",
    "abeuklmhonpctyxijsdhqwlr3eyabeikvoptuxnwagabcdeghijklmnoprtuvwyz",
)
# Digits and signs that stand for letters.
_DIGITS = (
    str.maketrans("013457@$|!", "oieastasii"),
    str.maketrans("013457@$|!", "oleastasll"),
)
# Single letters with a space or a sign between them, at least three.
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W_][\s.·*_-]{1,2}){2,}[^\W_](?![^\W_])")
_APOSTROPHES = re.compile(r"(?<=\w)['’‘ʼ`´′](?=\w)")
# Icons that text engines read as the first or last character of the words beside them: XCancel, 7Help, Q Search.
_ICON = re.compile(
    r"^[xX\d](?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])|^(?:[^\W\d_]|[^\w\s]) +(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])"
    r"|(?<=\w)\s*[▼▾▿⌄∨▸▶→›»]+$|(?<=\w\w) +[^\W\d_]$"
)
# Letters without a glyph, beside the format characters.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
# Scripts whose marks are accents; in others they are vowels or parts of letters.
_ACCENTED = re.compile(r"[A-Za-z\u0370-\u052f\u05d0-\u05ea\u0620-\u06ff]")


def fold(text: str) -> str:
    """Return a text without case, accents, invisible characters, apostrophes in words and repeated spaces."""
    pieces: list[str] = []
    accented = False
    for character in unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text)):
        category = unicodedata.category(character)
        if category in ("Cf", "Me") or character in _BLANK or (category == "Mn" and accented):
            continue
        if category != "Mn":
            accented = _ACCENTED.match(character) is not None
        pieces.append(character)
    plain = unicodedata.normalize("NFC", "".join(pieces)).casefold().translate(_PLAIN)
    return " ".join(_APOSTROPHES.sub("", plain).split())


def readings(text: str) -> tuple[str, ...]:
    """Return the folded text and the other words that its letters may be meant as, without doubles."""
    first = fold(text)
    folded = [first]
    if _SPACED.search(first):
        folded.append(_SPACED.sub(lambda match: re.sub(r"[\W_]", "", match[0]), first))
    for reading in tuple(folded):
        folded.append(" ".join(_as_latin(word) for word in reading.split(" ")))
        if any(character in "013457@$|!" for character in reading):
            folded += [" ".join(_as_letters(word, table) for word in reading.split(" ")) for table in _DIGITS]
    return tuple(dict.fromkeys(folded))


def without_icon(text: str) -> str:
    """Return a text without the icons that were read as a part of it: ``XCancel``, ``Q Search``, ``Text files▼``."""
    return _ICON.sub("", text.strip())


def words_of(folded: str) -> list[str]:
    """Return the words of a folded text."""
    return re.findall(r"[^\W_]+", folded)


def _as_latin(word: str) -> str:
    """Return a word in Latin letters if all its letters look like some, else the word."""
    latin = word.translate(_LOOKALIKES)
    return latin if latin.isascii() else word


def _as_letters(word: str, table: dict[int, int]) -> str:
    """Return a word with letters for its digits and signs if it has a letter already."""
    return word.translate(table) if any(map(str.isalpha, word)) else word
