"""What an answer is worth under each protocol, and which numbers compare."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Target
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.evaluation.benchmarks import BENCHMARKS
from molmo_agent.evaluation.grounding.protocols import (
    Protocol,
    check_comparable,
    confusion,
    find_protocol,
    identity,
    near_misses,
    protocol_rows,
    summarise_protocols,
    with_main,
)
from molmo_agent.evaluation.grounding.rules import RULES, Answer, distance_px, hits
from molmo_agent.evaluation.grounding.scoring import GroundingScores, score_grounding
from molmo_agent.evaluation.grounding.table import GROUNDING
from molmo_agent.evaluation.scoring import Reply
from molmo_agent.geometry import Box, Point

SIZE = (1000, 500)
BOX = Target(kind="box", box=(100, 50, 300, 150))
TRIANGLE = Target(kind="polygon", polygon=((400, 300), (600, 450), (400, 450)))
ABSENT = Target(kind="absent")


def mask(values: Any, count: int | None = None) -> Target:
    pixels = np.repeat(np.asarray(values, np.uint8)[:, :, None], 3, axis=2)
    return Target(kind="mask", mask=lambda: pixels, count=count)


HALF = mask([[255, 0]])


def points(*pairs: tuple[float, float], text: str = "") -> PointResult:
    return PointResult(status="ok", reply=text or "points", points=tuple(LabelledPoint(Point(x, y)) for x, y in pairs))


def no_point(status: Any, reply: str = "?") -> PointResult:
    return PointResult(status=status, reply=reply)


def scores(name: str, target: Target, result: PointResult) -> GroundingScores:
    question = Question(id="q", style="pointing", text="it", extra={"target": target})
    return score_grounding(GROUNDING[name].protocols, question, Reply(text=result.reply, result=result, size=SIZE))


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_all_four_edges_of_a_box_are_inside_and_nothing_beyond_them() -> None:
    for x, y in ((0.1, 0.1), (0.3, 0.1), (0.1, 0.3), (0.3, 0.3), (0.2, 0.2)):
        assert hits(BOX, (x, y), SIZE)
    for x, y in ((0.0999, 0.2), (0.3001, 0.2), (0.2, 0.0998), (0.2, 0.3002)):
        assert not hits(BOX, (x, y), SIZE)


def test_boxes_in_fractions_and_in_pixels_are_the_same_boxes() -> None:
    rng = np.random.default_rng(0)
    relative = replace(BOX, frame="fractions", box=(0.1, 0.1, 0.3, 0.3))
    for x, y in rng.random((200, 2)) * 0.5:
        assert hits(BOX, (x, y), SIZE) == hits(relative, (x, y), SIZE)


def test_a_box_without_an_area_and_one_beyond_the_image_can_be_hit() -> None:
    assert hits(Target(kind="box", box=(100, 50, 100, 60)), (0.1, 0.11), SIZE)
    assert hits(Target(kind="box", box=(-20, -5, 10, 10)), (0.0, 0.0), SIZE)
    assert hits(Target(kind="box", box=(990, 490, 1040, 520)), (1.0, 1.0), SIZE)


def test_polygons_have_corners_edges_and_dents() -> None:
    for x, y in ((0.4, 0.6), (0.6, 0.9), (0.5, 0.9), (0.4, 0.75), (0.45, 0.8)):
        assert hits(TRIANGLE, (x, y), SIZE)
    for x, y in ((0.55, 0.65), (0.39, 0.7), (0.5, 0.91)):
        assert not hits(TRIANGLE, (x, y), SIZE)
    dent = Target(kind="polygon", frame="fractions", polygon=((0, 0), (1, 0), (1, 1), (0.5, 0.1), (0, 1)))
    assert hits(dent, (0.1, 0.5), SIZE)
    assert not hits(dent, (0.5, 0.5), SIZE)


def test_only_the_first_point_counts_on_a_screen() -> None:
    assert scores("screenspot", BOX, points((0.2, 0.2), (0.9, 0.9))).scores["default"] is True
    assert scores("screenspot", BOX, points((0.9, 0.9), (0.2, 0.2))).scores["default"] is False


def test_a_refusal_is_right_if_the_answer_says_so() -> None:
    for reply in (
        no_point("none", "There are none."),
        no_point("out_of_range", "(-1, -1)"),
        no_point("unparsed", "[-1, -1]"),
    ):
        result = scores("osworld_g", ABSENT, reply)
        assert (result.scores["default"], result.answered, result.wrong_format) == (True, "said none", False)
        assert scores("osworld_g", BOX, reply).scores["default"] is False
    for reply in (points((0.2, 0.2)), no_point("unparsed"), no_point("refused"), no_point("out_of_range", "(120, 5)")):
        assert scores("osworld_g", ABSENT, reply).scores["default"] is False


def test_an_answer_without_a_point_is_wrong_and_its_format_is_counted() -> None:
    unread = scores("screenspot", BOX, no_point("unparsed", "well"))
    assert (unread.scores["default"], unread.wrong_format, unread.answered) == (False, True, "wrong format")
    for status, answered in (("none", "said none"), ("refused", "declined"), ("out_of_range", "outside")):
        result = scores("screenspot", BOX, no_point(status))
        assert (result.scores["default"], result.wrong_format, result.answered) == (False, False, answered)


def test_official_readings_find_points_that_an_agent_would_not_act_on() -> None:
    text = 'Maybe <point x="20.0" y="20.0" alt="a">a</point> or <point x="90" y="90" alt="b">b</point>'
    result = scores("screenspot", BOX, no_point("unparsed", text))
    assert (result.scores["default"], result.scores["official"]) == (False, True)
    assert (result.unread, result.wrong_format) == (["strict"], True)
    row = {"scores": result.scores, "unread": result.unread, "unparsed": True}
    default, official = protocol_rows("screenspot", {}, GROUNDING["screenspot"].protocols, [row])
    assert (default["wrong_format"], official["wrong_format"]) == (1, 0)


def test_bare_numbers_are_never_taken_for_percents() -> None:
    for text in ("(20, 20)", "Click(20.0, 20.0)", "[20, 20] or [30, 30]", "x = 20, y = 20", "1 200 200"):
        result = scores("screenspot", BOX, no_point("unparsed", text))
        assert result.scores == {"default": False, "official": False}, text
        assert result.unread == ["strict", "lenient"], text


# --- Official scripts and their defects -------------------------------------------------------------------------------


def test_every_way_of_counting_osworld_has_its_name() -> None:
    # Inside of the triangle; inside of the box that its second corner makes as a width and height; in neither.
    inside, beside = (0.45, 0.8), (0.8, 0.7)
    names = [protocol.name for protocol in GROUNDING["osworld_g"].protocols]
    rows = {
        "box": (BOX, points((0.2, 0.2)), dict.fromkeys(names, True)),
        "triangle": (TRIANGLE, points(inside), {**dict.fromkeys(names, True), "molmo2": False}),
        "beside": (TRIANGLE, points(beside), {**dict.fromkeys(names, False), "mai-ui": True}),
    }
    for name, (target, result, expected) in rows.items():
        assert scores("osworld_g", target, result).scores == expected, name
    refusal = scores("osworld_g", ABSENT, no_point("none")).scores
    assert refusal == {"default": True, "refusals-wrong": False, "mai-ui": False, "molmo2": False}


def test_rounding_a_box_first_changes_what_hits_it() -> None:
    small = Target(kind="box", box=(100.6, 50, 101.4, 52))
    assert scores("screenspot_pro", small, points((0.1014, 0.102))).scores["default"] is True
    assert scores("screenspot_pro", small, points((0.1014, 0.102))).scores["molmoweb"] is False
    assert scores("screenspot_pro", Target(kind="box", box=(100.6, 50, 101.6, 52)), points((0.102, 0.102))).scores == {
        "default": False, "official": False, "groups": False, "molmoweb": True,
    }  # fmt: skip


def test_absent_targets_are_lost_by_the_official_loop_of_screenspot_pro() -> None:
    result = scores("screenspot_pro", ABSENT, no_point("none")).scores
    assert (result["default"], result["official"]) == (True, False)


def test_point_bench_takes_the_first_point_and_counts_all_of_them() -> None:
    both, left = points((0.2, 0.5), (0.8, 0.5)), points((0.2, 0.5), (0.3, 0.5))
    assert scores("point_bench", HALF, both).scores == {
        "default": True, "official": True, "molmo2": False, "lmms-eval": 0.5,
    }  # fmt: skip
    counted = replace(HALF, count=2)
    assert scores("point_bench", counted, left).scores["default"] is True
    assert scores("point_bench", counted, both).scores["default"] is False
    assert scores("point_bench", replace(HALF, count=3), left).scores == {
        "default": False, "official": False, "molmo2": True, "lmms-eval": 1.0,
    }  # fmt: skip


def test_the_far_edge_is_a_pixel_by_default_and_outside_in_the_official_script() -> None:
    right = mask([[0, 255]])
    result = scores("point_bench", right, points((1.0, 0.5))).scores
    assert (result["default"], result["official"]) == (True, False)
    assert scores("point_bench", right, points((0.9999, 0.5))).scores["official"] is True


def test_unread_answers_leave_the_official_mean_of_photographs() -> None:
    for name in ("ref_spatial", "where2place"):
        result = scores(name, HALF, no_point("unparsed", "well"))
        assert result.scores["default"] == 0
        assert "official" not in result.scores
        assert result.wrong_format
        assert scores(name, HALF, no_point("none")).scores["official"] == 0


def test_single_points_of_molmo_score_nothing_in_the_official_script_of_ref_spatial() -> None:
    single = points((0.2, 0.5), text='<point x="20.0" y="50.0" alt="a">a</point>')
    several = points((0.2, 0.5), (0.8, 0.5), text='<points x1="20.0" y1="50.0" x2="80.0" y2="50.0" alt="a">a</points>')
    assert scores("ref_spatial", HALF, single).scores["official-molmo"] == 0
    assert scores("ref_spatial", HALF, single).scores["default"] == 1
    assert scores("ref_spatial", HALF, several).scores["official-molmo"] == 0.5


def test_grey_counts_as_each_benchmark_says() -> None:
    grey = mask([[51, 204]])
    left, right = points((0.2, 0.5)), points((0.8, 0.5))
    assert scores("where2place", grey, left).scores == {"default": 0.2, "official": 0.2, "lmms-eval": 0.0}
    assert scores("where2place", grey, right).scores == {"default": 0.8, "official": 0.8, "lmms-eval": 1.0}
    assert scores("ref_spatial", grey, left).scores["default"] == 1
    assert scores("ref_spatial", grey, left).scores["lmms-eval"] == 0


@pytest.mark.parametrize(
    ("reply", "right", "unread"),
    [("Yes, it is.", True, False), ("no", False, False), ("It is.", False, True), ("", False, True)],
)
def test_yes_and_no_are_read_from_the_start(reply: str, right: bool, unread: bool) -> None:
    question = Question(id="q", style="eval_short_answer", text="?", extra={"target": ABSENT, "word": "yes"})
    result = score_grounding(GROUNDING["robo_spatial_home"].protocols, question, Reply(text=reply, size=SIZE))
    assert (result.scores["default"], result.wrong_format) == (right, unread)
    assert ("official" in result.scores) is not unread


def test_own_questions_have_targets_of_their_points() -> None:
    protocols = GROUNDING["screenspot"].protocols
    reply = Reply(text="", result=points((0.2, 0.2)), size=(4, 4))
    box = Box(0.1, 0.1, 0.3, 0.3)
    plain: dict[str, Any] = {"id": "q", "style": "pointing", "text": "it"}
    here = Question(**plain, points=(Point(0.2, 0.2),), extra={"boxes": (box,)})
    two = Question(
        **plain, points=(Point(0.2, 0.2),) * 2, extra={"masks": [np.eye(4, dtype=bool), np.zeros((4, 4), bool)]}
    )
    assert score_grounding(protocols, here, reply).scores["default"] is True
    assert score_grounding(protocols, two, reply).scores["default"] is True
    assert score_grounding(protocols, Question(**plain, points=()), reply).scores["default"] is False
    with pytest.raises(ValueError, match="expected points with boxes or masks"):
        score_grounding(protocols, Question(**plain), reply)


def test_near_misses_are_measured_from_the_nearest_edge() -> None:
    assert distance_px(BOX, (0.2, 0.2), SIZE) == 0
    assert distance_px(BOX, (0.31, 0.2), SIZE) == pytest.approx(10)
    assert distance_px(BOX, (0.303, 0.308), SIZE) == pytest.approx(5)
    assert distance_px(TRIANGLE, (0.39, 0.8), SIZE) == pytest.approx(10)
    assert distance_px(HALF, (0.6, 0.5), SIZE) == pytest.approx(100)
    assert distance_px(ABSENT, (0.6, 0.5), SIZE) is None
    assert distance_px(mask([[0, 0]]), (0.6, 0.5), SIZE) is None
    records = [{"miss_px": px} for px in (0.0, None, 9.5, 10.0, 49.0, 51.0)]
    assert near_misses(records) == {"misses": 4, "within 10 px": 2, "within 50 px": 3}


# --- Means, names and hashes ------------------------------------------------------------------------------------------


def record(score: float, cell: str, *, unparsed: bool = False, answered: str = "pointed") -> dict[str, Any]:
    facets = {"cell": [cell], "platform": [cell.split()[0]]}
    names = {"default": score, "official": score}
    return {"id": "q", "scores": names, "facets": facets, "unparsed": unparsed, "answered": answered}


RECORDS = [
    *[record(1, "web text")] * 3,
    record(0, "web icon", unparsed=True, answered="wrong format"),
    record(0, "mobile icon"),
    {"id": "s", "skipped": "no image"},
]


def test_the_mean_of_questions_and_the_mean_of_groups_stand_side_by_side() -> None:
    protocols = GROUNDING["screenspot"].protocols
    default, official = protocol_rows("screenspot", {"form": "original"}, protocols, RECORDS)
    assert (default["score"], default["items"], default["n"], default["wrong_format"]) == (0.6, 0.6, 5, 1)
    assert (official["score"], official["items"]) == (pytest.approx(1 / 3), 0.6)
    assert official["values"] == {"mobile icon": 0, "web icon": 0, "web text": 1}


def test_answers_are_counted_by_group_and_by_what_they_did() -> None:
    table = confusion(RECORDS, "default")
    assert table["platform"] == {"mobile": {"pointed": 1}, "web": {"right": 3, "wrong format": 1}}
    assert confusion(RECORDS, "another") == {}


def test_the_chosen_protocol_makes_the_main_score() -> None:
    protocols = GROUNDING["screenspot"].protocols
    ordered = with_main(RECORDS, protocols[1])
    assert next(iter(ordered[0]["scores"])) == "official"
    assert ordered[-1] == RECORDS[-1]
    summary = summarise_protocols("screenspot", {}, protocols, ordered, protocols[1])
    assert summary["protocol"]["score"] == pytest.approx(1 / 3)
    with pytest.raises(UsageError, match="no record has a score under the protocol new"):
        summarise_protocols("screenspot", {}, protocols, RECORDS, Protocol(name="new"))


def test_a_hash_is_all_that_a_number_depends_on() -> None:
    base = Protocol(name="a")
    same = identity("b", {"split": "test", "images": "x"}, base)
    assert same["hash"] == identity("b", {"images": "y", "split": "test"}, replace(base, name="z", note="?"))["hash"]
    others = [
        identity("c", {"split": "test"}, base),
        identity("b", {"split": "val"}, base),
        *(
            identity("b", {"split": "test"}, replace(base, **{part: "other"}))  # type: ignore[arg-type]
            for part in ("rule", "mean", "reading", "points", "prompt")
        ),
    ]
    assert len({same["hash"], *(other["hash"] for other in others)}) == 8


def test_numbers_of_different_protocols_refuse_to_be_compared() -> None:
    first = identity("b", {"split": "test"}, Protocol(name="a"))
    check_comparable(first, identity("b", {"split": "test"}, Protocol(name="a")))
    with pytest.raises(UsageError, match=r"mean 'items' and 'cell'; choose the same with --protocol"):
        check_comparable(first, identity("b", {"split": "test"}, Protocol(name="a", mean="cell")))
    with pytest.raises(UsageError, match=r"options .*'test'.*'val'"):
        check_comparable(first, identity("b", {"split": "val"}, Protocol(name="a")))
    with pytest.raises(UsageError, match="the second run names no protocol"):
        check_comparable(first, {})


def test_every_protocol_can_be_named_and_explains_itself() -> None:
    for name, benchmark in BENCHMARKS.items():
        for protocol in benchmark.protocols:
            assert find_protocol(name, benchmark.protocols, protocol.name) == protocol
            assert protocol.note.endswith("."), (name, protocol.name)
        if benchmark.protocols:
            assert find_protocol(name, benchmark.protocols, "default") == benchmark.protocols[0]
            with pytest.raises(UnknownNameError, match="protocol of"):
                find_protocol(name, benchmark.protocols, "defualt")
    with pytest.raises(UsageError, match="vqa2 has a single protocol; leave --protocol out"):
        find_protocol("vqa2", (), "official")


def test_every_rule_is_used_and_every_first_protocol_counts_every_question() -> None:
    protocols = [protocol for row in GROUNDING.values() for protocol in row.protocols]
    assert {protocol.rule for protocol in protocols} == set(RULES)
    empty = Answer(points=(), size=SIZE, wrong_format=True)
    for row in GROUNDING.values():
        rule = RULES[row.protocols[0].rule]
        assert all(rule(target, empty) is not None for target in (BOX, TRIANGLE, ABSENT, HALF))
