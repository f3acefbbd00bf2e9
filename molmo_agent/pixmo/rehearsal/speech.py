"""What people would say and ask about a scene: transcripts with hesitation, and questions with what answers hold."""

from dataclasses import dataclass

import numpy as np

from molmo_agent.geometry import Point
from molmo_agent.pixmo.rehearsal.scenes import Group, Scene
from molmo_agent.pixmo.words import NUMBERS

_FILLERS = ("Um, ", "Uh, ", "So yeah, ", "You know, ", "", "", "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the points that go with it, and the texts of which a right answer has one."""

    question: str
    right: tuple[str, ...]
    places: dict[str, tuple[Point, ...]]


def number(count: int) -> str:
    """Return a number as people say it."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def transcript(scene: Scene, speaker: int) -> str:
    """Return what a speaker says about a scene; each says it in other words, and not everything."""
    rng = np.random.default_rng([0x5A1D, scene.seed, speaker])
    total = sum(len(group.points) for group in scene.groups)
    if not scene.groups:
        said = [
            _one(
                rng, f"This is an empty {scene.ground} background.", f"All I see is a plain {scene.ground} background."
            ),
            _one(rng, "There is nothing on it.", "No shape and no text is there."),
        ]
    else:
        shapes = "shape" if total == 1 else "shapes"
        said = [
            _one(
                rng,
                f"This is a drawing of {number(total)} {shapes} on a {scene.ground} background.",
                f"A simple drawing with coloured {shapes} on a {scene.ground} background.",
                f"Here is a flat drawing, {number(total)} {shapes} in all, and the background is {scene.ground}.",
            ),
            *(_about(rng, group) for group in scene.groups),
            *_compared(scene),
            *_outermost(rng, scene),
        ]
    if scene.sign:
        where = "top" if scene.sign_top else "bottom"
        said.append(
            _one(
                rng,
                f"At the {where}, a dark sign reads \u201c{scene.sign}\u201d.",
                f"There is a dark sign at the {where} that says \u201c{scene.sign}\u201d.",
            )
        )
    return " ".join(_hesitating(rng, sentence) for sentence in said)


def _one(rng: np.random.Generator, *texts: str) -> str:
    return texts[int(rng.integers(len(texts)))]


def _about(rng: np.random.Generator, group: Group) -> str:
    if len(group.points) == 1:
        return _one(rng, f"There is {group.one}.", f"I see {group.one} with a dark outline.")
    count = number(len(group.points))
    return _one(rng, f"There are {count} {group.name}.", f"I can count {count} {group.name} with dark outlines.")


def _compared(scene: Scene) -> list[str]:
    if len(scene.groups) < 2:
        return []
    first, second = scene.groups[:2]
    if abs(first.radius - second.radius) < 4:
        return []
    large, small = (first, second) if first.radius > second.radius else (second, first)
    verb = "is" if len(large.points) == 1 else "are"
    return [f"The {large.name} {verb} larger than the {small.name}."]


def _outermost(rng: np.random.Generator, scene: Scene) -> list[str]:
    spots = [(point, group) for group in scene.groups for point in group.points]
    if len(spots) < 2 or rng.random() < 0.4:
        return []
    point, group = min(spots, key=lambda spot: spot[0].x) if rng.random() < 0.5 else max(spots, key=lambda s: s[0].x)
    side = "left" if all(point.x <= other.x for other, _ in spots) else "right"
    return [f"On the {side}, {group.one} is the outermost shape."]


def _hesitating(rng: np.random.Generator, sentence: str) -> str:
    filler = _one(rng, *_FILLERS)
    if filler:
        sentence = filler + sentence[0].lower() + sentence[1:]
    words = sentence.split(" ")
    if rng.random() < 0.15 and "\u201c" not in sentence:
        at = int(rng.integers(len(words)))
        if words[at].isalpha() and words[at].islower():
            words.insert(at, words[at])
    return " ".join(words)


def questions(scene: Scene) -> list[Asked]:
    """Return what is asked about a scene; of each the last question goes with points, if anything is there."""
    rng = np.random.default_rng([0xA5C, scene.seed])
    if not scene.groups:
        question = _one(rng, "What is on the background?", "Is there anything on the background?")
        return [Asked(question, ("empty", "plain", "nothing", "no shape"), {})]
    asked = []
    group = scene.groups[int(rng.integers(len(scene.groups)))]
    count = len(group.points)
    if count > 1:
        words = [f"How many {group.name} are there?", f"Count the {group.name}."]
        if all(count > len(other.points) for other in scene.groups if other is not group):
            # It names nothing that is said about the scene: the first answer is often another one.
            words.append("How many are there of the most frequent kind?")
        question = _one(rng, *words)
        asked.append(Asked(question, (f"{number(count)} {group.name}", f"{count} {group.name}"), {}))
    else:
        question = _one(rng, f"Is there {group.one}?", f"Can you see any {group.name} here?")
        asked.append(Asked(question, (group.name,), {}))
    if scene.sign:
        question = _one(rng, "What does the sign say?", "Please read the sign.", "Which words are on the sign?")
        asked.append(Asked(question, (scene.sign,), {}))
    where = "Where is" if count == 1 else "Where are"
    question = _one(rng, f"{where} the {group.name}?", f"Show me the {group.name}.", f"Point out the {group.name}.")
    return [*asked, Asked(question, (group.name,), {group.name: group.points})]
