"""A policy that points at words by reading them, and a run with it on the real screen of this process."""

import time

from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.geometry import Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.ocr.reader import load_reader
from molmo_agent.pointers.baselines import ScriptedPointer
from molmo_agent.registry import load_policy
from molmo_agent.rollout.loop import rollout


class WordPointer:
    """Points at the middle of the word that is asked for, or says that there is none."""

    name = "words"

    def __init__(self):
        self.reader = load_reader()

    def point(self, image, instruction, *, max_points=None):
        words = [word for line in self.reader.read(image) for word in line.words]
        points = tuple(LabelledPoint(word.box.center) for word in words if instruction.lower() in word.text.lower())
        return PointResult(status="ok" if points else "none", reply=str(len(points)), points=points).at_most(max_points)

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


class BesidePointer(WordPointer):
    """Points at what is to the right of the word."""

    def point(self, image, instruction, *, max_points=None):
        result = super().point(image, instruction, max_points=max_points)
        points = tuple(LabelledPoint(type(p.point)(p.point.x + 0.3, p.point.y)) for p in result.points)
        return PointResult(status=result.status, reply=result.reply, points=points)


_desktops = []


def await_drawn(desktop, places, timeout_s=60):
    """Wait until a program has drawn something at the places: its window may be there before what is in it."""
    deadline = time.monotonic() + timeout_s
    while True:
        image = desktop.observe().image
        pixels = [Point(*place).to_pixels(image.shape[1], image.shape[0]) for place in places]
        around = [image[max(0, y - 25) : y + 25, max(0, x - 60) : x + 60] for x, y in pixels]
        if any(patch.std() > 3 for patch in around):
            return
        assert time.monotonic() < deadline, "the program drew nothing"
        time.sleep(0.05)


def run_scripted(task, places):
    """Act with prepared places, target -> (x, y); return how the run ended, and its actions but waits."""
    if not _desktops:
        _desktops.append(Desktop())
    await_drawn(_desktops[0], places.values())
    model = ScriptedPointer({target: [Point(*place)] for target, place in places.items()})
    episode = rollout(load_policy("pointing", model, _desktops[0]), _desktops[0], task)
    actions = [type(step.action).__name__ for step in episode if not step.refused]
    return episode.trajectory.ended, [action for action in actions if action != "Wait"]


def run_on_screen(task, beside=False, verifies=True):
    """Act, with words as targets or what is beside them, and with or without reading what was typed.

    Returns:
        How the run ended, and [(action, effect) of every step].
    """
    if not _desktops:
        _desktops.append(Desktop())
    model = BesidePointer() if beside else WordPointer()
    model.traits = ModelTraits(reader=model.reader if verifies else None)
    policy = load_policy("pointing", model, _desktops[0])
    episode = rollout(policy, _desktops[0], task)
    steps = [(type(step.action).__name__, step.effect) for step in episode]
    return episode.trajectory.ended, steps
