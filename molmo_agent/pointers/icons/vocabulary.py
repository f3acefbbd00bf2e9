"""Look up what an icon's name means: "Create Folder" is a new folder, "Delete Brush" a bin, "Frobnicate" unknown.

``vocabulary.json`` holds the names of each meaning as people and tool tips write them, with a weight: 1 for a usual
name, 0.5 for one that the icon only sometimes has. A meaning is what an icon depicts, so a name may have several.
"""

import json
import math
import re
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("vocabulary.json")
# Words that do not tell icons apart.
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those to of in on at from with for by and or it its your my our current currently"
        " selected active existing button buttons icon icons please toolbutton set unset property",
    )
)
# Words that do not either, if others remain: "Toggle Bold" is bold, "Background color menu" the colour.
_WEAK_WORDS = frozenset(("toggle", "menu", "tool", "mode", "command"))
# What tool tips add to a name: keys and remarks in brackets, another line, "(Ctrl+F)".
_ADDITION = re.compile(
    r"\(.*?\)|\[.*?\]|\n.*|(?:\bctrl|\balt|\bshift|\bsuper|⌘|⇧|⌥)\s?\+.*|\bF\d{1,2}\b", re.IGNORECASE | re.DOTALL
)
_SPELLINGS = {
    "colour": "color",
    "centre": "center",
    "favourite": "favorite",
    "minimise": "minimize",
    "maximise": "maximize",
    "customise": "customize",
    "synchronise": "synchronize",
    "e-mail": "email",
    "dir": "directory",
    "prefs": "preferences",
    "config": "configuration",
    "img": "image",
    "msg": "message",
    "addon": "extension",
    "prev": "previous",
    "fwd": "forward",
    "pic": "picture",
    "info": "information",
}
# An action on something unknown still shows as the action: "Delete Brush". The rest of the name may matter, hence the
# weight below 1.
_ACTIONS = frozenset(
    re.findall(
        r"\w+",
        "add create new save delete remove find search replace print copy cut paste edit rename close lock unlock"
        " refresh reload insert undo redo play pause stop run execute compile build sort filter download upload share"
        " send attach mute minimize maximize",
    )
)
_ACTION_WEIGHT = 0.5
# A name that leaves out the action has to tell this share of the rest: "Play next track" is the next track.
_OBJECT_SHARE = 0.65
_LEAST_WEIGHT = 0.4


def _words(name: str) -> tuple[str, ...]:
    """Return the words that tell a name apart, in one spelling and without plurals."""
    words = []
    # "ZoomIn" is two words.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", _ADDITION.sub(" ", name).strip() or name)
    for word in re.findall(r"[\w%+]+(?:-\w+)*", spaced.lower()):
        word = _SPELLINGS.get(word, word)
        if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "news", "this")):
            word = _SPELLINGS.get(word[:-1], word[:-1])
        words.append(word)
    telling = [word for word in words if word not in _EMPTY_WORDS] or words
    return tuple([word for word in telling if word not in _WEAK_WORDS] or telling)


@lru_cache(maxsize=1)
def _names() -> dict[str, dict[str, float]]:
    """Return the names of each meaning with their weights."""
    names: dict[str, dict[str, float]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return names


@lru_cache(maxsize=1)
def _vocabulary() -> dict[tuple[str, ...], dict[str, float]]:
    """Return the meanings of each name, by the name's words."""
    by_words: dict[tuple[str, ...], dict[str, float]] = {}
    for meaning, names in _names().items():
        for name, weight in names.items():
            meanings = by_words.setdefault(_words(name), {})
            meanings[meaning] = max(weight, meanings.get(meaning, 0.0))
    return by_words


@lru_cache(maxsize=1)
def _rarity() -> dict[str, float]:
    """Return the information of each word: the logarithm of the share of meanings that have it, negated."""
    meanings: dict[str, set[str]] = {}
    for words, owners in _vocabulary().items():
        for word in words:
            meanings.setdefault(word, set()).update(owners)
    total = len({meaning for owners in _vocabulary().values() for meaning in owners})
    return {word: math.log((total + 1) / len(owners)) for word, owners in meanings.items()}


@lru_cache(maxsize=512)
def _lookup(name: str) -> tuple[tuple[str, float], ...]:
    words = _words(name)
    if not words:
        return ()
    exact = _vocabulary().get(words)
    if exact:
        return tuple(exact.items())
    rarity = _rarity()
    unknown = max(rarity.values())

    def told_by(some: tuple[str, ...]) -> float:
        return sum(rarity.get(word, unknown) for word in {*some})

    action = next((word for word in words if word in _ACTIONS), None)
    weights: dict[str, float] = {}
    for known, meanings in _vocabulary().items():
        if {*known} <= {*words}:
            share = told_by(known) / told_by(words)
            if action is not None and action not in known and share < _OBJECT_SHARE:
                continue  # "Delete Brush" is no brush
            if known == (action,):
                share = max(share, _ACTION_WEIGHT)
        elif {*words} <= {*known}:
            share = 0.8 * told_by(words) / told_by(known)
        else:
            continue
        for meaning, weight in meanings.items():
            weights[meaning] = max(weights.get(meaning, 0.0), weight * min(share, 0.9))
    best = max(weights.values(), default=0.0)
    return tuple((m, w) for m, w in weights.items() if w >= max(_LEAST_WEIGHT, best / 2))


def meanings_of(name: str) -> dict[str, float]:
    """Return what an icon of a name may depict.

    Args:
        name: as a person or a tool tip says it, such as "Preferences" or "Search for Files...".

    Returns:
        Meanings of the vocabulary with weights in (0, 1]; empty if the name is unknown.
    """
    return dict(_lookup(name))


def names_of(meaning: str) -> list[str]:
    """Return the usual names of a meaning, those of weight 1; empty for one that the vocabulary lacks."""
    return [name for name, weight in _names().get(meaning, {}).items() if weight == 1]
