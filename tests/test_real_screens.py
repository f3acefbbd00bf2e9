"""Recording real screens: the filters on made-up trees, the questions, and one small real program and page."""

import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.envs.web.installed import find_browser
from molmo_agent.errors import EnvError, RunStopped, UsageError
from molmo_agent.synthetic.real_screens import explore, pages, programs, record, session
from molmo_agent.synthetic.real_screens.element import KINDS, RealElement, contains, inner_points, overlap
from molmo_agent.synthetic.real_screens.folder import RecordingFolder, Seen, element_from_json
from molmo_agent.synthetic.real_screens.looks import LOOKS, environment, write_settings
from molmo_agent.synthetic.real_screens.page_truth import element_of, states_of
from molmo_agent.synthetic.real_screens.program_truth import XWindow, clean_name, elements_of, match_windows, name_of
from molmo_agent.synthetic.real_screens.questions import absent_of, askable, targets_of, wording, write_questions
from molmo_agent.synthetic.real_screens.visible_names import NameReader, is_readable, name_is_on

ON = ["enabled", "sensitive", "showing", "visible"]
SIZE = (800, 600)


def tree(*entries: tuple[int, str, str, tuple[int, int, int, int] | None], states: list[str] = ON, pid: int = 5):
    """Make nodes of (parent, role, name, box)."""
    return [
        {"id": n, "parent": parent, "pid": pid, "toolkit": "gtk 3.24", "role": role, "name": name, "description": ""}
        | {"states": states, "box": list(box) if box else None}
        for n, (parent, role, name, box) in enumerate(entries)
    ]


WINDOW = XWindow((100, 80, 400, 320), 5, False, "Notes")
FRAME = (-1, "frame", "Notes", (101, 100, 398, 298))


def names(nodes, windows=(WINDOW,)):
    return [element.name for element in elements_of(nodes, windows, SIZE)]


def test_what_is_visible_and_enabled_is_an_element():
    nodes = tree(FRAME, (0, "push button", "Save", (110, 110, 40, 30)))
    assert elements_of(nodes, [WINDOW], SIZE) == [
        RealElement(
            role="push button", kind="button", name="Save", box=(110, 110, 40, 30), states=tuple(ON), has_text=None
        )
    ]
    nodes[1]["states"] = ["showing", "visible"]
    assert names(nodes) == []


def test_boxes_are_in_pixels_on_a_scaled_screen():
    nodes = tree((-1, "frame", "Notes", (50, 50, 199, 149)), (0, "push button", "Save", (55, 55, 20, 15)))
    assert [element.box for element in elements_of(nodes, [WINDOW], SIZE, scale=2)] == [(110, 110, 40, 30)]


def test_what_lies_below_another_window_is_left_out():
    nodes = tree(
        FRAME,
        (0, "push button", "Save", (150, 150, 40, 30)),
        (-1, "dialog", "Ask", (141, 140, 198, 138)),
        (2, "push button", "OK", (250, 200, 40, 30)),
    )
    dialog = XWindow((140, 120, 200, 160), 5, False, "Ask")
    assert names(nodes, [dialog, WINDOW]) == ["OK"]
    # A window of another program is on top of both.
    assert names(nodes, [XWindow((0, 0, 800, 600), 9, False), dialog, WINDOW]) == []


def test_two_windows_of_one_size_are_told_apart_by_their_titles():
    box = (101, 100, 398, 298)
    nodes = tree((-1, "frame", "Notes", box), (-1, "dialog", "Ask", box))
    dialog = XWindow(WINDOW.box, 5, False, "Ask")
    assert match_windows(nodes, [dialog, WINDOW]) == {0: WINDOW, 1: dialog}


def test_a_tree_of_before_a_window_was_moved_is_left_out():
    moved = XWindow((130, 80, 400, 320), 5, False, "Notes")
    assert match_windows(tree(FRAME), [moved]) == {}


def test_what_is_scrolled_out_of_its_list_is_left_out():
    nodes = tree(
        FRAME,
        (0, "scroll pane", "", (110, 110, 200, 100)),
        (1, "list item", "first", (110, 110, 200, 20)),
        (1, "list item", "last", (110, 200, 200, 20)),
        (1, "push button", "outside", (790, 590, 40, 30)),
    )
    assert names(nodes) == ["first"]


def test_items_of_a_menu_count_only_in_a_popup():
    nodes = tree(
        FRAME,
        (0, "menu bar", "", (101, 100, 398, 25)),
        (1, "menu", "File", (105, 100, 40, 25)),
        (2, "menu item", "Open", (105, 130, 100, 25)),
    )
    popup = XWindow((104, 125, 110, 200), 5, True)
    kinds = [(element.kind, element.name) for element in elements_of(nodes, [popup, WINDOW], SIZE)]
    assert kinds == [("menu", "File"), ("menu_item", "Open")]
    assert names(nodes) == ["File"]


def test_wrappers_and_crossing_elements_are_left_out():
    nodes = tree(
        FRAME,
        (0, "combo box", "Large", (110, 110, 100, 30)),
        (1, "push button", "Open list", (180, 110, 30, 30)),
        (0, "push button", "one", (300, 110, 60, 30)),
        (0, "push button", "two", (320, 110, 60, 30)),
    )
    assert names(nodes) == ["Large"]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Save (Ctrl+S)", "Save"),
        ("<b>Bold</b>\nMakes it bold", "Bold"),
        ("Line (L)", "Line"),
        ("Square root [Ctrl+R]", "Square root"),
        ("Compile (twice)", "Compile (twice)"),
        ("&Open", "Open"),
        ("Name:", "Name"),
        ("\uf013 Stats", "Stats"),
        ("Drag & drop", "Drag & drop"),
        ("end_group", ""),
        ('the "best" one', ""),
        ("...", ""),
        ("x" * 61, ""),
    ],
)
def test_names_are_cleaned(raw: str, clean: str):
    assert clean_name(raw) == clean


def test_a_field_is_called_by_its_label_first():
    node = tree((-1, "text", "typed", None))[0] | {"label": "Name:", "placeholder": "e.g. Ada"}
    assert name_of(node, "field") == "Name"
    assert name_of(node | {"label": "", "name": ""}, "field") == "e.g. Ada"
    assert name_of(tree((-1, "push button", "", None))[0] | {"description": "Undo"}, "button") == "Undo"


def test_icons_are_told_from_texts_by_what_is_read_on_them():
    assert name_is_on("Save as", (90, 30), [("Save as", 0.99)]) is True
    assert name_is_on("Save", (32, 32), []) is False
    assert name_is_on("Save", (32, 32), [("Load", 0.95)]) is None
    assert name_is_on("Save", (120, 30), []) is None
    assert name_is_on("7", (32, 32), []) is None


class _Blind(NameReader):
    def __init__(self) -> None:
        self.read = lambda crop: []


def test_pressed_buttons_of_tool_bars_are_no_check_boxes():
    image = np.zeros((100, 200, 3), np.uint8)
    tool = element("Line", "radio", box=(10, 20, 30, 28), text=None)
    tick = element("Wrap lines", "checkbox", box=(10, 20, 16, 16), text=None)
    label = element("Wrap lines", "checkbox", box=(10, 20, 120, 24), text=None)
    marked = [(one.kind, one.has_text) for one in _Blind().mark([tool, tick, label], image)]
    assert marked == [("button", False), ("checkbox", True), ("checkbox", True)]


def test_a_name_is_readable_with_a_misread_letter():
    assert is_readable("Preferences", "Preferenccs")
    assert is_readable("Open...", "open")
    assert not is_readable("Save", "Load")
    assert not is_readable("…", "x")


def element(name: str, kind: str = "button", *, box=(10, 20, 40, 30), text: bool | None = True, states=()):
    role = next(role for role, value in KINDS.items() if value == kind)
    return RealElement(role=role, kind=kind, name=name, box=box, has_text=text, states=states)


def seen(screen: str, app: str, *elements: RealElement) -> Seen:
    return Seen(
        screen=screen,
        app=app,
        toolkit="gtk3",
        theme="light",
        scale=1,
        image=np.zeros((100, 200, 3), np.uint8),
        elements=elements,
        words={element.name.casefold() for element in elements},
    )


def test_a_recording_is_resumed_behind_its_last_whole_line(tmp_path: Path):
    folder = RecordingFolder(tmp_path)
    folder.add(seen("a-main", "a", element("Save", text=False)))
    with (tmp_path / "screens.jsonl").open("a") as file:
        file.write('{"screen": "half')
    again = RecordingFolder(tmp_path)
    assert again.names == {"a-main"}
    assert again.rows == folder.rows
    assert element_from_json(again.rows[0]["elements"][0]) == element("Save", text=False)
    assert (tmp_path / "screens" / "a-main.png").is_file()
    again.add(seen("a-menu", "a", element("Save")))
    assert [row["screen"] for row in RecordingFolder(tmp_path).rows] == ["a-main", "a-menu"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "screens.jsonl").write_text('{"picture": 1}\n')
    with pytest.raises(UsageError, match=r"screens.jsonl is no recording \(KeyError\('screen'\)\); choose another"):
        RecordingFolder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot record into .*file: Not a directory; choose another folder"):
        RecordingFolder(tmp_path / "file")


def test_questions_are_in_the_format_of_the_evaluation(tmp_path: Path):
    folder = RecordingFolder(tmp_path)
    folder.add(seen("a-main", "a", element("Save", text=False), element("Bold", "checkbox", states=("checked",))))
    folder.add(seen("b-main", "b", element("Quit", "menu_item"), element("Save", "tab")))
    assert write_questions(folder) == (4, 2)
    rows = [json.loads(line) for line in (tmp_path / "targets.jsonl").read_text().splitlines()]
    assert [row["extra"]["group"] for row in rows] == ["icon", "checkbox", "menu", "text"]
    assert rows[0]["points"] == [[0.15, 0.35]]
    assert rows[0]["boxes"] == [[0.05, 0.2, 0.25, 0.5]]
    assert rows[1]["extra"]["instruction"].startswith(("untick", "click"))
    absent = [json.loads(line) for line in (tmp_path / "absent.jsonl").read_text().splitlines()]
    assert [(row["points"], row["extra"]["name"], row["extra"]["from"]) for row in absent] == [
        ([], "Quit", "b"),
        ([], "Bold", "a"),
    ]
    questions = QuestionsFile(Source(kind="questions", path=str(tmp_path / "targets.jsonl")))
    assert len(questions.questions()) == 4
    assert not questions.problems.entries


def test_only_names_that_stand_alone_are_asked_for():
    same = [element("Close"), element("Close...", "menu_item"), element("Open"), element("Help", text=None)]
    assert [one.name for one in askable(same)] == ["Open"]


def test_the_same_element_is_asked_for_three_times_at_most():
    rows = [
        {
            **{"screen": f"a-{n}", "image": "x.png", "size": [200, 100], "app": "a", "theme": "light", "scale": 1},
            **{"toolkit": "qt5", "words": [], "elements": [element("File", "menu").as_json()]},
        }
        for n in range(5)
    ]
    assert [row["id"] for row in targets_of(rows)] == ["a-0#0", "a-1#0", "a-2#0"]


def test_what_is_absent_shares_no_word_with_the_screen():
    def row(app: str, words: list[str], *elements: RealElement):
        entries = [entry.as_json() for entry in elements]
        return {"screen": app, "image": f"{app}.png", "size": [9, 9], "app": app, "words": words, "elements": entries}

    rows = [row("a", ["save as"], element("Save as")), row("b", [], element("Save"), element("Undo", text=False))]
    # The screen of a shows the word "save" of b's button, and may well have b's icon without a name.
    assert [(one["extra"]["app"], one["extra"]["name"]) for one in absent_of(rows)] == [("b", "Save as")]


def test_wordings_fit_the_kind_and_the_state():
    texts = {wording(element("Dark Mode", text=False), random.Random(n))[1] for n in range(60)}
    assert {"click the dark mode icon", 'press the "Dark Mode" button'} <= texts
    assert {wording(element("Search", "field"), random.Random(n))[0] for n in range(20)} == {
        "the search field",
        "the search box",
    }
    checked = {wording(element("Bold", "checkbox", states=("checked",)), random.Random(n))[1] for n in range(30)}
    assert 'untick "Bold"' in checked
    assert not any(text.startswith("tick") for text in checked)
    # Abbreviations keep their capitals.
    assert "click the Export PDF icon" in {
        wording(element("Export PDF", text=False), random.Random(n))[1] for n in range(60)
    }


def test_groups_are_those_of_the_results():
    groups = {kind: element("x", kind).group for kind in set(KINDS.values()) - {"menu"}}
    assert groups == {
        **dict.fromkeys(("button", "tab", "item", "header"), "text"),
        **dict.fromkeys(("checkbox", "radio"), "checkbox"),
        **dict.fromkeys(("field", "dropdown"), "field"),
        "menu_item": "menu",
        "link": "link",
    }
    assert element("x", text=False).group == "icon"
    assert element("x", "item", text=False).group == "text"


def test_rectangles():
    assert contains((0, 0, 10, 10), (0, 0, 10, 10))
    assert not contains((0, 0, 10, 10), (1, 0, 10, 10))
    assert contains((0, 0, 10, 10), (1, 0, 10, 10), slack=1)
    assert overlap((0, 0, 10, 10), (5, 8, 10, 10)) == 10
    assert overlap((0, 0, 10, 10), (20, 20, 5, 5)) == 0
    assert inner_points((0, 0, 8, 4)) == [(4, 2), (2, 1), (6, 1), (2, 3), (6, 3)]


# --- Pages --------------------------------------------------------------------------------------------------------


def measured(text: str = "", *, box=(10.2, 20.0, 30.0, 30.0), tag: str = "BUTTON", picture: float = 16.0):
    return {"box": list(box), "tag": tag, "text": text, "disabled": False, "picture": picture}


def test_elements_of_pages_have_text_or_an_icon():
    assert element_of("button", "Menu", (), measured(), 2) == RealElement(
        role="button", kind="button", name="Menu", box=(20, 40, 60, 60), has_text=False
    )
    assert element_of("button", "Menu", (), measured(" Menu "), 1).has_text is True
    assert element_of("button", "Menu", (), measured("Go"), 1).has_text is None
    # A large picture that is a link.
    assert element_of("link", "Sunset", (), measured(picture=300.0), 1).has_text is None
    assert element_of("combobox", "City", (), measured(tag="INPUT"), 1).kind == "field"
    assert element_of("button", "Tiny", (), measured(box=(0, 0, 5, 5)), 1) is None
    assert element_of("menu", "Edit", (), measured(), 1) is None


def test_states_of_pages_are_those_that_are_on():
    on, off = {"name": "focused", "value": {"value": True}}, {"name": "expanded", "value": {"value": False}}
    checked = {"name": "checked", "value": {"value": "true"}}
    assert states_of({"properties": [on, off, checked]}) == ("focused", "checked")


def test_pages_are_listed_by_application(tmp_path: Path):
    with pytest.raises(UsageError, match=r"expected folders with pages .* but there are none"):
        pages.pages_of(tmp_path)
    (tmp_path / "shop" / "help").mkdir(parents=True)
    (tmp_path / "shop" / "index.html").write_text("")
    (tmp_path / "shop" / "help" / "a.html").write_text("")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "pages.txt").write_text("http://127.0.0.1:8000/\nlocal.html\n")
    assert pages.pages_of(tmp_path) == {
        "server": ["http://127.0.0.1:8000/", "server/local.html"],
        "shop": ["shop/help/a.html", "shop/index.html"],
    }


PAGE = """<!doctype html><title>Shop</title><style>body{margin:20px} a{color:#000}
.icon{font-family:"Some Icons"} .far{position:absolute;top:3000px}</style>
<button aria-label="Search"><svg width=16 height=16><circle r=6 cx=8 cy=8 /></svg></button>
<button><span class=icon>heart</span></button> <button disabled>Sell</button> <button>Buy</button>
<label>Name <input></label> <a href="#x">Terms</a> <input type=checkbox id=c><label for=c>Gift</label>
<button class=far>Below</button><div style="position:relative"><button>Covered</button>
<div style="position:absolute;inset:0;background:#ddd"></div></div>"""


@pytest.mark.slow
def test_a_page_is_recorded_with_what_is_visible_on_it(tmp_path: Path):
    try:
        find_browser()
    except EnvError as error:
        pytest.skip(str(error))
    (tmp_path / "pages" / "shop").mkdir(parents=True)
    (tmp_path / "pages" / "shop" / "index.html").write_text(PAGE)
    to = tmp_path / "out"
    done = CliRunner().invoke(app, ["data", "record-screens", "--to", str(to), "--pages", str(tmp_path / "pages")])
    assert done.exit_code == 0, done.output
    assert "shop: 1 new screens" in done.output.replace("\n", "")
    row = json.loads((to / "screens.jsonl").read_text().splitlines()[0])
    entries = {entry["name"]: (entry["kind"], entry["has_visible_text"]) for entry in row["elements"]}
    assert entries == {
        "Search": ("button", False),
        "heart": ("button", False),
        "Buy": ("button", True),
        "Name": ("field", True),
        "Terms": ("link", True),
        "Gift": ("checkbox", True),
    }
    again = CliRunner().invoke(app, ["data", "record-screens", "--to", str(to), "--pages", str(tmp_path / "pages")])
    assert "shop: 0 new screens" in again.output.replace("\n", "")


# --- Programs -----------------------------------------------------------------------------------------------------


def test_the_list_of_programs_can_be_read():
    every = programs.read_programs()
    assert len(every) > 80
    assert [one.package for one in programs.read_programs(only=["cmake-gui"])] == ["cmake-qt-gui"]
    with pytest.raises(UsageError, match="there is no program 'nope' on the list; it has abiword, ark"):
        programs.read_programs(only=["nope"])


def test_a_program_without_a_command_is_refused(tmp_path: Path):
    (tmp_path / "list.toml").write_text("[editor]\npackage = 'editor'\n")
    with pytest.raises(UsageError, match=r"expected a command of the program 'editor' in .*list.toml"):
        programs.read_programs(tmp_path / "list.toml")


def test_every_program_gets_another_look():
    assert [look.name for look in record.looks_of(0, 2)] == ["small", "dark"]
    assert record.looks_of(1, 1) != record.looks_of(0, 1)
    with pytest.raises(UsageError, match="expected 1 to 8 looks, got 9"):
        record.looks_of(0, 9)


def test_looks_are_written_for_all_toolkits(tmp_path: Path):
    for look in LOOKS:
        write_settings(look, tmp_path)
        assert look.icons in (tmp_path / ".config/gtk-3.0/settings.ini").read_text()
        assert f"icon_theme={look.icons}" in (tmp_path / ".config/qt5ct/qt5ct.conf").read_text()
        assert environment(look)["QT_SCALE_FACTOR"] == str(look.scale)
    dark = next(look for look in LOOKS if look.theme == "dark")
    write_settings(dark, tmp_path)
    colors = (tmp_path / ".config/qt5ct/colors.conf").read_text().splitlines()[1]
    # Qt's palette has 21 roles.
    assert colors.count("#ff") == 21
    assert environment(dark)["GTK_THEME"] == "Adwaita:dark"


def test_missing_tools_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session.shutil, "which", lambda name: None)
    with pytest.raises(EnvError, match=r"recording programs needs Xvfb \(xvfb\), .*: apt-get install xvfb openbox"):
        session.check_tools()
    monkeypatch.setattr(session.shutil, "which", lambda name: name)
    monkeypatch.setattr(session, "SYSTEM_PYTHON", "/nowhere/python3")
    with pytest.raises(EnvError, match="recording programs needs AT-SPI for the system's Python"):
        session.check_tools()


def test_programs_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "check_tools", lambda: None)
    monkeypatch.setattr(record.shutil, "which", lambda name: None)
    with pytest.raises(EnvError, match="none of the programs is installed: apt-get install ark meld"):
        list(record.record_programs(RecordingFolder(tmp_path), ["meld", "ark"]))
    with pytest.raises(UsageError, match="expected 1 to 8 looks, got 0"):
        list(record.record_programs(RecordingFolder(tmp_path), ["meld"], looks=0))


def test_an_account_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="there is no account 'nobody-there' on this machine; create it"):
        session.Session(LOOKS[0], "nobody-there")


def test_only_root_becomes_another_account(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session.os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root can run programs as 'daemon'; leave --user out"):
        session.Session(LOOKS[0], "daemon")


def test_the_toolkit_is_named_as_people_name_it():
    assert [explore.toolkit_name(text) for text in ("gtk 3.24.38", "GAIL 2.24", "Qt 5.15.8")] == ["gtk3", "gtk2", "qt5"]


class _Names:
    """Stands in for the OCR engine."""

    def mark(self, elements, image, scale):
        return [replace(element, has_text=True) for element in elements]


@pytest.mark.slow
def test_a_program_is_recorded_with_boxes_that_hold_what_they_name(tmp_path: Path):
    try:
        session.check_tools()
    except EnvError as error:
        pytest.skip(str(error))
    if not shutil.which("mousepad"):
        pytest.skip("mousepad is not installed")
    folder = RecordingFolder(tmp_path)
    mousepad = programs.Program("mousepad", "mousepad", ("mousepad", "Documents/Shopping.txt"), screens=2)
    assert programs.record_program(mousepad, LOOKS[0], folder, _Names()) == 2
    main, menu = folder.rows
    assert (main["screen"], main["toolkit"], main["size"]) == ("mousepad-small-main", "gtk3", [1024, 768])
    menus = {entry["name"]: entry["box_px"] for entry in main["elements"] if entry["kind"] == "menu"}
    assert {"File", "Edit", "Help"} <= menus.keys()
    before, after = (np.array(PILImage.open(tmp_path / row["image"]).convert("RGB")) for row in folder.rows)
    # The menu that was opened by its box looks different now; the one at the other end does not.
    opened = menu["screen"].removeprefix("mousepad-small-menu-").capitalize()
    other = "Help" if opened != "Help" else "File"
    for name, changes in ((opened, True), (other, False)):
        left, top, width, height = menus[name]
        area = np.s_[top : top + height, left : left + width]
        # Letters stand in the box: it has more than one colour.
        assert len(np.unique(before[area].reshape(-1, 3), axis=0)) > 5
        assert bool((before[area] != after[area]).any()) is changes
    assert any(entry["kind"] == "menu_item" for entry in menu["elements"])
    assert subprocess.run(["pgrep", "-f", "mousepad Documents/Shopping.txt"], check=False).returncode == 1


# --- What can go wrong --------------------------------------------------------------------------------------------


def test_a_missing_ocr_engine_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(EnvError, match="needs rapidocr to tell icons from texts: pip install rapidocr onnxruntime"):
        NameReader()


@pytest.fixture
def idle(tmp_path: Path) -> session.Session:
    """A session that was not started."""
    made = session.Session(LOOKS[0])
    made.home, made._environment = tmp_path, {"PATH": "/usr/bin:/bin"}
    return made


def test_a_program_that_is_not_installed_does_not_start(idle: session.Session):
    with pytest.raises(EnvError, match="the program 'no-such-program' is not installed"):
        idle.start(["no-such-program"])


def test_a_reader_that_fails_or_hangs_is_reported(idle: session.Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "SYSTEM_PYTHON", "/bin/ls")
    monkeypatch.setattr(session, "READER", Path("/no-such-file"))
    with pytest.raises(EnvError, match=r"the accessibility tree cannot be read: .*no-such-file"):
        idle.read()
    with pytest.raises(EnvError, match=r"sleep did not answer within 0.1 s; is the machine overloaded\?"):
        idle._run(["sleep", "5"], timeout_s=0.1)


@pytest.mark.parametrize(
    ("bus", "message"),
    [
        ("true", "dbus-daemon did not start: apt-get install"),
        ("echo unix:path=/x", "the accessibility bus does not answer: no bus; apt-get install"),
    ],
)
def test_a_bus_that_does_not_start_is_reported(
    bus: str, message: str, idle: session.Session, monkeypatch: pytest.MonkeyPatch
):
    process = subprocess.Popen(["sh", "-c", bus], stdout=subprocess.PIPE)
    monkeypatch.setattr(idle, "_popen", lambda command, stdout: process)
    failed = subprocess.CompletedProcess([], 1, b"", b"no bus")
    monkeypatch.setattr(idle, "_run", lambda command, timeout_s: failed)
    with process, pytest.raises(EnvError, match=message):
        idle._start_bus()


class _Silent:
    """A session in which no program answers."""

    look = LOOKS[0]
    x_display = None

    def await_still(self, timeout_s: float):
        return np.zeros((4, 4, 3), np.uint8)

    def grab(self):
        return np.zeros((4, 4, 3), np.uint8)

    def read(self):
        return []


def test_a_screen_on_which_nothing_answers_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(explore, "stacking", lambda display: [])
    with pytest.raises(EnvError, match="the screen keeps changing, or no program on it answers"):
        explore.snapshot(_Silent())
    monkeypatch.setattr(programs, "stacking", lambda display: [])
    monkeypatch.setattr(programs, "_FIRST_WINDOW_S", 0.0)
    with pytest.raises(EnvError, match="meld showed no window within 0 s"):
        programs._await_window(_Silent(), programs.Program("meld", "meld", ("meld",)), 0)


def test_a_page_that_keeps_moving_is_reported(monkeypatch: pytest.MonkeyPatch):
    places = iter(range(100))
    monkeypatch.setattr(pages.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(pages, "page_elements", lambda browser: [element("Go", box=(next(places), 0, 9, 9))])
    monkeypatch.setattr(pages, "_view_image", lambda browser: np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(EnvError, match="the page keeps moving"):
        pages._still(None, pages.VIEWS[0])


def test_a_recording_without_installed_programs_ends_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "check_tools", lambda: None)
    monkeypatch.setattr(record, "NameReader", _Names)
    monkeypatch.setattr(record.shutil, "which", lambda name: name if name == "ark" else None)
    monkeypatch.setattr(record, "record_program", _refuse)
    done = CliRunner().invoke(app, ["data", "record-screens", "--to", str(tmp_path), "--programs", "ark,meld"])
    lines = done.output.replace("\n", "")
    # The look depends on the place on the list.
    assert re.search(r"ark \(\w+\): it is broken", lines)
    assert re.search(r"meld \(\w+\): not installed: apt-get install meld", lines)
    assert "0 screens, 0 targets, 0 absent ones in" in lines


def _refuse(*args: object, **options: object) -> int:
    raise EnvError("it is broken")


def test_a_stopped_recording_says_how_to_resume_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*args: object, **options: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "record_programs", stop)
    done = CliRunner().invoke(app, ["data", "record-screens", "--to", str(tmp_path)])
    assert isinstance(done.exception, RunStopped)
    assert "stopped; the same command resumes the recording in" in str(done.exception)
    assert (tmp_path / "targets.jsonl").is_file()
