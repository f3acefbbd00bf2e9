"""AndroidControl as the authors' code reads and scores it, on inputs of our own; golden cases: test_parity.py."""

import re

import pytest

from molmo_agent.data.android_control.accessibility import Node, read_forest, reduced_text, reference_boxes
from molmo_agent.data.android_control.episodes import (
    AndroidStep,
    action_text,
    check_action,
    reference_app_box,
    reference_point,
    target_pixels,
)
from molmo_agent.data.android_control.questions import _reference
from molmo_agent.errors import PointTextError
from molmo_agent.evaluation.metrics.android_control import RULES, parse_answer, reference_score, score
from molmo_agent.policies.android_actions import ActionText, read_action

SIZE = (1080, 2400)  # width, height in pixels
BOX = "[40.0, 80.0, 60.0, 90.0]"


def node(class_name="android.widget.TextView", *flags, text="", resource="", package="p.a", bounds=(2, 4, 10, 8)):
    return Node(bounds, class_name, package, text, resource, frozenset({"isVisible", *flags}))


def line(*args, **kwargs) -> str:
    """What is said of a lone element behind its place and size."""
    package, text = reduced_text([[node(*args, **kwargs)]]).splitlines()
    assert package == "p.a"
    assert text.startswith("\tcenter=[6,6], size=[8,4]")
    return text.removeprefix("\tcenter=[6,6], size=[8,4]")


# --- The reduced text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_name", "said"),
    [
        ("android.widget.Switch", ", text=Switch"),
        ("androidx.appcompat.widget.SwitchCompat", ", text=Switch"),
        ("com.lab.SwitchEditor", ", text=Switch"),  # a switch first
        ("android.widget.EditText", ", EditableText"),
        ("com.lab.TextInputEditText", ", EditableText"),
        ("android.widget.AutoCompleteTextView", ""),
        ("android.widget.ToggleButton", ""),
        ("", ""),
    ],
)
def test_the_class_says_what_an_element_without_text_is(class_name, said):
    assert line(class_name) == said
    assert line(class_name, resource="com.x:id/go") == f", resource=go{said}"
    assert line(class_name, text="wifi") == f", text=wifi{said}"


def test_an_editable_element_of_another_class_is_no_editable_text():
    assert line("android.view.View", "isEditable") == ""
    assert line("android.widget.EditText", "isClickable") == ", EditableText, ['isClickable']"


@pytest.mark.parametrize("class_name", ["android.widget.Switch", "android.widget.EditText"])
def test_of_elements_without_text_only_the_first_of_a_window_is_listed(class_name):
    special, plain = node(class_name, resource="com.x:id/a"), node(resource="com.x:id/b")
    said = ", text=Switch" if class_name.endswith("Switch") else ", EditableText"
    assert reduced_text([[special, plain]]).count("center") == 1
    assert f"resource=a{said}\n" in reduced_text([[special, plain]])
    assert reduced_text([[plain, special]]) == reduced_text([[plain]])
    # Another window counts anew, and so does an element with a text.
    assert reduced_text([[plain], [special]]).count("center") == 2
    assert reduced_text([[plain, node(class_name, text="on")]]).endswith(f", text=on{said}\n")


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("com.x.y:id/name", "name"),
        ("com.x:id/", ""),
        ("telecom:id/call", "telecall"),
        ("com.android/x:id/y", "x:id/y"),  # the shortest match, "android/" ends in "id/" too
        ("android:id/content", "android:id/content"),
        ("None", ""),
    ],
)
def test_resources_lose_their_package_as_in_the_authors_code(resource, said):
    assert line(resource=resource) == (f", resource={said}" if said else "")


def test_the_word_none_is_dropped():
    assert line(text="None", resource="com.x:id/go") == ", resource=go"
    assert line("None", text="None") == ""


@pytest.mark.parametrize("package", [None, "None"])
def test_a_listed_element_without_a_package_is_refused_by_name(package):
    lost = node(text="b", resource="r", package=package)
    with pytest.raises(ValueError, match="the element with text 'b', resource 'r' has no package"):
        reduced_text([[node(text="a"), lost]])
    # Not listed, not looked at.
    hidden = Node(lost.bounds, lost.class_name, package, "b", "r", frozenset())
    assert reduced_text([[node(text="a"), hidden]]) == reduced_text([[node(text="a")]])
    assert reduced_text([[node(text="a"), node(text="a", package=package)]]) == reduced_text([[node(text="a")]])


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A protocol-buffer message of short fields."""
    return b"".join(
        bytes([number << 3, value]) if isinstance(value, int) else bytes([number << 3 | 2, len(value)]) + value
        for number, value in fields
    )


def forest(*nodes: bytes) -> bytes:
    return message((1, message((11, message(*((1, n) for n in nodes))))))


def test_an_empty_package_and_a_written_zero_are_as_good_as_none():
    bounds = message((1, 0), (2, 5), (3, 0), (4, 0))
    visible = b"\xb8\x01\x01"  # field 23
    windows = read_forest(forest(message((2, bounds), (6, b""), (7, b"x")) + visible))
    ((found,),) = windows
    assert (found.package, found.visible, found.box) == (None, True, (0, 5, 0, 0))
    assert reference_boxes(windows, *SIZE) == [(0, 5, 1080, 2400)]
    with pytest.raises(ValueError, match="has no package"):
        reduced_text(windows)


def test_a_step_that_the_authors_code_fails_on_has_no_reference(monkeypatch):
    monkeypatch.setattr(AndroidStep, "size", lambda self: SIZE)
    step = AndroidStep(1, 0, "", "", {"action_type": "open_app", "app_name": "x"}, b"", [[node(package=None)]])
    assert _reference(step) is None
    whole = AndroidStep(1, 0, "", "", {"action_type": "open_app", "app_name": "x"}, b"", [[node(text="x")]])
    assert _reference(whole) == {"action": "Open App x", "box": "[0.2, 0.2, 0.9, 0.3]"}


# --- Actions and their places -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "text", "point"),
    [
        ("12", "240", "Click(1.1, 10.0)", (12, 240)),
        ("12", 240, "Click(1.1, 10.0)", (12, 240)),
        (12, 240, "Click(1.1, 10.0)", (12, 240)),
        ("-12", "240", "Click(-12, 240)", (12, 240)),
        ("12.5", "240", "Click(12.5, 240)", (12, 5)),
        (10.5, 20.0, "Click(10.5, 20.0)", (10, 5)),
        (" 12", "240", "Click( 12, 240)", (12, 240)),
        (True, 7, "Click(True, 7)", None),
        (None, "7", "Click(None, 7)", None),
    ],
)
def test_coordinates_of_any_type_are_read_as_the_authors_print_them(x, y, text, point):
    action = {"action_type": "click", "x": x, "y": y}
    assert action_text(action, SIZE, reference_quirks=True) == text
    long_press = action | {"action_type": "long_press"}
    assert action_text(long_press, SIZE, reference_quirks=True) == text.replace("Click", "Long Press")
    if point is None:
        with pytest.raises(ValueError, match="the action click needs two numbers, got"):
            reference_point(action)
        return
    assert reference_point(action) == point
    left, top = point
    fallback = (left - 10, top - 10, left + 10, top + 10)
    assert target_pixels(action, [], SIZE, reference_quirks=True) == fallback


@pytest.mark.parametrize("x", ["12", None, True])
def test_coordinates_that_are_no_numbers_are_refused_without_quirks(x):
    action = {"action_type": "click", "x": x, "y": 5}
    for read in (check_action, lambda action: action_text(action, SIZE)):
        with pytest.raises(ValueError, match="the action click needs x, got"):
            read(action)


@pytest.mark.parametrize("reference_quirks", [True, False])
def test_a_click_without_a_coordinate_is_an_error(reference_quirks):
    with pytest.raises(ValueError, match="the action click needs y, got None"):
        action_text({"action_type": "click", "x": 5}, SIZE, reference_quirks=reference_quirks)


def test_a_name_that_is_no_pattern_fails_only_where_it_is_on_the_screen():
    assert reference_app_box("center=[5,5], size=[4,4], text=mail", "Mail (work") is None
    with pytest.raises(re.error):
        reference_app_box("center=[5,5], size=[4,4], text=mail (work", "mail (work")


# --- Scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    ["click (50.0 , 85.0)", "Click( 50.0, 85.0 )", "CLICK\t(50.0,85.0)", "click  ( 50 , 85 ) "],
)
def test_blanks_between_the_parts_of_a_click_change_no_verdict(answer):
    assert reference_score("Click(50.0, 85.0)", BOX, answer)
    assert reference_score(answer, BOX, "Click(50.0, 85.0)")
    assert parse_answer(answer) == ActionText("click", (50.0, 85.0))
    assert all(score("Click(50.0, 85.0)", (40.0, 80.0, 60.0, 90.0), answer, rule) for rule in RULES)
    pressed = answer.lower().replace("click", "long press")
    assert reference_score("Long Press(50.0, 85.0)", BOX, pressed)
    assert score("Long Press(50.0, 85.0)", (40.0, 80.0, 60.0, 90.0), pressed)


@pytest.mark.parametrize(
    "answer", ["click 50.0, 85.0", "click (50.0 85.0)", "click (x=50.0, y=85.0)", "click (5 0, 8)"]
)
def test_without_quirks_a_click_is_its_word_and_two_numbers_in_brackets(answer):
    assert parse_answer(answer) is None


@pytest.mark.parametrize("box", ["", "[40, 80, 60, 90]", BOX])
def test_the_reference_looks_at_the_box_only_for_two_points(box):
    for gold, answer in (("Click(50.0, 85.0)", "Click(50.0)"), ("Click", "Click(50.0, 85.0)")):
        assert not reference_score(gold, box, answer)
    if box != BOX:
        with pytest.raises(ValueError, match=r"expected a box of four decimals such as .*, got "):
            reference_score("Click(50.0, 85.0)", box, "Click(50.0, 85.0)")


@pytest.mark.parametrize("box", [BOX, "(40.0, 80.0, 60.0, 90.0)", "40.0 80.0 60.0 90.0", "[40.0,80.0,60.0,90.0]"])
def test_the_reference_reads_boxes_in_any_notation(box):
    assert reference_score("Click(50.0, 85.0)", box, "Click(41.0, 89.0)")
    assert not reference_score("Click(50.0, 85.0)", box, "Click(39.0, 89.0)")


@pytest.mark.parametrize("answer", ["I will tap it. Action: Click(50.0, 7.3)", "Click(50.0, 7.3) or so", "click"])
def test_what_the_policy_would_not_do_is_no_right_answer(answer):
    with pytest.raises(PointTextError):
        read_action(answer)
    assert parse_answer(answer) is None
    assert not any(score("Click(50.0, 7.3)", (40.0, 0.0, 60.0, 20.0), answer, rule) for rule in RULES)


@pytest.mark.parametrize("answer", ["plan: tap it action: click(50.0, 7.3)", "ACTION: Click(50, 7.3)"])
def test_what_the_policy_would_do_is_scored(answer):
    assert all(score("Click(50.0, 7.3)", (40.0, 0.0, 60.0, 20.0), answer, rule) for rule in RULES)
