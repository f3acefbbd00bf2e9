"""The mutable state of a simulated phone during an episode. Drawing and reactions are elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from molmo_agent.envs.drawing.canvas import Color
from molmo_agent.envs.sim_phone.looks import PhoneLook

DOCK_SIZE = 4
"""How many of the apps are in the dock."""


@dataclass(frozen=True, slots=True)
class App:
    """An installed application."""

    label: str
    package: str
    icon: str
    color: Color


@dataclass(slots=True, eq=False)
class Contact:
    """A person in the address book."""

    name: str
    number: str
    email: str


@dataclass(slots=True, eq=False)
class Note:
    """A note: its first line is its title."""

    title: str
    body: str
    pinned: bool = False


@dataclass(slots=True, eq=False)
class Alarm:
    """An alarm: "07:30"."""

    time: str
    days: str
    on: bool


@dataclass(slots=True, eq=False)
class Thread:
    """Messages to and fro with one person; True in front of those that the owner wrote."""

    name: str
    messages: list[tuple[bool, str]]
    when: str


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy: its image is a shape in a colour."""

    name: str
    price: str
    shape: str
    color: Color


@dataclass(slots=True, eq=False)
class Screenful:
    """One entry of the back stack: which page of which app, and how far it is scrolled."""

    app: App
    page: str = "main"
    # What the page is about: a contact's name, a product's.
    about: str = ""
    # Pixels of the content above the visible part.
    offset: int = 0


@dataclass(slots=True, eq=False)
class Overlay:
    """A menu or a question that lies over everything else: labels and what they do, as ("delete", "Groceries")."""

    title: str
    text: str
    choices: Sequence[tuple[str, tuple[str, ...]]]
    # The position it was opened at, pixels; None for a question in the middle of the screen.
    at: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class Phone:
    """A whole phone."""

    # Pixels of the screen held upright (rotation 0).
    width: int
    height: int
    # By day and by night.
    looks: tuple[PhoneLook, PhoneLook]
    # In the order of the home screen; the last four are in its dock.
    apps: list[App]
    clock: str
    date: str
    charge: int
    contacts: list[Contact]
    notes: list[Note]
    alarms: list[Alarm]
    threads: list[Thread]
    products: list[Product]
    # Switches by label, sliders by label (0 to 1).
    switches: dict[str, bool]
    levels: dict[str, float]
    # Titles of what apps without pages of their own show.
    headlines: dict[str, list[str]]
    cart: list[str] = field(default_factory=list)
    # Quarter turns, as Android counts them.
    rotation: int = 0
    # The back stack; empty: the home screen.
    stack: list[Screenful] = field(default_factory=list)
    overlay: Overlay | None = None
    # What fields hold, by label; which of them has the keyboard; whether the next letter is a capital.
    fields: dict[str, str] = field(default_factory=dict)
    focus: str | None = None
    capitals: bool = False
    # The time on the page of a new alarm: hour and minute.
    alarm_time: list[str] = field(default_factory=lambda: ["08", "00"])
    # Faults that tests switch on.
    locked: bool = False
    asleep: bool = False
    # Packages whose windows must not be captured, and those that do not start when they are opened.
    secure: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)

    @property
    def look(self) -> PhoneLook:
        """The look of the present theme."""
        return self.looks[self.switches["Dark theme"]]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the screen in its present rotation."""
        return (self.height, self.width) if self.rotation % 2 else (self.width, self.height)

    @property
    def top(self) -> Screenful | None:
        """The page in front; None: the home screen."""
        return self.stack[-1] if self.stack else None

    def app(self, label: str) -> App:
        """Return the app of a label."""
        return next(app for app in self.apps if app.label == label)

    def go(self, app: str, page: str = "main", about: str = "") -> None:
        """Show a page on top of what is shown now."""
        self.leave_field()
        self.stack.append(Screenful(self.app(app), page, about))

    def launch(self, app: App) -> None:
        """Bring an app to the front, at its first page; one that is broken changes nothing."""
        if app.package not in self.broken:
            self.leave_field()
            self.overlay = None
            self.stack = [Screenful(app)]

    def home(self) -> None:
        """Go to the home screen."""
        self.leave_field()
        self.overlay = None
        self.stack.clear()

    def back(self) -> None:
        """Close the topmost of: a menu, the keyboard, a page."""
        if self.overlay is not None:
            self.overlay = None
        elif self.focus is not None:
            self.leave_field()
        elif self.stack:
            self.stack.pop()

    def leave_field(self) -> None:
        """Hide the keyboard."""
        self.focus, self.capitals = None, False
