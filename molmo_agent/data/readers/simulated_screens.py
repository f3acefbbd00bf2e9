"""Screens of the simulated desktop as an infinite source, drawn on demand."""

import random
from typing import Any

from molmo_agent.data.options import options_of
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.geometry import Point
from molmo_agent.point_text.parse import format_points
from molmo_agent.synthetic.referring.names import ask_all
from molmo_agent.synthetic.sample import draw


class SimulatedDesktop:
    """Infinite screens of the simulated desktop with a question about every identifiable element.

    Options: ``width``, ``height``, ``split``, ``most`` (maximum questions per screen).
    """

    def __init__(self, source: Source) -> None:
        options: Any = options_of(source, {"width": 640, "height": 480, "split": "train", "most": 40})
        self._width, self._height = int(options["width"]), int(options["height"])
        self._split, self._most = options["split"], int(options["most"])
        self.problems = Problems()

    def __len__(self) -> int:
        """Return 0: infinite."""
        return 0

    def row(self, number: int, seed: int) -> Row:
        """Draw a screen; screens without a question are drawn again."""
        rng = random.Random(seed)
        while True:
            screen = draw(rng.getrandbits(31), None, width=self._width, height=self._height, split=self._split)
            questions = ask_all(screen.elements, rng)
            if questions:
                break
        height, width = screen.image.shape[:2]
        rng.shuffle(questions)
        conversations = []
        for question in questions[: self._most]:
            box = question.element.box
            center = Point((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height)
            answer = format_points("molmo", [center], question.label)
            conversations.append(Conversation(turns=(question.text, answer), style="demo"))
        return Row(
            conversations=tuple(conversations),
            size=(width, height),
            image=lambda: screen.image,
            name=f"simulated screen {number}",
        )
