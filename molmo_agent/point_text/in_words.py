"""Show an answer in words while it comes: tags of points become their words and numbers."""

import re

from molmo_agent.episode import LabelledPoint
from molmo_agent.point_text.parse import DIALECTS, parse_points

_OPEN, _TAG = re.compile(r"<points?\b"), re.compile(r"<points?\b[^>]*>(?P<words>[^<]*)</points?>")
# Ends of a text that may be the beginning of a tag.
_BEGINNING = re.compile(r"<(?:p(?:o(?:i(?:n(?:ts?)?)?)?)?)?\Z")
# A tag of more characters, or a word, is shown as it is.
_MAX_TAG, _MAX_WORD = 20_000, 400


class InlineAnswer:
    """Turns the pieces of an answer into text for people, in whole words.

    A tag such as ``<point x="25.0" y="50.0" alt="cup">cup</point>`` becomes ``cup [1: 0.250, 0.500]``, and its points
    are collected. A tag that is damaged, or has a point outside of the image, is shown as it stands, and is no point.

    Args:
        dialect: of the model; those without tags have nothing to turn.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect, self._has_tags = dialect, DIALECTS[dialect].tags
        self._held = ""
        self.points: list[LabelledPoint] = []

    def feed(self, piece: str) -> str:
        """Return what can be shown of the answer so far and was not yet."""
        self._held += piece
        shown = self._take_tags()
        opening = _OPEN.search(self._held) if self._has_tags else None
        if opening is not None and len(self._held) < _MAX_TAG:
            end = opening.start()
        else:
            partial = _BEGINNING.search(self._held) if self._has_tags else None
            end = partial.start() if partial is not None else len(self._held)
        # Characters can change those before them, but not across a space.
        space = max(self._held.rfind(space, 0, end) for space in " \n") + 1
        end = end if end - space > _MAX_WORD or end < len(self._held) else space
        shown, self._held = shown + self._held[:end], self._held[end:]
        return shown

    def end(self) -> str:
        """Return what is left."""
        shown, self._held = self._take_tags() + self._held, ""
        return shown

    def _take_tags(self) -> str:
        """Return the held text up to the end of its last complete tag."""
        shown, place = "", 0
        for match in _TAG.finditer(self._held) if self._has_tags else ():
            shown += self._held[place : match.start()] + self._in_words(match)
            place = match.end()
        self._held = self._held[place:]
        return shown

    def _in_words(self, match: re.Match[str]) -> str:
        parsed = parse_points(self._dialect, match.group())
        if parsed.status != "ok":
            return match.group()
        first = len(self.points) + 1
        self.points += parsed.points
        places = [f"{number}: {one.point.x:.3f}, {one.point.y:.3f}" for number, one in enumerate(parsed.points, first)]
        return f"{match['words']} [{'; '.join(places)}]"
