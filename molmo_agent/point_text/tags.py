"""Tags with points: the dialects molmo and molmo2.

A tag that has one reading is read even if it is not what the models were trained to write: closed in itself, in
capitals, over several lines, with quotes of either kind, with quotes inside ``alt``, or escaped as HTML.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from molmo_agent.episode import LabelledPoint
from molmo_agent.geometry import Point
from molmo_agent.point_text.denials import plain_words
from molmo_agent.point_text.scales import Frame, check_percents, to_fraction
from molmo_agent.point_text.sentences import NoPoints, UnparsedReply, check_complete, check_label, check_prose

_TAG_START = re.compile(r"</?points?\b", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"<(points?)(?=[\s/>])", re.IGNORECASE | re.ASCII)
_ATTRIBUTE = re.compile(
    r"\s++([a-z]{1,8}[0-9]{0,6})\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')(?=\s|/?>)", re.IGNORECASE | re.ASCII
)
_TAG_END = re.compile(r"\s*+(/?)>", re.ASCII)
# An alt text with quotes inside: it ends at the quote that a bracket or another attribute follows.
_LOOSE_ALT = re.compile(
    r"\s++alt\s*+=\s*+\"((?:[^\"<]|<(?![a-z/])|"
    r"\"(?!\s{0,8}/?>|\s{1,8}[a-z]{1,8}[0-9]{0,6}\s{0,8}=\s{0,8}[\"']))*+)\"(?=\s*+/?>|\s)",
    re.IGNORECASE | re.ASCII,
)
# A label: text without tags, and the closing tag.
_LABEL = re.compile(r"((?:[^<]|<(?![a-z/!]))*+)</(points?)\s*+>", re.IGNORECASE | re.ASCII)
# What a label has if an early bracket ended its tag: attributes, and the bracket that was meant to end it.
_ATTRIBUTE_TEXT = re.compile(
    r"\b[a-z]{1,8}[0-9]{0,6}\s{0,8}=\s{0,8}[\"']|[\"'0-9]\s{0,8}/?>|\A\s{0,8}>", re.IGNORECASE | re.ASCII
)
# Between two tags: the second one may be meant instead of the first.
_ALTERNATIVE = re.compile(r"\b(?:or|oder|ou|oppure|или|або|lub|veya|או|أو)\b|或|または|또는|혹은")
_ESCAPED_TAG = re.compile(r"&lt;points?\b", re.IGNORECASE | re.ASCII)

_BLANKS = " \t\r\n"

POINT_TOKENS = 1000
"""Number of tokens of the dialect molmo-tokens: ``<|0|>`` to ``<|999|>``, in tenths of a percent."""
_POINT_TOKEN = re.compile(r"<\|(0|[1-9][0-9]{0,2})\|>", re.ASCII)
_PLAIN_COORDINATE = re.compile(r"\b[xy][0-9]{0,6}\s{0,8}=\s{0,8}[\"']\s{0,8}[-+.0-9]", re.IGNORECASE | re.ASCII)

# x and y as fractions, and the point's number in the reply.
_NumberedPoint = tuple[float, float, int | None]


class _Tag(NamedTuple):
    name: str
    attributes: dict[str, str]
    label: str
    end: int


def _read_tag(reply: str, start: int) -> _Tag:
    """Read the tag at a position, up to its end.

    Raises:
        UnparsedReply: it is not closed, broken, or has an attribute twice.
    """
    broken = UnparsedReply(f"the tag at character {start} is broken or not closed")
    opening = _NAME.match(reply, start)
    if opening is None:
        raise broken
    attributes: dict[str, str] = {}
    position = opening.end()
    while (end := _TAG_END.match(reply, position)) is None:
        if alt_text := _LOOSE_ALT.match(reply, position):
            name, value, position = "alt", alt_text[1], alt_text.end()
        elif attribute := _ATTRIBUTE.match(reply, position):
            name, value, position = attribute[1].lower(), attribute[2] or attribute[3] or "", attribute.end()
        else:
            raise broken
        if name in attributes:
            raise UnparsedReply(f"the attribute {name} occurs twice")
        attributes[name] = value
    alt, name = attributes.pop("alt", ""), opening[1].lower()
    if end[1]:
        return _Tag(name, attributes, html.unescape(alt), end.end())
    label = _LABEL.match(reply, end.end())
    if label is None or label[2].lower() != name:
        raise broken
    if _ATTRIBUTE_TEXT.search(label[1]) and label[1].strip() != alt.strip():
        raise UnparsedReply("its label looks like attributes: an early bracket may have ended the tag")
    return _Tag(name, attributes, html.unescape(label[1].strip() or alt), label.end())


def _read_tags(reply: str, read: Callable[[str, dict[str, str]], list[_NumberedPoint]]) -> Iterator[LabelledPoint]:
    """Read every tag of a reply; ``read`` returns the points of a tag's name and attributes."""
    if _ESCAPED_TAG.search(reply) and _TAG_START.search(reply) is None:
        reply = reply.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&#39;", "'")
    answers: dict[str, tuple[str, list[_NumberedPoint]]] = {}
    prose, end = [], 0
    while start := _TAG_START.search(reply, end):
        tag = _read_tag(reply, start.start())
        prose.append(reply[end : start.start()])
        end = tag.end
        points = read(tag.name, tag.attributes)
        check_label(tag.label)
        # Accept a repeated answer; another answer with the same label is a contradiction.
        name = re.sub(r"\A(?:the|an?)\b(?=.*\w)|[\W_]", "", plain_words(tag.label)) or tag.label
        if answers.setdefault(name, (tag.label, points))[1] != points:
            raise UnparsedReply(f"it points at {tag.label[:40]!r} twice, at different places")
    prose.append(reply[end:])
    if not answers:
        raise NoPoints
    check_complete(prose[0], prose[-1], glue="[0-9<>=/&]")
    if any(_ALTERNATIVE.search(plain_words(between)) for between in prose[1:-1]):
        raise UnparsedReply("it points at one place or another one")
    check_prose(prose, sum(len(points) for _, points in answers.values()))
    for label, points in answers.values():
        for x, y, number in points:
            yield LabelledPoint(Point(x, y), label or None, number)


def _read_molmo_tag(name: str, attributes: dict[str, str]) -> list[_NumberedPoint]:
    numbers: list[int | None] = [None] if name == "point" else [*range(1, len(attributes) // 2 + 1)]
    points: list[_NumberedPoint] = []
    for number in numbers:
        x, y = (attributes.pop(f"{axis}{number or ''}", None) for axis in "xy")
        if x is None or y is None:
            raise UnparsedReply(f"<{name}> has no pair x{number or ''}, y{number or ''}")
        check_percents(x.strip(_BLANKS), y.strip(_BLANKS))
        points.append((to_fraction(x.strip(_BLANKS), 100), to_fraction(y.strip(_BLANKS), 100), number))
    if attributes or not points:
        raise UnparsedReply(f"<{name}> has no place for {', '.join([*attributes][:5]) or 'no coordinates'}")
    return points


def _read_molmo2_tag(name: str, attributes: dict[str, str]) -> list[_NumberedPoint]:
    coords = attributes.pop("coords", None)
    if name != "points" or coords is None or attributes:
        raise UnparsedReply(
            f'expected <points coords="...">, got <{name}> with {", ".join([*attributes][:5]) or "none"}'
        )
    image, *values = coords.strip().split(" ")
    if image != "1":
        raise UnparsedReply(f"it points into image {image[:20]!r}; one image was shown, and its number is 1")
    if not values or len(values) % 3:
        raise UnparsedReply("expected a number, x and y for each point")
    points: list[_NumberedPoint] = []
    for number in range(1, len(values) // 3 + 1):
        image_number, x, y = values[3 * number - 3 : 3 * number]
        if image_number != str(number):
            raise UnparsedReply(f"expected the point with number {number}, got {image_number[:20]!r}")
        if min(len(x), len(y)) < 3:
            raise UnparsedReply(f"expected three digits or more, got {x!r} and {y!r}")
        points.append((to_fraction(x, 1000, whole=True), to_fraction(y, 1000, whole=True), number))
    return points


def read_molmo(reply: str, _: Frame) -> Iterable[LabelledPoint]:
    """Read ``<point x= y=>`` and ``<points x1= y1= ...>``, percent.

    Attributes may come in any order: their names say which is which, so this is no guess. (The reference's metric
    wants x first.) A missing partner, or a gap in the numbers, may be lost text: the whole answer is in doubt then.
    """
    return _read_tags(reply, _read_molmo_tag)


def read_molmo_tokens(reply: str, frame: Frame) -> Iterable[LabelledPoint]:
    """Read Molmo's tags whose coordinates are tokens, each a tenth of a percent; numbers in plain text are refused."""
    if _PLAIN_COORDINATE.search(reply):
        raise UnparsedReply("expected a point token for each coordinate, got a number in plain text")
    return read_molmo(_POINT_TOKEN.sub(lambda token: f"{int(token[1]) / 10:.1f}", reply), frame)


def read_molmo2(reply: str, _: Frame) -> Iterable[LabelledPoint]:
    """Read ``<points coords="1 1 105 205 2 300 400">``, whole thousandths of the one image."""
    return _read_tags(reply, _read_molmo2_tag)


# --- Writing ----------------------------------------------------------------------------------------------------------


def round_reference(percent: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Round percents to one decimal and sort them by x, then y, as the Molmo training data does.

    The tenfold value is rounded half to even: 12.35 and 12.45 both become 12.4 (golden values).
    """
    return sorted((_tenths(x) / 10, _tenths(y) / 10) for x, y in percent)


def _tenths(percent: float) -> int:
    return round(percent * 10)


def tenths(point: Point) -> tuple[int, int]:
    """Return a point in whole tenths of a percent, as Molmo writes it."""
    # Round to ten decimals first to remove the noise of fractions: 0.2035 must be rounded like 20.35 percent.
    return _tenths(round(point.x * 100, 10)), _tenths(round(point.y * 100, 10))


def thousandth_pair(point: Point) -> tuple[int, int]:
    """Return a point in whole thousandths, as Molmo2 writes it."""
    return thousandths(point.x), thousandths(point.y)


def thousandths(fraction: float) -> int:
    """Return a fraction in whole thousandths."""
    return round(round(fraction * 1000, 9))


def _escape(text: str) -> str:
    """Escape a label so that it cannot end its own tag; other characters are unchanged, as in the training data."""
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return text.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def write_molmo(points: Sequence[Point], label: str, alt: str | None, _: Frame) -> str:
    """Write the tag, in the order given."""
    return _molmo_tag([(f"{x / 10:.1f}", f"{y / 10:.1f}") for x, y in map(tenths, points)], label, alt)


def write_molmo_tokens(points: Sequence[Point], label: str, alt: str | None, _: Frame) -> str:
    """Write Molmo's tag with a token for each coordinate, in the order given."""
    # The far edge has no token of its own.
    numbers = [(min(x, POINT_TOKENS - 1), min(y, POINT_TOKENS - 1)) for x, y in map(tenths, points)]
    return _molmo_tag([(f"<|{x}|>", f"<|{y}|>") for x, y in numbers], label, alt)


def _molmo_tag(pairs: Sequence[tuple[str, str]], label: str, alt: str | None) -> str:
    alt, label = _escape(label if alt is None else alt), _escape(label)
    if len(pairs) == 1:
        x, y = pairs[0]
        return f'<point x="{x}" y="{y}" alt="{alt}">{label}</point>'
    places = " ".join(f'x{i}="{x}" y{i}="{y}"' for i, (x, y) in enumerate(pairs, 1))
    return f'<points {places} alt="{alt}">{label}</points>'


def write_molmo2(points: Sequence[Point], label: str, alt: str | None, _: Frame) -> str:
    """Write the tag, in the order given; with an ``alt`` only if one is given."""
    coords = " ".join(f"{i} {x:03d} {y:03d}" for i, (x, y) in enumerate(map(thousandth_pair, points), 1))
    other = f' alt="{_escape(alt)}"' if alt is not None else ""
    return f'<points coords="1 {coords}"{other}>{_escape(label)}</points>'
