"""The default model: it reads words, recognizes icons, and asks nano about what has neither.

An exact and only text is pointed at without another look, which makes it quick. Where texts tie or fit badly, and where
there is neither text nor icon, nano is asked too; two that agree are surer than one.
"""

import dataclasses
import re
import time
from collections.abc import Sequence

from molmo_agent.episode import Image, LabelledPoint, PointResult
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.careful import in_windows
from molmo_agent.pointers.icons.reader import IconMatch, IconReader, IconScene
from molmo_agent.pointers.image_cache import LruCache, fingerprint
from molmo_agent.pointers.nano import load_nano
from molmo_agent.pointers.reading.confidence import icon_confidence, nano_confidence
from molmo_agent.pointers.reading.expression import Expression
from molmo_agent.pointers.reading.pointer import Reading, ReadingPointer, answer
from molmo_agent.pointers.reading.ranking import Candidate, equals
from molmo_agent.pointers.reading.widgets import field_beside

# Points that are less likely right are not acted on: of a hundred clicks, a few may be wrong.
MIN_CONFIDENCE = 0.6
# Text that is at least so likely right needs no second opinion.
_SURE = 0.85
# A point that two find lies in the box of the first, or this near to it, in fractions of the image.
_NEAR = 0.012
_SCREENS = 4
# Kinds that may be an icon without words.
_ICON_KINDS = (None, "icon", "button", "link", "tab", "menu", "switch", "dropdown", "item", "checkbox")
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
        self._icons = icons or IconReader()
        self._eyes = eyes or _nano_in_windows()
        self._icon_scenes: LruCache[IconScene] = LruCache(_SCREENS)
        # It has looked as closely as it can.
        answerer = model_traits(self._eyes).answerer
        self.traits = ModelTraits(
            min_confidence=MIN_CONFIDENCE, zooms=True, reader=self.reader.reader, answerer=answerer
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
        if by_text.status == "ok" and (expression.several or _is_sure(by_text)):
            return by_text
        by_icon = self._by_icon(image, reading)
        best = max(by_text, by_icon, key=_certainty)
        if best.status == "ok" and _is_sure(best):
            return best
        seen = self._seen(image, instruction)
        agreed = _agreed(reading, by_icon, seen)
        if agreed is not None:
            return agreed
        if best.status == "ok":
            return best
        return _doubted(best, seen, instruction, expression)

    def _seen(self, image: Image, instruction: str) -> PointResult:
        return self._eyes.point(image, instruction)

    def _icon_scene(self, image: Image, reading: Reading) -> IconScene:
        key = fingerprint(image)
        scene = self._icon_scenes.lookup(key)
        if scene is None:
            scene = self._icons.read(image, [line.box for line in reading.scene.lines])
            self._icon_scenes.store(key, scene)
        return scene

    def _by_icon(self, image: Image, reading: Reading) -> PointResult:
        """Answer by the icons whose name fits."""
        expression = reading.expression
        if expression.kind not in (*_ICON_KINDS, "field") or not expression.names or expression.several:
            return PointResult(status="none", reply="no icon is asked for")
        matches = self._icon_scene(image, reading).find(expression.names[0])
        if not matches:
            return PointResult(status="none", reply=f"no icon on the screen fits {expression.names[0]!r}")
        boxes = [(match.box, match) for match in matches]
        if expression.kind == "field":
            # A magnifier names the field beside it.
            scene = reading.scene
            fields = [(field_beside(scene, match.box, in_a_row=True), match) for match in matches]
            boxes = [(scene.box(field[0]), match) for field, match in fields if field is not None]
            if not boxes:
                return PointResult(status="none", reply=f"no field beside an icon fits {expression.names[0]!r}")
        place = _at(boxes, expression)
        if place is None:
            return PointResult(status="none", reply="no icon stands where it was asked for")
        box, match = place
        rival = max((other.probability for _, other in boxes if other is not match), default=0.0)
        if expression.ordinal is not None:
            rival = 0.0
        return PointResult(
            status="ok",
            reply=f"{expression.names[0]!r} fits the icon {match.meaning!r}",
            points=(LabelledPoint(box.center, match.meaning),),
            confidence=icon_confidence(match.probability, rival, len(reading.candidates)),
        )


def _nano_in_windows() -> PointingModel:
    return in_windows(load_nano())


def _is_sure(result: PointResult) -> bool:
    return len(result.points) == 1 and result.confidence is not None and result.confidence >= _SURE


def _certainty(result: PointResult) -> float:
    return -1.0 if result.status != "ok" else result.confidence or 0.0


def _at(boxes: Sequence[tuple[Box, IconMatch]], expression: Expression) -> tuple[Box, IconMatch] | None:
    """Return the icon at the place or in the order that is asked for; the likeliest without."""
    top = boxes[0][1].probability
    alike = [pair for pair in boxes if pair[1].probability > 0.5 * top]
    if expression.ordinal is not None:
        alike.sort(key=lambda pair: (round(pair[0].top, 2), pair[0].left))
        position = expression.ordinal - 1 if expression.ordinal > 0 else len(alike) + expression.ordinal
        return alike[position] if 0 <= position < len(alike) else None
    if expression.place is not None:
        rank = {"top": lambda b: b.center.y, "bottom": lambda b: -b.center.y, "left": lambda b: b.center.x}
        return min(alike, key=lambda pair: rank.get(str(expression.place), lambda b: -b.center.x)(pair[0]))
    return boxes[0]


def _near(box: Box, point: Point) -> bool:
    return box.contains(point) or box.center.distance(point) < _NEAR


def _agreed(reading: Reading, by_icon: PointResult, seen: PointResult) -> PointResult | None:
    """Return the place that nano finds too, of those that fit best; None where it points at none of them."""
    if seen.status != "ok" or len(seen.points) != 1 or seen.confidence is None:
        return None
    point = seen.points[0].point
    alike: list[Candidate] = equals(reading.candidates)
    for one in alike:
        if _near(one.box, point):
            confidence = nano_confidence(seen.confidence, agreed=True)
            label = one.match.segment.text
            reply = f"{label!r} ({one.found_by}), and nano agrees: {seen.reply}"
            return PointResult(
                status="ok", reply=reply, points=(LabelledPoint(one.box.center, label),), confidence=confidence
            )
    if by_icon.status == "ok" and by_icon.points[0].point.distance(point) < 2 * _NEAR:
        confidence = max(by_icon.confidence or 0.0, nano_confidence(seen.confidence, agreed=True))
        return dataclasses.replace(
            by_icon, reply=f"{by_icon.reply}, and nano agrees: {seen.reply}", confidence=confidence
        )
    return None


def _doubted(best: PointResult, seen: PointResult, instruction: str, expression: Expression) -> PointResult:
    """Return nano's answer about what neither text nor icon was found for."""
    looks = bool(_LOOKS.search(instruction)) or not expression.names
    if looks or seen.status != "ok":
        reply = f"{best.reply}; nano: {seen.reply}"
        return dataclasses.replace(seen, reply=reply) if looks else dataclasses.replace(best, reply=reply)
    confidence = nano_confidence(seen.confidence or 0.0, agreed=False)
    return dataclasses.replace(seen, reply=f"{best.reply}; nano: {seen.reply}", confidence=confidence)
