"""Point text against the reference's own output; provenance in golden/README.md."""

import json
from pathlib import Path

import pytest

from molmo_agent.geometry import Point
from molmo_agent.point_text import (
    InlinePoints,
    format_inline_points,
    format_points,
    parse_points,
    parse_reference,
    round_reference,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "text.json").read_text(encoding="utf-8"))


def percent(case):
    """Points of a golden case in percent, scaled as the reference does it."""
    scale = case["scale"]
    if isinstance(scale, list):  # pixels: hundredths of the width and height
        return [(x / scale[0], y / scale[1]) for x, y in case["points"]]
    return [(x * (100 / scale), y * (100 / scale)) for x, y in case["points"]]


@pytest.mark.parametrize("case", GOLDEN["points"], ids=lambda case: case.get("text") or case["answer"])
def test_points_are_written_as_the_reference_writes_them(case):
    points = [Point(x / 100, y / 100) for x, y in percent(case)]
    written = format_points("molmo", points, case["label"], case.get("alt"), case.get("style", "pointing"))
    assert written == case.get("text", case.get("answer"))


@pytest.mark.parametrize("case", [case for case in GOLDEN["points"] if "text" in case], ids=lambda case: case["text"])
def test_rounding_and_order_are_the_reference_s(case):
    parsed = parse_reference(case["text"], 100, 100).points
    assert [(round(x, 9), round(y, 9)) for x, y in parsed] == round_reference(percent(case))


@pytest.mark.parametrize("case", GOLDEN["parse"], ids=lambda case: case["text"] or "empty")
def test_the_reference_parser_agrees_with_the_reference(case):
    parsed = parse_reference(case["text"], case["image_w"], case["image_h"])
    assert [list(point) for point in parsed.points] == case["points"]  # to the last bit
    assert parsed.valid_format == case["valid_format"]


@pytest.mark.parametrize("case", GOLDEN["parse"], ids=lambda case: case["text"] or "empty")
def test_the_strict_parser_never_reads_another_point_than_the_reference(case):
    parsed = parse_points("molmo", case["text"])
    for found in parsed.points:
        x, y = found.point.x * case["image_w"], found.point.y * case["image_h"]
        if case["text"].startswith('<point y="1.0"'):
            continue  # the reference reads no tag with y before x
        assert any((x, y) == pytest.approx(tuple(point)) for point in case["points"])


def test_placeholders_become_tags_in_order():
    golden = GOLDEN["inline_points"]
    annotations = [
        InlinePoints(tuple(Point(x / 100, y / 100) for x, y in ann["points"]), ann["inline_text"], ann["alt_text"])
        for ann in golden["anns"]
    ]
    assert format_inline_points("molmo", golden["answer"], annotations) == golden["out"]
    parsed = parse_points("molmo", golden["out"])
    assert [(found.label, found.id) for found in parsed.points] == [("this", None), ("those", 1), ("those", 2)]
