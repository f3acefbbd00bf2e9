"""Convert model replies to points and back. The caller names the dialect; it is never guessed from the text.

A dialect belongs to a checkpoint. It defines the syntax and the scale of coordinates in text:

    molmo   ``<point x="10.5" y="20.0" alt="cat">cat</point>``, ``<points x1= y1= x2= y2= ...>``: percent, one decimal.
            Molmo, the 0924 checkpoints (arXiv 2409.17146).
    molmo-tokens  the same with a token for each coordinate, ``x="<|105|>"``, in tenths of a percent: one of the paper's
            ablations, which no release has.
    molmo2  ``<points coords="1 1 105 205 2 300 400">cats</points>``: the image's number, then number, x, y of each
            point; thousandths, three digits or more (Molmo2, arXiv 2601.10611, on its output format).
    gemini  ``[{"point": [y, x], "label": "cat"}]``: y first, thousandths; bare or in a code block
            (ai.google.dev/gemini-api/docs/robotics-overview).
    qwen    ``[{"point_2d": [x, y], "label": "cat"}]``: pixels of the resized image, whose size must be given
            (Qwen2.5-VL technical report, arXiv 2502.13923); other generations write thousandths, see ``scale``.
    tuple   ``[(0.512, 0.250), ...]``: fractions (RoboPoint, arXiv 2406.10721).
    gui     ``click(start_box='(512,250)')`` and the other forms of models that act on screens, see
            :mod:`molmo_agent.point_text.actions`; the scale is that of the model.

Where a dialect is written in several scales, the caller names the scale too; whole numbers are never taken for
fractions, nor pixels for thousandths.

Parsing is strict, because its points are clicked: prose around one well-formed answer is allowed, but a broken,
truncated or contradictory answer is ``unparsed`` and gives no points, never a corner, the centre or a part of itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from molmo_agent.episode import LabelledPoint, PointResult, PointStatus
from molmo_agent.errors import PointTextError, UnknownNameError
from molmo_agent.geometry import Point
from molmo_agent.point_text import actions, json_points, tags
from molmo_agent.point_text import sentences as words
from molmo_agent.point_text.reference_parser import ReferenceParse, parse_reference
from molmo_agent.point_text.scales import SCALES, Frame, ImageSize, Scale
from molmo_agent.point_text.tags import round_reference

__all__ = [
    "DIALECTS",
    "NONE_TEXT",
    "PLACEHOLDER",
    "SCALES",
    "Dialect",
    "ImageSize",
    "InlinePoints",
    "ParsedReply",
    "ReferenceParse",
    "Scale",
    "Style",
    "format_inline_points",
    "format_points",
    "parse_points",
    "parse_reference",
    "round_reference",
]

Style = Literal["pointing", "point_count", "count_then_point", "only_count"]
"""``pointing``: the points alone. ``point_count``: a sentence that ends with their number. The others are the paper's
ablations: ``count_then_point`` begins with the number, ``only_count`` is the number alone."""

PLACEHOLDER = "<|POINT|>"
"""Stands for a tag in the text of an explanation."""

NONE_TEXT = "There are none."


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One syntax of points, with its writer and reader."""

    write: Callable[[Sequence[Point], str, str | None, Frame], str]
    read: Callable[[str, Frame], Iterable[LabelledPoint]]
    # The first one is used where the caller names none.
    scales: tuple[Scale, ...]
    # Text for no points.
    none: str = "[]"
    # Whether it has tags, which can be part of a sentence such as one that counts.
    tags: bool = False
    # What points are sorted by before they are written; None: they keep their order.
    sort_key: Callable[[Point], tuple[int, int]] | None = None
    # Whether a reply has one point at most.
    single: bool = False


DIALECTS = MappingProxyType(
    {
        "molmo": Dialect(
            write=tags.write_molmo,
            read=tags.read_molmo,
            scales=(100,),
            none=NONE_TEXT,
            tags=True,
            sort_key=tags.tenths,
        ),
        "molmo2": Dialect(
            write=tags.write_molmo2,
            read=tags.read_molmo2,
            scales=(1000,),
            none=NONE_TEXT,
            tags=True,
            sort_key=tags.thousandth_pair,
        ),
        "gemini": Dialect(write=json_points.write_gemini, read=json_points.read_gemini, scales=(1000,)),
        "qwen": Dialect(write=json_points.write_qwen, read=json_points.read_qwen, scales=("pixels", 1000, 999)),
        "tuple": Dialect(write=actions.write_tuple, read=actions.read_tuple, scales=(1,)),
        "gui": Dialect(
            write=actions.write_gui,
            read=actions.read_gui,
            scales=(1000, 999, 100, 1, "pixels"),
            none=NONE_TEXT,
            single=True,
        ),
        "molmo-tokens": Dialect(
            write=tags.write_molmo_tokens,
            read=tags.read_molmo_tokens,
            scales=(100,),
            none=NONE_TEXT,
            tags=True,
            sort_key=tags.tenths,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """A parsed reply. Points are normalized, and present only with the status ``ok``."""

    status: PointStatus
    reply: str
    points: tuple[LabelledPoint, ...] = ()
    # Why the status is not "ok", as a readable text.
    reason: str = ""

    def require(self) -> tuple[LabelledPoint, ...]:
        """Return the points, an empty tuple for ``none``.

        Raises:
            PointTextError: the reply holds no answer; the error keeps the reply.
        """
        if self.status not in ("ok", "none"):
            raise PointTextError(f"expected points, got a reply that is {self.status}: {self.reason}", self.reply)
        return self.points

    def to_result(self, *, latency_s: float = 0.0, confidence: float | None = None) -> PointResult:
        """Return the reply as a model's answer."""
        return PointResult(
            status=self.status, reply=self.reply, points=self.points, latency_s=latency_s, confidence=confidence
        )


@dataclass(frozen=True, slots=True)
class InlinePoints:
    """The points of one placeholder in an explanation, its words, and what they refer to."""

    points: tuple[Point, ...]
    inline_text: str
    alt_text: str


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        raise UnknownNameError("dialect", name, DIALECTS)
    return DIALECTS[name]


def frame_of(dialect: str, image_size: ImageSize | None, scale: Scale | None) -> Frame:
    """Return what the numbers of a reply refer to.

    Raises:
        UnknownNameError: no such dialect.
        ValueError: the dialect has no such scale, or its scale is pixels and there is no image size.
    """
    row = _dialect(dialect)
    scale = row.scales[0] if scale is None else scale
    if scale not in row.scales:
        raise ValueError(f"the dialect {dialect!r} has the scale {' or '.join(map(str, row.scales))}, got {scale!r}")
    if image_size is None and scale == "pixels":
        raise ValueError(f"the dialect {dialect!r} uses pixels: pass image_size=(width, height) of the model's input")
    if image_size is not None and min(image_size) < 1:
        raise ValueError(f"image_size must be (width, height) in pixels, at least 1 x 1, got {image_size!r}")
    return Frame(scale, image_size or (1, 1))


def format_points(
    dialect: str,
    points: Sequence[Point],
    label: str,
    alt: str | None = None,
    style: Style = "pointing",
    image_size: ImageSize | None = None,
    scale: Scale | None = None,
    in_order: bool = False,
) -> str:
    """Return the reply of a model of a dialect for some points.

    Args:
        dialect: a name in :data:`DIALECTS`.
        points: the Molmo dialects sort them by x, then y, after rounding; the others keep the order.
        label: name of the target. The Molmo dialects write it in lower case, as their training data does.
        alt: for the Molmo dialects, the ``alt`` text if it differs from the label.
        style: only the Molmo dialects have a sentence that counts.
        image_size: (width, height) of the image at the model's input size; required for pixels.
        scale: of the coordinates, where the dialect has several.
        in_order: keep the order of the points in the Molmo dialects too.

    Raises:
        UnknownNameError: no such dialect.
        ValueError: the dialect lacks the style or the scale, has one point only, or misses the image size.
    """
    row = _dialect(dialect)
    frame = frame_of(dialect, image_size, scale)
    if style != "pointing" and not row.tags:
        counting = ", ".join(name for name, other in DIALECTS.items() if other.tags)
        raise ValueError(f"the dialect {dialect!r} has no sentence that counts; these have one: {counting}")
    if not points:
        return row.none
    if row.single and len(points) > 1:
        raise ValueError(f"a reply of the dialect {dialect!r} has one point, got {len(points)}")
    text = row.write(points if in_order else _sorted(row, points), label.lower() if row.tags else label, alt, frame)
    return with_count(text, len(points), style)


def _sorted(row: Dialect, points: Sequence[Point]) -> Sequence[Point]:
    """Return points in the order in which a dialect writes them."""
    return points if row.sort_key is None else sorted(points, key=row.sort_key)


def with_count(answer: str, count: int, style: Style) -> str:
    """Return an answer with the number of its points, as a style states it."""
    match style:
        case "pointing":
            return answer
        case "point_count":
            return f"Counting the {answer} shows a total of {count}."
        case "count_then_point":
            return f"There are {count} {answer}."
        case "only_count":
            return str(count)


def format_inline_points(dialect: str, text: str, annotations: Sequence[InlinePoints]) -> str:
    """Replace each placeholder of an explanation by the tag of its points, in order.

    Raises:
        UnknownNameError: no such dialect.
        ValueError: the dialect has no tags, or placeholders and annotations differ in number.
    """
    row = _dialect(dialect)
    parts = text.split(PLACEHOLDER)
    if not row.tags:
        raise ValueError(f"the dialect {dialect!r} has no tags that could stand in a text")
    if len(parts) != len(annotations) + 1:
        raise ValueError(
            f"expected one annotation for each {PLACEHOLDER}, got {len(annotations)} for {len(parts) - 1} of them"
        )
    frame = frame_of(dialect, None, None)
    written = [row.write(_sorted(row, item.points), item.inline_text, item.alt_text, frame) for item in annotations]
    return "".join(part + tag for part, tag in zip(parts, [*written, ""], strict=True))


def parse_points(
    dialect: str, reply: str, image_size: ImageSize | None = None, scale: Scale | None = None
) -> ParsedReply:
    """Parse a reply. Any text gives a status, never an exception.

    Thoughts before the answer (``<think>...</think>``) are skipped: no point in them counts.

    Args:
        dialect: a name in :data:`DIALECTS`, from the checkpoint's profile.
        reply: the model's text.
        image_size: (width, height) of the image at the model's input size; required for pixels.
        scale: of the coordinates, where the dialect has several.

    Raises:
        UnknownNameError: no such dialect.
        ValueError: the dialect lacks the scale, or needs an image size and got none.
    """
    frame = frame_of(dialect, image_size, scale)
    status: PointStatus
    answer = reply
    try:
        answer = words.without_end_tokens(words.without_thoughts(reply))
        points = tuple(DIALECTS[dialect].read(answer, frame))
        status, reason = ("ok", "") if points else ("none", "the list is empty")
    except words.NoPoints:
        points, (status, reason) = (), _sentence(answer)
    except words.PointOutOfRange as error:
        points, status, reason = (), "out_of_range", str(error)
    except words.UnparsedReply as error:
        points, status, reason = (), "unparsed", str(error)
    return ParsedReply(status=status, reply=reply, points=points, reason=reason)


def _sentence(reply: str) -> tuple[PointStatus, str]:
    """Return the status of a reply without points."""
    declined = words.refuses(reply)
    if declined and words.says_none(reply):
        return "unparsed", "it declines and says that there are none"
    if declined:
        return "refused", "it declines"
    if words.says_none(reply):
        return "none", "it says that there are none"
    if words.says_absent(reply):
        return "none", "it says that the target is not there"
    return "unparsed", "nothing in it looks like points"
