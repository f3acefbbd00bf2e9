"""What programs call their elements decides whether a person is asked, where no words are on the screen."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from desktop_screen import FAST, Actor, wait_for
from drawn_text import Drawing, KnownLines

from molmo_agent.actions import Click, Drag
from molmo_agent.envs.desktop.accessibility.ax import AxNames
from molmo_agent.envs.desktop.accessibility.desktop_names import X11Names, desktop_names
from molmo_agent.envs.desktop.accessibility.names import Names, Place
from molmo_agent.envs.desktop.accessibility.uia import UiaNames
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, ScreenElement
from molmo_agent.evaluation.real_tasks.session import SYSTEM_PYTHON, Session, missing_tools
from molmo_agent.geometry import Point
from molmo_agent.pointers.baselines import ScriptedPolicy
from molmo_agent.risk.judge import why_ask
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.testing import ToyEnv
from molmo_agent.transforms import ImageTransform

MIDDLE = Point(0.5, 0.5)
WINDOW = pathlib.Path(__file__).with_name("named_window.py")
# The names of the buttons of the window, and whether a click on them is asked about.
BUTTONS = {
    "Delete all": True,
    "Search": False,
    "-|Send now": True,
    "Zoom in": False,
    "Benutzer löschen": True,
    "Settings|Options of this program": False,
    "Zorgle": True,
    "Next": False,
}


def asked(element, said="click the smiley", action=None, lines=()):
    """Return why a person is asked about a click on something without words that a program calls so."""
    action = action or Click(MIDDLE)
    result = PointResult(status="ok", reply="", points=(LabelledPoint(MIDDLE),))
    decision = Decision(action=action, instruction=said, result=result)
    observation = Observation(Drawing().array(), ImageTransform.identity(640, 400))
    names = None if element is None else (lambda point: [element] if isinstance(element, ScreenElement) else element)
    return why_ask(decision, "", observation, KnownLines(list(lines)), (), names)


def button(name, role="button", **more):
    return ScreenElement(role=role, name=name, **more)


# --- The judgement ------------------------------------------------------------------------------------------------


def test_a_name_that_commits_to_something_is_a_question_whatever_the_icon_is_called():
    said = "click the search icon"
    assert asked(None, said) == ""
    names = ["Delete all", "Senden", "Pagar ahora", "卸载", "D e l e t e", "Envoyer", "Zorgle"]
    assert [name for name in names if not asked(button(name, window="Files"), said)] == []
    assert asked(button("Delete all", window="Files"), said) == (
        "the button 'Delete all' under the point may not be undone ('Delete'), as the window 'Files' names it"
    )
    assert asked(button("Pay"), said).endswith("as its program names it")


def test_a_harmless_name_adds_no_question_and_takes_none_away():
    harmless = [button(name) for name in ("Search", "Zurück", "Zoom in", "Paramètres", "3")]
    harmless += [button("Delete reason", "field"), button("Recent", "tab"), button("Holiday plans", "text")]
    assert [element.name for element in harmless if asked(element, "click the search icon")] == []
    unknown = asked(None, "click the frob")
    assert unknown
    assert asked(button("Search"), "click the frob") == unknown


def test_a_description_counts_where_there_is_no_name_and_else_only_if_it_commits_to_something():
    said = "click the search icon"
    assert asked(button("", description="Empty trash"), said)
    assert asked(button("Go", description="Delete it now"), said)
    assert not asked(button("Search", description="Glorfs the frob"), said)
    assert not asked(button("Search", description="Finds what you then may delete or send or pay for at once"), said)


def test_what_a_drag_ends_on_is_asked_about_by_its_name():
    drag, said = Drag(Point(0.2, 0.2), MIDDLE), "drag the slider to the middle"
    assert asked(None, said, drag) == ""
    assert [name for name in ("Trash", "Papierkorb", "Send to printer") if not asked(button(name), said, drag)] == []
    assert asked(button("Volume"), said, drag) == ""


class NamedEnv(ToyEnv):
    """A toy env whose program calls everything by one name."""

    def __init__(self, name):
        super().__init__()
        self.named, self.points = name, []

    def elements_at(self, point):
        self.points.append(point)
        return [button(self.named, window="Toy")]


def run(name, confirm="risky"):
    env, questions = NamedEnv(name), []

    def ask(decision, observation, why):
        questions.append(why)
        return False

    decision = Decision(action=Click(MIDDLE), instruction="click the search icon")
    guards = Guards(confirm=confirm, ask=ask, reader=KnownLines([]), max_steps=1)
    list(rollout(ScriptedPolicy([decision]), env, "click the search icon", guards=guards))
    return env, questions


def test_a_run_asks_by_the_name_and_sends_nothing_after_no():
    env, questions = run("Delete all")
    assert questions == [
        "the button 'Delete all' under the point may not be undone ('Delete'), as the window 'Toy' names it"
    ]
    assert env.actions == []
    assert env.points == [MIDDLE]
    env, questions = run("Search")
    assert questions == []
    assert len(env.actions) == 1


# --- The time limit -----------------------------------------------------------------------------------------------


def test_a_program_that_hangs_costs_its_time_once_and_is_asked_again_when_it_answers():
    goes_on, closed = threading.Event(), []
    element = button("Search")

    class Hangs:
        def elements(self, place, deadline):
            goes_on.wait(60)
            return [element]

        def close(self):
            closed.append(self)

    names = Names(Hangs, limit_s=0.05)
    place = Place(1, 1)
    assert names.at(place) == ()
    # Not asked while it hangs.
    began = time.monotonic()
    assert all(names.at(place) == () for _ in range(1000))
    assert time.monotonic() - began < 20
    goes_on.set()
    wait_for(lambda: names.at(place) == [element])
    names.close()
    wait_for(lambda: closed)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("damaged"), ImportError("jeepney")])
def test_a_reader_that_fails_means_no_names_and_is_made_anew(error):
    made, closed = [], []

    class Fails:
        def __init__(self):
            made.append(self)
            if len(made) == 2:
                raise error

        def elements(self, place, deadline):
            if len(made) < 3:
                raise error
            return [button("Search")]

        def close(self):
            closed.append(self)

    names = Names(Fails, limit_s=60)
    assert [list(names.at(Place(1, 1))) for _ in range(3)] == [[], [], [button("Search")]]
    names.close()
    wait_for(lambda: closed == [made[0], made[2]])


# --- Real programs ------------------------------------------------------------------------------------------------

needs_session = pytest.mark.skipif(bool(missing := missing_tools()), reason=f"not installed: {', '.join(missing)}")


def has_gtk():
    command = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('Gtk', '3.0')"]
    return shutil.which(SYSTEM_PYTHON) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def window(*names, scale=1):
    """Show the window of named buttons; yield the session and, for each button, its centre in pixels."""
    if not has_gtk():
        pytest.skip("python3-gi with GTK 3 is not installed")
    with Session({}) as session:
        quoted = " ".join(f"'{name}'" for name in names)
        session.start(f"env GDK_SCALE={scale} {SYSTEM_PYTHON} {WINDOW} {quoted}")
        session.await_window(60)

        def boxes():
            found = [node["box"] for node in session.tree() if node["role"] in ("push button", "button")]
            return found if len(found) == len(names) else None

        places = wait_for(boxes, "the buttons")
        yield session, [(scale * (x + w // 2), scale * (y + h // 2)) for x, y, w, h in places]


def patiently(names, x, y):
    """Return the names at a place, as soon as the program had time to answer on a loaded machine."""
    return wait_for(lambda: names.at(x, y), f"a name at {x}, {y}")


@pytest.fixture(scope="module")
def bench():
    """The window with all buttons: the session, and the centres of the buttons in pixels."""
    with window(*BUTTONS) as found:
        yield found


@contextlib.contextmanager
def names_of(session):
    from molmo_agent.envs.desktop import x11

    display = x11.connect(session.display)
    names = X11Names(display)
    yield display, names
    names.close()
    x11.disconnect(display)


def check_buttons(session, places, scale, buttons):
    found = {}
    with names_of(session) as (_, names):
        for words, (x, y) in zip(buttons, places, strict=True):
            (element,) = patiently(names, x, y)
            name, _, description = words.partition("|")
            assert (element.role, element.name) == ("button", "" if name == "-" else name)
            assert element.description in ("", description)
            assert element.window == "Bench"
            found[words] = bool(asked(element, "click the search icon"))
            # The space between two buttons is no button.
            assert list(names.at(x + 40 * scale, y)) == []
    assert found == buttons


@needs_session
def test_buttons_without_words_are_asked_about_by_what_their_program_calls_them(bench):
    session, places = bench
    check_buttons(session, places, 1, BUTTONS)


@needs_session
def test_names_are_found_where_a_program_counts_two_pixels_as_one():
    buttons = dict(list(BUTTONS.items())[:4])
    with window(*buttons, scale=2) as (session, places):
        check_buttons(session, places, 2, buttons)


@needs_session
def test_a_program_that_hangs_does_not_stall_and_windows_over_others_count(bench):
    session, [(x, y), *_] = bench
    with names_of(session) as (display, names):
        patiently(names, x, y)
        process = names._place(x, y).pid
        os.kill(process, signal.SIGSTOP)
        assert list(names.at(x, y)) == []
        os.kill(process, signal.SIGCONT)
        patiently(names, x, y)
        # Something else in front of it has no names, and those behind it do not count.
        cover = display.screen().root.create_window(x - 30, y - 30, 60, 60, 0, display.screen().root_depth)
        cover.change_attributes(override_redirect=True)
        cover.map()
        display.sync()
        wait_for(lambda: not names.at(x, y), "the window in front")
        cover.destroy()
        display.sync()


def names_in_frames(places):
    """Return the names that two desktops find at pixels of the screen: one of a region, one scaled down."""
    found = []
    for options in ({"region": (150, 100, 1000, 600)}, {"max_side": 640}):
        with Desktop(pace=FAST, **options) as desktop:
            observation = desktop.reset()[0]
            left, top, right, bottom = observation.transform.device_region
            points = [Point((x - left) / (right - left), (y - top) / (bottom - top)) for x, y in places]
            found.append([[one.name for one in wait_for(lambda p=p: desktop.elements_at(p))] for p in points])
    return found


@needs_session
def test_points_of_a_region_and_of_a_smaller_picture_find_the_same_names(bench):
    session, places = bench
    inside = {words: place for words, place in zip(BUTTONS, places, strict=True) if "|" not in words}
    assert os.environ["DISPLAY"] == session.display
    actor = Actor()
    try:
        found = actor.do(names_in_frames, list(inside.values()))
    finally:
        actor.close()
    assert found == [[[name] for name in inside]] * 2


# --- Damaged and other systems ------------------------------------------------------------------------------------


def test_answers_of_other_forms_and_trees_without_an_end_are_no_error():
    from molmo_agent.envs.desktop.accessibility import atspi

    rng = np.random.default_rng(5)
    parts = [
        None,
        7,
        "x",
        [],
        (),
        ("s", "Delete all"),
        ("s", 3),
        [("a", "/b")],
        ("a", "/b"),
        [[1 << 25, 0]],
        "push button",
    ]
    parts += [[1 << 25, 0], (0, 0, 100, 100), (0, 0, -1, 1 << 40), ("i", -5), ("i", 10**9), [("a", "/b"), 3, ("c",)]]

    class Babbles:
        def ask(self, questions, deadline):
            return [parts[int(rng.integers(len(parts)))] for _ in questions]

    class Endless:
        """Every element holds three others, and one of them is itself."""

        def ask(self, questions, deadline):
            answers = {
                "GetChildren": lambda node: [(node.program, node.path + end) for end in ("", "/1", "/2")],
                "GetConnectionUnixProcessID": lambda node: 5,
                "GetState": lambda node: [1 << 25, 0],
                "GetExtents": lambda node: (0, 0, 100, 100),
                "GetRoleName": lambda node: "panel",
                "Get": lambda node: ("s", "T"),
            }
            return [answers[question.method](question.node) for question in questions]

    place = Place(5, 5, pid=5, title="T", inner=(0, 0, 100, 100), outer=(0, 0, 100, 100))
    for _ in range(300):
        atspi._Walk(Babbles(), 0).elements(place)
    assert atspi._Walk(Endless(), 0).elements(place) == []


class UiaElement:
    def __init__(self, kind, name, parent=None, help_text=""):
        self.CurrentControlType, self.CurrentName, self.CurrentHelpText = kind, name, help_text
        self.parent = parent


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([(50000, "Delete all"), (50033, ""), (50032, "Files")], button("Delete all", window="Files")),
        ([(50006, "Send"), (50000, ""), (50032, "Mail")], button("Send", window="Mail")),
        ([(50020, "Just words"), (50032, "Notes")], button("Just words", "text", window="Notes")),
        ([(50033, "pane"), (50032, "Empty")], None),
        ([(50004, "Name"), (50032, "Form")], button("Name", "field", window="Form")),
    ],
)
def test_uia_names_the_innermost_element_that_reacts_to_a_click(chain, expected):
    element = None
    for kind, name in reversed(chain):
        element = UiaElement(kind, name, element)
    asked_at = []
    automation = SimpleNamespace(
        ElementFromPoint=lambda point: asked_at.append(point) or element,
        ControlViewWalker=SimpleNamespace(GetParentElement=lambda one: one.parent),
    )
    found = UiaNames(automation, lambda x, y: (x, y)).elements(Place(-30, 40), time.monotonic() + 60)
    assert list(found) == ([] if expected is None else [expected])
    assert asked_at == [(-30, 40)]


class AxAttributes:
    """Elements as dictionaries; counts what was not given back."""

    def __init__(self, chain):
        self.chain, self.held = chain, 0

    def element_at(self, x, y):
        self.held += bool(self.chain)
        return 0 if self.chain else None

    def text(self, element, name):
        return self.chain[element].get(name, "")

    def value(self, element, name):
        assert name == "AXParent"
        if element + 1 == len(self.chain):
            return None
        self.held += 1
        return element + 1

    def release(self, value):
        self.held -= 1


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([{"AXRole": "AXButton", "AXDescription": "Delete all"}, {"AXRole": "AXWindow", "AXTitle": "Files"}],
         button("Delete all", window="Files")),
        ([{"AXRole": "AXImage", "AXDescription": "Send"}, {"AXRole": "AXButton", "AXHelp": "Sends it"}],
         button("Send", description="Sends it")),
        ([{"AXRole": "AXStaticText", "AXValue": "Words"}, {"AXRole": "AXGroup"}], button("Words", "text")),
        ([{"AXRole": "AXGroup"}], None),
        ([], None),
    ],
)  # fmt: skip
def test_ax_names_the_innermost_element_that_reacts_to_a_click_and_gives_all_back(chain, expected):
    attributes = AxAttributes(chain)
    found = AxNames(attributes).elements(Place(1, 2), time.monotonic() + 60)
    assert list(found) == ([] if expected is None else [expected])
    assert attributes.held == 0


def test_where_windows_have_no_known_place_there_are_no_names():
    assert desktop_names(None, "linux") is None
    assert desktop_names(None, "win32") is None  # without comtypes
