"""A reply with two readings gives no point: denials, second answers, lost pieces, other scales, cut-off answers."""

import numpy as np
import pytest
from chat_server import Server, completion
from reply_corpus import CENTRE, CLEAR, CLEAR_PROSE, CLEAR_REASONING, DENIALS, SCALES

from molmo_agent import load_model
from molmo_agent.point_text.cut_off import is_cut, mark_cut, why_no_answer, without_mark
from molmo_agent.point_text.denials import denial
from molmo_agent.point_text.parse import parse_points

SIZE = (1000, 1000)


def parsed(dialect, reply, scale=None):
    return parse_points(dialect, reply, SIZE, scale or SCALES.get(dialect))


def accepted(replies):
    """Return the replies of (dialect, reply) that are not unparsed."""
    return [(dialect, reply) for dialect, reply in replies if parsed(dialect, reply).status != "unparsed"]


def everywhere(texts):
    """Return each text before and behind the answer of each dialect."""
    for dialect, answer in CENTRE.items():
        for text in texts:
            yield dialect, f"{text} {answer}"
            yield dialect, f"{answer}\n{text}"


# --- What stays clear -------------------------------------------------------------------------------------------------


def test_clear_replies_of_every_family_are_read():
    wrong = []
    for dialect, scale, reply in CLEAR:
        found = parsed(dialect, reply, scale)
        places = [(round(item.point.x, 3), round(item.point.y, 3)) for item in found.points]
        if places != [(0.25, 0.5)]:
            wrong.append((dialect, reply, found.status, found.reason))
    assert wrong == []
    assert len(CLEAR) + len(CLEAR_PROSE) >= 60


def test_friendly_prose_in_any_language_stays_beside_an_answer():
    replies = [(dialect, reply.replace("\n", " ")) for dialect, reply in everywhere(CLEAR_PROSE)]
    refused = [(dialect, reply, parsed(dialect, reply).reason) for dialect, reply in replies]
    assert [row for row in refused if row[2]] == []


def test_reasoning_before_a_call_may_have_negations():
    texts = [f"Thought: {text}\nAction: {CENTRE['gui']}" for text in CLEAR_REASONING]
    texts += [f'{text}\n<tool_call>{{"coordinate": [500, 500]}}</tool_call>' for text in CLEAR_REASONING]
    assert [(text, parsed("gui", text).reason) for text in texts if parsed("gui", text).status != "ok"] == []


# --- Denials ----------------------------------------------------------------------------------------------------------


def test_a_denial_in_any_language_takes_the_point_away():
    assert accepted(everywhere(DENIALS)) == []
    assert len(DENIALS) >= 80


@pytest.mark.parametrize(
    "thought",
    ["I cannot find the button.", "The icon is not present on this page.", "找不到保存按钮。",
    "画面上没有这个按钮。",
     "ボタンが見つかりません。", "버튼을 찾을 수 없습니다.", "Ich sehe keinen Knopf.",
     "Le bouton est introuvable.", "Кнопки нет."],
)  # fmt: skip
def test_reasoning_that_denies_the_target_takes_the_point_away(thought):
    assert parsed("gui", f"Thought: {thought}\nAction: {CENTRE['gui']}").status == "unparsed"


def test_words_of_a_denial_are_in_the_reason():
    assert parsed("molmo", f"Leider nein. {CENTRE['molmo']}").reason == (
        "beside its answer it says 'leider', which could deny it"
    )
    assert denial("Wait, I see it!") == ""
    assert denial('The "Do not disturb" switch:') == ""
    assert denial('"Not here."') == "not here"


FIELDS = """
"visible": false | "visible": "no" | "is_visible": 0 | "exists": null | "found": "maybe" | "in_view": false
"Visible": false
"confidence": 0 | "score": 0.0 | "probability": -1 | "not_found": true | "absent": true | "hidden": true
"error": "none"
"refusal": "x" | "status": "ok?" | "label": null | "label": false | "label": "not visible"
"label": "Save (not present)"
"label": "There is no button" | "label": "N/A" | "note": "fehlt" | "reason": "找不到"
"description": "It is not there."
"explanation": "either here or at (10, 20)" | "point2": "1 2" | "alternatives": [] | "x": 5
"text": "{\\"point\\": [1, 2]}"
"children": [{"point": [1, 2]}] | "bbox": [1, 2, 3, 4] | "unknown": 5 | "match": false | "label": "a", "label": "b"
"""


def test_an_entry_that_denies_its_point_or_is_not_known_takes_the_point_away():
    fields = [text.strip() for line in FIELDS.strip().split("\n") for text in line.split(" | ")]
    keys = {"gemini": '"point": [500, 500]', "qwen": '"point_2d": [500, 500]', "gui": '"coordinate": [500, 500]'}
    objects = [(dialect, f"[{{{key}, {field}}}]") for dialect, key in keys.items() for field in fields]
    objects += [(dialect, f"{{{field}, {key}}}") for dialect, key in keys.items() for field in fields]
    assert accepted(objects) == []


def test_an_unknown_entry_and_an_empty_confidence_say_why():
    assert parsed("gemini", '[{"point": [5, 5], "odd": "x"}]').reason == (
        "expected a place with a label, got the entry 'odd', whose meaning is not known"
    )
    assert parsed("gemini", '[{"point": [5, 5], "score": 0}]').reason == (
        "its entry 'score' is 0: it does not believe in its own point"
    )
    assert parsed("gemini", '[{"point": [5, 5], "label": "absent"}]').reason == "its label says 'absent'"
    assert parsed("qwen", '[{"point_2d": [5, 5], "label": "{\\"x\\": 1"}]').reason.endswith("holds another place")


@pytest.mark.parametrize(
    "arguments",
    ['"button": "right"', '"clicks": 2', '"text": "hello"', '"keys": "ctrl"', '"then": "type"', '"coordinate2": "9,9"'],
)
def test_a_call_that_does_more_than_one_left_click_is_not_a_point(arguments):
    call = f'{{"name": "computer_use", "arguments": {{"action": "left_click", "coordinate": [500, 500], {arguments}}}}}'
    assert accepted([("qwen", call), ("gui", call)]) == []


# --- Second answers and lost pieces -----------------------------------------------------------------------------------

OTHERS = (
    "(10, 20)", "10, 20", "at 10.5 20.5", "10/20", "10 by 20", "20% from the left, 30%", "x is 10", "x: 10",
    "y = 7", 'y="3"',
    "１０，２０", "٥٠، ٦٠", "۵۰ ۶۰", "½ ½", "[10, 20]", '{"x": 9}', "coordinates 90 90", "coord: 7",
    "<box>1 2", "<|box_start|>",
    "</point>", "<poin", "points>", 'alt="x"', "&lt;point x=1", "<!-- no -->", "~~old~~", "<del>",
    "<tool_call>{", "p = 50, 50",
)  # fmt: skip


def test_another_answer_beside_an_answer_takes_the_point_away():
    assert accepted(everywhere(OTHERS)) == []
    other_dialects = [
        (dialect, f"{CENTRE[other]}{blank}{answer}")
        for dialect, answer in CENTRE.items()
        for other in CENTRE
        for blank in ("\n", " or ")
        if other != dialect
    ]
    assert accepted(other_dialects) == []


LOST = {
    "molmo": [
        '0" y="9.0" alt="a">a</point>{}', 'alt="a">a</point>{}', "a</point>{}", ">{}", "{}>", "{}<", "{}<po",
        '{} x="', "5{}", "{}5",
        '<points>{}</points>', "<reflection>{}</reflection>", "<wrong>{}</wrong>",
        "{} or " + CENTRE["molmo"].replace("50", "10"),
        "{} and " + CENTRE["molmo"].replace("50.0", "10.0").replace("Save", "the save"),
    ],
    "molmo2": ["2 300 400\"> {}", "{}00\">", "{} 2 300 400\">", "1 1 100 100\">x</points>{}"],
    "gemini": [", {}", '"x"}}, {}', "{},", "{}]", "[{}", "{}7", "7{}", "x{}", "{}, {{", "{} <answer>"],
    "qwen": [", {}", '5], "label": "x"}}, {}', "{},", "{}}}", "{} [", "{}0", "{}\n<tool_call>"],
    "tuple": ["0.1), {}", "{}]", "[{}", "{}, 0.1", "{}, (", "0{}", ".{}", "-{}", "{}0.9", "{}%", "{} px",
    "{} -> 0.3", "{}±0.1"],
    "gui": [
        "Action: type hello {}", "Action: finished\n{}", "double {}", "right-{}", "drag from {}", "scroll {}",
        "press enter {}",
        "{} type", "{} then", "# {}", "if ready: {}", "x{}", "{}\nwait()", "{}\nAction: finished()", "{} px",
        "Action: wait\nAction: {}",
    ],
}  # fmt: skip


def test_an_answer_with_a_lost_or_added_piece_gives_no_point():
    assert accepted([(d, form.format(CENTRE[d])) for d, forms in LOST.items() for form in forms]) == []


STRAY = (
    ("molmo", '<points x1="50.0" y1="9.0">x2="8.0" y2="4.0" alt="">a</points>'),
    ("molmo", '<point x="50.0" y="9.0">" alt="a">a</point>'),
    ("molmo", '<points x1="50.0" y1="9.0">8.0" y2="4.0" alt="a">a</points>'),
    ("molmo2", '<points coords="1 1 500 500">">2 100 100</points>'),
    ("molmo2", '<points coords="1 1 500 500"> 2 300 400">x</points>'),
    ("molmo2", '<points coords="1 1 500 500">>2 300 400</points>'),
)


def test_an_early_bracket_that_swallows_a_point_gives_no_point():
    assert accepted(STRAY) == []


THOUGHTS = ("think", "reasoning", "reflection", "analysis", "scratchpad", "seed:think", "THINK")


def test_a_point_in_thoughts_is_no_answer():
    for name in THOUGHTS:
        assert accepted([(d, f"<{name}>{a}</{name}> Hm.") for d, a in CENTRE.items()]) == []
        assert accepted([(d, f"<{name}>{a}") for d, a in CENTRE.items()]) == []
        assert parsed("tuple", f"<{name}>(0.9, 0.9)?</{name}>(0.5, 0.5)").status == "ok"
    assert accepted([(d, f"[THINK]{a}[/THINK]") for d, a in CENTRE.items()]) == []


# --- Numbers ----------------------------------------------------------------------------------------------------------

NUMBERS = (
    "+50", "-50", "-0", "5e1", "5E+1", "NaN", "nan", "inf", "Infinity", "0x32", "0b1", "1_0", "5,0", "1,000",
    "1 000", "50.", "50..0",
    "50%", "50px", "½", "٥٠", "５０", "۵۰", "५०", "五十", "Ⅴ", "⁵⁰", "50\u200b", "\u200e50", "50\u00a0",
    "0050", "000.5", "1" * 7, "", "null",
)  # fmt: skip
FORMS = {
    "molmo": '<point x="{}" y="50" alt="a">a</point>',
    "molmo2": '<points coords="1 1 {} 500">a</points>',
    "gemini": '[{{"point": [{}, 500]}}]',
    "qwen": '[{{"point_2d": [{}, 500]}}]',
    "tuple": "({}, 0.5)",
    "gui": "click(start_box='({},500)')",
}


def test_numbers_in_other_digits_signs_and_notations_give_no_point():
    wrong = [(d, form.format(n)) for d, form in FORMS.items() for n in NUMBERS]
    assert [row for row in wrong if parsed(*row).points] == []


def test_a_decimal_where_thousandths_are_due_is_another_scale():
    for number in ("50.5", "0.505", "505.0", "505.00", ".5"):
        for dialect in ("molmo2", "gemini", "qwen", "gui"):
            assert not parsed(dialect, FORMS[dialect].format(number)).points, (dialect, number)
    assert parsed("qwen", '[{"point_2d": [50.5, 20.3]}]', 999).status == "unparsed"
    assert parsed("qwen", '[{"point_2d": [50.5, 20.3]}]', "pixels").status == "unparsed"


@pytest.mark.parametrize("pair", [("0.505", "0.203"), ("0.51", "0.9"), (".25", ".75")])
def test_fractions_where_percents_are_due_are_another_scale(pair):
    x, y = pair
    found = parsed("molmo", f'<point x="{x}" y="{y}" alt="a">a</point>')
    expected = "unparsed" if len(y.partition(".")[2]) > 1 else "ok"
    assert found.status == expected
    if expected == "unparsed":
        assert found.reason == f"expected percents, got {x} and {y}, which look like fractions"
        assert parsed("gui", f"({x}, {y})", 100).status == "unparsed"


# --- How an answer ended ----------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


ENDS = {
    "the model was stopped after 64 tokens": ["length", "max_tokens", "MAX_TOKENS", "model_length", {"type": "length"}],
    "the server's filter stopped the answer": ["content_filter", "SAFETY", "RECITATION", "guardrail_intervened"],
    "the answer ends with a call": ["tool_calls", "function_call", "tool_use"],
    "the server broke the answer off": [
        "error",
        "abort",
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "time_limit",
        "pause_turn",
    ],
}


def test_an_answer_that_did_not_end_by_itself_is_not_read(server):
    model = load_model(f"{server.url}#Molmo-7B-D?max_tokens=64", retries=0, timeout_s=60.0)
    image, problems = np.zeros((40, 80, 3), np.uint8), []
    for reason, ends in ENDS.items():
        for end in ends:
            server.plan = [completion({"content": CENTRE["molmo"]}, end)] * 2
            result = model.point(image, "a")
            (words,) = model.answer_batch([image], ["a"], max_new_tokens=64)
            if (result.status, result.points) != ("unparsed", ()) or not result.reply.startswith(f"[{reason}"):
                problems.append((end, result))
            if not (is_cut(words) or why_no_answer(words).startswith(reason)):
                problems.append((end, words))
    assert problems == []


@pytest.mark.parametrize(
    "extra",
    [{"native_finish_reason": "MAX_TOKENS"}, {"content_filter_results": {"violence": {"filtered": True}}}],
)
def test_the_reason_of_a_vendor_behind_a_gateway_counts(server, extra):
    answer = completion({"content": CENTRE["molmo"]})
    answer["choices"][0] |= extra
    server.plan = [answer]
    model = load_model(f"{server.url}#Molmo-7B-D", retries=0, timeout_s=60.0)
    assert model.point(np.zeros((40, 80, 3), np.uint8), "a").status == "unparsed"


@pytest.mark.parametrize("end", [None, "", "stop", "STOP", "eos_token", "end_turn", {"type": "stop"}, "stop_sequence"])
def test_an_answer_that_ended_by_itself_is_read(server, end):
    server.plan = [completion({"content": CENTRE["molmo"]}, end)]
    model = load_model(f"{server.url}#Molmo-7B-D", retries=0, timeout_s=60.0)
    assert model.point(np.zeros((40, 80, 3), np.uint8), "a").status == "ok"


def test_a_refusal_by_its_ending_is_a_refusal(server):
    server.plan = [completion({"content": CENTRE["molmo"]}, "refusal")]
    model = load_model(f"{server.url}#Molmo-7B-D", retries=0, timeout_s=60.0)
    assert model.point(np.zeros((40, 80, 3), np.uint8), "a").status == "refused"


def test_the_mark_of_a_cut_off_reply_can_be_taken_off():
    assert is_cut(mark_cut("Type hel"))
    assert not is_cut("Type hel")
    assert without_mark(mark_cut("Type hel")) == "Type hel"


def test_what_was_there_or_would_be_there_is_no_answer():
    texts = """
    The Save button has been removed. | The row was just deleted. | Save disappeared from the toolbar.
    You would have to scroll to see Save. | I looked everywhere without success. | I see only a Cancel button.
    Only Cancel is shown. | Zero results. | 0 matches | Unclear. | Hard to say, but maybe here. | That is unsafe.
    It would be dangerous to click that. | Request denied. | The picture is blank. | The screen is completely black.
    Le bouton est absent. | It used to be here: | Previously: | If it were visible it would be at | It was at
    """
    assert accepted(everywhere(named(texts))) == []


def test_a_point_that_is_called_an_example_or_a_wrong_one_is_no_answer():
    texts = """
    For example: | E.g. | Example: | The format is: | Ignore this: | Wrong place: | Anything but this:
    Everything except
    """
    assert accepted(everywhere(named(texts))) == []


def test_names_with_such_words_stay_targets():
    texts = """
    The Format menu is here: | There is only one Save button: | I see only one of them: | The Removed items folder:
    The Previously viewed list: | The image is black and white. | The Examples tab is in the toolbar: | It is here:
    """
    refused = [(reply, parsed(dialect, reply).reason) for dialect, reply in everywhere(named(texts))]
    assert [row for row in refused if row[1]] == []


def named(texts):
    return [text.strip() for line in texts.strip().split("\n") for text in line.split(" | ")]
