"""Pointing models and a policy without weights: for tests, for floors and ceilings of a score, for trying things out.

Like every pointing model they are stateless: the same input gives the same answer.
"""

import abc
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from molmo_agent.actions import Action, Done
from molmo_agent.episode import Decision, Image, LabelledPoint, Observation, PointResult, Step, Task
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.point_text.parse import format_points


class _Baseline(abc.ABC):
    """What the models here share: answers of points, and batches one by one."""

    name: str

    @abc.abstractmethod
    def _points(self, image: Image, instruction: str) -> Sequence[Point]: ...

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Answer at once; the reply shows the points as Molmo would write them, rounded.

        More points than ``max_points`` make the answer ``unparsed``: which of them were meant is not known.
        """
        points = tuple(self._points(image, instruction))
        reply = format_points("molmo", points, instruction)
        if not points:
            return PointResult(status="none", reply=reply)
        return PointResult(status="ok", reply=reply, points=tuple(map(LabelledPoint, points))).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer one by one."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


class OraclePointer(_Baseline):
    """Looks the answer up: the middle of the first box of :class:`~molmo_agent.interfaces.Locator`; a score's ceiling.

    Args:
        locate: of an env that knows where everything is. Privileged.
    """

    name = "oracle"

    def __init__(self, locate: Callable[[str], Sequence[Box]]) -> None:
        self._locate = locate

    def _points(self, image: Image, instruction: str) -> Sequence[Point]:
        return [box.center for box in self._locate(instruction)[:1]]


class RandomPointer(_Baseline):
    """Points anywhere, uniformly: the floor of every score. A function of seed, picture and instruction."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def _points(self, image: Image, instruction: str) -> Sequence[Point]:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self._seed} {image.shape} {len(instruction)} {instruction}".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(image).data)
        x, y = np.random.default_rng(int.from_bytes(digest.digest(), "little")).random(2)
        return [Point(float(x), float(y))]


class CentrePointer(_Baseline):
    """Points at the middle of the picture: a floor that is hard to beat where things tend to be in the middle."""

    name = "centre"

    def _points(self, image: Image, instruction: str) -> Sequence[Point]:
        return [Point(0.5, 0.5)]


class ScriptedPointer(_Baseline):
    """Gives prepared answers.

    Args:
        answers: the points for every question, or a mapping from an instruction to its points. No points, or an
            instruction that is not in the mapping, is answered with "There are none.".
    """

    name = "scripted"

    def __init__(self, answers: Sequence[Point] | Mapping[str, Sequence[Point]]) -> None:
        self._answers = answers

    def _points(self, image: Image, instruction: str) -> Sequence[Point]:
        return self._answers.get(instruction, ()) if isinstance(self._answers, Mapping) else self._answers


def read_script(path: str) -> ScriptedPointer:
    """Read prepared answers from a JSON file: ``{"the Save button": [0.5, 0.25], ...}``, fractions of the picture.

    Several points for one instruction are a list of such pairs.

    Raises:
        UsageError: no file was named, it cannot be read, or it does not look like that.
    """
    if not path:
        raise UsageError("expected a file of prepared answers: scripted:answers.json")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        answers = {
            str(instruction): [Point(*map(float, pair)) for pair in (given if isinstance(given[0], list) else [given])]
            for instruction, given in content.items()
        }
    except OSError as error:
        raise UsageError(f"cannot read the prepared answers: {error}") from error
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise UsageError(
            f'expected {path} to be JSON like {{"the Save button": [0.5, 0.25]}} with fractions of the picture: {error}'
        ) from error
    return ScriptedPointer(answers)


class ScriptedPolicy:
    """Does the listed things in turn, then says that it is done. The length of the history says whose turn it is.

    Args:
        script: actions, or decisions where a test needs their other fields.
    """

    name = "scripted"

    def __init__(self, script: Sequence[Action | Decision]) -> None:
        self._script = tuple(item if isinstance(item, Decision) else Decision(action=item) for item in script)

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Return the decision whose turn it is."""
        return self._script[len(history)] if len(history) < len(self._script) else Decision(action=Done())
