"""Write and read the points of each dialect: tags, JSON, tuples.

A reader returns points or raises the reason why it cannot; :mod:`molmo_agent.point_text.parse` converts this to a
status. All patterns run in linear time: their quantifiers are possessive or bounded.
"""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from molmo_agent.episode import LabelledPoint
from molmo_agent.geometry import Point

ImageSize = tuple[int, int]
"""(width, height) in pixels of the image at the model's input size."""


class UnparsedReply(Exception):
    """The reply is not a well-formed answer; the message has the reason."""


class PointOutOfRange(Exception):
    """A well-formed answer has a point outside of the image."""


class NoPoints(Exception):
    """The reply has no points; it may be another kind of sentence."""


# --- Sentences around points, or instead of them ----------------------------------------------------------------------

_NONE_SENTENCE = re.compile(r"(?:^|[.!?:\n])\s{0,8}there are none\s{0,8}(?:[.!]|$)", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\W*+(?:unfortunately,? )?(?:(?:i['’]?m |i am )?(?:very |so )?sorry\b|i (?:cannot|can['’]?t|can not|won['’]?t|"
    r"will not)\b|i(?:['’]m| am) (?:unable|not able|not allowed)\b|as an ai\b)",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"\ba total of ([0-9]{1,6})\b")


def says_none(text: str) -> bool:
    """Return whether a text contains the sentence "There are none."."""
    return _NONE_SENTENCE.search(text) is not None


def refuses(text: str) -> bool:
    """Return whether a text begins with a refusal."""
    return _REFUSAL.match(text) is not None


def _check_prose(parts: Iterable[str], num_points: int) -> None:
    """Reject an answer that contradicts the text around it."""
    prose = " ".join(parts)
    if says_none(prose):
        raise UnparsedReply("it says that there are none and points all the same")
    if refuses(prose):
        raise UnparsedReply("it declines and points all the same")
    for total in _TOTAL.findall(prose):
        if int(total) != num_points:
            raise UnparsedReply(f"it counts {total} and points at {num_points}")


# --- Numbers ----------------------------------------------------------------------------------------------------------

# ASCII digits only, without sign and exponent. Longer numbers are noise, not precision.
_DECIMAL = r"[0-9]{1,6}(?:\.[0-9]{1,12})?"
_NUMBER = re.compile(_DECIMAL)


def _fraction(text: str, scale: int) -> float:
    """Parse a decimal number and return it as a fraction of ``scale``."""
    if _NUMBER.fullmatch(text) is None:
        raise UnparsedReply(f"{text[:20]!r} is not a coordinate")
    value = float(text)
    if value > scale:
        raise PointOutOfRange(f"{text} is outside of 0 to {scale}")
    return value / scale


def _thousandths(fraction: float) -> int:
    return round(round(fraction * 1000, 9))


def round_reference(percent: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Round percents to one decimal and sort them by x, then y, as the Molmo training data does.

    The tenfold value is rounded half to even: 12.35 and 12.45 both become 12.4 (golden values).
    """
    return sorted((round(x * 10) / 10, round(y * 10) / 10) for x, y in percent)


# --- Tags: molmo and molmo2 -------------------------------------------------------------------------------------------

_TAG_START = re.compile(r"</?points?\b", re.IGNORECASE)
_ATTRIBUTE = r"([a-z]{1,8}[0-9]{0,6})\s*+=\s*+(\"[^\"]*+\"|'[^']*+')"
_TAG = re.compile(rf"<(points?)((?:\s++{_ATTRIBUTE})*+)\s*+>([^<]*+)</(points?)>")

# x and y as fractions, and the point's number in the reply.
_NumberedPoint = tuple[float, float, int | None]


def _read_tags(reply: str, read_tag: Callable[[str, dict[str, str]], list[_NumberedPoint]]) -> Iterator[LabelledPoint]:
    """Read every tag of a reply; ``read_tag`` returns the points of a tag's name and attributes."""
    answers: dict[str, list[_NumberedPoint]] = {}
    prose, end = [], 0
    while start := _TAG_START.search(reply, end):
        tag = _TAG.match(reply, start.start())
        if tag is None or tag[1] != tag[6]:
            raise UnparsedReply(f"the tag at character {start.start()} is broken or not closed")
        prose.append(reply[end : start.start()])
        end = tag.end()
        attributes: dict[str, str] = {}
        for name, quoted in re.findall(_ATTRIBUTE, tag[2]):
            if name in attributes:
                raise UnparsedReply(f"the attribute {name} occurs twice")
            attributes[name] = quoted[1:-1]
        alt = attributes.pop("alt", "")
        label = html.unescape(tag[5].strip() or alt)
        points = read_tag(tag[1], attributes)
        # Accept a repeated answer; another answer with the same label is a contradiction.
        if answers.setdefault(label, points) != points:
            raise UnparsedReply(f"it points at {label[:40]!r} twice, at different places")
    prose.append(reply[end:])
    if not answers:
        raise NoPoints
    _check_prose(prose, sum(map(len, answers.values())))
    for label, points in answers.items():
        for x, y, number in points:
            yield LabelledPoint(Point(x, y), label or None, number)


def _read_molmo_tag(name: str, attributes: dict[str, str]) -> list[_NumberedPoint]:
    numbers: list[int | None] = [None] if name == "point" else [*range(1, len(attributes) // 2 + 1)]
    points: list[_NumberedPoint] = []
    for number in numbers:
        x, y = (attributes.pop(f"{axis}{number or ''}", None) for axis in "xy")
        if x is None or y is None:
            raise UnparsedReply(f"<{name}> has no pair x{number or ''}, y{number or ''}")
        points.append((_fraction(x.strip(), 100), _fraction(y.strip(), 100), number))
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
        points.append((_fraction(x, 1000), _fraction(y, 1000), number))
    return points


def read_molmo(reply: str, _: ImageSize) -> Iterable[LabelledPoint]:
    """Read ``<point x= y=>`` and ``<points x1= y1= ...>``, percent.

    Attributes may come in any order: their names say which is which, so this is no guess. (The reference's metric
    wants x first.) A missing partner, or a gap in the numbers, may be lost text: the whole answer is in doubt then.
    """
    return _read_tags(reply, _read_molmo_tag)


def read_molmo2(reply: str, _: ImageSize) -> Iterable[LabelledPoint]:
    """Read ``<points coords="1 1 105 205 2 300 400">``, thousandths of the one image."""
    return _read_tags(reply, _read_molmo2_tag)


def _escape(text: str) -> str:
    """Escape a label so that it cannot end its own tag; other characters are unchanged, as in the training data."""
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return text.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def write_molmo(points: Sequence[Point], label: str, alt: str | None, _: ImageSize) -> str:
    """Write the tag, sorted by x, then y."""
    # Round to ten decimals first to remove the noise of fractions: 0.2035 must be rounded like 20.35 percent.
    rounded = round_reference((round(point.x * 100, 10), round(point.y * 100, 10)) for point in points)
    alt, label = _escape(label if alt is None else alt), _escape(label)
    if len(rounded) == 1:
        x, y = rounded[0]
        return f'<point x="{x:.1f}" y="{y:.1f}" alt="{alt}">{label}</point>'
    pairs = " ".join(f'x{i}="{x:.1f}" y{i}="{y:.1f}"' for i, (x, y) in enumerate(rounded, 1))
    return f'<points {pairs} alt="{alt}">{label}</points>'


def write_molmo2(points: Sequence[Point], label: str, alt: str | None, _: ImageSize) -> str:
    """Write the tag, sorted by x, then y; with an ``alt`` only if one is given."""
    rounded = sorted((_thousandths(point.x), _thousandths(point.y)) for point in points)
    coords = " ".join(f"{i} {x:03d} {y:03d}" for i, (x, y) in enumerate(rounded, 1))
    other = f' alt="{_escape(alt)}"' if alt is not None else ""
    return f'<points coords="1 {coords}"{other}>{_escape(label)}</points>'


# --- JSON: gemini and qwen --------------------------------------------------------------------------------------------


class _Literal(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a coordinate")


_JSON = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse_constant
)
_BRACKET = re.compile(r"[\[{]")


def _read_json(reply: str, key: str) -> list[tuple[str, str, str | None]]:
    """Return (first number, second, label) of each object of the one JSON answer, bare or in one code block."""
    parts = reply.split("```")
    if len(parts) not in (1, 3):
        raise UnparsedReply("expected one complete code block")
    body, prose = (parts[1], parts[::2]) if len(parts) == 3 else (reply, [])
    start = _BRACKET.search(body)
    if start is None:
        raise NoPoints
    try:
        value, end = _JSON.raw_decode(body, start.start())
    except (ValueError, RecursionError) as error:
        raise UnparsedReply(f"broken JSON: {str(error)[:80]}") from error
    prose = [*prose, body[: start.start()], body[end:]]
    if any(_BRACKET.search(text) for text in prose):
        raise UnparsedReply("expected one answer, got further brackets")
    items = value if isinstance(value, list) else [value]
    points = []
    for item in items:
        pair = item.get(key) if isinstance(item, dict) else None
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(number, _Literal) for number in pair)):
            raise UnparsedReply(f'expected objects with "{key}": [number, number]')
        label = item.get("label")
        points.append((pair[0], pair[1], label if isinstance(label, str) and label else None))
    if points:
        _check_prose(prose, len(points))
    return points


def read_gemini(reply: str, _: ImageSize) -> Iterable[LabelledPoint]:
    """Read ``[{"point": [y, x], "label": ...}]``, thousandths, y first."""
    for y, x, label in _read_json(reply, "point"):
        yield LabelledPoint(Point(_fraction(x, 1000), _fraction(y, 1000)), label)


def read_qwen(reply: str, size: ImageSize) -> Iterable[LabelledPoint]:
    """Read ``[{"point_2d": [x, y], "label": ...}]``, whole pixels of the resized image."""
    for x, y, label in _read_json(reply, "point_2d"):
        if re.fullmatch(r"[0-9]{1,6}", x) is None or re.fullmatch(r"[0-9]{1,6}", y) is None:
            raise UnparsedReply(f"expected whole pixels, got {x[:20]!r} and {y[:20]!r}")
        width, height = size
        if int(x) >= width or int(y) >= height:
            raise PointOutOfRange(f"({x}, {y}) is outside of {width} x {height} pixels")
        yield LabelledPoint(Point.from_pixel(int(x), int(y), width, height), label)


def write_gemini(points: Sequence[Point], label: str, _: str | None, __: ImageSize) -> str:
    """Write the list, in the order given."""
    rows = [{"point": [_thousandths(point.y), _thousandths(point.x)], "label": label} for point in points]
    return json.dumps(rows, ensure_ascii=False)


def write_qwen(points: Sequence[Point], label: str, _: str | None, size: ImageSize) -> str:
    """Write the list, in the order given."""
    rows = [{"point_2d": list(point.to_pixels(*size)), "label": label} for point in points]
    return json.dumps(rows, ensure_ascii=False)


# --- Tuples -----------------------------------------------------------------------------------------------------------

_COORDINATE = r"(?:[0-9]{1,6}(?:\.[0-9]{1,12})?|\.[0-9]{1,12})"
_PAIR = re.compile(rf"\(\s*+({_COORDINATE})\s*+,\s*+({_COORDINATE})\s*+\)")
_PAIRS = re.compile(rf"\[\s*+(?:{_PAIR.pattern}\s*+(?:,\s*+{_PAIR.pattern}\s*+)*+,?+\s*+)?\]")
# Whatever could be meant as an answer.
_PAIR_START = re.compile(r"\[|\(\s{0,8}[-+.0-9]")


def read_tuple(reply: str, _: ImageSize) -> Iterable[LabelledPoint]:
    """Read ``[(x, y), ...]`` or one bare ``(x, y)``, fractions of the image."""
    start = _PAIR_START.search(reply)
    if start is None:
        raise NoPoints
    answer = (_PAIRS if start[0] == "[" else _PAIR).match(reply, start.start())
    if answer is None:
        raise UnparsedReply(f"the list or pair at character {start.start()} is broken or not closed")
    before, after = reply[: start.start()], reply[answer.end() :]
    if _PAIR_START.search(after):
        raise UnparsedReply("expected one answer, got further pairs")
    pairs = _PAIR.findall(answer[0])
    if pairs:
        _check_prose((before, after), len(pairs))
    for x, y in pairs:
        yield LabelledPoint(Point(*(_fraction(f"0{text}" if text[0] == "." else text, 1) for text in (x, y))))


def write_tuple(points: Sequence[Point], _: str, __: str | None, ___: ImageSize) -> str:
    """Write the list, in the order given, three decimals."""
    return "[" + ", ".join(f"({point.x:.3f}, {point.y:.3f})" for point in points) + "]"
