import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from molmo_agent.errors import PointTextError, UnknownNameError
from molmo_agent.geometry import Point
from molmo_agent.point_text.parse import (
    DIALECTS,
    NONE_TEXT,
    InlinePoints,
    format_inline_points,
    format_points,
    parse_points,
    parse_reference,
)
from molmo_agent.point_text.sentences import UnparsedReply, check_label

REPLIES = [
    json.loads(line)
    for line in (Path(__file__).parent / "golden" / "replies.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]
SIZE = (640, 480)
# Half a step of each dialect's grid: the most that writing may move a point.
GRID = {"molmo": 0.0005, "molmo2": 0.0005, "gemini": 0.0005, "tuple": 0.0005, "qwen": 0.5 / 480, "gui": 0.0005}
# The far edge has no token of its own.
GRID["molmo-tokens"] = 0.001

points = st.builds(Point, st.floats(0, 1), st.floats(0, 1))


def names_something(label):
    """Whether a point can have this label: one such as "not present" takes its answer back."""
    try:
        check_label(label)
    except UnparsedReply:
        return False
    return True


labels = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30).filter(names_something)


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: f"{case['dialect']}: {case['why']}")
def test_hand_made_replies_are_read_as_expected(case):
    size = tuple(case["size"]) if "size" in case else None
    parsed = parse_points(case["dialect"], case["reply"], size, case.get("scale"))
    assert parsed.status == case["status"], parsed.reason
    assert parsed.reply == case["reply"]
    assert [found.point.x for found in parsed.points] == pytest.approx([x for x, _ in case.get("points", [])])
    assert [found.point.y for found in parsed.points] == pytest.approx([y for _, y in case.get("points", [])])
    assert bool(parsed.reason) == (parsed.status != "ok")
    assert parsed.to_result(latency_s=0.5).status == parsed.status


def test_the_corpus_is_large_enough_to_mean_something():
    assert len(REPLIES) >= 200
    assert {case["dialect"] for case in REPLIES} == set(DIALECTS)


# --- Writing, then reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@given(items=st.lists(points, min_size=1, max_size=6), label=labels)
@settings(max_examples=60)
def test_what_is_written_is_read_back_on_the_dialect_s_grid(dialect, items, label):
    items = items[:1] if DIALECTS[dialect].single else items
    parsed = parse_points(dialect, format_points(dialect, items, label, image_size=SIZE), SIZE)
    assert parsed.status == "ok", parsed.reason
    found = [item.point for item in parsed.points]
    if not DIALECTS[dialect].tags:
        assert len(found) == len(items)
        assert (
            max(abs(a.x - b.x) + abs(a.y - b.y) for a, b in zip(found, items, strict=True)) < 2 * GRID[dialect] + 1e-9
        )
    for point in items:
        near = min(max(abs(point.x - other.x), abs(point.y - other.y)) for other in found)
        assert near <= GRID[dialect] + 1e-9
    again = format_points(dialect, found, label, image_size=SIZE)
    assert again == format_points(dialect, items, label, image_size=SIZE)


@pytest.mark.parametrize("dialect", ["molmo", "molmo2"])
@given(label=labels, alt=labels)
@example(label='a "quoted" <b> & &amp; &lt; label', alt='x="1" y="2"')
@example(label="</point>", alt='"></point><point x="9" y="9">')
@settings(max_examples=60)
def test_no_label_can_change_the_points(dialect, label, alt):
    written = format_points(dialect, [Point(0.25, 0.75)], label, alt)
    parsed = parse_points(dialect, written)
    assert [(item.point, item.id) for item in parsed.points] in ([(Point(0.25, 0.75), None)], [(Point(0.25, 0.75), 1)])
    expected = label.lower().strip() or alt
    assert parsed.points[0].label == (expected or None)


@pytest.mark.parametrize("dialect", ["gemini", "qwen"])
@given(label=labels)
@example(label="```")
@example(label="a ```json [1, 2] ``` b")
@example(label="</think> [THINK] ◁/think▷")
@settings(max_examples=40)
def test_json_dialects_keep_the_label(dialect, label):
    written = format_points(dialect, [Point(0.25, 0.75)], label, image_size=SIZE)
    assert parse_points(dialect, written, SIZE).points[0].label == (label or None)


def test_qwen_s_pixels_survive_the_round_trip():
    for x in range(0, 640, 7):
        point = Point.from_pixel(x, x % 480, 640, 480)
        written = format_points("qwen", [point], "a", image_size=SIZE)
        assert parse_points("qwen", written, SIZE).points[0].point.to_pixels(640, 480) == (x, x % 480)


@pytest.mark.parametrize(
    ("dialect", "written"),
    [
        ("molmo", '<points x1="10.0" y1="20.0" x2="50.0" y2="5.0" alt="red cars">red cars</points>'),
        ("molmo2", '<points coords="1 1 100 200 2 500 050">red cars</points>'),
        ("gemini", '[{"point": [50, 500], "label": "Red Cars"}, {"point": [200, 100], "label": "Red Cars"}]'),
        ("qwen", '[{"point_2d": [320, 24], "label": "Red Cars"}, {"point_2d": [64, 96], "label": "Red Cars"}]'),
        ("tuple", "[(0.500, 0.050), (0.100, 0.200)]"),
        ("gui", "click(start_box='(500,50)')"),
    ],
)
def test_each_dialect_has_its_own_look(dialect, written):
    items = [Point(0.5, 0.05), Point(0.1, 0.2)][: 1 if DIALECTS[dialect].single else 2]
    assert format_points(dialect, items, "Red Cars", image_size=SIZE) == written


@pytest.mark.parametrize("dialect", ["molmo", "molmo2"])
def test_the_counting_sentence_states_the_number_and_is_checked_against_it(dialect):
    written = format_points(dialect, [Point(0.5, 0.5), Point(0.1, 0.2)], "cars", style="point_count")
    assert written.startswith("Counting the <points ")
    assert written.endswith("</points> shows a total of 2.")
    assert len(parse_points(dialect, written).points) == 2
    contradicted = parse_points(dialect, written.replace("total of 2", "total of 5"))
    assert (contradicted.status, contradicted.reason) == ("unparsed", "it counts 5 and points at 2")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_points_are_written_and_read_as_none(dialect):
    written = format_points(dialect, [], "cats", image_size=SIZE)
    assert written == DIALECTS[dialect].none
    assert parse_points(dialect, written, SIZE).status == "none"
    assert parse_points(dialect, NONE_TEXT, SIZE).status == "none"


def test_labels_and_numbers_of_the_reply_are_kept():
    reply = (
        '<points x1="1.0" y1="2.0" x2="3.0" y2="4.0" alt="A">b</points><point x="9.0" y="9.0" alt="only alt"></point>'
    )
    found = parse_points("molmo", reply).points
    assert [(item.label, item.id) for item in found] == [("b", 1), ("b", 2), ("only alt", None)]


# --- Noise ------------------------------------------------------------------------------------------------------------

PIECES = """<point|<points|</point>|</points>| x="| y="| x1="1.0"| y1="2.0"| x2="|"|'|>|<|alt="|12.5|100.1|-3
|NaN|٣|[|]|(|)|{|}|"point": |"point_2d": |,|:| coords="1 1 105 205"|1 2 300 400|```|json|There are none.|I cannot
| shows a total of 2.|\\|&lt;|🐱| """
fragments = st.sampled_from([*PIECES.replace("\n", "").split("|"), "\n", "\x00"])
noise = st.one_of(st.text(max_size=200), st.lists(fragments, max_size=25).map("".join))


@pytest.mark.parametrize("dialect", DIALECTS)
@given(reply=noise)
@settings(max_examples=200)
def test_any_text_yields_a_status_and_no_point_that_is_not_in_it(dialect, reply):
    parsed = parse_points(dialect, reply, (1000, 1000))
    assert bool(parsed.points) == (parsed.status == "ok")
    written = [float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+", reply)]
    scale, shift = {"molmo": (100, 0), "tuple": (1, 0), "qwen": (1000, 0.5)}.get(dialect, (1000, 0))
    for found in parsed.points:
        for value in (found.point.x, found.point.y):
            assert any(abs(value * scale - shift - number) < 1e-6 for number in written)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(items=st.lists(points, min_size=1, max_size=4), data=st.data())
@settings(max_examples=60)
def test_a_truncated_reply_never_yields_points(dialect, items, data):
    items = items[:1] if DIALECTS[dialect].single else items
    written = format_points(dialect, items, "a cat", image_size=SIZE)
    cut = data.draw(st.integers(0, len(written) - 1))
    assert parse_points(dialect, written[:cut], SIZE).status == "unparsed"


@pytest.mark.parametrize("dialect", ["molmo", "molmo2", "gemini", "qwen"])
@given(items=st.lists(points, min_size=1, max_size=4), data=st.data())
@settings(max_examples=60)
def test_one_damaged_character_never_adds_a_point(dialect, items, data):
    written = format_points(dialect, items, "a cat", image_size=SIZE)
    place = data.draw(st.integers(0, len(written) - 1))
    damaged = written[:place] + data.draw(st.characters(codec="utf-8")) + written[place + 1 :]
    parsed = parse_points(dialect, damaged, SIZE)
    assert len(parsed.points) in (0, len(items))


MEGABYTE = 1_000_000
SLOW_NOISE = ["<point ", '<point x="', '<point x="1" ', "<points x1='", "\n", "there are none ", "9", "([", "```", "[["]
SLOW_NOISE += ['[{"point":', "(0.5, 0.5)", "[(0.5, 0.5), ", "a total of ", "1 100 100 ", 'x="1" y="', "١", "(. ", " "]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_megabyte_of_noise_is_read_in_linear_time(dialect):
    start = time.perf_counter()
    for piece in SLOW_NOISE:
        for prefix in ("", '<points coords="', "[(0.1, 0.2)", '[{"point": [', '<points a="'):
            parse_points(dialect, prefix + piece * (MEGABYTE // len(piece) // 4), SIZE)
    # 95 replies of 250 kB take under 2 s; anything quadratic would take hours.
    assert time.perf_counter() - start < 60


def test_a_megabyte_of_good_points_is_read_whole():
    many = [Point(i % 1000 / 1000, i % 997 / 1000) for i in range(30_000)]
    written = format_points("molmo", many, "dots")
    assert len(written) > MEGABYTE / 2
    assert len(parse_points("molmo", written).points) == len(many)


def test_the_reference_parser_takes_linear_time_too():
    start = time.perf_counter()
    for piece in ("<point ", 'x="1" ', "9", "(1.", "p=", "1=123,", "x1=", "(1.0, 1.0), ", " ", "=123,"):
        for prefix in ("", "<points ", "(1.0, 1.0)"):
            parse_reference(prefix + piece * (MEGABYTE // len(piece) // 4), 10, 10)
    assert time.perf_counter() - start < 60


@given(noise)
@settings(max_examples=100)
def test_the_reference_parser_takes_any_text(reply):
    parsed = parse_reference(reply, 640, 480)
    assert all(0 <= x <= 640 and 0 <= y <= 480 for x, y in parsed.points)


# --- Asking wrongly ---------------------------------------------------------------------------------------------------


def test_an_unknown_dialect_is_named_with_the_nearest_ones():
    with pytest.raises(UnknownNameError, match="unknown dialect 'molmo3': did you mean molmo"):
        parse_points("molmo3", "")
    with pytest.raises(UnknownNameError, match="unknown dialect 'xml'"):
        format_points("xml", [], "a")
    with pytest.raises(UnknownNameError, match="unknown dialect ''"):
        format_inline_points("", "", [])


def test_pixels_need_an_image_size():
    for call in (lambda: parse_points("qwen", ""), lambda: format_points("qwen", [Point(0, 0)], "a")):
        with pytest.raises(ValueError, match=r"'qwen' uses pixels: pass image_size=\(width, height\)"):
            call()
    with pytest.raises(
        ValueError, match=r"image_size must be \(width, height\) in pixels, at least 1 x 1, got \(0, 5\)"
    ):
        parse_points("qwen", "", (0, 5))


def test_only_dialects_with_tags_have_a_sentence_that_counts():
    with pytest.raises(ValueError, match="'tuple' has no sentence that counts; these have one: molmo, molmo2"):
        format_points("tuple", [Point(0, 0)], "a", style="point_count")


def test_placeholders_and_annotations_must_match():
    points = InlinePoints((Point(0.5, 0.5),), "here", "there")
    with pytest.raises(ValueError, match=r"expected one annotation for each .* got 1 for 2 of them"):
        format_inline_points("molmo", "<|POINT|> and <|POINT|>", [points])
    with pytest.raises(ValueError, match="the dialect 'gemini' has no tags that could stand in a text"):
        format_inline_points("gemini", "<|POINT|>", [points])


def test_requiring_points_keeps_the_reply_of_a_failure():
    assert parse_points("molmo", NONE_TEXT).require() == ()
    assert len(parse_points("molmo", '<point x="1" y="2">a</point>').require()) == 1
    with pytest.raises(PointTextError, match="a reply that is out_of_range: 640 is outside of 0 to 100") as error:
        parse_points("molmo", '<point x="640" y="2">a</point>').require()
    assert error.value.reply == '<point x="640" y="2">a</point>'


@pytest.mark.parametrize(
    ("dialect", "reply", "reason"),
    [
        ("molmo", "see <point x=", "the tag at character 4 is broken or not closed"),
        ("molmo", '<point x="1" x="2" y="3">a</point>', "the attribute x occurs twice"),
        ("molmo", '<point x="1">a</point>', "<point> has no pair x, y"),
        ("molmo", '<points x1="1" y1="2" x2="3">a</points>', "<points> has no place for x2"),
        ("molmo", '<points alt="a">a</points>', "<points> has no place for no coordinates"),
        ("molmo", '<point x="1" y="2" z="3">a</point>', "<point> has no place for z"),
        ("molmo", '<point x="1e1" y="2">a</point>', "'1e1' is not a coordinate"),
        (
            "molmo",
            '<point x="1" y="2">a</point><point x="1" y="3">a</point>',
            "it points at 'a' twice, at different places",
        ),
        (
            "molmo",
            'There are none. <point x="1" y="2">a</point>',
            "it says that there are none and points all the same",
        ),
        ("molmo", 'I cannot. <point x="1" y="2">a</point>', "it declines and points all the same"),
        ("molmo", "I cannot. There are none.", "it declines and says that there are none"),
        ("molmo", "I cannot.", "it declines"),
        ("molmo", "over there", "nothing in it looks like points"),
        ("molmo", "There are none.", "it says that there are none"),
        ("molmo2", '<points x="1">a</points>', 'expected <points coords="...">, got <points> with x'),
        ("molmo2", '<points coords="2 1 100 200">a</points>', "it points into image '2'; one image was shown"),
        ("molmo2", '<points coords="1 1 100">a</points>', "expected a number, x and y for each point"),
        ("molmo2", '<points coords="1 2 100 200">a</points>', "expected the point with number 1, got '2'"),
        ("molmo2", '<points coords="1 1 10 200">a</points>', "expected three digits or more, got '10' and '200'"),
        ("gemini", "```[]", "expected one complete code block"),
        ("gemini", '[{"point"', "broken JSON: "),
        ("gemini", '[{"point": [NaN, 1]}]', "broken JSON: NaN is not a coordinate"),
        ("gemini", '{"a": 1, "a": 2}', "broken JSON: a key occurs twice"),
        ("gemini", "[] []", "expected one answer, got further brackets"),
        ("gemini", "[1]", 'expected objects with "point": [number, number]'),
        ("gemini", "[]", "the list is empty"),
        ("qwen", '{"point_2d": [1.5, 2]}', "expected whole pixels, got '1.5' and '2'"),
        ("qwen", '{"point_2d": [640, 2]}', "(640, 2) is outside of 640 x 480 pixels"),
        ("tuple", "[(0.1, 0.2)", "the list or pair at character 0 is broken or not closed"),
        ("tuple", "(0.1, 0.2) (0.1, 0.2)", "expected one answer, got further pairs"),
        ("tuple", "(0.1, 2)", "2 is outside of 0 to 1"),
    ],
)
def test_every_failure_says_why(dialect, reply, reason):
    assert parse_points(dialect, reply, SIZE).reason.startswith(reason)
