"""Walks through a program and records what it shows: its window, its menus, its dialogs and their tabs."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import EnvError
from molmo_agent.synthetic.real_screens.element import RealElement, inner_points
from molmo_agent.synthetic.real_screens.program_truth import XWindow, clean_name, elements_of, stacking
from molmo_agent.synthetic.real_screens.session import CARET, Session, changed_pixels

# Menu items that open a dialog or a harmless view. The others change or end something.
_OPENS_DIALOG = re.compile(
    r"preferences|options|settings|configure|properties|about|find|replace|search|go to|open|save as|new|export|"
    r"import|print|insert|columns|toolbars?|shortcuts|connect|statistics|filter|sort|font|zoom|add|edit|manage|plugins",
    re.IGNORECASE,
)
_NEVER = re.compile(
    r"quit|exit|close|log ?out|delete|remove|recent|online|web|report|donate|handbook|new window|whats.?this|"
    r"external|open with|folder in|full.?screen",
    re.IGNORECASE,
)
_MENU_BUTTONS = re.compile(r"\bmenu\b|^settings$|^options$|^view options$|^preferences$", re.IGNORECASE)
_TRIES = 3
# A window with no menu and at most so many elements may be a dialog before the program's own window.
_WELCOME = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a screen shows at one moment: image and truth belong together."""

    image: Image
    elements: Sequence[RealElement]
    words: frozenset[str]
    toolkit: str
    windows: Sequence[XWindow]

    @property
    def key(self) -> frozenset[tuple[str, tuple[int, int, int, int]]]:
        """What distinguishes it from other screens of the program."""
        return frozenset((element.name, element.box) for element in self.elements)


def snapshot(session: Session) -> Snapshot:
    """Read the screen while it is still.

    Raises:
        EnvError: it keeps changing, or no program answers.
    """
    for attempt in range(_TRIES):
        before = session.await_still(timeout_s=6.0)
        nodes = session.read()
        windows = stacking(session.x_display)
        after = session.grab()
        # Graphs never stand still: then what lies where nothing moves has to do.
        if nodes and (changed_pixels(before, after) <= CARET or attempt == _TRIES - 1):
            elements = elements_of(nodes, windows, session.look.size, _scale_of(nodes, session.look.scale))
            elements = _unchanged(elements, before, after)
            words = frozenset(
                clean.casefold()
                for node in nodes
                for name in (node["name"], node["description"], node.get("label", ""), node.get("placeholder", ""))
                if (clean := clean_name(name) or name.strip())
            )
            return Snapshot(
                image=before,
                elements=elements,
                words=words,
                toolkit=toolkit_name(nodes[-1]["toolkit"]),
                windows=windows,
            )
    raise EnvError("the screen keeps changing, or no program on it answers")


def _unchanged(elements: Sequence[RealElement], before: Image, after: Image) -> list[RealElement]:
    """Leave out what lies where the screen changed."""
    changed = np.any(before != after, axis=2)
    rows = []
    for element in elements:
        left, top, width, height = element.box
        if changed[top : top + height, left : left + width].mean() < 0.02:
            rows.append(element)
    return rows


def _scale_of(nodes: Sequence[dict[str, Any]], scale: int) -> int:
    # Both GTK 3 and Qt 5 report units, GTK 2 knows no others than pixels.
    return 1 if any(toolkit_name(node["toolkit"]) == "gtk2" for node in nodes) else scale


def toolkit_name(toolkit: str) -> str:
    """Return gtk2, gtk3, qt5 and so on of a toolkit's name and version."""
    name, _, version = toolkit.lower().partition(" ")
    return f"{name.replace('gail', 'gtk')}{version[:1]}"


class Explorer:
    """Shows a program's windows, menus and dialogs one after another, and hands each to ``record``.

    Args:
        session: in which the program runs, its window open.
        record: takes a short name of the screen and the screen.
        limit: of screens.
        turn: which menus and dialogs come first, so that runs with other looks show others.
    """

    def __init__(
        self, session: Session, record: Callable[[str, Snapshot], None], *, limit: int = 8, turn: int = 0
    ) -> None:
        self._session, self._record, self._limit, self._turn = session, record, limit, turn
        self._known: list[frozenset[Any]] = []
        self._count = 0

    def run(self) -> None:
        """Walk through the program; ends early where it does not come back to its window.

        Raises:
            EnvError: the program does not show anything that can be read.
        """
        main = self._main()
        menus = [element for element in main.elements if element.kind == "menu"]
        menus += [e for e in main.elements if e.kind == "button" and _MENU_BUTTONS.search(e.name)]
        menus = _rotated(menus, self._turn)
        self._tabs("main", main, [element for element in main.elements if element.kind == "tab"])
        dialogs: list[tuple[RealElement, str]] = []
        for number, menu in enumerate(menus):
            if self._count >= self._limit:
                return
            items = self._open(menu)
            if items is None:
                continue
            # Half of the screens are for dialogs.
            if number < max(2, self._limit // 3):
                self._keep(f"menu-{slug(menu.name)}", items)
            dialogs += [(menu, e.name) for e in items.elements if e.kind in ("menu_item", "button") and _is_dialog(e)]
            if not self._leave(main):
                return
        preferred = sorted(_rotated(dialogs, 3 * self._turn), key=lambda entry: not _is_preferences(entry[1]))
        for menu, name in preferred:
            if self._count >= self._limit or not self._dialog(main, menu, name):
                return

    def _main(self) -> Snapshot:
        """Record what comes first, and the window behind it where that is a welcome or an error."""
        shot = self._see("main")
        for number in range(3):
            has_menu = any(element.kind == "menu" for element in shot.elements)
            if len(shot.windows) < 2 and (has_menu or len(shot.elements) > _WELCOME):
                return shot
            self._session.press("Escape")
            time.sleep(1.0)
            windows = stacking(self._session.x_display)
            if not windows or len(windows) == len(shot.windows):
                return shot
            shot = self._see(f"window-{number}")
        return shot

    def _dialog(self, main: Snapshot, menu: RealElement, name: str) -> bool:
        """Record a dialog and its tabs; return whether the program is back at its window."""
        items = self._open(menu)
        item = next((e for e in items.elements if e.name == name), None) if items else None
        if item is None:
            return self._leave(main)
        self._session.click(*inner_points(item.box)[0])
        self._session.move(2, self._session.look.size[1] - 2)
        time.sleep(0.8)
        window_page = self._see(slug(name))
        main_keys = {element.key for element in main.elements}
        self._tabs(
            slug(name), window_page, [e for e in window_page.elements if e.kind == "tab" and e.key not in main_keys]
        )
        return self._leave(main)

    def _tabs(self, name: str, shot: Snapshot, tabs: Sequence[RealElement]) -> None:
        """Record what is behind some tabs, and go back to the first one."""
        if len(tabs) < 2:
            return
        for tab in [*_rotated(tabs, 1 + self._turn)[:3], tabs[0]]:
            if self._count < self._limit:
                self._session.click(*inner_points(tab.box)[0])
                self._session.move(2, self._session.look.size[1] - 2)
                self._see(f"{name}-{slug(tab.name)}")

    def _open(self, menu: RealElement) -> Snapshot | None:
        self._session.click(*inner_points(menu.box)[0])
        time.sleep(0.3)
        shot = snapshot(self._session)
        return shot if any(e.kind in ("menu_item", "button") for e in shot.elements) else None

    def _leave(self, main: Snapshot) -> bool:
        """Close menus and dialogs; return whether as many windows are open as at the start."""
        session = self._session
        for keys in (("Escape",), ("Escape",), ("Escape",), ("Alt_L", "F4"), ("Escape",)):
            windows = stacking(session.x_display)
            if keys[0] != "Escape" and len(windows) <= len(main.windows):
                break
            session.press(*keys)
            time.sleep(0.25)
        session.move(2, session.look.size[1] - 2)
        time.sleep(0.3)
        return len(stacking(session.x_display)) == len(main.windows)

    def _see(self, name: str) -> Snapshot:
        shot = snapshot(self._session)
        self._keep(name, shot)
        return shot

    def _keep(self, name: str, shot: Snapshot) -> None:
        if len(shot.elements) >= 3 and shot.key not in self._known:
            self._known.append(shot.key)
            self._count += 1
            self._record(name, shot)


def _is_dialog(element: RealElement) -> bool:
    name = element.name
    return bool(_OPENS_DIALOG.search(name) or name.endswith(("...", "…"))) and not _NEVER.search(name)


def _is_preferences(name: str) -> bool:
    return bool(re.search(r"preferences|options|settings|configure", name, re.IGNORECASE))


def _rotated(entries: Sequence[Any], turn: int) -> list[Any]:
    by = turn % len(entries) if entries else 0
    return [*entries[by:], *entries[:by]]


def slug(text: str) -> str:
    """Return a text as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:32] or "x"
