"""Text that a program changed while it was typed is no text that arrived: capitals, lost and added letters, dates."""

import numpy as np
import pytest
from test_changed_screens import Board, run
from test_policies import typing

from molmo_agent.actions import Key, Type
from molmo_agent.geometry import Box
from molmo_agent.policies.altered_text import ALTERED, alteration
from molmo_agent.screen_text import Line, Word
from molmo_agent.testing import ScriptedDecisions

BOX = Box(0, 0, 1, 1)
CAPITALS, COMPLETED, LOST = "shows other capitals", "added to its last word", "characters are missing"
KEPT, NUMBERS = "held before is still beside it", "digits make other numbers"


def lines(*texts):
    return [Line(tuple(Word(word, BOX) for word in text.split()), BOX, 1.0) for text in texts]


def check(cases, *, replace=False):
    """Check (typed, lines before, lines afterwards, what is said about it); the last may be empty."""
    wrong = []
    for text, before, after, said in cases:
        doubt = alteration(text, lines(*before), lines(*before, *after), replace=replace)
        if not (doubt.startswith(ALTERED) and said in doubt if said else doubt == ""):
            wrong.append((text, after, doubt))
    assert not wrong


def test_capitals_that_became_small_or_the_other_way_round_are_told():
    check(
        [
            ("MARGRET", [], ["Name margret"], CAPITALS),
            ("Étage D", [], ["éTAGEd"], CAPITALS),
            ("Hamburg Altona", [], ["hAMBURG aLTONA"], CAPITALS),
            ("EDNA", [], ["edna"], CAPITALS),
            # Many fields show everything in capitals and keep what was typed.
            ("hello", [], ["HELLO"], ""),
            # A reader confuses these, and the first letter of a line.
            ("COXSWVZ", [], ["coxswvz"], ""),
            ("hello", [], ["Hello"], ""),
        ]
    )


def test_a_word_that_the_program_completed_is_told():
    check(
        [
            ("Ham", [], ["Hamburg"], COMPLETED),
            ("exampl", [], ["City example.org/path"], COMPLETED),
            ("new y", [], ["new york"], COMPLETED),
            # The list of proposals stands below what was typed.
            ("Ham", [], ["Ham", "Hamburg", "Hamm"], ""),
            # The caret was before a text.
            ("Ham", ["burg"], ["Hamburg"], ""),
            # A caret is read as a letter.
            ("Ham", [], ["Haml"], ""),
        ]
    )


def test_letters_that_a_field_did_not_take_are_told():
    check(
        [
            ("12345", [], ["1234"], LOST),
            ("hello world", [], ["City hello worl"], LOST),
            ("12a34", [], ["1234"], LOST),
            ("hello world again", [], ["helo wrld again"], LOST),
            # A reader sees one of two equal letters, misses thin ones, and takes one for another.
            ("hello world", [], ["helo world"], ""),
            ("fill it", [], ["fill t"], ""),
            ("hello world", [], ["hello wor1d"], ""),
            # Only the end of it has room, or it goes on in the next line.
            ("hello world again", [], ["llo world again"], ""),
            ("all of the other islands over there", [], ["the other islands over ther"], ""),
            ("all of the other islands over there", [], ["all of the other islands over ther"], LOST),
        ]
    )
    first, second = Box(0, 0.1, 1, 0.13), Box(0, 0.14, 1, 0.17)
    wrapped = [Line((Word(text, box),), box, 1.0) for text, box in (("abcdefghmno", first), ("pq", second))]
    assert alteration("abcdefghmnopq", [], wrapped) == ""


def test_a_date_whose_digits_went_to_other_parts_of_a_field_is_told():
    check(
        [
            ("2024-05-17", ["mm/dd/yyyy"], ["02/02/40517"], NUMBERS),
            ("17.05.2024", [], ["1705-20-24"], NUMBERS),
            ("12:30:45", [], ["1:23:045"], NUMBERS),
            ("2024-05-17", [], ["2024/05/17"], ""),
            ("2024-05-17", [], ["20240517"], ""),
            ("1000.50", [], ["1,000.50"], ""),
            ("1234567*8", [], ["1 234 567 × 8"], ""),
            ("1000*3", [], ["10,00 × 3"], NUMBERS),
            ("555-123-4567", [], ["(555) 123-4567"], ""),
        ]
    )


def test_what_a_field_held_before_and_still_holds_is_told():
    check(
        [
            ("Ada", ["Grace Hopper"], ["Grace HopperAda"], KEPT),
            ("Ada", ["Grace Hopper"], ["AdaGrace Hopper"], KEPT),
            ("Ada Byron", ["Grace Hopper"], ["Grace HopAda Byronper"], KEPT),
            ("Ada", ["Name Grace Hopper"], ["Name Ada"], ""),
            ("Ada", ["Name:"], ["Name:Ada"], ""),
        ],
        replace=True,
    )
    check([("Ada", ["Grace Hopper"], ["Grace HopperAda"], "")])


def test_a_run_stops_before_enter_when_the_text_arrived_otherwise():
    task = 'type "Hamburg" into City, press Enter'
    for seen in ("hAMBURG", "Hamburger", "Hambur"):
        actions = typing(task, ["City"], ["City"], ["City", seen], patience_s=5.0)
        assert Key(("enter",)) not in actions
        assert actions[-1].message.startswith(f"'type \"Hamburg\" into City' went wrong: {ALTERED}")
    assert Key(("enter",)) in typing(task, ["City"], ["City"], ["City", "Hamburg"], patience_s=5.0)


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("action", [Key(("enter",)), Key(("ctrl", "s")), Type("more")])
def test_a_text_that_the_program_takes_out_again_stops_the_next_input(action, gone):
    letters, caret = (300, 100, 12, 80), (300, 185, 12, 2)

    class Field(Board):
        def step(self, action):
            if isinstance(action, Type):
                self.boxes[letters] = 0
            return super().step(action)

    class Slow(ScriptedDecisions):
        def act(self, task, observation, history):
            if len(history) == 1:
                env.boxes[letters if gone else caret] = 220 if gone else 0
            return super().act(task, observation, history)

    env = Field()
    steps, _ = run(env, Slow([Type("hello"), action]))
    assert env.actions == [Type("hello")] if gone else [Type("hello"), action]
    if gone:
        assert steps[1].refused.kind == "changed"
        assert "the text that was typed is gone again" in steps[1].refused.text


def test_a_text_that_a_line_end_sent_off_may_be_gone():
    class Chat(Board):
        def step(self, action):
            self.boxes[300, 100, 12, 80] = 0
            return super().step(action)

    class Slow(ScriptedDecisions):
        def act(self, task, observation, history):
            env.boxes[300, 100, 12, 80] = 220
            return super().act(task, observation, history)

    env = Chat()
    run(env, Slow([Type("hello\n"), Key(("ctrl", "s"))]))
    assert env.actions == [Type("hello\n"), Key(("ctrl", "s"))]
    assert np.all(env.observe().image[300:312, 100:180] == 220)
