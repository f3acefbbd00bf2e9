"""Small grounding benchmarks in the layouts that their authors publish, with drawn pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from made_data import parquet, png, write
from PIL import Image

SIZE = (80, 60)
"""(width, height) of every picture."""


def mask_png(box: tuple[int, int, int, int], size: tuple[int, int] = SIZE, grey: int = 255) -> bytes:
    """A mask of (width, height) that is grey in left, top, right, bottom (excluded)."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = grey
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def picture(number: int = 0) -> bytes:
    return png(number, (SIZE[1], SIZE[0]))


def spot(name: str, box: list[Any], kind: str = "text", source: str = "windows") -> dict[str, Any]:
    return {
        "img_filename": name,
        "bbox": box,
        "instruction": f"open {name}",
        "data_type": kind,
        "data_source": source,
    }


def screenspot(folder: Path, suffix: str = "", images: str = "screenspot_imgs") -> Path:
    """Five questions: three for desktops, one each for phones and web pages; boxes x, y, width, height."""
    rows = {
        "mobile": [spot("m.png", [8, 6, 8, 6], "icon", "ios")],
        "desktop": [spot("d.png", [40, 30, 20, 12]), spot("d.png", [0, 0, 4, 3]), spot("d.png", [70, 50, 10, 10])],
        "web": [spot("w.png", [20, 15, 30, 10], "icon", "tool")],
    }
    for platform, listed in rows.items():
        write(folder / f"screenspot_{platform}{suffix}.json", listed)
    for number, name in enumerate("mdw"):
        write(folder / images / f"{name}.png", picture(number))
    return folder


def pro_row(id_: str, name: str, box: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "img_filename": name,
        "bbox": box,
        "instruction": f"press {id_}",
        "instruction_cn": "点击",
        "application": "word",
        "platform": "windows",
        "img_size": list(SIZE),
        "ui_type": "icon",
        "group": "Office",
    } | more


def screenspot_pro(folder: Path) -> Path:
    rows = [
        pro_row("a", "word/1.png", [-2, 10, 12, 20]),
        pro_row("b", "word/1.png", [30, 30, 31, 31], ui_type="text"),
        pro_row("b", "word/1.png", [60, 40, 80, 60]),
    ]
    write(folder / "annotations" / "word_windows.json", rows)
    write(
        folder / "annotations" / "vscode_macos.json",
        [pro_row("c", "code/2.png", [0, 0, 80, 60], group="Dev", application="vscode", platform="macos")],
    )
    for number, name in enumerate(("word/1.png", "code/2.png")):
        write(folder / "images" / name, picture(number))
    return folder


def osworld_row(id_: str, kind: str, numbers: list[float], types: list[str], instruction: str = "") -> dict[str, Any]:
    return {
        "id": id_,
        "image": "1.png",
        "image_size": list(SIZE),
        "instruction": instruction or f"find {id_}",
        "box_type": kind,
        "box_coordinates": numbers,
        "GUI_types": types,
    }


OSWORLD = [
    osworld_row("box", "bbox", [10.5, 10.0, 20.0, 10.0], ["Label", "Button"]),
    # A triangle: as x, y, width, height it would be (40, 30) to (100, 90).
    osworld_row("polygon", "polygon", [40, 30, 60, 60, 40, 60], ["Tab"]),
    osworld_row("refusal", "refusal", [-1, -1, -1, -1], []),
]


def osworld_g(folder: Path) -> Path:
    write(folder / "OSWorld-G.json", OSWORLD)
    write(folder / "OSWorld-G_refined.json", [row | {"instruction": f"the {row['id']} here"} for row in OSWORLD])
    write(folder / "images" / "1.png", picture())
    return folder


def osworld_g_table(folder: Path) -> Path:
    rows = [row | {"image": {"bytes": picture(), "path": None}} for row in OSWORLD]
    for row in rows:
        row["box_coordinates"] = [float(value) for value in row["box_coordinates"]]
    parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    return folder


def vision_row(box: list[float], **more: Any) -> dict[str, Any]:
    return {
        "image_path": "element_grounding/f.png",
        "image_size": list(SIZE),
        "prompt_to_evaluate": "the bold button",
        "bbox": box,
        "platform": "gimp",
        "category": "Button",
        "element_type": "icon",
    } | more


def ui_vision(folder: Path) -> Path:
    splits = {
        "basic": [vision_row([10, 10, 20, 20]), vision_row([20, 20, 10, 10]), vision_row([70, 50, 95, 70])],
        "functional": [vision_row([30, 10, 40, 20])],
        "spatial": [vision_row([5, 5, 5, 9])],
    }
    for name, rows in splits.items():
        write(folder / "annotations" / "element_grounding" / f"element_grounding_{name}.json", rows)
    write(folder / "images" / "element_grounding" / "f.png", picture())
    return folder


def mmbench_gui_l2(folder: Path) -> Path:
    rows = [
        {"bbox": [8, 6, 16, 12], "platform": "os_web", "grounding_type": "basic"},
        {"bbox": "[0.5, 0.5, 0.75, 1.0]", "platform": "os_web", "grounding_type": "advanced"},
        {"bbox": [-1, -1, 40, 30], "platform": "os_ios", "grounding_type": "advanced"},
    ]
    common = {"image_path": "a.png", "app_name": "app", "instruction": "the thing", "data_type": "icon"}
    write(folder / "L2_annotations.json", [common | row for row in rows])
    for platform in ("os_web", "os_ios"):
        write(folder / "offline_images" / platform / "a.png", picture())
    return folder


def visual_web_bench(folder: Path) -> Path:
    boxes = [[n / 8, 0.0, (n + 1) / 8, 0.5] for n in range(8)]
    for task, name in (("element_ground", "elem_desc"), ("action_ground", "instruction")):
        row = {"id": "1", "website": "w", "raw_image": {"bytes": picture(), "path": None}, "options": boxes}
        parquet(folder / task / "test-00000-of-00001.parquet", [row | {"answer": 3, name: "the cart"}])
    return folder


def point_bench(folder: Path) -> Path:
    rows = [
        {"category": "affordable", "image_filename": "café.png", "count": 1},
        {"category": "counting", "image_filename": "n.png", "count": 2},
        {"category": "steerable", "image_filename": "s.png", "count": 1},
        {"category": "spatial", "image_filename": "no.png", "count": 1, "mask_filename": None},
    ]
    common = {"user_input": "point to the cup"}
    for row in rows:
        row.setdefault("mask_filename", str(row["image_filename"]))
    write(folder / "data.json", [common | row for row in rows])
    # The zip program wrote "é" as two letters, and the mask is half as large as its image.
    for row, name in zip(rows, ("cafe\u0301.png", "n.png", "s.png"), strict=False):
        write(folder / "selected_images" / str(row["category"]) / name, picture())
        write(folder / "selected_masks" / str(row["category"]) / name, mask_png((0, 0, 20, 15), (40, 30)))
    (folder / "pixmo_metadata.csv").write_text('image_filename,points\ns.png,"[{""x"": 12.5, ""y"": 40.0}]"\n')
    return folder


def ref_spatial(folder: Path) -> Path:
    for name in ("Location", "Placement", "Unseen"):
        row = {"id": 1, "object": "cup", "prompt": "the cup", "suffix": "Answer as (x, y).", "category": "c", "step": 2}
        listed = [row | {"rgb_path": "image/0.png", "mask_path": "mask/0.png"}]
        write(folder / name / "question.json", listed)
        write(folder / name / "image" / "0.png", picture())
        write(folder / name / "mask" / "0.png", mask_png((0, 0, 40, 60), grey=100 if name == "Unseen" else 255))
    return folder


def where2place(folder: Path) -> Path:
    lines = [f'{{"question_id": {n}, "image": "{n}.png", "text": "free place", "category": "c"}}' for n in (0, 1)]
    write(folder / "point_questions.jsonl", ("\n".join(lines) + "\n").encode())
    for number, grey in ((0, 255), (1, 51)):
        write(folder / "images" / f"{number}.png", picture(number))
        pixels = np.full((SIZE[1], SIZE[0]), grey, np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=100)
        write(folder / "masks" / f"{number:02d}.jpg", out.getvalue())
    return folder


def robo_spatial_home(folder: Path) -> Path:
    image = {"bytes": picture(), "path": None}
    common = {"category": "c", "question": "a free place?", "img": image}
    polygon = "[(0.25, 0.25), (0.75, 0.25), (0.25, 0.75)]"
    parquet(folder / "data" / "context-0.parquet", [common | {"answer": polygon}])
    parquet(folder / "data" / "configuration-0.parquet", [common | {"answer": word} for word in ("Yes", "no")])
    return folder
