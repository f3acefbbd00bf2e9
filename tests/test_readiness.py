"""What must be seen before text or a key follows a click, a shortcut or a text; and whether a text arrived."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from molmo_agent.actions import Click, Done, Key, Type, Wait
from molmo_agent.episode import Decision, Observation, Refusal, Step, Task
from molmo_agent.geometry import Box, Point
from molmo_agent.ocr import reader as readers
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.pointers.baselines import ScriptedPointer
from molmo_agent.policies.pointing import PointingPolicy, progress
from molmo_agent.policies.progress import read_progress
from molmo_agent.policies.same_target import doubt_about_place
from molmo_agent.policies.typed_text import arrived, readable_part, resembles
from molmo_agent.policies.verification import doubt_about, shows_bullets, was_undone
from molmo_agent.registry import load_policy
from molmo_agent.screen_text import Line, Word
from molmo_agent.testing import ToyEnv
from molmo_agent.transforms import ImageTransform

PLACE = Point(0.2, 0.2)
FONT = PIL.ImageFont.load_default(18)


def draw(*parts, size=(640, 480)):
    """A screen with rectangles (box, colour) and texts (position, text)."""
    image = PIL.Image.new("RGB", size, (230, 230, 230))
    canvas = PIL.ImageDraw.Draw(image)
    for where, what in parts:
        if len(where) == 4:
            canvas.rectangle(where, **({"fill": what} if isinstance(what, str) else what))
        else:
            canvas.text(where, what, fill="black", font=FONT)
    return np.asarray(image)


def seen(image, window=None):
    info = {} if window is None else {"window": window}
    return Observation(image, ImageTransform.identity(image.shape[1], image.shape[0]), info)


PLAIN = draw()
CARET = draw(((130, 88, 131, 106), "black"))
RING = draw(((60, 75, 200, 115), {"outline": "blue", "width": 3}))
ROW = draw(((0, 80, 640, 112), "blue"))
DIALOG = draw(((150, 150, 450, 330), "white"))


def play(task, *screens, effects=(), windows=()):
    """Play a task with patience on the given screens, the last one for ever; return the actions."""
    model = ScriptedPointer([PLACE])
    policy, history = PointingPolicy(model, patience_s=5.0), []
    while not (history and isinstance(history[-1].action, Done)):
        number = len(history)
        observation = seen(
            screens[min(number, len(screens) - 1)], windows[min(number, len(windows) - 1)] if windows else None
        )
        decision = policy.act(Task(task), observation, tuple(history))
        effect = effects[number] if number < len(effects) else "changed"
        info = {"window": "clicked"} if windows and isinstance(decision.action, Click) else {}
        if windows and isinstance(decision.action, Type):
            info = dict(observation.info)
        history.append(Step(index=number, observation=observation, decision=decision, effect=effect, info=info))
    return [step.action for step in history]


WAITS = [Wait(1.0), Wait(2.0), Wait(2.0)]


@pytest.mark.parametrize("after", [CARET, DIALOG], ids=["a caret", "a dialog"])
def test_text_follows_a_click_at_once_where_a_caret_or_a_dialog_shows(after):
    assert play('click Notes, type "Ada"', PLAIN, after)[:2] == [Click(PLACE), Type("Ada")]


@pytest.mark.parametrize("after", [RING, ROW], ids=["the frame of a button", "the row of a list"])
@pytest.mark.parametrize(
    ("task", "types"), [('click Notes, type "Ada"', True), ('click Open notes, type "Ada"', False)]
)
def test_the_highlight_of_what_was_clicked_is_waited_out(after, task, types):
    done = play(task, PLAIN, after, effects=["changed", "unchanged", "unchanged", "unchanged"])
    assert done[1:4] == WAITS
    expected = Type("Ada") if types else Done(False, "could not 'type \"Ada\"': nothing that takes text opened")
    assert done[4] == expected


@pytest.mark.parametrize("waits", [1, 2, 3])
def test_a_dialog_that_opens_within_the_patience_gets_the_text(waits):
    done = play('click Open notes, type "Ada"', *[PLAIN] * (1 + waits), DIALOG, effects=["unchanged"])
    assert done[: 2 + waits] == [Click(PLACE), *WAITS[:waits], Type("Ada")]


def test_a_click_without_any_effect_gets_no_text_unless_its_words_name_a_field():
    effects = ["unchanged"] * 9
    assert play('click Notes, type "Ada"', PLAIN, effects=effects)[4:] == [
        Done(False, "could not 'type \"Ada\"': nothing that takes text opened")
    ]
    for field in ("the Notes field", "the terminal", "the search bar", "the document"):
        assert play(f'click {field}, type "Ada"', PLAIN, effects=effects)[:2] == [Click(PLACE), Type("Ada")]
    assert play('type "Ada" into Notes', PLAIN, effects=effects)[:2] == [Click(PLACE), Type("Ada")]


def test_another_window_with_the_keyboard_is_one_that_opened_unless_a_field_was_clicked():
    windows = ["before", "new"]
    assert play('click Notes, type "Ada"', PLAIN, windows=windows)[:2] == [Click(PLACE), Type("Ada")]
    for task in ('type "Ada" into Notes', 'click the Notes box, type "Ada"'):
        done = play(task, PLAIN, windows=windows)
        assert done[1:4] == WAITS
        assert "the keyboard focus is in another window than the one that was clicked" in done[4].message
    for stays in ("before", "clicked"):
        assert play('click Notes, type "Ada"', PLAIN, windows=["before", stays])[1] == Wait(1.0)


@pytest.mark.parametrize("following", ["press Enter", 'type "Byron"', "press ctrl+s"])
def test_keys_after_a_text_go_to_the_window_that_it_was_typed_into(following):
    task, text = f'type "Ada" into Name, {following}', draw(((130, 88), "Ada"))
    stays = play(task, PLAIN, CARET, text, windows=["clicked"])
    assert isinstance(stays[2], Key | Type)
    done = play(task, PLAIN, CARET, text, windows=["clicked", "clicked", "dialog"])
    assert done[2:5] == WAITS
    assert "another window than the one that was typed into has the keyboard focus" in done[5].message


@pytest.mark.parametrize(
    ("keys", "waits"),
    [("ctrl+o", 3), ("alt+f2", 3), ("f2", 3), ("ctrl+a", 0), ("home", 0), ("ctrl+end", 0)],
)
def test_a_shortcut_that_may_open_something_is_waited_for_before_text(keys, waits):
    done = play(f'press {keys}, type "Ada"', PLAIN, effects=["unchanged"] * 4)
    assert done[1 : 1 + waits] == WAITS[:waits]
    assert done[1 + waits] == Type("Ada")
    assert play(f'press {keys}, type "Ada"', PLAIN, effects=["changed"])[1] == Type("Ada")


def test_a_key_without_effect_is_named_in_the_result_and_never_repeated():
    done = play("click Notes, press Enter, wait 1 second", PLAIN, effects=["changed", "unchanged", "unchanged"])
    assert done[1:] == [
        Key(("enter",)),
        Wait(1.0),
        Done(True, "3 of 3 steps carried out; nothing changed after 'press Enter'"),
    ]


# --- The same place after the screen changed --------------------------------------------------------------------------


class Reader:
    """Reads one line around the place, by the grey of the first pixel."""

    name = "reader"

    def __init__(self, **texts):
        self.texts = {int(grey.removeprefix("grey")): text for grey, text in texts.items()}

    def read(self, image):
        text = self.texts.get(int(image[0, 0, 0]), "")
        box = Box(0.15, 0.18, 0.25, 0.22)
        return [Line(tuple(Word(word, box) for word in text.split()), box, 1.0)] if text else []


def grey(value):
    return np.full((480, 640, 3), value, np.uint8)


def forestalled(image, point=PLACE):
    refusal = Refusal("changed", "the screen changed")
    return Step(index=0, observation=seen(image), decision=Decision(action=Click(point)), refused=refusal)


@pytest.mark.parametrize(
    ("now", "doubt"),
    [
        ("Save", ""),
        ("SAVE", ""),
        (
            "Delete everything",
            "the place of 'Save' now shows 'Delete everything', yet the model points at the same place",
        ),
        ("", "the place of 'Save' now shows 'something else', yet the model points at the same place"),
    ],
)
def test_the_same_place_must_show_the_same_words(now, doubt):
    reader = Reader(grey1="Save", grey2=now)
    assert doubt_about_place(Click(PLACE), [forestalled(grey(1))], grey(2), reader) == doubt
    assert doubt_about_place(Click(Point(0.7, 0.7)), [forestalled(grey(1))], grey(2), reader) == "", "another place"
    assert doubt_about_place(Click(PLACE), [], grey(2), reader) == ""
    asked_for = doubt_about_place(Click(PLACE), [forestalled(grey(1))], grey(2), reader, [now])
    assert asked_for == ("" if now else doubt), "what it shows now is what is asked for"
    both = [forestalled(grey(1)), forestalled(grey(2))]
    assert doubt_about_place(Click(PLACE), both, grey(1), reader) == "", "it shows again what it showed at first"


def test_what_changed_before_an_input_is_no_refusal_of_its_point():
    steps = (forestalled(grey(1)), forestalled(grey(2)))
    assert progress(steps) == (0, ())
    assert read_progress(steps, retries=True).forestalled == steps


# --- Whether text arrived ---------------------------------------------------------------------------------------------


def line(text, top=0.1):
    box = Box(0.1, top, 0.9, top + 0.03)
    return Line(tuple(Word(word, box) for word in text.split()), box, 1.0)


def test_a_text_that_is_wrapped_to_several_lines_is_seen():
    part = readable_part("the quick brown fox jumps over the lazy dog", "type it")
    lines = [line("the quick brown fox", 0.1), line("jumps over the", 0.14), line("lazy dog", 0.18)]
    assert arrived(part, [], lines)
    assert not arrived(part, [], lines[:2])


def test_a_narrow_field_shows_the_end_and_a_field_with_a_limit_the_beginning():
    part = readable_part("alexander.hamilton@treasury.example.org", "type it")
    assert arrived(part, [], [line("ry.example.org")])
    for kept in ("alexander.hamil", "alexander", "mple.org"):
        assert not arrived(part, [], [line(kept)]), kept


@pytest.mark.parametrize("text", ["привет мир", "Ελλάδα", "こんにちは", "שלום לכם", "ok привет"])
def test_a_script_that_is_not_read_is_not_looked_for(text):
    assert readable_part(text, "type it") == ""


@pytest.mark.parametrize(
    ("first", "second"), [("Save", "SAVE"), ("Größe wählen", "Grosse wahlen"), ("Cancel", "Cance1")]
)
def test_words_resemble_each_other_in_spite_of_the_reader(first, second):
    assert resembles(first, second)
    assert not resembles(first, "Delete everything")


@pytest.mark.parametrize(("sign", "count"), [("•", 8), ("*", 11), ("●", 4)])
def test_as_many_equal_signs_as_characters_are_a_hidden_text(sign, count):
    before = draw(((100, 90), ""))
    with_caret = [((100 + 16 * count, 88, 101 + 16 * count, 106), "black")]
    after = draw(*[((104 + 16 * number, 90), "o") for number in range(count)], *with_caret)
    assert shows_bullets(before, after, count)
    for other in (count - 2, count + 2, 2 * count):
        assert not shows_bullets(before, after, other)
    assert not shows_bullets(before, draw(((100, 90), "hunter2 or so")), 13)
    assert not shows_bullets(before, grey(0)[:100], count)


def test_a_box_that_looks_again_as_before_was_undone():
    unticked = draw(((120, 90, 134, 104), {"outline": "black"}))
    ticked = draw(((120, 90, 134, 104), {"outline": "black"}), ((124, 94, 130, 100), "black"))
    step = Step(index=0, observation=seen(unticked), decision=Decision(action=Click(PLACE)), effect="changed")
    assert was_undone(step, ticked, unticked)
    assert not was_undone(step, ticked, ticked)
    assert not was_undone(step, unticked, unticked), "it was never done"
    assert not was_undone(step, ticked, unticked[:100])


def test_a_lazy_reader_loads_its_engine_once_and_only_to_read(monkeypatch):
    loaded = []
    monkeypatch.setattr(readers, "load_reader", lambda name: loaded.append(name) or Reader(grey1="Save"))
    lazy = LazyReader()
    assert (lazy.name, loaded) == ("rapidocr", [])
    assert [each.text for _ in range(2) for each in lazy.read(grey(1))] == ["Save", "Save"]
    assert loaded == ["rapidocr"]


def test_only_a_screen_that_changes_by_itself_gets_a_reader_for_models_without_one():
    class Live(ToyEnv):
        from molmo_agent.interfaces import EnvTraits

        traits = EnvTraits(live=True)

    model = ScriptedPointer([PLACE])
    assert isinstance(load_policy("pointing", model, Live())._reader, LazyReader)
    assert load_policy("pointing", model, ToyEnv())._reader is None


class OneLine:
    """Reads one given line in the middle of every image."""

    name = "one line"

    def __init__(self, text):
        self.lines = [line(text, 0.485)] if text else []

    def read(self, image):
        return self.lines


@pytest.mark.parametrize(
    ("holds", "effect", "is_doubted"),
    [
        ("Ada", "unchanged", False),  # it held it already
        ("Name Ada", "changed", False),  # read together with its label
        ("Ada Lovelace", "unchanged", True),
        ("Grace HoAdapper", "changed", True),
        ("", "unchanged", True),
    ],
)
def test_a_filled_field_must_hold_the_text_and_nothing_else(holds, effect, is_doubted):
    words = 'fill in Name with "Ada"'
    place = Point(0.5, 0.5)
    click = Step(
        index=0, observation=seen(PLAIN), decision=Decision(action=Click(place), instruction=words), effect="changed"
    )
    filled = Decision(action=Type("Ada", replace=True), instruction=words)
    step = Step(index=1, observation=seen(PLAIN), decision=filled, effect=effect)
    assert bool(doubt_about(step, (), (click, step), PLAIN, OneLine(holds))) == is_doubted


def test_an_emptied_field_shows_nothing_that_could_be_missed():
    emptied = Decision(action=Type("", replace=True), instruction='fill in Name with ""')
    step = Step(index=0, observation=seen(PLAIN), decision=emptied, effect="unchanged")
    assert doubt_about(step, (), (step,), PLAIN, None) == ""
