"""Readers of benchmarks for pointing at elements of screenshots, from the files that their authors publish.

The unit and the order of a box's numbers differ between the copies of one benchmark and follow from no value. They are
fixed for each copy; the option ``form`` names the copy where a folder could hold several.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.domains import domain_of
from molmo_agent.data.readers.grounding.items import (
    Items,
    embedded,
    file_records,
    folder_beside,
    image_file,
    pointing_question,
    table_records,
)
from molmo_agent.data.readers.grounding.targets import Edges, Target, corners, edges, fractions, numbers
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

_PLATFORMS = {
    "ios": "mobile", "android": "mobile", "macos": "desktop", "windows": "desktop", "tool": "web", "shop": "web",
    "gitlab": "web", "forum": "web",
}  # fmt: skip
_CATEGORIES = {
    "text matching": ("Label",),
    "element recognition": ("Icon", "Image", "Button"),
    "layout understanding": (
        *("Tab", "Toolbar", "Menu Bar", "Dropdown Menu", "List", "Grid", "Tree View", "Dialog/Modal"),
        *("Panel/Container", "Sidebar", "Drawer", "Window hierarchy", "Banner", "Accordion", "Pagination"),
    ),
    "fine-grained manipulation": (
        *("Slider", "Stepper", "Divider", "Toggle/Switch", "Toggle", "Switch", "Checkbox", "Radio", "Radio Button"),
        *("Color Picker", "Colour Picker", "Date Picker", "Table", "Text Field", "Search Bar", "Window Border"),
    ),
}
_CATEGORY_OF = {kind.casefold(): category for category, kinds in _CATEGORIES.items() for kind in kinds}


def _text(record: Any, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text as {name!r}, got {value!r:.80}")
    return value.strip()


def _screenspot_facets(platform: str, record: Any) -> dict[str, tuple[str, ...]]:
    kind = _text(record, "data_type")
    if kind not in ("text", "icon"):
        raise ValueError(f"expected 'data_type' text or icon, got {kind!r}")
    source = record.get("data_source")
    facets: dict[str, tuple[str, ...]] = {"platform": (platform,), "type": (kind,), "cell": (f"{platform} {kind}",)}
    return facets | ({"source": (source,)} if isinstance(source, str) else {})


def _platform_of(record: Any) -> str:
    source = _text(record, "data_source").lower()
    if source not in _PLATFORMS:
        raise ValueError(f"expected a data_source of {', '.join(_PLATFORMS)}, got {source!r}")
    return _PLATFORMS[source]


def _screenspot_files(path: Path, suffix: str, images: tuple[str, ...]) -> Items:
    """Read three JSON lists, one per platform, with boxes x, y, width, height in pixels."""
    folder = folder_beside(path, *images)
    parts = []
    for platform in ("mobile", "desktop", "web"):
        file = path / f"screenspot_{platform}{suffix}.json"

        def parse(number: int, record: Any, platform: str = platform) -> Question:
            target = Target(kind="box", box=edges(record["bbox"], "xywh"), facets=_screenspot_facets(platform, record))
            name = f"{platform}/{number}"
            return pointing_question(name, record["instruction"], target, image_file(folder, record["img_filename"]))

        parts.append((file.name, file_records(file), parse))
    return Items(path.name, parts, Problems())


def _screenspot_table(path: Path, *, relative: bool) -> Items:
    """Read a copy in Parquet, with boxes left, top, right, bottom."""
    problems = Problems()
    columns = ("image", "instruction", "bbox", "data_type", "data_source")
    table, records = table_records(path, "test", columns, problems)

    def parse(number: int, record: Any) -> Question:
        box = edges(record["bbox"], "xyxy")
        if relative:
            box = fractions(box)
        elif max(box) <= 1:
            raise ValueError(f"expected 'bbox' in pixels, got fractions: {list(box)}; name another copy with --form")
        target = Target(
            kind="box",
            frame="fractions" if relative else "pixels",
            box=box,
            facets=_screenspot_facets(_platform_of(record), record),
        )
        return pointing_question(f"test/{number}", record["instruction"], target, embedded(path, table, number))

    return Items(path.name, [(table.name, records, parse)], problems)


def screenspot(source: Source) -> Items:
    """Read ScreenSpot. Options: ``form``: "original" (JSON lists, xywh in pixels) or "relative" (Parquet, xyxy, 0..1).

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form.
    """
    form = options_of(source, {"form": "original"}, {"form": ("original", "relative")})["form"]
    path = required_path(source)
    if form == "relative":
        return _screenspot_table(path, relative=True)
    return _screenspot_files(path, "", ("screenspot_imgs",))


def screenspot_v2(source: Source) -> Items:
    """Read ScreenSpot-v2.

    Options: ``form``: "original" (JSON lists, xywh in pixels), "relative" or "pixels" (Parquet, xyxy), "variants" (the
    layout of ScreenSpot-Pro).

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form.
    """
    forms = ("original", "relative", "pixels", "variants")
    form = options_of(source, {"form": "original"}, {"form": forms})["form"]
    path = required_path(source)
    if form == "variants":
        return _annotated_screens(path, "ScreenSpot-v2")
    if form != "original":
        return _screenspot_table(path, relative=form == "relative")
    return _screenspot_files(path, "_v2", ("screenspotv2_image", "screenspot_imgs"))


def screenspot_pro(source: Source) -> Items:
    """Read ScreenSpot-Pro: ``annotations/*.json``, boxes left, top, right, bottom in pixels, and ``images/``.

    Options: ``form``: "en" or "cn", the language of the instruction.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such language.
    """
    language = options_of(source, {"form": "en"}, {"form": ("en", "cn")})["form"]
    return _annotated_screens(required_path(source), "ScreenSpot-Pro", "instruction" + "_cn" * (language == "cn"))


def _annotated_screens(path: Path, what: str, instruction: str = "instruction") -> Items:
    files = sorted((path / "annotations").glob("*.json"))
    if not files:
        raise UsageError(f"expected the annotations of {what} at {path / 'annotations'}, found no .json there")

    def parse(number: int, record: Any) -> Question | None:
        if record.get("gt_type", "positive") == "negative":
            target = Target(kind="absent", facets=_pro_facets(record))
        else:
            target = Target(kind="box", box=edges(record["bbox"], "xyxy"), facets=_pro_facets(record))
        image = image_file(path / "images", record["img_filename"])
        return pointing_question(_text(record, "id"), record[instruction], target, image, record.get("img_size"))

    return Items(path.name, [(file.name, file_records(file), parse) for file in files], Problems())


def _pro_facets(record: Any) -> dict[str, tuple[str, ...]]:
    facets: dict[str, tuple[str, ...]] = {"type": (_text(record, "ui_type"),)}
    for facet in ("group", "platform", "application"):
        if isinstance(record.get(facet), str):
            facets[facet] = (record[facet],)
    if "group" in facets:
        facets["cell"] = (f"{facets['group'][0]} {facets['type'][0]}",)
    return facets


def osworld_g(source: Source) -> Items:
    """Read OSWorld-G: ``OSWorld-G.json``, ``OSWorld-G_refined.json`` and ``images/``, or the Parquet files of the hub.

    Boxes are x, y, width, height in pixels; polygons x0, y0, x1, y1, ...; a refusal has no target. Options: ``form``:
    "original" or "refined" instructions.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form.
    """
    form = options_of(source, {"form": "original"}, {"form": ("original", "refined")})["form"]
    path, problems = required_path(source), Problems()
    file = path / ("OSWorld-G.json" if form == "original" else "OSWorld-G_refined.json")
    if file.is_file() or form == "refined":
        folder = folder_beside(path, "images")
        return Items(
            path.name,
            [(file.name, file_records(file), _osworld_parser(lambda _, record: image_file(folder, _image(record))))],
            problems,
        )
    columns = ("id", "image", "image_size", "instruction", "box_type", "box_coordinates", "GUI_types")
    table, records = table_records(path, "test", columns, problems)
    parse = _osworld_parser(lambda number, _: embedded(path, table, number))
    return Items(path.name, [(table.name, records, parse)], problems)


def _image(record: Any) -> Any:
    return record.get("image_path") or record["image"]


def _osworld_parser(image: Callable[[int, Any], Any]) -> Callable[[int, Any], Question]:
    def parse(number: int, record: Any) -> Question:
        kind, name = record["box_type"], "'box_coordinates'"
        types = record.get("GUI_types") or ()
        if kind == "refusal":
            # What stands in the place of its box means nothing.
            target = Target(kind="absent", facets={"category": ("refusal",), "target": ("refusal",)})
        else:
            categories = tuple(dict.fromkeys(_CATEGORY_OF.get(one.casefold(), "other") for one in types)) or ("other",)
            facets = {"category": categories, "target": (kind,)}
            if kind == "bbox":
                target = Target(kind="box", box=edges(record["box_coordinates"], "xywh", name=name), facets=facets)
            elif kind == "polygon":
                target = Target(kind="polygon", polygon=corners(record["box_coordinates"], name), facets=facets)
            else:
                raise ValueError(f"expected 'box_type' bbox, polygon or refusal, got {kind!r}")
        return pointing_question(
            _text(record, "id"), record["instruction"], target, image(number, record), record["image_size"]
        )

    return parse


def ui_vision(source: Source) -> Items:
    """Read UI-Vision's element grounding: ``annotations/element_grounding/element_grounding_*.json`` and ``images/``.

    Boxes are left, top, right, bottom in pixels. A few have swapped edges, which are put in order as the authors do.
    Options: ``split``: "basic", "functional", "spatial" or all of them.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split.
    """
    splits = ("basic", "functional", "spatial")
    split = options_of(source, {"split": "all"}, {"split": (*splits, "all")})["split"]
    path = required_path(source)
    parts: list[tuple[str, Iterator[tuple[int, Any]], Any]] = []
    for name in splits if split == "all" else (split,):
        file = path / "annotations" / "element_grounding" / f"element_grounding_{name}.json"

        def parse(number: int, record: Any, name: str = name) -> Question:
            left, top, right, bottom = numbers(record["bbox"], "'bbox'", 4)
            box: Edges = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            facets = {"split": (name,)}
            for facet in ("platform", "category", "element_type"):
                if isinstance(record.get(facet), str):
                    facets[facet] = (record[facet],)
            if "platform" in facets:
                facets["domain"] = (domain_of(facets["platform"][0]),)
            target = Target(kind="box", box=box, facets=facets)
            image = image_file(path / "images", record["image_path"])
            return pointing_question(
                f"{name}/{number}", record["prompt_to_evaluate"], target, image, record.get("image_size")
            )

        parts.append((file.name, file_records(file), parse))
    return Items(path.name, parts, Problems())


def mmbench_gui_l2(source: Source) -> Items:
    """Read level 2 of MMBench-GUI: ``L2_annotations.json`` and ``offline_images/PLATFORM/``.

    The published rule for boxes: left, top, right, bottom, as fractions if all four lie in 0..1, else in pixels; -1
    stands for 0. Some are written as text. Options: ``split``: "basic", "advanced" or both.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split.
    """
    split = options_of(source, {"split": "all"}, {"split": ("basic", "advanced", "all")})["split"]
    path = required_path(source)
    file, folder = path / "L2_annotations.json", folder_beside(path, "offline_images", "MMBench-GUI-OfflineImages")

    def parse(number: int, record: Any) -> Question | None:
        level, platform = _text(record, "grounding_type"), _text(record, "platform")
        if level not in ("basic", "advanced"):
            raise ValueError(f"expected 'grounding_type' basic or advanced, got {level!r}")
        if split not in ("all", level):
            return None
        values = [0.0 if value == -1 else value for value in numbers(record["bbox"], "'bbox'", 4)]
        box = edges(values, "xyxy")
        facets = {"level": (level,), "platform": (platform,), "type": (_text(record, "data_type"),)}
        target = Target(
            kind="box",
            frame="fractions" if min(box) >= 0 and max(box) <= 1 else "pixels",
            box=box,
            facets=facets | {"cell": (f"{platform} {level}",)},
        )
        name = _text(record, "image_path")
        image = image_file(folder, name if name.startswith(f"{platform}/") else f"{platform}/{name}")
        return pointing_question(f"{platform}/{number}", record["instruction"], target, image)

    return Items(path.name, [(file.name, file_records(file), parse)], Problems())


def visual_web_bench(source: Source) -> Items:
    """Read the grounding tasks of VisualWebBench: ``element_ground/`` and ``action_ground/`` with Parquet files.

    The model points on the unmarked screenshot; right is the box of the right option, as fractions of the image.
    Options: ``split``: "element_ground", "action_ground" or both.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such task.
    """
    tasks = {"element_ground": "elem_desc", "action_ground": "instruction"}
    task = options_of(source, {"split": "all"}, {"split": (*tasks, "all")})["split"]
    path, problems, parts = required_path(source), Problems(), []
    for name in tasks if task == "all" else (task,):
        columns = ("id", "raw_image", "options", "answer", tasks[name])
        table, records = table_records(path / name, "test", columns, problems, optional=("website",))

        def parse(number: int, record: Any, name: str = name, table: Any = table) -> Question:
            options, answer = record["options"], record["answer"]
            if type(answer) is not int or not 0 <= answer < len(options):
                raise ValueError(f"expected 'answer' as the number of one of {len(options)} options, got {answer!r}")
            box = fractions(edges(options[answer], "xyxy", name="the right option"))
            target = Target(kind="box", frame="fractions", box=box, facets={"task": (name,)})
            image = embedded(path / name, table, number, "raw_image")
            return pointing_question(f"{name}/{record['id']}", record[tasks[name]], target, image)

        parts.append((f"{name}/{table.name}", records, parse))
    return Items(path.name, parts, problems)
