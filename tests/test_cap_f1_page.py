"""The page of cap F1: precision and recall by length hint, and captions that nobody has read."""

from typing import Any

import pytest

from molmo_agent.evaluation.judged.page import HEIGHT, WIDTH, chart, page, worst_captions


def figures(precision: float, recall: float) -> dict[str, Any]:
    """Return the figures of one hint."""
    scores = {"precision": precision, "recall": recall, "cap F1": (precision + recall) / 2}
    return {
        "scores": {
            name: {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 3} for name, mean in scores.items()
        },
        "characters": 120.0,
        "agreement": {"match": {"n": 9, "share": 0.5, "kappa": None}},
        "unjudged": [],
        "skipped": [],
        "judges": ["judge"],
        "prompts": ["match@1"],
    }


def judged(caption: str, *, precision: float) -> dict[str, Any]:
    """Return one judgement."""
    return {
        "id": "a", "caption": caption, "precision": precision, "recall": 0.5, "statements": [caption, "It is red."],
        "consistent": [False, True], "references": ["It is wet.", "It is red."], "matches": [0, 2],
    }  # fmt: skip


def test_hints_stand_at_their_numbers_and_none_stands_apart() -> None:
    lines, labels = chart(
        {"65": figures(0.7, 0.5), "none": figures(0.6, 0.6), "20": figures(0.9, 0.2), "110": figures(0.5, 0.8)}
    )
    assert [label for _, label in labels] == ["20", "65", "110", "none"]
    places = [x for x, _ in labels]
    assert places == sorted(places)
    assert places[1] == pytest.approx((places[0] + places[2]) / 2)
    assert places[3] - places[2] >= 50
    assert [line.name for line in lines] == ["precision", "recall", "cap F1"]
    assert lines[0].joined == 3
    # Higher shares stand higher.
    heights = [y for _, y, _, _ in lines[0].points]
    assert heights[0] < heights[1] < heights[3] < heights[2]
    assert all(
        0 <= x <= WIDTH and 0 <= y <= HEIGHT and high <= y <= low for line in lines for x, y, low, high in line.points
    )


@pytest.mark.parametrize("hints", [("65",), ("none",), ("5", "none")])
def test_few_hints_make_a_chart_too(hints: tuple[str, ...]) -> None:
    lines, labels = chart({hint: figures(1.0, 0.0) for hint in hints})
    assert len(labels) == len(hints) == len({x for x, _ in labels})
    assert all(0 <= x <= WIDTH for x, _ in labels)
    assert len(lines[0].points) == len(hints)


def test_the_page_shows_the_worst_captions_first_and_as_text() -> None:
    rows = [judged("fine", precision=0.9), judged("<script>alert(1)</script>", precision=0.0)]
    assert [row["caption"] for row in worst_captions(rows)] == ["<script>alert(1)</script>", "fine"]
    assert worst_captions(rows)[0]["missed"] == ["It is wet."]
    html = page("nano", {"20": figures(0.9, 0.2)}, {"20": rows})
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; (not in the transcripts)" in html
    assert "two judges agree on 50.0 % of 9" in html
