"""Confirmation of risky actions: what is read under and around the point decides whether a person is asked."""

import shutil
import subprocess
import time

import numpy as np
import pytest
from drawn_text import KnownLines
from guard_stage import Stage, read_corpus, why_asked

from molmo_agent.actions import Click, Drag, Key, LongPress, Type
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.episode import Decision, Observation, Refusal, Step
from molmo_agent.errors import ModelError
from molmo_agent.geometry import Point
from molmo_agent.ocr.reader import load_reader
from molmo_agent.pointers.baselines import ScriptedPolicy
from molmo_agent.risk.icons import icon_at
from molmo_agent.risk.judge import why_ask
from molmo_agent.risk.surroundings import read_scene, target_at
from molmo_agent.rollout.guards import Guards, risk
from molmo_agent.rollout.loop import rollout
from molmo_agent.screen_text import Line
from molmo_agent.testing import ToyEnv
from molmo_agent.transforms import ImageTransform


def dialog(words, *names, pressed):
    """Return why a person is asked about a button of a drawn dialog; the instruction does not name it."""
    stage = Stage()
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, words)
    for number, name in enumerate(names):
        stage.drawing.button(230 + 130 * number, 300, 110, name)
    return stage.why(Click(stage.at(285 + 130 * names.index(pressed), 314)), "click it")


# Every third line; benchmarks/confirmation.py measures all of them.
_EVERY = 3


@pytest.mark.parametrize("half", ["tuned", "held out"])
def test_of_a_hundred_harmless_steps_at_most_five_are_asked_about(half):
    lines = read_corpus("guard_harmless.txt")[half][::_EVERY]
    asked = [f"{line} -> {why}" for line in lines if (why := why_asked(line))]
    assert len(lines) > 50
    assert len(asked) <= 0.05 * len(lines), asked


@pytest.mark.parametrize("half", ["tuned", "held out"])
def test_dangerous_steps_are_asked_about(half):
    lines = read_corpus("guard_dangerous.txt")[half][::_EVERY]
    missed = [str(line) for line in lines if not why_asked(line)]
    assert len(lines) > 50
    assert missed == []


def test_the_reason_names_what_was_read_and_where():
    stage = Stage()
    stage.drawing.button(300, 240, 120, "Delete all")
    why = stage.why(Click(stage.at(310, 250)), "click Save")
    assert why == "the button 'Delete all' under the point may not be undone ('Delete')"


def test_the_words_under_the_point_decide_whatever_the_model_and_the_instruction_call_them():
    stage = Stage()
    stage.drawing.button(300, 240, 120, "Verschrotten")
    assert "'Verschrotten' under the point does is not known" in stage.why(
        Click(stage.at(360, 254)), 'click "Cancel"', label="Cancel"
    )


@pytest.mark.parametrize(
    ("words", "names", "pressed", "why"),
    [
        ("Remove the printer?", ("OK", "Cancel"), "OK", "may agree to 'Remove the printer?'"),
        ("Your trip costs 310 €", ("Continue", "Back"), "Continue", "may agree to"),
        ("Do you want to go on?", ("OK",), "OK", "may agree to"),
        ("Benutzer wirklich entfernen?", ("Ja", "Nein"), "Ja", "may agree to"),
        ("Enregistrer les modifications ?", ("Oui", "Non"), "Non", "may lose"),
        ("Do you want to cancel the booking?", ("Cancel", "Keep"), "Cancel", "may be the answer to"),
        ("Remove the printer?", ("OK", "Cancel"), "Cancel", ""),
        ("The printer is ready.", ("OK",), "OK", ""),
        ("Pick a date", ("Apply", "Cancel"), "Cancel", ""),
        ("Which folder shall be opened", ("Open", "Cancel"), "Open", ""),
    ],
)
def test_to_agree_is_as_risky_as_what_the_dialog_says(words, names, pressed, why):
    found = dialog(words, *names, pressed=pressed)
    assert why in found
    assert bool(why) == bool(found)


def test_text_elsewhere_on_the_screen_is_not_what_a_dialog_says():
    stage = Stage()
    stage.drawing.text(20, 20, "Delete everything?").text(20, 560, "Pay 100 EUR")
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, "The tour is over")
    stage.drawing.button(230, 300, 110, "OK")
    assert stage.why(Click(stage.at(285, 314)), "click OK") == ""


def test_an_unknown_word_is_a_question_on_a_button_and_none_as_an_entry_or_link():
    stage = Stage()
    stage.drawing.text(60, 60, "Zorgle frob").button(300, 240, 130, "Zorgle frob")
    assert "is not known" in stage.why(Click(stage.at(365, 254)), "click it")
    assert stage.why(Click(stage.at(90, 68)), "click it") == ""


def test_an_unknown_word_beside_cancel_is_a_button_even_without_a_frame():
    stage = Stage(400, 800)
    stage.drawing.text(150, 500, "CANCEL").text(280, 500, "ZORGLE")
    assert "'ZORGLE' under the point does is not known" in stage.why(Click(stage.at(300, 508)), "tap it")


def test_nothing_readable_under_the_point_is_judged_by_what_it_is_called():
    stage = Stage()
    at = Click(stage.at(400, 300))
    asked = {name: bool(stage.why(at, f"click {name}")) for name in ("the search icon", "the trash can", "the frob")}
    assert asked == {"the search icon": False, "the trash can": True, "the frob": True}
    assert stage.why(at, "") == "what is under the point is not known"


def test_the_caption_of_an_icon_counts():
    stage = Stage()
    stage.drawing.draw.rectangle((100, 100, 140, 140), fill=(90, 90, 90))
    stage.drawing.text(88, 150, "Uninstall")
    assert "'Uninstall' beside the point may not be undone" in stage.why(Click(stage.at(120, 120)), "click the star")


@pytest.mark.parametrize(
    ("icon", "asked"), [("trash", True), ("search", False), ("power", True), ("arrow-left", False)]
)
def test_an_icon_without_words_is_recognized(icon, asked):
    """Shapes as programs draw them, under an instruction that names another thing."""
    stage = Stage()
    draw, dark = stage.drawing.draw, (40, 40, 40)
    if icon == "trash":
        draw.line((402, 296, 422, 296), fill=dark, width=2)
        draw.line((408, 293, 416, 293), fill=dark, width=2)
        draw.polygon([(404, 299), (420, 299), (418, 318), (406, 318)], outline=dark, width=2)
        for x in (409, 412, 415):
            draw.line((x, 302, x, 315), fill=dark, width=1)
    elif icon == "search":
        draw.ellipse((402, 295, 416, 309), outline=dark, width=2)
        draw.line((414, 307, 422, 315), fill=dark, width=3)
    elif icon == "power":
        draw.arc((402, 296, 422, 316), -60, 240, fill=dark, width=3)
        draw.line((412, 293, 412, 305), fill=dark, width=3)
    else:
        draw.line((402, 306, 422, 306), fill=dark, width=2)
        draw.line((402, 306, 410, 298), fill=dark, width=2)
        draw.line((402, 306, 410, 314), fill=dark, width=2)
    assert icon_at(stage.drawing.array(), stage.at(412, 306))[0] == icon
    assert bool(stage.why(Click(stage.at(412, 306)), "click the star" if asked else "click the frob")) == asked


def test_titles_in_a_menu_bar_open_menus_whatever_they_are_called():
    stage = Stage()
    stage.drawing.text(10, 6, "File").text(60, 6, "Edit").text(120, 6, "Format").text(200, 6, "Order")
    assert stage.why(Click(stage.at(140, 14)), 'click "Format"') == ""
    stage = Stage()
    stage.drawing.button(300, 240, 110, "Format")
    assert "may not be undone" in stage.why(Click(stage.at(355, 254)), 'click "Format"')


def test_a_touch_that_opens_a_context_menu_is_free_and_a_double_click_on_a_program_is_not():
    stage = Stage()
    stage.drawing.text(60, 90, "frobnicate").text(60, 130, "tool.exe")
    assert stage.why(Click(stage.at(90, 98), button="right"), "") == ""
    assert stage.why(LongPress(stage.at(90, 98)), "") == ""
    assert "is a program" in stage.why(Click(stage.at(80, 138), count=2), "")
    assert stage.why(Click(stage.at(80, 138)), "") == ""


def test_a_drag_is_judged_by_where_it_ends():
    stage = Stage()
    stage.drawing.text(60, 90, "photo.jpg").text(600, 400, "Wastebasket").text(300, 400, "Other folder")
    file, bin_, folder = stage.at(80, 98), stage.at(640, 408), stage.at(340, 408)
    assert "the drag ends on 'Wastebasket'" in stage.why(Drag(file, bin_), "drag it")
    assert stage.why(Drag(file, folder), "drag it") == "a drag may move or dismiss something"
    assert stage.why(Drag(stage.at(62, 98), stage.at(100, 98)), "mark it") == ""
    assert stage.why(Drag(stage.at(500, 200), stage.at(560, 200)), "drag the brightness slider to the right") == ""
    assert "'Trash'" in stage.why(Drag(stage.at(500, 200), stage.at(560, 200)), "drag the slider to Trash")


def test_a_swipe_along_a_phone_scrolls_and_one_across_may_dismiss():
    stage = Stage(400, 800)
    assert stage.why(Drag(Point(0.5, 0.9), Point(0.52, 0.2)), "") == ""
    assert stage.why(Drag(Point(0.2, 0.5), Point(0.9, 0.5)), "") == "a drag may move or dismiss something"


def typed_into(label, text):
    """Return a stage with a field in which a text was typed, so that Enter is next."""
    stage = Stage()
    stage.drawing.rectangle(100, 100, 320, 32).text(108, 107, label)
    for action in (Click(stage.at(150, 116)), Type(text)):
        step = Step(index=len(stage.history), observation=stage.observation(), decision=stage.decision(action, ""))
        stage.history.append(step)
    return stage


@pytest.mark.parametrize("label", ["Search the web", "Filter entries", "Rechercher", "検索", "Find in page"])
def test_enter_in_a_field_that_looks_something_up_is_free(label):
    assert typed_into(label, "whales").why(Key(("enter",)), "press Enter") == ""


@pytest.mark.parametrize("label", ["Message", "Your name", "Search or send a message", "ada@host:~$", "IBAN"])
def test_enter_after_typing_elsewhere_is_asked_about(label):
    assert typed_into(label, "hi").why(Key(("enter",)), "press Enter") == "enter may send, submit or run 'hi'"


def test_enter_after_a_refused_or_an_earlier_sent_text_is_not_about_that_text():
    stage = typed_into("Message", "hi")
    key = Step(index=2, observation=stage.observation(), decision=stage.decision(Key(("enter",)), ""))
    stage.history.append(key)
    assert stage.why(Key(("enter",)), "") == ""
    stage = typed_into("Message", "hi")
    typing = stage.history.pop()
    refused = Step(
        index=1, observation=typing.observation, decision=typing.decision, refused=Refusal("env", "not typed")
    )
    stage.history.append(refused)
    assert stage.why(Key(("enter",)), "") == ""


@pytest.mark.parametrize(
    "line",
    ["Remove 4 packages? [y/N]", "Are you sure (yes/no)?", "ada@box:~$ ls", "C:\\Users\\ada>", "Erase now", "mysql> "],
)
def test_enter_and_space_answer_what_the_screen_asks(line):
    stage = Stage()
    stage.drawing.text(40, 60, line)
    assert f"{line.strip()!r}" in stage.why(Key(("enter",)), "")
    assert stage.why(Key(("space",)), "")


def test_enter_may_press_any_button_that_is_seen():
    stage = Stage()
    stage.drawing.text(40, 60, "A page").button(300, 240, 110, "Zorgle")
    assert stage.why(Key(("enter",)), "") == "enter may press the button 'Zorgle'"
    stage = Stage()
    stage.drawing.text(40, 60, "A page").button(300, 240, 110, "Next")
    assert stage.why(Key(("enter",)), "") == ""


class Unreadable:
    """A reader whose engine fails."""

    name = "unreadable"

    def read(self, image):
        raise ModelError("the engine is not installed")


def test_without_a_reader_every_click_is_a_question():
    stage = Stage()
    click = stage.decision(Click(stage.at(10, 10)), "click Next")
    assert why_ask(click, "", stage.observation(), None) == (
        "no text reader is available, so what is under the point is not known"
    )
    assert "could not be read: the engine is not installed" in why_ask(click, "", stage.observation(), Unreadable())
    key = Decision(action=Key(("enter",)))
    assert "could not be read: the engine is not installed" in why_ask(key, "", stage.observation(), Unreadable())
    assert why_ask(key) == "what enter does is not known"


def test_a_rollout_reads_the_screen_with_the_reader_of_its_guards_and_counts_what_was_typed_before():
    asked = []

    def ask(decision, observation, why):
        asked.append(why)
        return False

    env = ToyEnv()
    reader = KnownLines(())
    policy = ScriptedPolicy([Click(Point(0.5, 0.5)), Type("hello"), Key(("enter",))])
    steps = list(
        rollout(policy, env, "greet", guards=Guards(confirm="risky", ask=ask, reader=reader, max_steps=3), seed=0)
    )
    assert asked[0] == "what 'greet' does is not known"
    assert reader.num_reads > 0
    assert steps[0].refused == Refusal("unconfirmed", "not confirmed by the user")


def test_guards_read_with_the_reader_of_the_package_where_they_have_none():
    env = SimDesktop()
    observation, info = env.reset(seed=52)
    assert info["instruction"] == 'click the "Cancel" button'
    asked = []
    guards = Guards(confirm="risky", ask=lambda *given: asked.append(given[2]) or False)
    cancel = Decision(action=Click(env.locate(info["instruction"])[0].center), instruction=info["instruction"])
    assert guards.refusal(cancel, observation) is None
    scene = read_scene(observation.image, load_reader())
    buttons = {one.text: one.box.center for one in scene.segments if target_at(scene, one.box.center).kind == "button"}
    for number, name in enumerate(("Delete", "Custom"), 1):
        assert guards.refusal(Decision(action=Click(buttons[name]), instruction=info["instruction"]), observation)
        assert len(asked) == number
        assert f"the button {name!r} under the point" in asked[-1]
    env.close()


def test_a_question_that_is_asked_anyway_does_not_read_the_screen():
    reader = KnownLines(())
    observation = Observation(np.zeros((60, 80, 3), np.uint8), ImageTransform.identity(80, 60))
    whys = []
    guards = Guards(confirm="always", reader=reader, ask=lambda *given: whys.append(given[2]) or True)
    assert guards.refusal(Decision(action=Click(Point(0.5, 0.5)), instruction="delete it"), observation) is None
    assert (reader.num_reads, whys) == (0, ["'delete' may not be undone"])


def test_without_a_screen_the_words_decide():
    assert risk(Decision(action=Click(Point(0.5, 0.5)), instruction="click Next")) == ""
    assert "is not known" in risk(Decision(action=Click(Point(0.5, 0.5)), instruction="click Zorgle"))


@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("zenity")), reason="needs Xvfb and zenity")
def test_a_real_dialog_is_read():
    from molmo_agent.envs.desktop.env import Desktop
    from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

    reader = load_reader()
    with VirtualDisplay(800, 500):
        program = subprocess.Popen(
            ["zenity", "--question", "--text=Remove all 12 photos?", "--ok-label=Yes", "--cancel-label=No"],
            stderr=subprocess.DEVNULL,
        )
        env = Desktop()
        try:
            deadline = time.monotonic() + 60
            lines: dict[str, Line] = {}
            while not {"Yes", "No"} <= lines.keys() and time.monotonic() < deadline:
                time.sleep(0.2)
                observation = env.reset()[0]
                lines = {line.text: line for line in reader.read(observation.image)}
            assert {"Yes", "No"} <= lines.keys()
            asked = {
                name: why_ask(Decision(action=Click(lines[name].box.center)), "click it", observation, reader)
                for name in ("Yes", "No")
            }
            enter = why_ask(Decision(action=Key(("enter",))), "", observation, reader)
        finally:
            env.close()
            program.kill()
            program.wait()
    assert asked == {"Yes": "the button 'Yes' under the point may agree to 'Remove all 12 photos?'", "No": ""}
    assert enter == "enter may agree to 'Remove all 12 photos?'"
