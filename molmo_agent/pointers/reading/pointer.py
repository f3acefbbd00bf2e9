"""A pointing model without a network of its own: it reads the screen and points at what has the right words."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from molmo_agent.episode import Image, LabelledPoint, PointResult
from molmo_agent.interfaces import ModelTraits
from molmo_agent.ocr.incremental import IncrementalReader
from molmo_agent.ocr.reader import load_reader
from molmo_agent.pointers.image_cache import LruCache, fingerprint
from molmo_agent.pointers.reading.confidence import confidence_of
from molmo_agent.pointers.reading.expression import Expression, read_expression
from molmo_agent.pointers.reading.ranking import Candidate, candidates, equals
from molmo_agent.pointers.reading.scene import Scene
from molmo_agent.pointers.reading.signs import find_sign, is_sign
from molmo_agent.screen_text import LineReader, TextReader

# Candidates of a lower rank are other texts that happen to resemble the name.
MIN_RANK = 0.75
# Points that are less likely right are not acted on.
MIN_CONFIDENCE = 0.5
# For "all ..." every text that fits as well as this counts.
_SEVERAL_QUALITY = 0.93
# Screens whose text and regions are remembered.
_SCENES = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What was understood of a question, and the places whose text fits it, the best first."""

    expression: Expression
    scene: Scene
    candidates: tuple[Candidate, ...]


class ReadingPointer:
    """Points at things by their words: labels, fields beside labels, check boxes left of them.

    What has no words is answered with the status ``none``. Several places that fit equally well are all returned, so
    that whoever asked can say which one is meant.

    Args:
        reader: reads text; None: the one that comes with the package.
    """

    name = "reader"

    def __init__(self, reader: TextReader | None = None) -> None:
        self.reader = load_reader() if reader is None else reader
        self.traits = ModelTraits(min_confidence=MIN_CONFIDENCE, zooms=True, knows_fields=True, reader=self.reader)
        self._scenes: LruCache[Scene] = LruCache(_SCENES)

    def scene(self, image: Image) -> Scene:
        """Return what is seen on an RGB uint8 image of shape (height, width, 3).

        Raises:
            ModelError: the text reader failed.
        """
        key = fingerprint(image)
        scene = self._scenes.lookup(key)
        if scene is None:
            # A copy: regions and icons are looked for later, when the caller may have written to its array.
            scene = Scene(image.copy() if image.flags.writeable else image, self.reader.read(image))
            self._scenes.store(key, scene)
        return scene

    def look_up(self, image: Image, instruction: str) -> Reading:
        """Return the candidates for what an instruction names, whatever their number.

        Raises:
            ModelError: the text reader failed.
        """
        scene, expression = self.scene(image), read_expression(instruction)
        fitting = [one for one in candidates(expression, scene) if one.rank >= MIN_RANK]
        sign = next(filter(is_sign, expression.names), None)
        if not fitting and sign is not None:
            fitting = self._signs(sign, scene)
        return Reading(expression, scene, tuple(fitting))

    def _signs(self, sign: str, scene: Scene) -> list[Candidate]:
        """Return the places of a name of one or two signs, where the engine can read single regions."""
        engine = self.reader.inner if isinstance(self.reader, IncrementalReader) else self.reader
        if not isinstance(engine, LineReader):
            return []
        return [
            Candidate(box=match.box, match=match, quality=match.quality, support=0.0, found_by="a sign read on its own")
            for match in find_sign(sign, scene, engine)
        ]

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to, on an RGB uint8 image of shape (height, width, 3).

        Raises:
            ModelError: the text reader failed.
        """
        start = time.perf_counter()
        return answer(self.look_up(image, instruction), start).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, one after the other."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def answer(reading: Reading, start: float) -> PointResult:
    """Make an answer of the candidates: the best one, or all that fit equally well.

    Args:
        reading: what was understood and found.
        start: when the question came, of ``time.perf_counter``.
    """
    names = (
        " or ".join(repr(name) for name in reading.expression.names[:1]) or f"a {reading.expression.kind} by its words"
    )
    if reading.expression.several:
        best = [one for one in reading.candidates if one.quality >= _SEVERAL_QUALITY]
    else:
        best = equals(reading.candidates)
    seconds = time.perf_counter() - start
    if not best:
        return PointResult(status="none", reply=f"no text on the screen fits {names}", latency_s=seconds)
    certainty = confidence_of(reading.expression, reading.candidates)
    described = "; ".join(f"{one.match.segment.text!r} ({one.found_by})" for one in best)
    return PointResult(
        status="ok",
        reply=f"{names} fits {described}",
        points=tuple(LabelledPoint(one.box.center, one.match.segment.text) for one in best),
        latency_s=seconds,
        confidence=certainty if reading.expression.several else certainty / len(best),
        composed=True,
    )
