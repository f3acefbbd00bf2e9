"""Android in the Wild: Google's TFRecord files, and SeeClick's selection as JSON.

Both give boxes as y, x, height, width; Google's gestures are y, x, SeeClick's x, y. All are fractions of the screen.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.data.formats.protobuf import feature_map
from molmo_agent.data.formats.tfrecord import read_records
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.items import Items, folder_beside, image_file
from molmo_agent.data.readers.grounding.targets import Edges, numbers
from molmo_agent.data.readers.steps.prompts import AITW_PROMPT, PROMPTS, phone_prompt
from molmo_agent.data.readers.steps.questions import step_question
from molmo_agent.data.readers.steps.step import Act, Kind, Place, Step, gesture
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, UsageError

SETS = ("general", "google_apps", "install", "single", "web_shopping")
_SEECLICK_SETS = {"googleapps": "google_apps", "webshopping": "web_shopping"}
SUBSPLITS = ("standard", "unseen_android_version", "unseen_subject", "unseen_verb", "unseen_domain")
_TYPE, _DUAL_POINT = 3, 4
_KINDS: Mapping[int, Kind] = {5: "back", 6: "home", 7: "enter", 10: "complete", 11: "impossible"}


def aitw(source: Source) -> "GoogleSteps | Items":
    """Read Android in the Wild.

    Options: ``form``: "google", the TFRecord files in a folder for each set, with ``splits/``; or "seeclick",
    ``aitw_data_test.json`` with ``aitw_imgs/``. ``split`` ("test"); ``subsplit`` of Google's files ("standard");
    ``prompt``, see :mod:`~molmo_agent.data.readers.steps.prompts`; ``images``: SeeClick's folder of images.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form, split or prompt.
    """
    options = options_of(
        source,
        {"form": "google", "split": "test", "subsplit": None, "prompt": "described", "images": None},
        {
            "form": ("google", "seeclick"),
            "split": ("train", "validation", "test"),
            "subsplit": (None, *SUBSPLITS),
            "prompt": PROMPTS,
        },
    )
    path = required_path(source)
    if options["form"] == "google":
        return GoogleSteps(path, options["split"], options["subsplit"] or "standard", options["prompt"])
    if options["subsplit"]:
        raise UsageError(f"SeeClick's selection has no subsplits, got {options['subsplit']!r}; leave it out")
    images = Path(options["images"]) if options["images"] else folder_beside(path, "aitw_imgs", "aitw_images")
    return _seeclick(path, options["split"], options["prompt"], images)


def place_of_yx(value: Any, name: str) -> Place:
    """Return x, y of two numbers y, x, which may be written as JSON text.

    Raises:
        ValueError: they are none.
    """
    y, x = numbers(value, name, 2)
    return x, y


def action_of(kind: Any, touch: Place, lift: Place, text: str) -> Act:
    """Return the action of AITW's number of it, and of a gesture as x, y.

    Raises:
        ValueError: no such number, or a gesture outside of the screen.
    """
    if kind == _TYPE:
        return Act(kind="type", text=text)
    if kind == _DUAL_POINT:
        return gesture(_on_screen(touch, "touch"), _on_screen(lift, "lift"))
    if kind not in _KINDS:
        raise ValueError(f"expected an action type of {_TYPE}, {_DUAL_POINT} or {sorted(_KINDS)}, got {kind!r:.40}")
    return Act(kind=_KINDS[kind])


def _on_screen(place: Place, name: str) -> Place:
    x, y = place
    # Fingers slip over the edge by a little.
    if not (-0.1 <= x <= 1.1 and -0.1 <= y <= 1.1):
        raise ValueError(f"expected {name} as fractions of the screen, got x={x:g}, y={y:g}: other units?")
    return x, y


def boxes_of(flat: Sequence[float]) -> tuple[Edges, ...]:
    """Return boxes of y, x, height, width, one after the other, as left, top, right, bottom.

    Raises:
        ValueError: not four numbers each, or a height or width below zero.
    """
    if len(flat) % 4:
        raise ValueError(f"expected boxes of four numbers (y, x, height, width), got {len(flat)} numbers")
    boxes = []
    for top, left, height, width in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True):
        if height < 0 or width < 0:
            raise ValueError(f"expected boxes as y, x, height, width, got a size below zero: {height:g}, {width:g}")
        boxes.append((left, top, left + width, top + height))
    return tuple(boxes)


class GoogleSteps:
    """The steps of Google's TFRecord files, streamed: all of them have more than a hundred gigabytes.

    Args:
        folder: with a folder of TFRecord files for each set, and ``splits/``.
        split: "train", "validation" or "test".
        subsplit: which of the five ways to split.
        prompt: see :mod:`~molmo_agent.data.readers.steps.prompts`.

    Raises:
        UsageError: the files are missing.
    """

    def __init__(self, folder: Path, split: str, subsplit: str, prompt: str) -> None:
        self.problems = Problems()
        self._prompt = prompt
        self._files = [
            (name, path)
            for name in SETS
            for path in sorted((folder / name).glob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]
        if not self._files:
            raise UsageError(f"expected TFRecord files in {folder}/{'/, '.join(SETS)}/, found none")
        splits = json_file(folder / "splits" / f"{subsplit}.json")
        try:
            self._ids = {str(id_) for id_ in splits[split]}
        except (LookupError, TypeError) as error:
            raise UsageError(f"expected the episodes of {split!r} in {folder}/splits/{subsplit}.json") from error

    def questions(self) -> Iterator[Question]:
        """Yield the steps of the split in the order of the files; unreadable ones go to ``problems``."""
        self.problems = Problems()
        sets = {name for name, _ in self._files}
        for name in SETS:
            if name not in sets:
                self.problems.add(Problem(file=name, reason="the folder of this set is missing or empty"))
        for name, path in self._files:
            yield from self._of_file(name, path)

    def _of_file(self, name: str, path: Path) -> Iterator[Question]:
        episode, previous = "", list[str]()
        for record in read_records(path, self.problems):
            row = None
            try:
                features = feature_map(record.payload)
                id_ = _one(features, "episode_id", bytes).decode()
                row = f"episode {id_}"
                if id_ not in self._ids:
                    continue
                if id_ != episode:
                    episode, previous = id_, []
                step = _google_step(name, id_, features)
                text = phone_prompt(self._prompt, AITW_PROMPT, _one(features, "goal_info", bytes).decode(), previous)
            except ROW_ERRORS as error:
                self.problems.add(
                    Problem(
                        file=f"{name}/{path.name}",
                        reason=reason_of(error),
                        record=record.index,
                        offset=record.offset,
                        row=row,
                    )
                )
                continue
            previous.append(step.act.words())
            yield step_question(f"{name}/{id_}/{step.number}", text, step, partial(_raw_image, features))


def _google_step(name: str, id_: str, features: Mapping[str, Any]) -> Step:
    touch, lift = (place_of_yx(features.get(f"results/yx_{end}"), f"results/yx_{end}") for end in ("touch", "lift"))
    act = action_of(
        _one(features, "results/action_type", int), touch, lift, _one(features, "results/type_action", bytes).decode()
    )
    return Step(
        act=act,
        episode=f"{name}/{id_}",
        number=_one(features, "step_id", int),
        length=_one(features, "episode_length", int),
        boxes=boxes_of(numbers(features.get("image/ui_annotations_positions", []), "image/ui_annotations_positions")),
        facets={"set": (name,)},
    )


def _one(features: Mapping[str, Any], name: str, kind: type) -> Any:
    values = features.get(name, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise ValueError(f"expected one value of {name}, of {kind.__name__}, got {values!r:.60}")
    return values[0]


def _raw_image(features: Mapping[str, Any]) -> Image:
    """Return the screenshot, which is stored as plain bytes, row by row.

    Raises:
        ImageError: there are not as many bytes as the sizes say.
    """
    height, width, channels = (_one(features, f"image/{side}", int) for side in ("height", "width", "channels"))
    data = _one(features, "image/encoded", bytes)
    if channels != 3 or height < 1 or width < 1 or len(data) != height * width * 3:
        raise ImageError(
            f"expected image/encoded to have {height} x {width} x {channels} bytes in three channels, got {len(data)}"
        )
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _seeclick(path: Path, split: str, prompt: str, images: Path) -> Items:
    file = path / f"aitw_data_{'val' if split == 'validation' else split}.json"
    data = json_file(file)
    if not isinstance(data, dict):
        raise UsageError(f"expected the episodes of each set in {file}, got {type(data).__name__}")
    parts: list[Any] = []
    for set_, episodes in data.items():
        name = _SEECLICK_SETS.get(set_, set_)
        for number, episode in enumerate(episodes):
            if not isinstance(episode, list):
                raise UsageError(f"expected episode {number} of {set_!r} in {file} as a list of steps")
            reader = partial(_seeclick_question, images, prompt, f"{name}/{number}", len(episode), [])
            parts.append((f"{file.name}, {set_} episode {number}", iter(enumerate(episode)), reader))
    return Items(path.name, parts, Problems())


def _seeclick_question(
    images: Path, prompt: str, episode: str, length: int, previous: list[str], number: int, record: Any
) -> Question:
    kind = record["action_type_id"]
    if kind == _DUAL_POINT and str(record.get("action_type_text", "")).startswith("scroll "):
        # Its scrolls are named, and their gestures replaced by a standard one.
        act = Act(kind="scroll", direction=_direction(record["action_type_text"].removeprefix("scroll ")))
    else:
        ends = ("touch", "lift") if kind == _DUAL_POINT else ()
        # Here, x is first; actions without a gesture may have none.
        touch, lift = [place_of_yx(record[end], end)[::-1] for end in ends] or [(0.0, 0.0), (0.0, 0.0)]
        act = action_of(kind, touch, lift, record.get("type_text") or "")
    step = Step(
        act=act,
        episode=episode,
        number=number,
        length=length,
        boxes=boxes_of(numbers(record["annot_position"], "annot_position")),
        facets={"set": (episode.partition("/")[0],)},
    )
    image = image_file(images, f"{record['img_filename']}.png")
    text = phone_prompt(prompt, AITW_PROMPT, record["goal"], previous)
    previous.append(act.words())
    return step_question(f"{episode}/{number}", text, step, image)


def _direction(name: str) -> str:
    if name not in ("up", "down", "left", "right"):
        raise ValueError(f"expected a scroll up, down, left or right, got {name!r:.40}")
    return name
