"""Grounding benchmarks as their authors publish them: which numbers mean what, and what cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from grounding_data import (
    SIZE,
    mask_png,
    mmbench_gui_l2,
    osworld_g,
    osworld_g_table,
    osworld_row,
    picture,
    point_bench,
    pro_row,
    ref_spatial,
    robo_spatial_home,
    screenspot,
    screenspot_pro,
    spot,
    ui_vision,
    vision_row,
    visual_web_bench,
    where2place,
)
from made_data import parquet, write

from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.domains import DOMAINS, domain_of
from molmo_agent.data.readers.grounding.items import existing
from molmo_agent.data.readers.grounding.targets import Target
from molmo_agent.errors import ImageError, MolmoAgentError, UnknownNameError, UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.grounding.rules import hits, pixel_box
from molmo_agent.evaluation.run import open_questions


def read(name: str, folder: Path, **options: str) -> tuple[list[Question], list[str]]:
    """Return the questions of a benchmark and its problems."""
    _, benchmark = find(name)
    asked = open_questions(name, benchmark, folder, {**benchmark.options, **options})
    return list(asked.questions()), [str(problem) for problem in asked.problems.entries]


def targets(questions: list[Question]) -> list[Target]:
    return [question.extra["target"] for question in questions]


def boxes(questions: list[Question]) -> list[tuple[float, ...]]:
    return [pixel_box(target, SIZE) for target in targets(questions)]


# --- Boxes: which numbers they are ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix", "images"),
    [("screenspot", "", "screenspot_imgs"), ("screenspot_v2", "_v2", "screenspotv2_image")],
)
def test_boxes_of_screenspot_have_a_width_and_a_height(name: str, suffix: str, images: str, tmp_path: Path) -> None:
    questions, problems = read(name, screenspot(tmp_path, suffix, images))
    assert problems == []
    assert boxes(questions) == [(8, 6, 16, 12), (40, 30, 60, 42), (0, 0, 4, 3), (70, 50, 80, 60), (20, 15, 50, 25)]
    assert targets(questions)[0].facets == {
        "platform": ("mobile",), "type": ("icon",), "cell": ("mobile icon",), "source": ("ios",),
    }  # fmt: skip
    assert questions[0].image is not None
    assert questions[0].image().shape == (60, 80, 3)


@pytest.mark.parametrize("name", ["screenspot", "screenspot_v2"])
def test_the_copy_in_fractions_has_edges(name: str, tmp_path: Path) -> None:
    rows = [
        spot("a", [0.1, 0.1, 0.2, 0.3]) | {"image": {"bytes": picture(), "path": None}},
        spot("b", [8.0, 6.0, 16.0, 18.0]) | {"image": {"bytes": picture(), "path": None}},
        spot("c", [-0.01, 0.0, 0.5, 1.0], source="gitlab") | {"image": {"bytes": picture(), "path": None}},
    ]
    parquet(tmp_path / "data" / "test-0.parquet", rows)
    questions, problems = read(name, tmp_path, form="relative")
    assert boxes(questions) == [pytest.approx((8, 6, 16, 18)), pytest.approx((-0.8, 0, 40, 60))]
    assert targets(questions)[1].facets["platform"] == ("web",)
    assert "fractions of the image in 0..1" in problems[0]


def test_the_copy_in_pixels_refuses_fractions(tmp_path: Path) -> None:
    rows = [
        spot("a", box) | {"image": {"bytes": picture(), "path": None}}
        for box in ([8.0, 6.0, 16.0, 18.0], [0.1, 0.1, 0.2, 0.3])
    ]
    parquet(tmp_path / "data" / "test-0.parquet", rows)
    questions, problems = read("screenspot_v2", tmp_path, form="pixels")
    assert boxes(questions) == [(8, 6, 16, 18)]
    assert "got fractions" in problems[0]
    assert "--form" in problems[0]


def test_boxes_of_screenspot_pro_are_edges_and_may_be_negative(tmp_path: Path) -> None:
    questions, problems = read("screenspot_pro", screenspot_pro(tmp_path))
    assert problems == []
    assert boxes(questions) == [(0, 0, 80, 60), (-2, 10, 12, 20), (30, 30, 31, 31), (60, 40, 80, 60)]
    assert targets(questions)[0].facets["cell"] == ("Dev icon",)
    chinese, _ = read("screenspot_pro", tmp_path, form="cn")
    assert {question.text for question in chinese} == {"点击"}


def test_the_copy_of_v2_in_the_layout_of_pro_is_read_like_pro(tmp_path: Path) -> None:
    assert boxes(read("screenspot_v2", screenspot_pro(tmp_path), form="variants")[0])[1] == (-2, 10, 12, 20)


def test_a_target_of_screenspot_pro_can_be_absent(tmp_path: Path) -> None:
    screenspot_pro(tmp_path)
    write(tmp_path / "annotations" / "none.json", [pro_row("n", "word/1.png", [], gt_type="negative")])
    questions, problems = read("screenspot_pro", tmp_path)
    assert [target.kind for target in targets(questions)].count("absent") == 1
    assert problems == []


@pytest.mark.parametrize("build", [osworld_g, osworld_g_table])
def test_osworld_has_boxes_polygons_and_refusals(build: Any, tmp_path: Path) -> None:
    questions, problems = read("osworld_g", build(tmp_path))
    assert problems == []
    box, polygon, refusal = targets(questions)
    assert pixel_box(box, SIZE) == (10.5, 10, 30.5, 20)
    # An item counts in every category that one of its types maps to.
    assert box.facets["category"] == ("text matching", "element recognition")
    assert polygon.polygon == ((40, 30), (60, 60), (40, 60))
    assert (refusal.kind, refusal.facets["category"]) == ("absent", ("refusal",))


def test_refined_instructions_are_another_form(tmp_path: Path) -> None:
    questions, _ = read("osworld_g", osworld_g(tmp_path), form="refined")
    assert [question.text for question in questions] == ["the box here", "the polygon here", "the refusal here"]


def test_programs_of_ui_vision_have_their_domain_however_they_are_spelled(tmp_path: Path) -> None:
    spelled = {
        "GIMP": "creativity",
        "gimp": "creativity",
        "libreoffice_calc": "productivity",
        "7-Zip": "productivity",
        "Code::Blocks": "development",
        "VLC media player": "entertainment",
        "mozilla-firefox": "browsers",
        "QGIS": "education",
        "Paint": "not listed",
    }
    assert {name: domain_of(name) for name in spelled} == spelled
    assert sum(len(names) for names in DOMAINS.values()) == 83
    questions, _ = read("ui_vision", ui_vision(tmp_path))
    assert {question.extra["target"].facets["domain"] for question in questions} == {("creativity",)}


def test_swapped_edges_of_ui_vision_are_put_in_order(tmp_path: Path) -> None:
    questions, problems = read("ui_vision", ui_vision(tmp_path))
    assert problems == []
    assert boxes(questions) == [
        (10, 10, 20, 20), (10, 10, 20, 20), (70, 50, 95, 70), (30, 10, 40, 20), (5, 5, 5, 9),
    ]  # fmt: skip
    assert len(read("ui_vision", tmp_path, split="basic")[0]) == 3


def test_boxes_of_mmbench_are_text_fractions_or_minus_one(tmp_path: Path) -> None:
    questions, problems = read("mmbench_gui_l2", mmbench_gui_l2(tmp_path))
    assert problems == []
    assert boxes(questions) == [(8, 6, 16, 12), (40, 30, 60, 60), (0, 0, 40, 30)]
    assert len(read("mmbench_gui_l2", tmp_path, split="advanced")[0]) == 2


def test_the_right_option_of_visual_web_bench_is_the_target(tmp_path: Path) -> None:
    questions, problems = read("visual_web_bench", visual_web_bench(tmp_path))
    assert problems == []
    assert boxes(questions) == [(30, 0, 40, 30)] * 2
    assert [target.facets["task"] for target in targets(questions)] == [("element_ground",), ("action_ground",)]


# --- Masks and polygons -----------------------------------------------------------------------------------------------


def test_names_with_accents_are_found_however_they_were_unpacked(tmp_path: Path) -> None:
    questions, problems = read("point_bench", point_bench(tmp_path))
    assert problems == []
    # The row without a mask is not scored.
    assert len(questions) == 3
    for question in questions:
        assert question.image is not None
        assert question.image().shape == (60, 80, 3)
    assert questions[2].text == "point to the cup (start: x=12.5 y=40.0)"
    assert [target.count for target in targets(questions)] == [None, 2, None]


@pytest.mark.parametrize("name", ["Grüße.png", "naïve/été.png", "咖啡.png", "plain.png"])
def test_a_file_is_found_composed_decomposed_and_as_zip_programs_write_it(name: str, tmp_path: Path) -> None:
    import unicodedata

    for number, form in enumerate(
        (
            unicodedata.normalize("NFC", name),
            unicodedata.normalize("NFD", name),
            name.encode().decode("cp437"),
        )
    ):
        folder = tmp_path / str(number)
        path = write(folder / form, b"x")
        assert existing(folder, name) == path
        assert existing(folder, unicodedata.normalize("NFD", name)) == path


def test_a_mask_of_another_size_than_its_image_is_scaled(tmp_path: Path) -> None:
    target = targets(read("point_bench", point_bench(tmp_path))[0])[0]
    # The mask of 40 x 30 pixels is white in its upper left quarter.
    assert hits(target, (0.49, 0.49), SIZE)
    assert not hits(target, (0.51, 0.49), SIZE)


def test_start_points_are_needed_for_steerable_questions_only(tmp_path: Path) -> None:
    (point_bench(tmp_path) / "pixmo_metadata.csv").unlink()
    questions, problems = read("point_bench", tmp_path)
    assert len(questions) == 2
    assert "start point of s.png" in problems[0]


@pytest.mark.parametrize("category", ["../../etc", "colour", None, ["spatial"]])
def test_an_unknown_category_of_point_bench_is_reported(category: Any, tmp_path: Path) -> None:
    row = {"image_filename": "n.png", "mask_filename": "n.png", "user_input": "the cup", "category": category}
    write(point_bench(tmp_path) / "data.json", [row, row | {"category": "spatial"}])
    questions, problems = read("point_bench", tmp_path)
    assert len(questions) == 1
    assert "expected 'category' affordable" in problems[0]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[8]", "null"])
def test_a_box_of_numbers_that_are_none_is_reported(value: str, tmp_path: Path) -> None:
    screenspot(tmp_path)
    rows = [spot("w.png", [1, 1, 987, 2]), spot("w.png", [1, 1, 2, 2])]
    write(tmp_path / "screenspot_web.json", json.dumps(rows).replace("987", value).encode())
    questions, problems = read("screenspot", tmp_path)
    assert len(questions) == 5
    assert "expected 4 numbers" in problems[0]


def test_ref_spatial_is_read_from_folders_and_from_tables(tmp_path: Path) -> None:
    questions, problems = read("ref_spatial", ref_spatial(tmp_path / "raw"))
    assert problems == []
    assert [question.id for question in questions] == ["location/1", "placement/1", "unseen/1"]
    for split in ("location", "placement", "unseen"):
        row = {"id": 1, "prompt": "the cup", "image": {"bytes": picture(), "path": None}}
        mask = {"mask": {"bytes": mask_png((0, 0, 40, 60)), "path": None}}
        parquet(tmp_path / "hub" / "data" / f"{split}-0.parquet", [row | mask])
    copies, problems = read("ref_spatial", tmp_path / "hub")
    assert problems == []
    for question in (questions[0], copies[0]):
        assert hits(question.extra["target"], (0.2, 0.2), SIZE)
        assert not hits(question.extra["target"], (0.8, 0.2), SIZE)


def test_masks_of_where2place_go_by_the_number_of_the_line(tmp_path: Path) -> None:
    white, grey = targets(read("where2place", where2place(tmp_path))[0])
    assert hits(white, (0.5, 0.5), SIZE)
    assert not hits(grey, (0.5, 0.5), SIZE)


def test_polygons_of_robo_spatial_are_fractions_and_other_splits_are_yes_or_no(tmp_path: Path) -> None:
    (question,), problems = read("robo_spatial_home", robo_spatial_home(tmp_path))
    assert problems == []
    assert hits(question.extra["target"], (0.3, 0.3), SIZE)
    assert not hits(question.extra["target"], (0.7, 0.7), SIZE)
    asked, _ = read("robo_spatial_home", tmp_path, split="configuration")
    assert [question.answers for question in asked] == [("yes",), ("no",)]


# --- What cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1, 2, 3], "expected 4 numbers"),
        ("[1, 2", "'bbox'"),
        ([1, 2, -3, 4], "a size below zero"),
        ([1, 2, "3", 4], "expected 4 numbers"),
        ([1, 2, True, 4], "expected 4 numbers"),
        (None, "expected 4 numbers"),
        ({"x": 1}, "expected 4 numbers"),
    ],
)
def test_a_box_that_is_none_is_reported_and_the_others_are_asked(box: Any, message: str, tmp_path: Path) -> None:
    screenspot(tmp_path)
    write(tmp_path / "screenspot_web.json", [spot("w.png", box, source="tool"), spot("w.png", [1, 1, 2, 2])])
    questions, problems = read("screenspot", tmp_path)
    assert len(questions) == 5
    assert len(problems) == 1
    assert message in problems[0]
    assert "screenspot_web.json, record 0" in problems[0]


def test_swapped_edges_are_reported_where_the_authors_have_none(tmp_path: Path) -> None:
    screenspot_pro(tmp_path)
    write(tmp_path / "annotations" / "x.json", [pro_row("x", "word/1.png", [30, 30, 20, 40])])
    assert "swapped edges" in read("screenspot_pro", tmp_path)[1][0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (osworld_row("x", "circle", [1, 2, 3, 4], []), "bbox, polygon or refusal"),
        (osworld_row("x", "polygon", [1, 2, 3, 4], []), "three corners"),
        (osworld_row("x", "polygon", [1, 2, 3, 4, 5, 6, 7], []), "three corners"),
        (osworld_row("x", "bbox", [1, 2, 3, 4], []) | {"image_size": "80x60"}, "[width, height]"),
        (osworld_row("x", "bbox", [1, 2, 3, 4], []) | {"instruction": " "}, "an instruction as text"),
        (osworld_row("x", "bbox", [1, 2, 3, 4], []) | {"image": "../1.png"}, "inside of images/"),
        (osworld_row("x", "bbox", [1, 2, 3, 4], []) | {"id": 5}, "expected a text as 'id'"),
        ("a text", "expected an object"),
    ],
)
def test_a_record_that_means_nothing_is_reported_with_its_reason(row: Any, message: str, tmp_path: Path) -> None:
    osworld_g(tmp_path)
    write(tmp_path / "OSWorld-G.json", [row, osworld_row("good", "bbox", [1, 2, 3, 4], [])])
    questions, problems = read("osworld_g", tmp_path)
    assert [question.id for question in questions] == ["good"]
    assert message in problems[0]


def test_an_image_of_another_size_than_published_is_not_used(tmp_path: Path) -> None:
    write(ui_vision(tmp_path) / "images" / "element_grounding" / "f.png", mask_png((0, 0, 1, 1), (40, 30)))
    question = read("ui_vision", tmp_path)[0][0]
    assert question.image is not None
    with pytest.raises(ImageError, match=r"80 x 60 pixels, got one of 40 x 30.*fetch the original"):
        question.image()


def test_a_missing_image_is_an_error_of_its_question_alone(tmp_path: Path) -> None:
    (screenspot(tmp_path) / "screenspot_imgs" / "d.png").unlink()
    questions, _ = read("screenspot", tmp_path)
    assert len(questions) == 5
    assert questions[1].image is not None
    with pytest.raises(ImageError, match=r"d\.png"):
        questions[1].image()


def test_repeated_ids_are_told_apart(tmp_path: Path) -> None:
    questions, _ = read("screenspot_pro", screenspot_pro(tmp_path))
    assert [question.id for question in questions] == ["c", "a", "b", "b #2"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("screenspot", "screenspot_mobile.json"),
        ("screenspot_v2", "screenspot_mobile_v2.json"),
        ("screenspot_pro", "annotations"),
        ("osworld_g", "test"),
        ("ui_vision", "element_grounding_basic.json"),
        ("mmbench_gui_l2", "L2_annotations.json"),
        ("visual_web_bench", "element_ground"),
        ("point_bench", "data.json"),
        ("ref_spatial", "location"),
        ("where2place", "point_questions.jsonl"),
        ("robo_spatial_home", "context"),
    ],
)
def test_missing_files_are_named(name: str, missing: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=missing):
        read(name, tmp_path)


def test_a_file_of_another_kind_and_an_unknown_copy_are_refused(tmp_path: Path) -> None:
    write(screenspot(tmp_path) / "screenspot_web.json", {"rows": []})
    with pytest.raises(UsageError, match="expected a list of records"):
        read("screenspot", tmp_path)
    with pytest.raises(UnknownNameError, match="relativ"):
        read("screenspot", tmp_path, form="relativ")


def test_files_without_a_usable_record_are_one_clear_error(tmp_path: Path) -> None:
    osworld_g(tmp_path)
    write(tmp_path / "OSWorld-G.json", [vision_row([1, 2, 3, 4])])
    with pytest.raises(MolmoAgentError, match=r"(?s)no record of .* can be used.*box_type.*missing"):
        read("osworld_g", tmp_path)
