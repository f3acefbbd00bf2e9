"""Record MiniWoB++'s pages as training data, while the oracle plays the training tasks.

    python -m molmo_agent.synthetic.record_miniwob FOLDER --episodes 3000

The questions are those that the pointing policy asks on a page; the targets come from the page's DOM.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import track

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen, TextRun
from molmo_agent.envs.web.elements import PageElement, color_names, find, is_large, matches_of_description
from molmo_agent.envs.web.miniwob import HEIGHT, WIDTH, MiniWob
from molmo_agent.geometry import Box
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.synthetic.miniwob_split import SEED, task_lists
from molmo_agent.synthetic.recorded_screens import RecordedScreen, Recorder
from molmo_agent.synthetic.referring.names import Question

# From the kinds of page elements to those of the simulated screens.
_KINDS = {"radio button": "radio", "drop-down": "dropdown", "picture": "icon"}
# The simulated screens' words for colours.
_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "gray", "white", "cyan", "magenta")
_LONGEST_NAME = 40


def _pixels(box: Box) -> PixelBox:
    return box.left * WIDTH, box.top * HEIGHT, box.right * WIDTH, box.bottom * HEIGHT


def element_of(
    page_element: PageElement, number: int, page: Sequence[PageElement], texts: Sequence[TextRun]
) -> Element:
    """Return a page's element as an element of the simulated screens."""
    kind = _KINDS.get(page_element.kind, page_element.kind)
    if page_element.form in ("letter", "digit"):
        kind = "letter"
    is_drawing = kind in ("shape", "letter")
    large = is_large(page_element, page)
    label = page_element.label if len(page_element.label) <= _LONGEST_NAME else ""
    return Element(
        id=number,
        kind=kind,
        label="" if kind == "shape" else label,
        box=_pixels(page_element.box),
        visible=True,
        color=next((name for name in color_names(page_element) if name in _COLORS), None) if is_drawing else None,
        shape=page_element.form if kind == "shape" and page_element.form else None,
        size=None if large is None or not is_drawing else "large" if large else "small",
        state="checked" if page_element.checked else None,
        text=bool(label) and any(label.casefold() in run.text.casefold() for run in texts),
    )


def read_screen(env: MiniWob, page: Sequence[PageElement]) -> Screen:
    """Capture a page with its ground truth; ``page`` holds its current elements."""
    texts = env.texts()
    return Screen(
        env.render(), tuple(element_of(page_element, n, page, texts) for n, page_element in enumerate(page)), texts
    )


def questions_of(target: str, page_element: PageElement, page: Sequence[PageElement]) -> tuple[Question, ...]:
    """Return the pointing policy's question for an element, and the same question for similar elements with a name."""
    if not page_element.label or page_element.label not in target or matches_of_description(page, target):
        label = re.sub(r'^(?:into )?(?:an?|the) |"', "", target).strip(" .").lower()
        return (_question(target, page_element, label, len(page), named=False),)
    similar = [other for other in page if other.kind == page_element.kind and 0 < len(other.label) <= _LONGEST_NAME]
    names = Counter(other.label for other in similar)
    return tuple(
        _question(
            target.replace(page_element.label, other.label), other, other.label.lower(), len(page) + n, named=True
        )
        for n, other in enumerate(similar)
        if other is page_element or names[other.label] == 1
    )


def _question(text: str, page_element: PageElement, label: str, number: int, *, named: bool) -> Question:
    element = Element(id=number, kind="target", label=label, box=_pixels(page_element.box), visible=True)
    return Question((element,), text, label, "recorded", named=named)


def watch(env: MiniWob, tasks: Sequence[str], episodes: range) -> Iterator[RecordedScreen]:
    """Solve episodes with the oracle, and yield every page that has a target.

    An episode ends early if the oracle finds no target, for example if the entry of a list is scrolled out of view.

    Args:
        env: with one image pixel per CSS pixel.
        tasks: the tasks, played in turn.
        episodes: numbers of the episodes, which are also their seeds; below those of evaluation.

    Raises:
        ValueError: a seed is reserved for evaluation.
    """
    if episodes.stop > SEED:
        raise ValueError(f"seeds from {SEED} on are for evaluation, got {episodes.stop - 1}")
    for number in episodes:
        _, info = env.reset(seed=number, options={"task": tasks[number % len(tasks)]})
        for step in split_instruction(info["instruction"]):
            page = env.elements()
            matches = find(page, step.targets[0]) if len(step.targets) == 1 else []
            # "Ada, Bob from the scroll list" are two targets.
            if not matches or "," in step.targets[0].replace(matches[0].label, ""):
                break
            # If several match, use the first in reading order: a unique answer is learned faster.
            first = min(matches, key=lambda element: (round(element.box.top * 20), element.box.left))
            questions = questions_of(step.targets[0], first, page)
            yield RecordedScreen(screen=read_screen(env, page), questions=questions)
            if env.step(step.action([first.box.center]))[2]:
                break


def main() -> None:
    """Record pages of the training tasks; append to an earlier recording in the same folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=int, default=0, help="number of the first episode")
    parser.add_argument("--episodes", type=int, default=3000)
    options = parser.parse_args()
    recorder, env = Recorder(options.folder), MiniWob(scale=1)
    try:
        for number in track(range(options.start, options.start + options.episodes), "Recording pages"):
            for screen in watch(env, task_lists()["trained"], range(number, number + 1)):
                recorder.add(screen)
    finally:
        env.close()
        recorder.close()
    print(f"{recorder.count} screens in {options.folder}")


if __name__ == "__main__":
    main()
