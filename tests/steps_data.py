"""Small step benchmarks in the layouts that their authors publish, with drawn pictures."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from made_data import parquet, png, write

from molmo_agent.data.formats.tfrecord import mask_crc, plain_crc32c

SIZE = (80, 160)
"""(width, height) of every screenshot."""


def picture(number: int = 0, size: tuple[int, int] = SIZE) -> bytes:
    return png(number, (size[1], size[0]))


# --- TFRecord ---------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(value: Any) -> bytes:
    """A Feature of texts, whole numbers or floats."""
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], bytes | str):
        texts = [one.encode() if isinstance(one, str) else one for one in values]
        return field(1, b"".join(field(1, text) for text in texts))
    if values and isinstance(values[0], int):
        return field(3, field(1, b"".join(varint(one & (1 << 64) - 1) for one in values)))
    return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))


def example(features: dict[str, Any]) -> bytes:
    return field(
        1, b"".join(field(1, field(1, name.encode()) + field(2, feature(features[name]))) for name in features)
    )


def tfrecord(path: Path, payloads: list[bytes]) -> Path:
    """A TFRecord file with right checksums, not compressed."""
    data = b""
    for payload in payloads:
        head = struct.pack("<Q", len(payload))
        data += head + struct.pack("<I", mask_crc(plain_crc32c(head)))
        data += payload + struct.pack("<I", mask_crc(plain_crc32c(payload)))
    return write(path, data)


# --- AITW -------------------------------------------------------------------------------------------------------------

NOWHERE = [-1.0, -1.0]


def aitw_step(episode: str, number: int, length: int, kind: int, **more: Any) -> dict[str, Any]:
    """The features of a step; the touch and the lift are y, x."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 40 * number, np.uint8)
    return {
        "episode_id": episode,
        "episode_length": length,
        "step_id": number,
        "goal_info": f"do {episode}",
        "image/encoded": pixels.tobytes(),
        "image/height": SIZE[1],
        "image/width": SIZE[0],
        "image/channels": 3,
        # One element, wide and flat: y, x, height, width.
        "image/ui_annotations_positions": [0.5, 0.2, 0.05, 0.4],
        "results/action_type": kind,
        "results/type_action": "",
        "results/yx_touch": NOWHERE,
        "results/yx_lift": NOWHERE,
    } | more


def aitw(folder: Path) -> Path:
    """Two sets; the episode "a" is in the test split, "b" is for training, "c" is the test episode of another set."""
    a = [
        aitw_step("a", 0, 4, 4, **{"results/yx_touch": [0.52, 0.25], "results/yx_lift": [0.53, 0.25]}),
        aitw_step("a", 1, 4, 4, **{"results/yx_touch": [0.8, 0.5], "results/yx_lift": [0.2, 0.45]}),
        aitw_step("a", 2, 4, 3, **{"results/type_action": "Weather Rome"}),
        aitw_step("a", 3, 4, 10),
    ]
    b = [aitw_step("b", 0, 1, 6)]
    c = [aitw_step("c", 0, 2, 5), aitw_step("c", 1, 2, 11)]
    tfrecord(folder / "general" / "general-00000-of-00001", [example(step) for step in (*a, *b)])
    tfrecord(folder / "install" / "install-00000-of-00001", [example(step) for step in c])
    write(folder / "splits" / "standard.json", {"train": ["b"], "validation": [], "test": ["a", "c"]})
    return folder


AITW_GOLD = [
    "Click(25.0, 52.0)",
    "Scroll down",
    "Type Weather Rome",
    "Task Complete",
    "Navigate Back",
    "Task Impossible",
]


def seeclick_step(kind: int, text: str, **more: Any) -> dict[str, Any]:
    """A step of SeeClick's selection, with the gesture as x, y and the boxes as y, x, height, width."""
    return {
        "ep_id": "1",
        "goal": "check the weather",
        "img_filename": "general/1_0",
        "annot_position": [0.5, 0.2, 0.05, 0.4],
        "action_type_id": kind,
        "action_type_text": text,
        "touch": NOWHERE,
        "lift": NOWHERE,
        "type_text": "",
    } | more


def aitw_seeclick(folder: Path) -> Path:
    episode = [
        seeclick_step(4, "click", touch=[0.25, 0.52], lift=[0.25, 0.53]),
        seeclick_step(4, "scroll left", touch=[0.1, 0.5], lift=[0.9, 0.5]),
        seeclick_step(3, "type", type_text="Rome"),
    ]
    write(folder / "aitw_data_test.json", {"general": [episode], "googleapps": [[seeclick_step(7, "press enter")]]})
    write(folder / "aitw_imgs" / "general" / "1_0.png", picture())
    return folder


# --- AITZ -------------------------------------------------------------------------------------------------------------


def aitz_step(number: int, length: int, kind: int, **more: Any) -> dict[str, Any]:
    name = f"GENERAL-7_{number}.png"
    return {
        "episode_id": "7",
        "episode_length": length,
        "step_id": number,
        "instruction": "open the clock",
        # y, x, height, width in pixels, as text: a button at x 20 to 40 and y 80 to 90.
        "ui_positions": "[[80, 20, 10, 20], [0, 0, 16, 16]]",
        "ui_text": '["Clock", ""]',
        "ui_types": '["TEXT", "ICON_CALL"]',
        "result_action_type": kind,
        "result_action_text": "",
        "result_touch_yx": "[-1.0, -1.0]",
        "result_lift_yx": "[-1.0, -1.0]",
        "image_path": f"general/GENERAL-7/{name}",
        "image_full_path": f"elsewhere/test/general/GENERAL-7/{name}",
        "coat_action_desc": "",
    } | more


AITZ = [
    # In the middle of the button: x 30 of 80, y 85 of 160.
    aitz_step(0, 5, 4, result_touch_yx="[0.53125, 0.375]", result_lift_yx="[0.53, 0.375]"),
    # Nearly diagonal: the height is more than 0.9 of the width, and less than the width.
    aitz_step(1, 5, 4, result_touch_yx="[0.2, 0.9]", result_lift_yx="[0.77, 0.3]"),
    aitz_step(2, 5, 3, result_action_text="alarm clock"),
    aitz_step(3, 5, 7),
    aitz_step(4, 5, 11),
]
AITZ_GOLD = ["Click(37.5, 53.1)", "Scroll up", "Type alarm clock", "Press Enter", "Task Impossible"]


def aitz(folder: Path) -> Path:
    home = folder / "test" / "general" / "GENERAL-7"
    write(home / "GENERAL-7.json", AITZ)
    for number in range(len(AITZ)):
        write(home / f"GENERAL-7_{number}.png", picture(number))
    return folder


# --- GUI-Odyssey ------------------------------------------------------------------------------------------------------


def odyssey_step(number: int, action: str, info: Any, **more: Any) -> dict[str, Any]:
    return {"step": number, "screenshot": f"1_{number}.png", "action": action, "info": info, "ps": ""} | more


ODYSSEY = [
    odyssey_step(0, "CLICK", [[500, 250]], sam2_bbox=[100, 200, 900, 300], low_level_instruction="Tap the bar"),
    odyssey_step(1, "CLICK", "KEY_APPSELECT"),
    odyssey_step(2, "SCROLL", [[500, 800], [500, 300]]),
    odyssey_step(3, "TEXT", "at 10:30"),
    odyssey_step(4, "LONG_PRESS", [[0, 1000]], sam2_bbox=[]),
    odyssey_step(5, "INCOMPLETE", ""),
]
ODYSSEY_GOLD = [
    *("Click(50.0, 25.0)", "Press Recent", "Scroll down", "Type at 10:30", "Long Press(0.0, 100.0)", "Task Impossible"),
]


def gui_odyssey(folder: Path) -> Path:
    episode = {
        "episode_id": "1",
        "device_info": {"w": 1080, "h": 2400},
        "task_info": {"category": "General_Tool", "app": ["Clock"], "instruction": "set {an} alarm"},
        "step_length": len(ODYSSEY),
        "steps": ODYSSEY,
    }
    write(folder / "annotations" / "1.json", episode)
    write(folder / "splits" / "random_split.json", {"train": ["2.json"], "test": ["1.json"]})
    for number in range(len(ODYSSEY)):
        # As the archives unpack: a folder for each.
        write(folder / "screenshots" / "data_0" / f"1_{number}.png", picture(number))
    return folder


# --- Multimodal-Mind2Web ----------------------------------------------------------------------------------------------

PAGE = (1300, 2000)


def candidate(*box: float) -> str:
    return json.dumps({"tag": "a", "attributes": json.dumps({"bounding_box_rect": ",".join(map(str, box))})})


def page_row(number: int, op: str, value: Any, boxes: list[str], **more: Any) -> dict[str, Any]:
    return {
        "annotation_id": "t1",
        "action_uid": f"u{number}",
        "website": "shop",
        "domain": "Shopping",
        "confirmed_task": "buy a red hat",
        "screenshot": {"bytes": picture(number, PAGE), "path": None},
        "operation": json.dumps({"op": op, "original_op": op, "value": value}),
        "pos_candidates": boxes,
        "neg_candidates": [],
        "action_reprs": ["[link] Hats -> CLICK", "[box] Search -> TYPE: red hat", "[list] Size -> SELECT: 58 cm"],
        "target_action_index": str(number),
        "raw_html": "<html>",
    } | more


PAGES = [
    # In the second block of 1,000 rows, which starts at 800.
    page_row(0, "CLICK", "", [candidate(640, 1300, 64, 100), candidate(0, 1700, 128, 100)]),
    page_row(1, "TYPE", "red hat", [candidate(128, 500, 128, 50)]),
    page_row(2, "SELECT", "58 cm.", [candidate(0, 0, 128, 100)], screenshot=None),
]
PAGES_GOLD = ["Click(52.5, 55.0)", "Type(15.0, 52.5) red hat"]


def mind2web(folder: Path) -> Path:
    parquet(folder / "data" / "test_task-00000-of-00001.parquet", PAGES)
    return folder


def mind2web_seeclick(folder: Path) -> Path:
    box = {"x": 40, "y": 80, "width": 20, "height": 40}
    actions = [
        {"action_uid": "u0", "operation": {"original_op": "HOVER", "op": "CLICK", "value": ""}, "bbox": box},
        {"action_uid": "u1", "operation": {"original_op": "TYPE", "op": "TYPE", "value": "Hat"}},
        {"action_uid": "u2", "operation": {"original_op": "SELECT", "op": "SELECT", "value": "58 cm"}, "bbox": box},
    ]
    task = {"annotation_id": "t1", "confirmed_task": "buy a hat", "actions": actions, "domain": "Shopping"}
    write(folder / "mind2web_data_test_task.json", [task])
    for number in range(3):
        write(folder / "mind2web_imgs" / f"t1-u{number}.jpg", picture(number))
    return folder
