"""AndroidControl's action text has one reading, in ASCII, in linear time, or none."""

import time

import pytest

from molmo_agent.actions import Click, OpenApp, Type, Wait
from molmo_agent.errors import PointTextError
from molmo_agent.geometry import Point
from molmo_agent.point_text.cut_off import mark_cut
from molmo_agent.policies.android_actions import OutOfScreen, read_action

TWO_READINGS = (
    "Action: Type yes\nAction: Wait",
    "Type hello\nAction: Navigate Back",
    "Type hello\n  Click(10.0, 20.0)",
    "Type a Click(10.0, 20.0)",
    "Type see Action: Scroll down",
    "Type done\nNavigate Home\nbye",
    "Type done\u2028Wait",
    "Type a\rWait",
    "Open App Clock Action: Wait",
    "Open App Long Press(1.0, 2.0)",
    "Plan: Click(1.0, 2.0) first Action: Click(3.0, 4.0)",
    "Plan: a\nNavigate Back\nAction: Type x",
    "Click(1.0, 2.0)\nClick(1.0, 2.0)",
    "Action: Click(1.0, 2.0) Action: Wait",
    "Action: Action: Wait",
)
NOT_ASCII = (
    "\u017fcroll up", "C\u0130lick(1, 2)", "lon\u0262 press(1, 2)", "wa\u0131t", "Naviɡate Back", "Ｗait",
    "Click(１０, 20)", "Click(१०, २०)",
    "Click(10\u00a0, 20)", "Type\u00a0hello", "Click\u2003(1, 2)", "Click(1٫5, 2)",
    "Wa\u200bit", "\u202eWait", "Open\u3000App Clock", "Click(²0, 5)",
)  # fmt: skip
NUMBERS = (
    "+1",
    "-0",
    "-0.0",
    "1e1",
    "1_0",
    "0x1",
    "1.",
    ".5",
    "1,5",
    "nan",
    "inf",
    "--1",
    "1 0",
    "1" * 7,
    "1." + "0" * 13,
    "%5",
    "",
)


def refused(texts):
    """Return the texts that are read as an action."""
    wrong = []
    for text in texts:
        try:
            wrong.append((text, read_action(text)))
        except OutOfScreen as error:
            wrong.append((text, error))
        except PointTextError as error:
            wrong += [] if error.reply == text else [(text, error.reply)]
    return wrong


def test_two_actions_in_one_reply_are_refused():
    assert refused(TWO_READINGS) == []
    with pytest.raises(PointTextError, match=r"expected one action, got a second one: 'Click\(10.0, 20.0\)'"):
        read_action("Type a Click(10.0, 20.0)")


def test_letters_digits_and_blanks_of_other_scripts_are_refused():
    assert refused(NOT_ASCII) == []


def test_numbers_in_other_notations_are_refused():
    assert refused([f"Click({n}, 5.0)" for n in NUMBERS] + [f"Long Press(5.0, {n})" for n in NUMBERS]) == []


def test_a_reply_that_was_cut_off_or_is_too_long_is_refused():
    with pytest.raises(PointTextError, match="expected a complete action, but the reply was cut off"):
        read_action(mark_cut("Type hello wor"))
    with pytest.raises(PointTextError, match="expected at most 10,000 characters, got 10,001"):
        read_action("Type " + "x" * 9_996)


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Type Wait for me", Type("Wait for me")),
        ("Type the action: run", Type("the action: run")),
        ("Type first line\nsecond line", Type("first line\nsecond line")),
        ("Type Größe: 5, 保存", Type("Größe: 5, 保存")),
        ("Open App 微信", OpenApp("微信")),
        ("Plan: Scroll until it is there. Action: Wait", Wait()),
        ("PLAN: tap it\nACTION: CLICK(0.0, 100.0)", Click(Point(0.0, 1.0))),
    ],
)
def test_texts_and_names_that_only_look_like_actions_are_kept(reply, action):
    assert read_action(reply).action == action


def test_the_longest_noise_is_read_in_linear_time():
    pieces = (
        "Plan:",
        "action:",
        "\n",
        " ",
        "Click(",
        "1",
        "Plan: \n action: ",
        "type ",
        "\r\n Wait",
        "open app ",
        "(1.0, ",
        "\u2028",
    )
    start = time.perf_counter()
    for piece in pieces:
        for head in ("", "Plan:", "Plan: x Action: Type ", "Type ", "Click(1.0,"):
            refused_or_read = head + piece * (9_000 // len(piece))
            try:
                read_action(refused_or_read)
            except PointTextError:
                continue
    # 60 replies of 9 kB take a fraction of a second; anything cubic would take days.
    assert time.perf_counter() - start < 60
