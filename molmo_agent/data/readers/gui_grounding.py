"""Reader of GUI grounding data in the forms that others publish: where on a screenshot is what an instruction names.

The option ``format`` declares the form, and with it the scale of the numbers, which no file states:

=========  =====  ==================================================================================================
os-atlas   1000   LLaVA lists; answers ``<|box_start|>(x1,y1),(x2,y2)<|box_end|>``
uground    999    LLaVA lists; answers ``(x, y)``
aguvis     1      LLaVA lists; answers are one click such as ``pyautogui.click(x=0.5, y=0.25)``
showui     1      ``image``, ``instruction``, ``bbox`` [left, top, right, bottom] and ``point``; or a list ``element``
molmoweb   100    ``messages`` of ``question``, ``answer`` (an action as JSON text) and ``bbox``
agentnet   1      recorded tasks: ``traj`` with an ``image`` and ``value`` = {``code``, ``action``} per step
boxes      none   like showui; the option ``scale`` is needed
=========  =====  ==================================================================================================

``scale`` (1, 100, 999, 1000 or ``pixels``) overrides that of the form. A file whose numbers are all far below its scale
is refused: it has another one. What is no single click, such as typing, is skipped and counted.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.readers.annotated import Records
from molmo_agent.data.readers.own_records import OwnRecords, Size, folder_of, open_records
from molmo_agent.data.row import Conversation, Target
from molmo_agent.data.source import Source
from molmo_agent.data.turns import turns_of
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.model.prompts import wording
from molmo_agent.parse import load_json
from molmo_agent.point_text.parse import format_points

Scale = Literal["pixels"] | int

SCALES: dict[str, Scale | None] = {
    "os-atlas": 1000, "uground": 999, "aguvis": 1, "showui": 1, "molmoweb": 100, "agentnet": 1, "boxes": None,
}  # fmt: skip
"""The forms, with the number at the far edge of the image; None: it must be given."""

_ALLOWED: tuple[Scale, ...] = (1, 100, 999, 1000, "pixels")
_KEYS = (
    "image", "images", "img_filename", "img_url", "image_path", "conversations", "messages", "instruction", "bbox",
    "point", "element", "elements", "traj", "metadata",
)  # fmt: skip
_NUMBER = r"\s*(-?\d{1,6}(?:\.\d{1,12})?)\s*"
_PAIR = rf"\({_NUMBER},{_NUMBER}\)"
_BOX = re.compile(rf"(?:<\|box_start\|>)?\s*{_PAIR}\s*,\s*{_PAIR}\s*(?:<\|box_end\|>)?")
_POINT = re.compile(_PAIR)
_CALL = re.compile(r"\b(?:pyautogui\.)?(\w+)\(([^()]*)\)")
_CLICKS = ("click", "doubleClick", "rightClick", "tripleClick", "middleClick", "leftClick")
_ARGUMENTS = re.compile(rf"(?:x\s*=)?{_NUMBER},(?:\s*y\s*=)?{_NUMBER}(?:,.*)?", re.DOTALL)
_QUOTED = re.compile(r'"([^"]+)"')
# So many numbers that are all within a smaller scale are in that scale.
_ENOUGH = 40
# A larger share of places outside of the image is another scale.
_STRAY = 0.1


@dataclass(frozen=True, slots=True)
class _Click:
    """A target as the file has it: an instruction, and two numbers (a point) or four (a box)."""

    instruction: str
    point: tuple[float, ...]
    box: tuple[float, ...] = ()


def gui_grounding(source: Source) -> OwnRecords:
    """Read GUI grounding data; see the module.

    Options: ``format``; ``scale``; ``images``, the folder of relative paths (default: the file's); ``wording``: "many"
    asks in many wordings, "none" with the instruction alone, as nano does.

    Raises:
        UsageError: no format, no scale where one is needed, or numbers that are of another scale.
        UnknownNameError: no such format, scale or wording.
    """
    defaults = {"format": None, "scale": None, "images": None, "wording": "many"}
    options = options_of(source, defaults, {"wording": ("many", "none")})
    name, scale = options["format"], options["scale"]
    if name is None:
        raise UsageError(
            f"the data set {source.kind!r} needs the option format, which says what its numbers mean: "
            f"{', '.join(SCALES)}"
        )
    if name not in SCALES:
        raise UnknownNameError(f"format of {source.kind!r}", str(name), SCALES)
    scale = SCALES[name] if scale is None else scale
    if scale is None:
        raise UsageError(f"the format {name!r} needs the option scale: {', '.join(map(str, _ALLOWED))}")
    if isinstance(scale, bool) or scale not in _ALLOWED:
        raise UnknownNameError(f"scale of {source.kind!r}", str(scale), map(str, _ALLOWED))
    path, problems = required_path(source), Problems()
    records: Records = open_records(path, "GUI grounding", _KEYS, problems)
    if name == "agentnet":
        records = _Steps(records)
    form = GroundingForm(name, scale, many=options["wording"] == "many")
    rows = OwnRecords(records, form, folder_of(source, path), problems)
    form.check_scale(path.name)
    return rows


class _Steps:
    """The steps of recorded tasks as records; a step's number is that of its task and its own place."""

    def __init__(self, tasks: Records) -> None:
        self._tasks, self.name = tasks, tasks.name
        self._places: list[tuple[int, int]] = []

    def scan(self) -> Iterator[tuple[int, Any]]:
        self._places = []
        for number, task in self._tasks.scan():
            steps = task.get("traj") if isinstance(task, dict) else None
            for place, step in enumerate(steps if isinstance(steps, list) and steps else [task]):
                self._places.append((number, place))
                yield len(self._places), step

    def get(self, number: int) -> Any:
        task, place = self._places[number - 1]
        return self._tasks.get(task)["traj"][place]


class GroundingForm:
    """The records of :func:`gui_grounding`.

    Args:
        name: of the format.
        scale: of the numbers.
        many: ask in many wordings.
    """

    def __init__(self, name: str, scale: Scale, *, many: bool = True) -> None:
        self._name, self._scale, self._many = name, scale, many
        # Numbers of coordinates inside and outside of the image, and the largest of either.
        self._count, self._outside, self._largest = 0, 0, 0.0

    def images(self, record: Any) -> tuple[Any, ...]:
        """Return the screenshot of a record."""
        if not isinstance(record, dict):
            raise ValueError(f"expected an object with a screenshot, got {record!r:.80}")
        names = ("image", "img_filename", "img_url", "image_path", "images")
        image = next((record[name] for name in names if record.get(name)), None)
        if isinstance(image, list) and len(image) == 1:
            image = image[0]
        if image is None or isinstance(image, list):
            raise ValueError(f"expected one screenshot as 'image', got {image!r:.80}")
        return (image,)

    def conversations(
        self, record: Any, sizes: tuple[Size, ...], rng: np.random.RandomState
    ) -> tuple[Conversation, ...]:
        """Return a conversation for each target on the screenshot."""
        conversations = []
        for click in self._clicks(record):
            if not isinstance(click.instruction, str) or not click.instruction.strip():
                raise ValueError("expected an instruction that names the target, got none")
            label = click.instruction.strip()
            point, box = self._place(click, sizes[0])
            question = wording("pointing", label, rng) if self._many else label
            target = Target(instruction=label, points=(point,), boxes=(box,) if box else ())
            answer = format_points("molmo", [point], label.lower())
            conversations.append(Conversation(turns=(question, answer), style="pointing", target=target))
        return tuple(conversations)

    def check_scale(self, file: str) -> None:
        """Check that the numbers that were read do not lie in a smaller scale.

        Raises:
            UsageError: they do.
        """
        if self._outside > 1 and self._outside > _STRAY * self._count:
            raise UsageError(
                f"{self._outside} coordinates of {file} lie outside of the scale {self._scale}, and {self._count} "
                f"inside; the largest is {self._largest:g}: set the option scale to that of the file, or remove the "
                "lines"
            )
        top = float("inf") if self._scale == "pixels" else float(self._scale)
        smaller = [scale for scale in (1, 100) if scale < top and self._largest <= scale]
        # All pixels within 100 are a small image; all within 1 are none.
        if self._scale == "pixels":
            smaller = [scale for scale in smaller if scale == 1]
        if smaller and (self._count >= _ENOUGH or smaller[0] == 1):
            raise UsageError(
                f"all {self._count} coordinates of {file} are at most {self._largest:g}, so they are not of the scale "
                f"{self._scale}; set the option scale to that of the file ({smaller[0]}?)"
            )

    def _clicks(self, record: Any) -> list[_Click]:
        if self._name in ("os-atlas", "uground", "aguvis"):
            return _from_turns(record, {"os-atlas": _box_of, "uground": _point_of, "aguvis": _call_of}[self._name])
        if self._name == "molmoweb":
            return [_web_click(message) for message in _list(record, "messages")]
        if self._name == "agentnet":
            value = record.get("value")
            if not isinstance(value, dict):
                raise ValueError("expected a step with 'value', got none")
            return [_Click(_text(value, "action"), _call_of(_text(value, "code")))]
        elements = record.get("element") or record.get("elements") or [record]
        return [_element(one) for one in _list({"element": elements}, "element")]

    def _place(self, click: _Click, size: Size) -> tuple[Point, Box | None]:
        numbers = self._scaled(click.point, size)
        edges = self._scaled(click.box, size) if click.box else numbers if len(numbers) == 4 else []
        if not edges:
            return Point(*numbers), None
        left, top, right, bottom = edges
        if left > right or top > bottom:
            raise ValueError(
                f"the edges of the box {list(click.box or click.point)} are swapped; expected left, top, right, bottom"
            )
        box = Box(left, top, right, bottom)
        point = Point(*numbers) if click.box else Point((left + right) / 2, (top + bottom) / 2)
        if not box.contains(point):
            raise ValueError(f"the point {list(click.point)} lies outside of its own box {list(click.box)}")
        return point, box

    def _scaled(self, numbers: Sequence[float], size: Size) -> list[float]:
        """Return numbers in x, y order as fractions of the image.

        Raises:
            ValueError: one lies outside, or has another scale.
        """
        tops = size if self._scale == "pixels" else (self._scale, self._scale)
        if numbers and self._scale != 1 and max(numbers) < 1 and any(number % 1 for number in numbers):
            raise ValueError(f"the numbers {list(numbers)} look like fractions; expected the scale {self._scale}")
        for place, number in enumerate(numbers):
            self._largest = max(self._largest, number)
            if not 0 <= number <= tops[place % 2]:
                self._outside += 1
                raise ValueError(
                    f"the place {list(numbers)} lies outside the image; expected numbers of 0 to {tops[place % 2]}"
                )
            self._count += 1
        return [number / tops[place % 2] for place, number in enumerate(numbers)]


def _from_turns(record: Any, read: Any) -> list[_Click]:
    messages = record.get("conversations") or record.get("messages")
    if isinstance(messages, str):
        # Tables store the list as text.
        messages = load_json(messages, where="'conversations'")
    turns = turns_of(messages, 1)
    clicks = []
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        quoted = _QUOTED.findall(question)
        clicks.append(_Click(quoted[0] if len(quoted) == 1 else question, read(answer)))
    return clicks


def _box_of(text: str) -> tuple[float, ...]:
    match = _BOX.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a box (x1,y1),(x2,y2) as the answer, got {text!r:.80}")
    return tuple(map(float, match.groups()))


def _point_of(text: str) -> tuple[float, ...]:
    match = _POINT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a point (x, y) as the answer, got {text!r:.80}")
    return tuple(map(float, match.groups()))


def _call_of(text: str) -> tuple[float, ...]:
    """Return the place of the only call in a text; the text is never run."""
    calls = _CALL.findall(text)
    if len(calls) != 1 or calls[0][0] not in _CLICKS:
        raise ValueError(f"the action is no single click ({', '.join(name for name, _ in calls) or 'none'})")
    match = _ARGUMENTS.fullmatch(calls[0][1].strip())
    if match is None:
        raise ValueError(f"expected a click at x and y, got {text.strip()!r:.80}")
    return tuple(map(float, match.groups()))


def _web_click(message: Any) -> _Click:
    if not isinstance(message, dict):
        raise ValueError(f"expected a message with question and answer, got {message!r:.80}")
    answer, box = _json(message.get("answer")), _json(message.get("bbox"))
    action = answer.get("action", answer) if isinstance(answer, dict) else None
    if not isinstance(action, dict) or type(action.get("x")) not in (int, float):
        name = action.get("name") if isinstance(action, dict) else None
        raise ValueError(f"the action is no single click ({name or 'none'})")
    return _Click(_text(message, "question"), _numbers([action["x"], action.get("y")], 2), _numbers(box or [], 4))


def _element(entry: Any) -> _Click:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an element with instruction and bbox, got {entry!r:.80}")
    box, point = entry.get("bbox"), entry.get("point")
    if not box and not point:
        raise ValueError("expected a 'bbox' [left, top, right, bottom] or a 'point' [x, y], got neither")
    edges = _numbers(box or [], 4)
    return _Click(_text(entry, "instruction"), _numbers(point, 2) if point else edges, edges if point else ())


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    values = list(values) if isinstance(values, list | tuple) else values
    if values == []:
        return ()
    if not isinstance(values, list) or len(values) != count or not all(type(v) in (int, float) for v in values):
        raise ValueError(f"expected {count} numbers, got {values!r:.80}")
    return tuple(map(float, values))


def _json(value: Any) -> Any:
    return load_json(value, where="the JSON text of a message") if isinstance(value, str) else value


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key)
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a list as {key!r}, got {value!r:.80}")
    return value


def _text(record: Any, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text as {key!r}, got {value!r:.80}")
    return value
