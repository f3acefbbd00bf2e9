"""Keys in an instruction: ``press ctrl+a, then ctrl+c``, ``press Tab twice``, ``press "ctrl+."``."""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.counts import read_times
from molmo_agent.policies.instructions.keys import JOIN, MODIFIERS, read_chord
from molmo_agent.policies.instructions.quoting import Part

_BETWEEN = re.compile(rf"\s*,\s*(?:and\s+)?|\s+and\s+|\s+(?={MODIFIERS}{JOIN})", re.IGNORECASE)
_NOUN = re.compile(r"(?:the\s+)?keys\s+", re.IGNORECASE)
_MODIFIERS = re.compile(MODIFIERS, re.IGNORECASE)
_HELD = re.compile(rf"{MODIFIERS}{JOIN}", re.IGNORECASE)
_JOINED = re.compile(rf"\S{JOIN}\S")


def read_keys(rest: Part) -> list[tuple[str, ...]]:
    """Return the chords that a phrase names, in order; nothing if it names something on the screen.

    Raises:
        UsageError: it is a chord with an unknown key.
    """
    problem: UsageError | None = None
    # As it stands first: the full stop of "ctrl+." is the key.
    for phrase in dict.fromkeys((rest.text, rest.sentence().text)):
        piece, times = read_times(rest.cut(0, len(phrase)))
        for read in (_one, _sequence):
            try:
                if chords := read(piece):
                    return chords * times
            except UsageError as error:
                # "ctrl+a and ctrl+c" is no chord but a sequence, and "ctrl+s." is one without its full stop.
                problem = error
    if problem:
        raise problem
    return []


def refuse_chord(part: Part, target: Part) -> None:
    """Refuse a chord where something on the screen is to be named: ``click ctrl+s``.

    Raises:
        UsageError: the target is a chord, or one with an unknown key.
    """
    if "\0" not in target.mask and _JOINED.search(target.text) and len(read_chord(target.text)) > 1:
        raise UsageError(
            f"{part.text!r}: {target.text!r} are keys; say: press {target.text}. Put a label in quotes: click "
            f'"{target.text}"'
        )


def _chord(piece: Part) -> tuple[str, ...]:
    if piece.mask.count("\0") != sum(end - start for start, end in piece.quotes.items()):
        if _HELD.match(piece.mask):
            raise UsageError(f"{piece.text!r}: expected the name of a key, got a secret; say for example: press ctrl+s")
        return ()
    is_label = piece.quoted() is not None
    try:
        chord = read_chord(piece.spoken())
    except UsageError:
        if is_label:
            return ()
        raise
    # "Enter" in quotes is a button of that name; "ctrl+s" is not.
    return chord if not is_label or len(chord) > 1 else ()


def _one(piece: Part) -> list[tuple[str, ...]]:
    return [chord] if (chord := _chord(piece)) else []


def _sequence(piece: Part) -> list[tuple[str, ...]]:
    """Read ``Tab, Tab and Enter``, ``ctrl+k ctrl+s``; ``ctrl, shift and t`` is one chord."""
    noun = _NOUN.match(piece.mask)
    edges = [
        noun.end() if noun else 0,
        *(edge for match in _BETWEEN.finditer(piece.mask) for edge in match.span()),
        len(piece.text),
    ]
    pieces = [piece.cut(*span) for span in zip(edges[::2], edges[1::2], strict=True)]
    if len(pieces) < 2:
        return []
    if all(_MODIFIERS.fullmatch(one.mask) for one in pieces[:-1]):
        return [chord] if (chord := read_chord("+".join(one.text for one in pieces))) else []
    chords = []
    for one in pieces:
        one, times = read_times(one)
        chords.append(_one(one) * times)
    if all(chords):
        return [chord for several in chords for chord in several]
    if any(len(chord) > 1 for several in chords for chord in several):
        wrong = next(one.text for one, several in zip(pieces, chords, strict=True) if not several)
        raise UsageError(f"{piece.text!r}: {wrong!r} is no key; say for example: press ctrl+s, then click Name")
    return []
