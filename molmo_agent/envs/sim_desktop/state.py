"""The mutable state of a simulated desktop during an episode: widgets in windows on a desktop.

Positions are in pixels of the virtual desktop (all monitors together); a widget's box is relative to its window's
content. Drawing and reactions are elsewhere.
"""

from dataclasses import dataclass, field

from molmo_agent.envs.drawing.canvas import Color, IntBox
from molmo_agent.envs.sim_desktop.looks import Look


@dataclass(slots=True, eq=False)
class Widget:
    """One control. ``kind`` decides which fields are used."""

    # One of the keys of ``draw_widgets.DRAW``: button, checkbox, radio, field, list, ...
    kind: str
    label: str
    box: IntBox
    # Where the label is drawn, relative like ``box``; None: on the widget itself, or nowhere.
    label_at: tuple[int, int] | None = None
    # Fields and drop-downs: the content. Text: nothing.
    value: str = ""
    checked: bool = False
    enabled: bool = True
    # Drawn with the accent colour: the default button of a dialog, the selected tab.
    primary: bool = False
    # Radio buttons and tabs of one group exclude each other.
    group: str = ""
    # Shown only while the tab of this label (of any group) is selected.
    page: str | None = None
    # Lists and drop-downs.
    items: list[str] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    offset: int = 0
    selected: str | None = None
    row_height: int = 0
    # Sliders and progress bars: 0 to 1.
    level: float = 0.0
    # Fields: shown as dots.
    secret: bool = False
    # Fields: how many characters stand left of the caret; whether everything is selected.
    caret: int = 0
    all_selected: bool = False
    icon: str | None = None
    shape: str | None = None
    color: str | None = None
    size: str | None = None
    # Overrides of the look.
    ink: Color | None = None
    fill: Color | None = None
    family: str | None = None
    font_size: int | None = None
    bold: bool = False
    align: str = "left"
    # Buttons: pressing it closes its window.
    closes: bool = False

    @property
    def width(self) -> int:
        """Pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.box[3] - self.box[1]

    @property
    def rows(self) -> int:
        """The number of visible rows of a list."""
        return max((self.height - 2) // max(self.row_height, 1), 1)


@dataclass(slots=True, eq=False)
class Menu:
    """A menu-bar entry with its items; "-" is a separator."""

    label: str
    items: list[str]


@dataclass(slots=True, eq=False)
class Window:
    """A window: a frame around widgets."""

    title: str
    # Of the whole frame.
    box: IntBox
    widgets: list[Widget] = field(default_factory=list)
    menus: list[Menu] = field(default_factory=list)
    icon: str | None = None
    # False: no title bar (pop-ups, full-screen pages).
    has_frame: bool = True
    # While it is open, nothing else reacts.
    modal: bool = False
    # Which title-bar buttons it has.
    buttons: tuple[str, ...] = ("minimize", "maximize", "close")
    minimized: bool = False
    # The box before it was maximised.
    restore_box: IntBox | None = None
    fill: Color | None = None
    in_taskbar: bool = True

    def page(self) -> str | None:
        """Return the label of the selected tab, None where there are no tabs."""
        return next((w.label for w in self.widgets if w.kind == "tab" and w.checked), None)

    def visible_widgets(self) -> list[Widget]:
        """Return the widgets of the selected tab and those of no tab."""
        page = self.page()
        return [w for w in self.widgets if w.page is None or w.page == page]

    def find(self, kind: str, label: str) -> Widget | None:
        """Return the widget with a kind and label; None if there is none."""
        return next((w for w in self.widgets if w.kind == kind and w.label == label), None)


@dataclass(slots=True, eq=False)
class OpenMenu:
    """An open menu, drawn above everything."""

    items: list[str]
    # Top left corner, pixels of the desktop.
    at: tuple[int, int]
    # The menu-bar entry or drop-down that opened it.
    owner: Menu | Widget
    window: Window | None
    # Minimum width, pixels.
    width: int = 0
    # "menu" of a menu bar, "choices" of a drop-down, "context" (the right button) or "start" (the task bar).
    what: str = "menu"


@dataclass(slots=True, eq=False)
class Desktop:
    """Everything on the screen, bottom window first."""

    width: int
    height: int
    look: Look
    windows: list[Window] = field(default_factory=list)
    icons: list[Widget] = field(default_factory=list)
    tray: list[str] = field(default_factory=list)
    # None: a plain colour.
    wallpaper: int | None = None
    plain: Color = (60, 90, 120)
    taskbar: bool = True
    clock: str = "12:00"
    menu: OpenMenu | None = None
    # The widget that has the keyboard.
    focus: Widget | None = None
    # The text that was last cut or copied.
    clipboard: str = ""
    # The monitor that carries the task bar, as a box of the virtual desktop; None: all of it.
    main: IntBox | None = None

    @property
    def area(self) -> IntBox:
        """The main monitor without the task bar."""
        return self.area_at(self.main[0] if self.main else 0)

    def area_at(self, x: int) -> IntBox:
        """Return the monitor that a horizontal position, pixels, is on, without the task bar if it has one."""
        left, top, right, bottom = self.main or (0, 0, self.width, self.height)
        if not left <= x < right:  # all monitors have one size
            number = min(max(x, 0), self.width - 1) // (right - left)
            return number * (right - left), top, (number + 1) * (right - left), bottom
        if not self.taskbar:
            return left, top, right, bottom
        bar = self.look.taskbar_height
        return (left, top + bar, right, bottom) if self.look.taskbar_on_top else (left, top, right, bottom - bar)

    def front(self) -> Window | None:
        """Return the uppermost window that is not minimised."""
        return next((w for w in reversed(self.windows) if not w.minimized), None)
