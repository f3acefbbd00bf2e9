"""Answers to steps are read strictly, and scored by every rule: edges, axes, texts, and the defects of the scripts."""

from typing import Any

import pytest

from molmo_agent.data.question import Question
from molmo_agent.data.readers.steps.step import Act, Step
from molmo_agent.evaluation.grounding.protocols import identity
from molmo_agent.evaluation.scoring import Reply
from molmo_agent.evaluation.steps import texts
from molmo_agent.evaluation.steps.answers import read_answer
from molmo_agent.evaluation.steps.figures import step_rows
from molmo_agent.evaluation.steps.scoring import RULES, score_step
from molmo_agent.evaluation.steps.table import ANDROID_CONTROL, STEPS

TALL = (1000, 2000)


def made(kind: Any, **more: Any) -> Step:
    """A step with an action; place, text and direction belong to the action."""
    own = {name: more.pop(name) for name in ("place", "text", "direction") if name in more}
    return Step(act=Act(kind=kind, **own), **{"episode": "e", "number": 0, "length": 1, **more})


def scored(benchmark: str, step: Step, reply: str, size: tuple[int, int] = TALL) -> dict[str, Any]:
    """The record of a reply, without its prompt."""
    protocols = ANDROID_CONTROL if benchmark == "android_control" else STEPS[benchmark].protocols
    question = Question(id="1", style="android_control", text="", extra={"step": step})
    return score_step(protocols, question, Reply(text=reply, size=size))


def right(benchmark: str, step: Step, reply: str) -> set[str]:
    """The protocols under which a reply is right."""
    return {name for name, score in scored(benchmark, step, reply)["scores"].items() if score}


# --- Reading a reply --------------------------------------------------------------------------------------------------


def test_a_reply_is_read_if_it_is_exactly_one_action() -> None:
    expected = {
        "Click(50.0, 7.3)": Act(kind="click", place=(0.5, 0.073)),
        "  long press (1, 2)\n": Act(kind="long press", place=(0.01, 0.02)),
        "Scroll LEFT": Act(kind="scroll", direction="left"),
        "Type hello world": Act(kind="type", text="hello world"),
        "Type (5, 6)": Act(kind="type", text="(5, 6)"),
        "Type(5.0, 6.0) hello": Act(kind="type", place=(0.05, 0.06), text="hello"),
        "Type(5,6)": Act(kind="type", place=(0.05, 0.06)),
        "select(10, 20) New York": Act(kind="select", place=(0.1, 0.2), text="New York"),
        "Open App Clock": Act(kind="open app", text="Clock"),
        "Navigate Back": Act(kind="back"),
        "NAVIGATE HOME": Act(kind="home"),
        "press  enter": Act(kind="enter"),
        "Press Recent": Act(kind="recent"),
        "Task Complete": Act(kind="complete"),
        "Plan: stop here. Action: Task Impossible": Act(kind="impossible"),
        "Action: Click(10, 20)": Act(kind="click", place=(0.1, 0.2)),
        "Click(10, 20, 30, 60)": Act(kind="click", place=(0.2, 0.4), box=(0.1, 0.2, 0.3, 0.6)),
    }
    wrong = {reply: got for reply, act in expected.items() if (got := read_answer(reply)) != act}
    assert wrong == {}


def test_a_reply_that_is_no_action_or_several_is_of_the_wrong_format() -> None:
    replies = [
        *("", "I would click the button.", "Click(50)", "Click(a, b)", "Click(10, 20) Click(30, 40)", "Scroll inwards"),
        *(
            "Click(10, 20) hello",
            "Type(5, 6) a\nClick(1, 2)",
            "Type(5, 6) a Click(1, 2)",
            "Task Complete now",
            "Click(30, 40, 10, 20)",
            "select x",
        ),
        *("Click(١, ٢)", "Navigate Back\nNavigate Back", "{'action': 'click'}", "Type" * 9000, "Press Power"),
    ]
    assert [reply for reply in replies if read_answer(reply) is not None] == []
    record = scored("aitw", made("home"), "I would go home.")
    assert record["unparsed"] is True
    assert (record["answered"], record["points"]) == ("wrong format", [])
    assert not any(record["scores"].values())


@pytest.mark.parametrize(
    ("benchmark", "kind"),
    [(name, kind) for name in ("aitw", "aitz", "gui_odyssey") for kind in ("back", "home", "enter", "impossible")],
)
def test_buttons_and_endings_are_right_by_every_protocol_if_they_are_the_same(benchmark: str, kind: Any) -> None:
    every = {protocol.name for protocol in STEPS[benchmark].protocols}
    assert right(benchmark, made(kind), Act(kind=kind).words()) == every
    assert right(benchmark, made(kind), "Navigate Back" if kind != "back" else "Navigate Home") == set()


# --- AITW -------------------------------------------------------------------------------------------------------------


def test_taps_of_aitw_match_within_14_percent_of_each_side() -> None:
    tap = made("click", place=(0.5, 0.5))
    replies = {"Click(64, 50)": True, "Click(64.1, 50)": False, "Click(50, 36)": True, "Click(60, 60)": False}
    replies |= {"Click(59.8, 59.8)": True, "Long Press(50, 50)": False, "Scroll up": False}
    assert {reply: bool(right("aitw", tap, reply)) for reply in replies} == replies


def test_taps_of_aitw_match_in_one_element_and_none_far_from_it() -> None:
    # Twenty percent wide and high; enlarged 2.4 times about its centre it reaches from 0.36 to 0.84.
    tap = made("click", place=(0.55, 0.55), boxes=((0.5, 0.5, 0.7, 0.7),))
    assert right("aitw", tap, "Click(83, 83)") == {"default", "official", "steps", "strict"}
    assert right("aitw", tap, "Click(85, 85)") == set()
    outside = made("click", place=(0.2, 0.2), boxes=((0.5, 0.5, 0.7, 0.7),))
    assert right("aitw", outside, "Click(60, 60)") == set(), "the tap itself is not in it"


def test_the_official_box_at_the_edge_of_the_screen_reaches_too_far() -> None:
    # Enlarged about its centre it ends at 0.24 + 0.1; moved to the edge, it ends at 0.48.
    tap = made("click", place=(0.1, 0.1), boxes=((0.0, 0.0, 0.2, 0.2),))
    assert right("aitw", tap, "Click(45, 45)") == {"official"}
    assert right("aitw", tap, "Click(33, 33)") == {"default", "official", "steps", "strict"}


def test_drags_of_aitw_match_along_an_axis_and_strictly_by_direction() -> None:
    drag = made("scroll", direction="down")
    assert right("aitw", drag, "Scroll down") == {"default", "official", "steps", "strict"}
    assert right("aitw", drag, "Scroll up") == {"default", "official", "steps"}
    assert right("aitw", drag, "Scroll left") == set()
    record = scored("aitw", drag, "Click(50, 50)")
    assert not any(record["scores"].values())
    assert record["parts"]["default"] == {"kind": True}, "both are gestures, and the place of a drag is not compared"


def test_texts_of_aitw_are_reported_and_count_only_strictly() -> None:
    typed = made("type", text="weather in Rome")
    record = scored("aitw", typed, "Type cats")
    assert record["scores"] == {"default": True, "official": True, "steps": True, "strict": False}
    assert record["parts"]["default"]["text"] is False
    assert scored("aitw", typed, "Type Rome")["parts"]["default"]["text"] is True
    assert right("aitw", typed, "Type  WEATHER in Rome ") == {"default", "official", "steps", "strict"}


# --- AITZ -------------------------------------------------------------------------------------------------------------

BUTTON = (200.0, 400.0, 300.0, 420.0)


def test_clicks_of_aitz_are_in_an_element_that_holds_the_touch_enlarged_by_a_fifth() -> None:
    # In pixels of 1,000 x 2,000; enlarged: x 190 to 310, y 398 to 422.
    click = made("click", place=(0.25, 0.205), frame="pixels", boxes=(BUTTON,))
    replies = {"Click(31.0, 21.1)": True, "Click(31.1, 20.5)": False, "Click(19, 19.9)": True, "Click(25, 21.2)": False}
    assert {reply: "default" in right("aitz", click, reply) for reply in replies} == replies
    assert right("aitz", click, "Click(25, 34)") == {"dist_14"}
    bare = made("click", place=(0.25, 0.205))
    assert right("aitz", bare, "Click(25, 34)") == {"default", "subsets", "dist_14"}, "no element holds the touch"
    assert right("aitz", bare, "Click(25, 35)") == set()


def test_boxes_in_answers_of_aitz_hold_the_touch_or_overlap_its_element_by_half() -> None:
    click = made("click", place=(0.25, 0.205), frame="pixels", boxes=(BUTTON,))
    assert "default" in right("aitz", click, "Click(24, 20, 40, 40)"), "it holds the touch"
    # Of 100 x 20 pixels each, enlarged to 120 x 24: moved by 40 of 120 pixels, one half overlaps (80 of 160).
    moved = made("click", place=(0.2, 0.205), frame="pixels", boxes=(BUTTON,))
    assert "default" in right("aitz", moved, "Click(23.9, 20, 33.9, 21)")
    assert "default" not in right("aitz", moved, "Click(24.1, 20, 34.1, 21)")


def test_the_official_script_of_aitz_compares_clicks_with_the_corner() -> None:
    click = made("click", place=(0.25, 0.205), frame="pixels", boxes=(BUTTON, (0.0, 0.0, 60.0, 60.0)))
    assert "official" not in right("aitz", click, "Click(20, 20, 30, 21)")
    assert right("aitz", click, "Click(0, 0, 6, 3)") == {"official"}
    assert "official" not in right("aitz", click, "Click(25, 20.5)"), "a point has no area"


def test_texts_of_aitz_may_contain_each_other_or_be_nearly_the_same() -> None:
    typed = made("type", text="alarm clock")
    replies = {"Type alarm": True, "Type an alarm clock!": True, "Type alarn clock": True, "Type stopwatch": False}
    assert {reply: "default" in right("aitz", typed, reply) for reply in replies} == replies
    assert right("aitz", typed, "Type ") == {"official"}, "an empty text is part of any"


def test_both_endings_of_aitz_are_one_and_its_buttons_are_three() -> None:
    assert "default" in right("aitz", made("complete"), "Task Impossible")
    record = scored("aitz", made("enter"), "Navigate Back")
    assert record["scores"]["default"] is False
    assert record["parts"]["default"] == {"kind": True}
    assert right("aitw", made("complete"), "Task Impossible") == set()


# --- GUI-Odyssey ------------------------------------------------------------------------------------------------------


def test_clicks_of_gui_odyssey_are_in_the_element_or_near() -> None:
    click = made("click", place=(0.2, 0.25), targets=((0.1, 0.2, 0.9, 0.3),))
    assert "default" in right("gui_odyssey", click, "Click(90, 30)"), "edges are inside"
    assert "dist_14" not in right("gui_odyssey", click, "Click(90, 30)")
    assert right("gui_odyssey", click, "Click(20, 38)") >= {"default", "dist_14", "official"}
    assert right("gui_odyssey", click, "Click(20, 40)") == set()
    assert right("gui_odyssey", click, "Long Press(20, 25)") == set()


def test_texts_of_gui_odyssey_are_similar_and_the_script_cuts_them_at_a_colon() -> None:
    typed = made("type", text="10:30")
    official = {"official", "official-categories"}
    assert right("gui_odyssey", typed, "Type 10:45") > official, "two of five letters differ"
    assert right("gui_odyssey", typed, "Type 10:99999999") == official
    assert right("gui_odyssey", typed, "Type ") == official
    assert right("gui_odyssey", typed, "Type noon") == set()


def test_directions_of_gui_odyssey_must_be_equal() -> None:
    assert right("gui_odyssey", made("scroll", direction="up"), "Scroll down") == set()
    assert "default" in right("gui_odyssey", made("scroll", direction="up"), "Scroll up")


# --- Multimodal-Mind2Web ----------------------------------------------------------------------------------------------

HATS = ((100.0, 200.0, 300.0, 240.0), (500.0, 0.0, 600.0, 40.0))


def test_a_step_on_a_page_needs_the_element_and_the_whole_operation() -> None:
    typed = made("type", text="red hat", frame="pixels", targets=HATS)
    every = {"default", "steps", "official", "seeclick"}
    assert right("mind2web", typed, "Type(10, 10) Red Hat") == every
    assert right("mind2web", typed, "Type(60, 2) red hat") == every - {"seeclick"}, "the second element"
    half = scored("mind2web", typed, "Type(20, 11) red")
    assert half["parts"]["default"] == {"kind": True, "place": True, "text": pytest.approx(0.8)}
    assert not any(half["scores"].values())
    missed = scored("mind2web", typed, "Type red hat")
    assert missed["parts"]["default"] == {"kind": True, "place": False, "text": 1.0}
    assert right("mind2web", typed, "Click(20, 11)") == set()


def test_ugrounds_script_drops_words_of_punctuation() -> None:
    chosen = made("select", text="58 cm -", frame="pixels", targets=HATS)
    assert right("mind2web", chosen, "Select(20, 11) 58 cm") == {"official"}
    assert "default" in right("mind2web", chosen, "Select(20, 11) 58 cm -")


def test_seeclicks_boxes_are_rounded_to_a_thousandth() -> None:
    step = made("click", frame="pixels", targets=((100.4, 200.0, 300.0, 240.0),))
    assert right("mind2web", step, "Click(10.0, 11)") == {"seeclick"}


# --- AndroidControl ---------------------------------------------------------------------------------------------------


def test_texts_of_os_atlas_are_their_first_words() -> None:
    typed = made("type", text="New York hotels")
    assert right("android_control", typed, "Type New Orleans zoo") == {"os-atlas"}
    both = right("android_control", typed, "Type cheap hotels New York")
    assert both == {"os-atlas-corrected", "infigui"}, "the F1 of the words is 6 / 7"
    assert right("android_control", typed, "Type") == set()
    app = made("open app", text="Google Maps")
    assert "os-atlas" in right("android_control", app, "Open App Google Mail")


def test_clicks_of_android_control_differ_by_rule() -> None:
    row = (0.0, 0.1, 1.0, 0.2)
    icon = (0.05, 0.12, 0.15, 0.18)
    click = made("click", place=(0.1, 0.15), boxes=(row, icon), labels=("Wi-Fi", ""), targets=(icon,))
    assert right("android_control", click, "Click(10, 15)") == {protocol.name for protocol in ANDROID_CONTROL}
    # In the row that holds the click, not in the icon, and 80 % of the width away.
    assert right("android_control", click, "Click(90, 15)") == {"claw-gui"}
    near = {"dist_14", "os-atlas", "os-atlas-corrected", "qwen", "infigui", "claw-gui"}
    assert right("android_control", click, "Click(20, 22)") == near
    assert right("android_control", click, "Click(15.5, 15)") == near | {"box_1.2x"}
    # 14 % of the diagonal of 1080 x 2400 pixels is more than 14 % of the width.
    assert right("android_control", click, "Click(10, 30)") == {"claw-gui"}


def test_a_click_on_back_goes_back_for_uground_alone() -> None:
    boxes, labels = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.9, 0.2, 1.0)), ("", "\nBack button")
    back = made("back", boxes=boxes, labels=labels)
    assert right("android_control", back, "Click(10, 95)") == {"uground"}
    assert right("android_control", back, "Click(50, 50)") == set()
    app = made("open app", text="Clock", boxes=boxes, labels=("", "The clock\n"))
    assert right("android_control", app, "Click(10, 95)") == {"uground"}
    named = made("open app", text="Clock", boxes=boxes, labels=("", "Clock\n"), targets=(boxes[1],))
    assert right("android_control", named, "Click(10, 95)") == {"uground", "box_inside", "box_1.2x"}
    assert right("android_control", made("wait", boxes=boxes, labels=labels), "Click(10, 95)") == {"claw-gui"}


def test_a_step_of_waiting_is_always_right_for_clawgui() -> None:
    for reply in ("Click(1, 1)", "no action", "Scroll up"):
        assert right("android_control", made("wait"), reply) == {"claw-gui"}


def test_scrolls_of_android_control_move_the_view() -> None:
    scroll = made("scroll", direction="down")
    assert right("android_control", scroll, "Scroll down") == {protocol.name for protocol in ANDROID_CONTROL}
    assert right("android_control", scroll, "Scroll up") == set()


def test_parts_of_molmos_rule_are_the_type_the_place_and_the_text() -> None:
    click = made("click", place=(0.1, 0.15), targets=((0.05, 0.1, 0.2, 0.2),))
    assert scored("android_control", click, "Click(90, 90)")["parts"]["box_inside"] == {"kind": True, "place": False}
    assert scored("android_control", click, "Type x")["parts"]["box_inside"] == {"kind": False}
    typed = scored("android_control", made("type", text="x"), "Type y")
    assert typed["parts"]["box_inside"] == {"kind": True, "text": False}


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_texts_are_compared_as_the_scripts_do() -> None:
    assert texts.edit_ratio("kitten", "sitting") == pytest.approx(8 / 13)
    assert texts.edit_similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert (texts.edit_ratio("", ""), texts.edit_similarity("", ""), texts.edit_similarity("a", "")) == (1, 1, 0)
    assert texts.token_f1(["a", "b", "b"], ["b", "c"]) == 0.5
    assert (texts.token_f1([], []), texts.token_f1([], ["a"])) == (1, 0)
    assert texts.without_punctuation(["a", "-", "()", "-)"]) == ["a", "-)"], "only parts of its list"
    assert [texts.contained(*pair) for pair in (("ab", "a"), ("", "a"), ("a", ""), ("", ""))] == [
        True,
        False,
        False,
        True,
    ]


# --- Figures ----------------------------------------------------------------------------------------------------------


def record(episode: str, number: int, length: int, right: bool, **more: Any) -> dict[str, Any]:
    scores = {protocol.name: right for protocol in STEPS["mind2web"].protocols}
    parts = {name: {"kind": True, "place": right, "text": float(right)} for name in scores}
    row = {"scores": scores, "parts": parts, "facets": {"action": ["click"]}, "unparsed": False}
    return row | {"episode": {"id": episode, "number": number, "length": length}} | more


def rows_of(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in step_rows("mind2web", {}, STEPS["mind2web"].protocols, records)}


def test_tasks_count_the_same_by_default_and_steps_that_were_not_asked_are_wrong_officially() -> None:
    records = [record("a", n, 4, True) for n in range(4)] + [record("b", 0, 3, False), record("b", 2, 3, True)]
    rows = rows_of(records)
    assert rows["default"]["score"] == 0.75
    assert rows["default"]["items"] == rows["steps"]["score"] == pytest.approx(5 / 6)
    assert rows["official"]["score"] == pytest.approx((1 + 1 / 3) / 2)
    assert (rows["default"]["n"], rows["official"]["n"]) == (6, 7)
    assert rows["default"]["parts"]["step"] == {"mean": pytest.approx(5 / 6), "n": 6}
    assert rows["default"]["values"] == {}, "not a value for each of thousands of tasks"


def test_progress_is_the_share_of_steps_before_the_first_error_of_whole_episodes() -> None:
    records = [record("a", n, 4, n != 2) for n in (3, 1, 0, 2)]
    records += [record("b", 0, 1, True), record("c", 0, 5, True), record("d", 0, 2, False), record("d", 1, 2, True)]
    episodes = rows_of(records)["default"]["episodes"]
    assert (episodes["n"], episodes["incomplete"]) == (4, 1)
    assert episodes["progress"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert episodes["success"] == pytest.approx(1 / 3)
    assert episodes["mean"] == pytest.approx((0.75 + 1 + 1 + 0.5) / 4)
    assert "success" not in rows_of([record("c", 0, 5, True)])["default"]["episodes"]


def test_a_step_that_is_there_twice_counts_once_in_its_episode() -> None:
    episodes = rows_of([record("a", 0, 2, True), record("a", 0, 2, False), record("a", 1, 2, True)])["default"][
        "episodes"
    ]
    assert (episodes["success"], episodes["incomplete"]) == (1, 0)


# --- Protocols --------------------------------------------------------------------------------------------------------


def test_every_protocol_has_a_rule_a_note_and_a_hash_of_its_own() -> None:
    for name, benchmark in {**STEPS, "android_control": None}.items():
        protocols = ANDROID_CONTROL if benchmark is None else benchmark.protocols
        assert len({protocol.name for protocol in protocols}) == len(protocols)
        assert all(protocol.rule in RULES and protocol.note for protocol in protocols), name
        hashes = {identity(name, {}, protocol)["hash"] for protocol in protocols}
        assert len(hashes) == len(protocols), name
    protocol = STEPS["aitw"].protocols[0]
    forms = [identity("aitw", {"form": form, "split": "test"}, protocol)["hash"] for form in ("google", "seeclick")]
    assert forms[0] != forms[1]
