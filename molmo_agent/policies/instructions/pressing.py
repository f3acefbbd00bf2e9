"""Keys in an instruction: ``press ctrl+a, then ctrl+c``, ``press Tab twice``, ``press "ctrl+."``."""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.counts import COUNT, read_times
from molmo_agent.policies.instructions.keys import JOIN, MODIFIERS, read_chord
from molmo_agent.policies.instructions.languages import foreign_words
from molmo_agent.policies.instructions.plain_names import is_aim
from molmo_agent.policies.instructions.quoting import Part

# "Press Enter to send it": what it is good for. "Up to 5" and "left to right" are none.
_NO_PURPOSE = (
    "(?:double-|right-)?click|tap|press|type|hit|push|touch|drag|scroll|swipe|wait|hold|turn|set|skip|do|be|you|he|she|it|they"
    "|we|how|what|which|why|who|where|no|every|each|all|any|first|then|say|OK"
)
_PURPOSE = re.compile(
    rf"\s+(?:in\s+order\s+)?to\s+(?!(?:the|an?|my|your|right|left|up|down|top|end|home|{COUNT}|{_NO_PURPOSE})(?!\w))[a-z]{{2,}}.*",
    re.DOTALL,
)
_WITH_TEXT = re.compile("fill|replace|put|place|change|update|insert|add|append|choose|swap|exchange", re.IGNORECASE)
_F_KEY = re.compile(r"f\d+")
# "Press F11 for full screen", but not "for 3 seconds".
_FOR = re.compile(r"\s+for\s+(?!\d|(?:a|an|one|two|three|four|five|ten|half|some|me|each|every|all|any)(?!\w))[a-z].*")
_AGAIN = re.compile(r"\s+(?:once\s+(?:more|again)|one\s+more\s+time|again)$")
_PLACE = re.compile(r"\s+(?:in|on|at|inside|within|into|over)\s+\S")
# "Close the window with alt+f4": keys are what is pressed, and the rest is what they are good for.
_MEANS = re.compile(
    r"[\s,]+(?:(?:with|using|via)|(?P<by>by)\s+(?:pressing|hitting|using|typing))\s+(?=\S)", re.IGNORECASE
)
# Characters of the longest phrase for keys.
_MAX_KEYS = 100
EFFECT = re.compile(
    r"(?:save|copy|cut|paste|undo|redo|close|quit|exit|open|print|find|select|refresh|reload|zoom\s+(?:in|out)|show|hide"
    r"|lock|minimi[sz]e|maximi[sz]e|reopen|duplicate|bookmark|toggle|switch|delete|rename|go\s+back|insert|mark|create"
    r"|send|submit|confirm|restore|search)(?!\w)",
    re.IGNORECASE,
)
"""A pattern for what keys can be good for."""

_HAS_MEANS = re.compile(
    rf"{EFFECT.pattern}|(?:choose|activate|open|expand|collapse|focus|turn|switch|go to|dismiss|pause|play|mute|unmute"
    r"|resume)(?!\w)",
    re.IGNORECASE,
)
# "Close the dialog by clicking OK".
_BY_GESTURE = re.compile(
    rf"(?P<effect>{EFFECT.pattern}|[a-z]+(?:\s+(?:in|out|on|off|up|down))?(?!\w))[^,;]*(?P<by>\sby\s+)"
    r"(?P<how>(?:double|right|triple)-click|click|tapp?|press|hitt?|choos|select|pick|dragg?|swip|open|typ)ing(?=\s+\S)",
    re.IGNORECASE,
)
_VERBS = {"tapp": "tap", "hitt": "hit", "choos": "choose", "dragg": "drag", "swip": "swipe", "typ": "type"}
_BETWEEN = re.compile(rf"\s*,\s*(?:and\s+)?|\s+and\s+|\s+(?={MODIFIERS}{JOIN})", re.IGNORECASE)
_NOUN = re.compile(r"(?:the\s+)?keys\s+", re.IGNORECASE)
_MODIFIERS = re.compile(MODIFIERS, re.IGNORECASE)
_HELD = re.compile(rf"{MODIFIERS}{JOIN}", re.IGNORECASE)
# "Tab x3"; in a label, such as "Speed x2", it may mean anything.
_TIMES_SIGN = re.compile(r"\s+(?:[x×]\s?(\d{1,2})|(\d{1,2})\s?[x×])$", re.IGNORECASE)
# As Emacs and shells write them: "C-x C-s", "M-x", "^C". "C-4" may be a seat.
_SHORT = re.compile(r"(?:[CM]-[a-z]|\^[A-Za-z])(?:\s+(?:[CM]-[a-z]|\^[A-Za-z]))*")
_JOINED = re.compile(rf"\S{JOIN}\S")


def read_keys(rest: Part) -> list[tuple[str, ...]]:
    """Return the chords that a phrase names, in order; nothing if it names something on the screen.

    Raises:
        UsageError: it is a chord with an unknown key.
    """
    if _SHORT.fullmatch(rest.mask):
        raise UsageError(
            f"{rest.text!r}: write the keys in full, such as: press ctrl+x, press alt+x. If it is a label, put it in "
            f'quotes: click "{rest.text}"'
        )
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
    if match := _TIMES_SIGN.search(rest.mask):
        # Without a chord before it there is nothing to repeat.
        times = int(match[1] or match[2])
        if chords := read_keys(rest.cut(0, match.start())):
            if not 1 <= times <= 20:
                raise UsageError(f"{rest.text!r}: expected 1 to 20 times, got {times}")
            return chords * times
    if problem:
        raise problem
    return []


def read_pressed(part: Part, rest: Part) -> list[tuple[str, ...]]:
    """Return the chords of ``press Enter``, ``press Enter to send it``; nothing if something on the screen is pressed.

    Raises:
        UsageError: it is a chord with an unknown key, or a place follows the keys, which go to the focus alone.
    """
    if (again := _AGAIN.search(rest.sentence().mask)) and (chords := _keys_before(rest, again)):
        return chords
    if rest.sentence().mask == "a key":
        raise UsageError(f"{part.text!r} does not say which key; say for example: press the A key, press Enter")
    purpose = _PURPOSE.search(rest.mask) or _FOR.search(rest.mask)
    if purpose and not foreign_words(purpose[0]) and (chords := _keys_before(rest, purpose)):
        return chords
    if (place := _PLACE.search(rest.mask)) and (chords := _keys_before(rest, place)) and not _all_keys(rest):
        keys = "+".join(chords[0])
        raise UsageError(
            f"{part.text!r}: keys go to what has the focus; say for example: click Name, then press {keys}. If all of "
            f'it is a label, put it in quotes: click "{rest.text}"'
        )
    return read_keys(rest)


def read_means(part: Part) -> tuple[Part | None, list[tuple[str, ...]]]:
    """Return ``save it`` of ``save it with ctrl+s``, and the chords; no part where no keys are the means."""
    word = part.mask.split(maxsplit=1)[0] if part.mask.strip() else ""
    # "Fill in Name with F5" names a text.
    has_effect = EFFECT.match(part.mask) or (is_aim(word.lower()) and not _WITH_TEXT.fullmatch(word))
    means = list(_MEANS.finditer(part.mask, len(word)))[-1:] if has_effect else []
    if means and len(part.mask) - means[0].end() <= _MAX_KEYS:
        chords = _all_keys(part.cut(means[0].end()))
        if chords and (means[0]["by"] or any(len(chord) > 1 or _F_KEY.fullmatch(chord[0]) for chord in chords)):
            return part.cut(0, means[0].start()), chords
    return None, []


def read_gesture_as_means(part: Part) -> tuple[Part | None, Part | None]:
    """Return ``close it by`` and ``click OK`` of ``close it by clicking OK``; nothing where no gesture is the means.

    "It" behind the gesture is what stands before: ``highlight the line by triple-clicking it``.
    """
    match = _BY_GESTURE.match(part.mask)
    if match is None or not (is_aim(match["effect"].split()[0].lower()) or _HAS_MEANS.match(part.mask)):
        return None, None
    target = part.cut(match.end())
    if re.match(r"it(?!\w)", target.mask):
        target = part.cut(match.end("effect"), match.start("by")).then(target.cut(2))
    how = match["how"].lower()
    verb = _VERBS.get(how, how)
    return part.cut(0, match.end("by")), Part(verb, verb, {}).then(target)


def ends_with_chord(target: str) -> bool:
    """Return whether a masked target ends with keys as its means: ``Save with ctrl+s``."""
    means = list(_MEANS.finditer(target))
    return bool(means) and _HELD.match(target, means[-1].end()) is not None


def _keys_before(rest: Part, behind: re.Match[str]) -> list[tuple[str, ...]]:
    return _all_keys(rest.cut(0, behind.start()))


def _all_keys(phrase: Part) -> list[tuple[str, ...]]:
    try:
        return read_keys(phrase)
    except UsageError:
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
