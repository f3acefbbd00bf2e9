"""Multimodal-Mind2Web: the hub's Parquet files, and SeeClick's JSON; boxes in pixels as x, y, width, height."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.items import Items, embedded, folder_beside, image_file, table_records
from molmo_agent.data.readers.grounding.targets import Edges, edges
from molmo_agent.data.readers.steps.prompts import PAGE_PROMPT, described
from molmo_agent.data.readers.steps.questions import step_question
from molmo_agent.data.readers.steps.step import Act, Kind, Step
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.parse import load_json

SPLITS = ("test_task", "test_website", "test_domain", "train")
# The blocks into which UGround cuts a page: width, height, and the overlap of two of them, in pixels.
BLOCK_WIDTH, BLOCK_HEIGHT, OVERLAP = 1280, 1000, 200
# Mind2Web counts the last two as clicks.
_KINDS: Mapping[str, Kind] = {"CLICK": "click", "TYPE": "type", "SELECT": "select", "HOVER": "click", "ENTER": "click"}
_COLUMNS = (
    *("annotation_id", "action_uid", "website", "domain", "confirmed_task", "operation", "pos_candidates"),
    *("action_reprs", "target_action_index", "screenshot"),
)


def mind2web(source: Source) -> Items:
    """Read Multimodal-Mind2Web.

    Options: ``form``: "block", the block of the page that has the target, as UGround cuts it; "page", the whole page;
    or "seeclick", ``mind2web_data_test_*.json`` with ``mind2web_imgs/``. ``split``: "test_task", "test_website",
    "test_domain" or "train". ``images``: SeeClick's folder of images.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form or split.
    """
    options = options_of(
        source,
        {"form": "block", "split": "test_task", "images": None},
        {"form": ("block", "page", "seeclick"), "split": SPLITS},
    )
    path, problems = required_path(source), Problems()
    if options["form"] == "seeclick":
        images = Path(options["images"]) if options["images"] else folder_beside(path, "mind2web_imgs")
        return _seeclick(path, options["split"], images)
    table, records = table_records(path, options["split"], _COLUMNS, problems)
    parse = partial(_row, lambda number: embedded(path, table, number, "screenshot"), options["form"] == "block")
    return Items(path.name, [(table.name, records, parse)], problems)


def _row(screenshot: Callable[[int], Callable[[], Image]], cut: bool, number: int, record: Any) -> Question:
    operation = _text_object(record["operation"], "operation")
    boxes = tuple(_box_of(candidate) for candidate in record["pos_candidates"])
    image, place = screenshot(number), (0, 0)
    if cut:
        place, boxes = block_of(boxes)
        image = partial(_cut, image, place)
    index, actions = int(record["target_action_index"]), _lines(record["action_reprs"])
    step = _step(
        operation.get("op"), operation.get("value"), boxes, record["annotation_id"], index, len(actions), record
    )
    text = described(PAGE_PROMPT, record["confirmed_task"], actions[:index])
    return step_question(f"{record['annotation_id']}/{record['action_uid']}", text, step, image)


def _step(
    op: Any, value: Any, boxes: tuple[Edges, ...], episode: Any, number: int, length: int, record: Mapping[str, Any]
) -> Step:
    if op not in _KINDS:
        raise ValueError(f"expected an operation of {', '.join(_KINDS)}, got {op!r:.40}")
    kind = _KINDS[op]
    facets = {name: (str(record[name]),) for name in ("domain",) if record.get(name)}
    text = (value or "") if kind != "click" else ""
    return Step(
        act=Act(kind=kind, text=text),
        episode=str(episode),
        number=number,
        length=length,
        frame="pixels",
        targets=boxes,
        facets=facets,
    )


def _text_object(text: Any, name: str) -> Mapping[str, Any]:
    value = load_json(text, where=f"the text of {name}") if isinstance(text, str) else text
    if not isinstance(value, Mapping):
        raise ValueError(f"expected {name} to be an object, got {text!r:.80}")
    return value


def _box_of(candidate: Any) -> Edges:
    """Return the box of an element, whose attributes are JSON text within JSON text."""
    attributes = _text_object(_text_object(candidate, "pos_candidates").get("attributes"), "attributes")
    rectangle = attributes.get("bounding_box_rect")
    if not isinstance(rectangle, str):
        raise ValueError(f"expected bounding_box_rect as 'x,y,width,height', got {rectangle!r:.80}")
    return edges([float(side) for side in rectangle.split(",")], "xywh", name="bounding_box_rect")


def _lines(actions: Any) -> list[str]:
    """Return the actions of the task; some copies have them as one text."""
    if isinstance(actions, str):
        return actions.split("\n")
    if isinstance(actions, Sequence) and len(actions) == 1 and isinstance(actions[0], str):
        return actions[0].split("\n")
    return [str(action) for action in actions]


def block_of(boxes: Sequence[Edges]) -> tuple[tuple[int, int], tuple[Edges, ...]]:
    """Return the left top corner of the block to show, and the boxes in it, in pixels of the block.

    It is the first block that holds an element as a whole. If none does, it is centred on the elements, which UGround
    places at random. Without elements it is the first block.
    """
    if not boxes:
        return (0, 0), ()
    stride = BLOCK_HEIGHT - OVERLAP
    tops = sorted({top for box in boxes for top in _tops(box, stride)})
    for top in tops:
        whole = [box for box in boxes if _is_whole(box, top)]
        if whole:
            return (0, top), tuple(_moved(box, 0, top) for box in whole)
    bottom, upper = max(box[3] for box in boxes), min(box[1] for box in boxes)
    left = max(0, int(max(box[2] for box in boxes)) - BLOCK_WIDTH + 1)
    top = max(0, int((upper + bottom) / 2) - BLOCK_HEIGHT // 2)
    return (left, top), tuple(_moved(box, left, top) for box in boxes)


def _tops(box: Edges, stride: int) -> list[int]:
    """Return the upper edges of the blocks that may hold a box."""
    last = max(0, int(box[1] // stride))
    return [number * stride for number in (last - 1, last) if number >= 0]


def _is_whole(box: Edges, top: int) -> bool:
    left, upper, right, bottom = box
    return 0 <= left < BLOCK_WIDTH and right <= BLOCK_WIDTH and upper - top >= 0 and bottom - top <= BLOCK_HEIGHT


def _moved(box: Edges, left: int, top: int) -> Edges:
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _cut(read: Callable[[], Image], place: tuple[int, int]) -> Image:
    left, top = place
    block = read()[top : top + BLOCK_HEIGHT, left : left + BLOCK_WIDTH]
    if not block.size:
        raise ImageError(
            f"expected a screenshot of the whole page, but its target lies beyond it, at x={left}, y={top}"
        )
    return block


def _seeclick(path: Path, split: str, images: Path) -> Items:
    file = path / f"mind2web_data_{split}.json"
    tasks = json_file(file)
    if not isinstance(tasks, list):
        raise UsageError(f"expected a list of tasks in {file}, got {type(tasks).__name__}")
    parts: list[Any] = []
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not isinstance(task.get("actions"), list):
            raise UsageError(f"expected task {number} of {file} to have actions")
        part = f"{file.name}, task {number}"
        parts.append((part, iter(list(enumerate(task["actions"]))), partial(_seeclick_question, images, task)))
    return Items(path.name, parts, Problems())


def _seeclick_question(images: Path, task: Mapping[str, Any], number: int, record: Any) -> Question:
    if "bbox" not in record:
        raise ValueError("the action has no element, and the authors leave it out")
    box = [record["bbox"][side] for side in ("x", "y", "width", "height")]
    id_, operation = task["annotation_id"], record["operation"]
    targets = (edges(box, "xywh"),)
    op = operation.get("original_op", operation.get("op"))
    step = _step(op, operation.get("value"), targets, id_, number, len(task["actions"]), task)
    actions = _lines(task.get("action_reprs") or [])
    text = described(PAGE_PROMPT, task["confirmed_task"], actions[:number])
    image = image_file(images, f"{id_}-{record['action_uid']}.jpg")
    return step_question(f"{id_}/{record['action_uid']}", text, step, image)
