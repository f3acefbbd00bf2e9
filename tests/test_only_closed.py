"""A click that only closes what lay over or beside its target is no click on the target."""

import dataclasses

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import pytest
from drawn_text import Drawing

from molmo_agent.actions import Click, Done, LongPress, Wait
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Step, Task
from molmo_agent.geometry import Point
from molmo_agent.pointers.baselines import ScriptedPointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.policies.progress import ONLY_CLOSED, look_for_effect
from molmo_agent.policies.uncovered import only_closed
from molmo_agent.policies.verification import doubt_about
from molmo_agent.transforms import ImageTransform

SIZE = (800, 600)
TARGET = Point(150 / 800, 94 / 600)


def page(target="Orders", note="Nothing was pressed yet"):
    """Draw a page with a button at the target, and text and fields around it."""
    drawing = Drawing(*SIZE)
    for number, words in enumerate(("Shop", "Help", "About us", "Contact")):
        drawing.text(30 + 150 * number, 20, words)
    drawing.button(100, 80, 100, target).button(260, 80, 100, "Invoices").button(420, 80, 100, "Returns")
    for row in range(9):
        drawing.text(40, 150 + 42 * row, f"Row {row}: words that are read here, and more of them at the right of these")
        drawing.rectangle(640, 144 + 42 * row, 110, 26)
    return drawing.text(40, 560, note)


def picture(drawing):
    return np.array(drawing.array())


def dimmed(image, shade, opacity):
    return np.round(image * (1 - opacity) + shade * opacity).astype(np.uint8)


def with_dialog(image, fill=(250, 250, 250), box=(240, 230, 560, 400)):
    canvas = PIL.Image.fromarray(image)
    draw = PIL.ImageDraw.Draw(canvas)
    draw.rounded_rectangle(box, 12, fill=fill, outline=(120, 120, 120))
    draw.text((box[0] + 30, box[1] + 30), "Would you like to hear more?", fill=(30, 30, 30))
    draw.rectangle((box[2] - 110, box[3] - 50, box[2] - 20, box[3] - 20), fill=(40, 90, 200))
    draw.text((box[2] - 80, box[3] - 42), "OK", fill=(255, 255, 255))
    return np.array(canvas)


def with_menu(image, box=(230, 120, 400, 330), shadow=0):
    canvas = PIL.Image.fromarray(image)
    if shadow:
        dark = PIL.Image.new("L", canvas.size, 0)
        PIL.ImageDraw.Draw(dark).rectangle((box[0] + 4, box[1] + 6, box[2] + 4, box[3] + 6), fill=110)
        canvas.paste((0, 0, 0), mask=dark.filter(PIL.ImageFilter.GaussianBlur(shadow)))
    draw = PIL.ImageDraw.Draw(canvas)
    draw.rectangle(box, fill=(255, 255, 255), outline=(110, 110, 110))
    for number, words in enumerate(("New tab", "Print", "Zoom in", "Full screen", "More tools")):
        draw.text((box[0] + 16, box[1] + 14 + 38 * number), words, fill=(30, 30, 30))
    return np.array(canvas)


def seen(image):
    return Observation(image, ImageTransform.identity(image.shape[1], image.shape[0]))


def step_on(image, said='click "Orders"', point=TARGET, index=0, action=Click):
    result = PointResult(status="ok", reply="", points=(LabelledPoint(point),))
    decision = Decision(action=action(point), instruction=said, result=result)
    return Step(index=index, observation=seen(image), decision=decision, effect="changed")


def closes(before, after, said='click "Orders"', point=TARGET, history=(), action=Click):
    return only_closed(step_on(before, said, point, len(history), action), history, after)


SCRIMS = {
    "a black one over half": (0, 0.5),
    "a dark one": (0, 0.75),
    "a faint grey one": (60, 0.25),
    "a white one": (255, 0.6),
}


def test_a_click_on_what_a_dialog_dims_that_closes_the_dialog_is_no_effect():
    after = picture(page())
    missed = [name for name, scrim in SCRIMS.items() if not closes(with_dialog(dimmed(after, *scrim)), after)]
    dark = dimmed(255 - after, 0, 0.6), 255 - after
    missed += [] if closes(with_dialog(dark[0], (50, 50, 54)), dark[1]) else ["a dark page"]
    small = (0, 420, 800, 600)  # a sheet at the bottom, as on phones
    missed += [] if closes(with_dialog(dimmed(after, 0, 0.5), box=small), after, action=LongPress) else ["a sheet"]
    assert missed == []


def test_a_click_beside_a_menu_that_closes_the_menu_is_no_effect():
    after = picture(page())
    menus = {
        "plain": with_menu(after),
        "with a shadow": with_menu(after, shadow=8),
        "high": with_menu(after, (210, 40, 330, 520)),
        "a notification": with_menu(after, (540, 430, 780, 590)),
        "two of them": with_menu(with_menu(after, (230, 120, 400, 330)), (440, 300, 560, 520)),
    }
    assert [name for name, before in menus.items() if not closes(before, after)] == []


def test_a_menu_over_an_empty_page_is_known_from_the_screen_before_it_opened():
    empty = picture(Drawing(*SIZE).button(100, 80, 100, "Orders").button(600, 20, 100, "Menu"))
    before = with_menu(empty, (560, 60, 740, 330))
    opening = step_on(empty, 'click "Menu"', Point(650 / 800, 34 / 600))
    assert not closes(before, empty)
    assert closes(before, empty, history=[opening])


def test_a_button_of_the_dialog_itself_keeps_its_effect():
    after, ok = picture(page()), Point(505 / 800, 365 / 600)
    failed = []
    for name, scrim in {"none": (0, 0.0), **SCRIMS}.items():
        before = with_dialog(dimmed(after, *scrim))
        failed += [name] * closes(before, after, 'click "OK"', ok)
    entry = Point(280 / 800, 175 / 600)
    failed += ["menu"] * closes(with_menu(after), after, 'click "Print"', entry)
    failed += ["shadow"] * closes(with_menu(after, shadow=8), after, 'click "Print"', entry)
    assert failed == []


def test_what_a_click_opens_switches_or_writes_is_its_effect():
    before = picture(page())
    later = {
        "a dialog": with_dialog(dimmed(before, 0, 0.5)),
        "a menu": with_menu(before),
        "a note": picture(page(note="Orders was pressed")),
        "another page": picture(Drawing(*SIZE).text(40, 40, "Your orders").rectangle(60, 200, 600, 300)),
        "a dark theme": 255 - before,
        "its own look": picture(page(target="Done")),
    }
    assert [name for name, after in later.items() if closes(before, after)] == []


def test_a_target_that_reacts_while_a_dialog_closes_is_an_effect():
    after = picture(page(target="Opened"))
    before = picture(page())
    assert not closes(with_dialog(dimmed(before, 0, 0.6)), after)
    assert not closes(with_dialog(dimmed(before, 255, 0.4)), picture(page(target="Orders 1")))
    assert not closes(with_menu(before), after)
    # One menu gives way to the next.
    assert not closes(with_menu(before), with_menu(before, (100, 110, 260, 320)))
    assert not closes(with_menu(before), with_menu(before, (300, 120, 470, 330)))


def test_closing_is_the_effect_where_the_words_ask_for_it():
    after = picture(page())
    words = (
        'click "Hide menu"',
        "close the menu",
        "click the back button",
        "dismiss the notice",
        "clear the selection",
    )
    assert [said for said in words if closes(with_menu(after), after, said)] == []
    assert not closes(with_dialog(dimmed(after, 0, 0.5)), after, "click the dimmed page outside the dialog")


def test_the_button_that_opened_a_menu_may_close_it():
    empty = picture(Drawing(*SIZE).button(100, 80, 100, "Orders"))
    opening = step_on(empty)
    assert not closes(with_menu(empty), empty, history=[opening])


def test_a_selected_row_that_is_deleted_is_no_menu_that_closes():
    after = picture(page())
    row = np.array(after)
    row[470:530] = (200, 215, 245)
    blank = np.array(after)
    blank[470:530] = 240
    assert not closes(row, blank, 'click "Orders"')


@pytest.mark.parametrize("shape", [(600, 801, 3), (300, 400, 3)])
def test_screens_of_other_sizes_are_not_compared(shape):
    assert not closes(picture(page()), np.zeros(shape, np.uint8))


def test_screens_of_a_few_pixels_are_compared():
    rng = np.random.default_rng(4)
    for size in ((1, 1), (5, 40), (33, 31), (64, 64)):
        before, after = (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(2))
        assert not closes(before, after, point=Point(0.5, 0.5))


def test_the_doubt_names_what_happened():
    after = picture(page())
    before = with_dialog(dimmed(after, 0, 0.5))
    assert doubt_about(step_on(before), (), (), after, None) == ONLY_CLOSED
    dry = dataclasses.replace(step_on(before), dry_run=True)
    assert doubt_about(dry, (), (), after, None) == ""


def waiting(index, image, seconds):
    return Step(index=index, observation=seen(image), decision=look_for_effect(seconds, 'click "Orders"', ONLY_CLOSED))


def test_the_target_is_clicked_once_more_after_what_lay_over_it_closed():
    clear = picture(page())
    covered = with_dialog(dimmed(clear, 0, 0.5))
    model = ScriptedPointer({'"Orders"': [TARGET], "Orders": [TARGET]})
    policy, task = PointingPolicy(model, patience_s=5.0), Task('click "Orders"')
    history = [step_on(covered)]
    actions = []
    while len(actions) < 12:
        decision = policy.act(task, seen(clear), history)
        actions.append(decision.action)
        if isinstance(decision.action, Done):
            break
        history.append(Step(index=len(history), observation=seen(clear), decision=decision, effect="unchanged"))
    clicks = [action for action in actions if isinstance(action, Click)]
    assert len(clicks) == 1
    assert isinstance(actions[0], Wait)
    assert actions[-1] == Done(
        False, "'click \"Orders\"' had no effect: nothing on the screen changed, even after a second click"
    )
    # The second click opens the page.
    retry = next(number for number, one in enumerate(history) if number and isinstance(one.action, Click))
    history = [*history[:retry], dataclasses.replace(history[retry], effect="changed")]
    last = policy.act(task, seen(picture(page(target="Opened"))), history).action
    assert last == Done(True, "1 of 1 steps carried out")


def test_a_click_that_may_do_harm_is_not_repeated():
    clear = picture(page())
    covered = with_dialog(dimmed(clear, 0, 0.5))
    said = 'click "Send payment"'
    model = ScriptedPointer({'"Send payment"': [TARGET], "Send payment": [TARGET]})
    policy = PointingPolicy(model, patience_s=5.0)
    history, actions = [step_on(covered, said)], []
    while not actions or not isinstance(actions[-1], Done):
        decision = policy.act(Task(said), seen(clear), history)
        actions.append(decision.action)
        history.append(Step(index=len(history), observation=seen(clear), decision=decision, effect="unchanged"))
    assert not any(isinstance(action, Click) for action in actions)
    assert actions[-1] == Done(False, f"{said!r} had no effect: {ONLY_CLOSED}")


# --- A button of what closed lay over the target ------------------------------------------------------------------


class ReadsBoth:
    """Reads two screens, each of which has its own lines."""

    def __init__(self, *screens):
        self.screens = screens

    def read(self, image):
        return next(lines for known, lines in self.screens if np.array_equal(known, image))


def hits(target, pressed, said, dialog_fill=(250, 250, 250), opacity=0.5, after_target=None):
    """Return whether a click on a dialog's button over a target is seen to have hit the button alone."""
    behind, shown = page(target), page(target if after_target is None else after_target)
    after = picture(shown)
    canvas = PIL.Image.fromarray(dimmed(picture(behind), 0, opacity))
    draw = PIL.ImageDraw.Draw(canvas)
    draw.rounded_rectangle((60, 60, 420, 180), 12, fill=dialog_fill, outline=(120, 120, 120))
    draw.rectangle((100, 80, 200, 108), fill=(225, 225, 225), outline=(110, 110, 110))
    lines = Drawing(*SIZE).text(110, 86, pressed).lines
    before = np.array(canvas)
    step = step_on(before, said)
    return doubt_about(step, (), (step,), after, ReadsBoth((before, lines), (after, shown.lines)))


def test_a_click_on_a_button_over_the_target_that_closes_its_dialog_is_no_effect():
    covering = [
        ("Orders", "Dismiss", 'click "Orders"'),
        ("Photos", "OK", 'open the "Photos" app'),
        ("Settings", "Later", "click Settings"),
        ("Kontakte", "Allow all", 'tap "Kontakte"'),
    ]
    assert [case for case in covering if hits(*case) != ONLY_CLOSED] == []


def test_a_button_of_the_dialog_that_was_asked_for_keeps_its_effect_by_any_of_its_words():
    asked_for = [
        ("Orders", "Dismiss", 'click "Dismiss"'),
        ("Orders", "OK", "confirm the question"),
        ("Orders", "Accept all", "accept the cookies"),
        ("Orders", "Continue", "click Continue"),
    ]
    assert [case for case in asked_for if hits(*case)] == []
    # The target is not there any more: it may have been hit under another name.
    assert hits("Orders", "Dismiss", 'click "Orders"', after_target="Thanks") == ""
