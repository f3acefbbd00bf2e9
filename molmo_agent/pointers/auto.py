"""The default model: it reads words, recognizes icons, and asks nano about what has neither.

An exact and only text is pointed at without another look, which makes it quick. Where texts tie or fit badly, and where
there is neither text nor icon, nano is asked too; two that agree are surer than one.
"""

import dataclasses
import re
import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from molmo_agent.episode import Image, LabelledPoint, PointResult
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.careful import in_windows
from molmo_agent.pointers.icons.reader import IconMatch, IconReader, IconScene
from molmo_agent.pointers.nano import load_nano
from molmo_agent.pointers.reading.confidence import icon_confidence, nano_confidence, own_confidence
from molmo_agent.pointers.reading.expression import Expression
from molmo_agent.pointers.reading.pointer import Reading, ReadingPointer, answer
from molmo_agent.pointers.reading.ranking import Candidate, equals, nth, towards
from molmo_agent.pointers.reading.scene import Region, Scene
from molmo_agent.pointers.reading.widgets import field_beside, field_holding

# Points that are less likely right are not acted on: of a hundred clicks, a few may be wrong.
MIN_CONFIDENCE = 0.5
# Text that is at least so likely right needs no second opinion.
_SURE = 0.85
# A point that two find lies in the box of the first, or this near to it, in fractions of the image.
_NEAR = 0.012
# Kinds that may be an icon without words.
_ICON_KINDS = (None, "icon", "button", "link", "switch", "checkbox", "radio")
# Kinds whose text stands in the same row, or below them; and how far above it they are, in heights of the text.
_BESIDE_ITS_TEXT = (None, "switch", "checkbox", "radio", "icon")
_ICON_ABOVE, _IN_ROW = 5, 1
# Where no kind is named, nano's point beside an exact text counts only from this confidence on.
_SURE_OF_ITSELF = 0.8
# Icons whose probabilities are this close to the likeliest one's are a tie.
_SAME_PROBABILITY = 0.85
_LOOKS = re.compile(
    r"\b(?:red|green|blue|yellow|orange|purple|pink|brown|black|white|gr[ae]y|cyan|magenta|teal|violet|turquoise|colou?r\w*|"
    r"circle|square|triangle|star|heart|diamond|cross|hexagon|pentagon|rectangle|ring|arrow|shape|letter|digit|ball|"
    r"cube|robot|gripper|door|key|goal|floor|path|bowl|cup|block|table|object)s?\b",
    re.IGNORECASE,
)


class AutoPointer:
    """Reads, recognizes icons, and sees; answers with the surest of them, and with doubt as a low confidence.

    Args:
        reader: points by words; None: with the text reader that comes with the package.
        icons: recognizes icons; None: with the weights that come with the package.
        eyes: asked about what has no words, and for a second opinion; None: nano.
    """

    name = "auto"

    def __init__(
        self,
        reader: ReadingPointer | None = None,
        icons: IconReader | None = None,
        eyes: PointingModel | None = None,
    ) -> None:
        self.reader = reader or ReadingPointer()
        self._icon_reader = icons or IconReader()
        eyes = eyes or load_nano()
        # On images of these sizes nano's own confidence counts; others it reads in windows, less well than it thinks.
        self._canvases = frozenset(model_traits(eyes).canvases)
        self.eyes = in_windows(eyes)
        # As long as the reader remembers the screen.
        self._icon_scenes: WeakKeyDictionary[Scene, IconScene] = WeakKeyDictionary()
        # It has looked as closely as it can.
        answerer = model_traits(self.eyes).answerer
        self.traits = ModelTraits(
            min_confidence=MIN_CONFIDENCE, zooms=True, knows_fields=True, reader=self.reader.reader, answerer=answerer
        )

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to, on an RGB uint8 image of shape (height, width, 3).

        Raises:
            ModelError: the text reader failed, or a model's weights are missing.
        """
        start = time.perf_counter()
        result = self._point(image, instruction, start)
        seconds = time.perf_counter() - start
        # The reply explains the answer to people.
        return dataclasses.replace(result, latency_s=seconds, composed=True).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, one after the other."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]

    def _point(self, image: Image, instruction: str, start: float) -> PointResult:
        reading = self.reader.look_up(image, instruction)
        expression = reading.expression
        if expression.several and _LOOKS.search(instruction):
            return self._seen(image, instruction)
        by_text = answer(reading, start)
        known = self.knows_size(image)
        # Nano may find the thing itself where the reader finds the text beside it.
        beside = known and by_text.status == "ok" and _may_lie_beside(reading)
        if by_text.status == "ok" and (expression.several or is_sure(by_text)) and not beside:
            return by_text
        by_icon = self._by_icon(reading)
        best = max(by_text, by_icon, key=_certainty)
        if best.status == "ok" and is_sure(best) and not beside:
            return best
        glimpse = self._seen(image, instruction)
        if beside and _is_beside(reading, glimpse):
            return _confirmed(glimpse, by_text)
        agreed = _agreed(reading, by_icon, glimpse)
        if agreed is not None:
            return agreed
        if known:
            return _surer(best, glimpse, reading)
        if best.status == "ok":
            return best
        return _doubted(best, glimpse, instruction, expression)

    def _seen(self, image: Image, instruction: str) -> PointResult:
        return self.eyes.point(image, instruction)

    def knows_size(self, image: Image) -> bool:
        """Tell whether an image has one of the sizes that nano was trained on."""
        return image.shape[1::-1] in self._canvases

    def _icon_scene(self, scene: Scene) -> IconScene:
        if scene not in self._icon_scenes:
            self._icon_scenes[scene] = self._icon_reader.read(scene.image, [line.box for line in scene.lines])
        return self._icon_scenes[scene]

    def icons(self, reading: Reading) -> list[tuple[Box, IconMatch]]:
        """Return the icons whose name fits, the likeliest first, with where to point: into the field for a field.

        Args:
            reading: what was understood of the question.

        Raises:
            ModelError: the classifier's weights are missing.
        """
        expression, scene = reading.expression, reading.scene
        if expression.kind not in (*_ICON_KINDS, "field") or not expression.names or expression.several:
            return []
        matches = self._icon_scene(scene).find(expression.names[0])
        if expression.kind != "field":
            return [(match.box, match) for match in matches]
        fields = [(_field_of(scene, match.box), match) for match in matches]
        return [(scene.box(region), match) for region, match in fields if region]

    def _by_icon(self, reading: Reading) -> PointResult:
        """Answer by the icons whose name fits."""
        expression = reading.expression
        fitting = self.icons(reading)
        alike = _at(fitting, expression) if fitting else []
        if not alike:
            name = " or ".join(map(repr, expression.names[:1])) or "a kind alone"
            return PointResult(status="none", reply=f"no icon on the screen fits {name}")
        best = alike[0][1]
        rival = rival_of(fitting, best) if expression.ordinal is None else 0.0
        meanings = " and ".join(repr(match.meaning) for _, match in alike)
        return PointResult(
            status="ok",
            reply=f"{expression.names[0]!r} fits the icon {meanings}",
            points=tuple(LabelledPoint(box.center, match.meaning) for box, match in alike),
            confidence=icon_confidence(best.probability, rival, len(reading.candidates), expression.kind),
        )


def _field_of(scene: Scene, icon: Box) -> Region | None:
    """Return the field that a magnifier stands in, or else the one beside it."""
    if around := field_holding(scene, icon):
        return around
    beside = field_beside(scene, icon, in_a_row=True)
    return beside[0] if beside else None


def rival_of(fitting: Sequence[tuple[Box, IconMatch]], best: IconMatch) -> float:
    """Return the probability of the likeliest other icon."""
    return max((match.probability for _, match in fitting if match is not best), default=0.0)


def is_sure(result: PointResult) -> bool:
    """Tell whether an answer is one point that needs no second opinion."""
    return len(result.points) == 1 and result.confidence is not None and result.confidence >= _SURE


def _certainty(result: PointResult) -> float:
    return -1.0 if result.status != "ok" else result.confidence or 0.0


def _at(boxes: Sequence[tuple[Box, IconMatch]], expression: Expression) -> list[tuple[Box, IconMatch]]:
    """Return the icon at the place or in the order that is asked for; without, all that are as likely as the first."""
    top = boxes[0][1].probability
    alike = [pair for pair in boxes if pair[1].probability > 0.5 * top]
    if expression.ordinal is not None:
        return nth(alike, lambda pair: pair[0], expression.ordinal)
    place = expression.place
    if place is not None:
        return [max(alike, key=lambda pair: towards(pair[0], place))]
    return [pair for pair in boxes if pair[1].probability >= _SAME_PROBABILITY * top]


def _near(box: Box, point: Point) -> bool:
    return box.contains(point) or box.center.distance(point) < _NEAR


def _agreed(reading: Reading, by_icon: PointResult, glimpse: PointResult) -> PointResult | None:
    """Return the place that nano finds too, of those that fit best; None where it points at none of them."""
    if glimpse.status != "ok" or len(glimpse.points) != 1 or glimpse.confidence is None:
        return None
    point = glimpse.points[0].point
    alike: list[Candidate] = equals(reading.candidates)
    for one in alike:
        if _near(one.box, point):
            confidence = nano_confidence(glimpse.confidence, agreed=True)
            label = one.match.segment.text
            reply = f"{label!r} ({one.found_by}), and nano agrees: {glimpse.reply}"
            return PointResult(
                status="ok", reply=reply, points=(LabelledPoint(one.box.center, label),), confidence=confidence
            )
    for icon in by_icon.points:
        if icon.point.distance(point) < 2 * _NEAR:
            confidence = max(by_icon.confidence or 0.0, nano_confidence(glimpse.confidence, agreed=True))
            reply = f"{by_icon.reply}, and nano agrees: {glimpse.reply}"
            return dataclasses.replace(by_icon, reply=reply, points=(icon,), confidence=confidence)
    return None


def _may_lie_beside(reading: Reading) -> bool:
    """Tell whether a text may be the label of something else that is meant, which the reader did not find."""
    found_by_text = reading.candidates[0].box == reading.candidates[0].match.box
    return found_by_text and reading.expression.kind in _BESIDE_ITS_TEXT


def _is_beside(reading: Reading, glimpse: PointResult) -> bool:
    """Tell whether nano points at something in the row of the text, or right above it as icons are."""
    if glimpse.status != "ok" or len(glimpse.points) != 1:
        return False
    kind, text, point = reading.expression.kind, reading.candidates[0].match.segment, glimpse.points[0].point
    if kind is None and (glimpse.confidence or 0.0) < _SURE_OF_ITSELF:
        return False
    above = text.box.center.y - point.y
    is_above = text.box.left < point.x < text.box.right and 0 < above < _ICON_ABOVE * text.height
    if kind is None:
        return not text.box.contains(point) and (is_above or abs(above) < _IN_ROW * text.height)
    return is_above if kind == "icon" else abs(above) < _IN_ROW * text.height


def _confirmed(glimpse: PointResult, by_text: PointResult) -> PointResult:
    """Return nano's point beside a text that fits."""
    confidence = nano_confidence(glimpse.confidence or 0.0, agreed=True)
    return dataclasses.replace(
        glimpse, reply=f"{by_text.reply}; nano, beside it: {glimpse.reply}", confidence=confidence
    )


def _surer(best: PointResult, glimpse: PointResult, reading: Reading) -> PointResult:
    """Return the surer one of an answer by text or icon, and nano's answer about a screen of a size that it knows."""
    reply = f"{best.reply}; nano: {glimpse.reply}"
    if glimpse.status != "ok" or glimpse.confidence is None:
        return best if best.status == "ok" else dataclasses.replace(glimpse, reply=reply)
    confidence = own_confidence(glimpse.confidence, reading.expression, len(reading.candidates))
    if best.status == "ok" and _certainty(best) >= confidence:
        return best
    return dataclasses.replace(glimpse, reply=reply, confidence=confidence)


def _doubted(best: PointResult, glimpse: PointResult, instruction: str, expression: Expression) -> PointResult:
    """Return nano's answer about what neither text nor icon was found for."""
    looks = bool(_LOOKS.search(instruction)) or not expression.names
    if looks or glimpse.status != "ok":
        reply = f"{best.reply}; nano: {glimpse.reply}"
        return dataclasses.replace(glimpse, reply=reply) if looks else dataclasses.replace(best, reply=reply)
    confidence = nano_confidence(glimpse.confidence or 0.0, agreed=False)
    return dataclasses.replace(glimpse, reply=f"{best.reply}; nano: {glimpse.reply}", confidence=confidence)
