"""Random window contents: forms, settings, dialogs, file managers, players, canvases with shapes, articles."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import mix
from molmo_agent.envs.drawing.icons import COLORS, ICONS, SHAPES
from molmo_agent.envs.sim_desktop.layout import Flow
from molmo_agent.envs.sim_desktop.looks import Look
from molmo_agent.envs.sim_desktop.state import Menu, Widget, Window

# Icons that stand for commands, not for states of a title bar or menu.
TOOL_ICONS = tuple(name for name in ICONS if name not in ("chevron", "maximize", "minus", "close"))


@dataclass(slots=True)
class Writer:
    """Invents the texts of one screen; labels are rarely repeated."""

    rng: random.Random
    split: words.WordSplit
    _used_texts: set[str] = field(default_factory=set)

    def _fresh(self, make: Callable[[], str]) -> str:
        text = make()
        for _ in range(6):
            if text.casefold() not in self._used_texts:
                break
            text = make()
        self._used_texts.add(text.casefold())
        return text

    def label(self) -> str:
        """Return a label for a control."""
        return self._fresh(lambda: words.label(self.rng, self.split))

    def short(self, most_words: int = 2) -> str:
        """Return one to three words, often invented."""
        return self._fresh(lambda: words.short_text(self.rng, self.split, most_words))

    def item(self) -> str:
        """Return an entry of a list: a file, a name, a word."""
        roll = self.rng.random()
        if roll < 0.35:
            return self._fresh(lambda: words.file_name(self.rng, self.split))
        if roll < 0.6:
            return self._fresh(lambda: words.person(self.rng, self.split))
        return self.short()

    def sentence(self, num_words: int) -> str:
        """Return a line of running text."""
        return words.sentence(self.rng, self.split, num_words)

    def title(self) -> str:
        """Return a window title."""
        roll = self.rng.random()
        if roll < 0.3:
            return f"{self._fresh(lambda: words.file_name(self.rng, self.split))} - {self.short(1)}"
        return self.label()

    def labels(self, count: int) -> list[str]:
        """Return several labels."""
        return [self.label() for _ in range(count)]


def article(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """A heading and lines of text."""
    flow.text(writer.short(3), bold=True, font_size=round(flow.look.font_size * rng.choice((1.0, 1.3, 1.6))))
    for _ in range(rng.randint(1, 5)):
        if not flow.text(writer.sentence(rng.randint(3, 9)), gap=flow.look.u(2)):
            flow.text(writer.sentence(3), gap=flow.look.u(2))
    flow.top += flow.look.pad


def form(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Labelled fields and drop-downs."""
    side = rng.choice(("left", "left", "above", "above", "inside"))
    labels = writer.labels(rng.randint(2, 6))
    label_width = max(flow.look.text.width(label) for label in labels) if rng.random() < 0.8 else 0
    for label in labels:
        filled = rng.random() < 0.35
        value = writer.short() if filled and side != "inside" else ""
        kind = "dropdown" if rng.random() < 0.15 and side != "inside" else "field"
        if kind == "dropdown":
            value = writer.short()
        widget = flow.field(label, side=side, label_width=label_width, kind=kind, value=value)
        if widget and kind == "field" and rng.random() < 0.08:
            widget.secret = True


def choices(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Check boxes, or radio buttons of which one is chosen; now and then in two columns or a group box."""
    kind = rng.choice(("checkbox", "radio"))
    count = rng.randint(2, 6)
    if rng.random() < 0.5:
        flow.text(writer.short(3), bold=rng.random() < 0.5)
    selected = rng.randrange(count)
    columns = [flow]
    if flow.width > flow.look.u(300) and rng.random() < 0.4:
        middle = (flow.left + flow.right) // 2
        columns = [flow.part(flow.left, middle - flow.look.pad), flow.part(middle, flow.right)]
    group = f"group {len(flow.widgets)}"
    for i in range(count):
        checked = i == selected if kind == "radio" else rng.random() < 0.4
        columns[i % len(columns)].box(kind, writer.label(), checked=checked, group=group)
    flow.top = max(column.top for column in columns) + flow.look.u(4)


def command_row(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """A row of buttons."""
    icon = rng.choice(TOOL_ICONS) if rng.random() < 0.2 else None
    primary = 0 if rng.random() < 0.5 else -1
    align = rng.choice(("left", "right"))
    flow.buttons(writer.labels(rng.randint(1, 4)), align=align, primary=primary, icon=icon)


def listing(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """A list, with columns where it is wide enough."""
    if rng.random() < 0.4:
        flow.text(writer.short(), gap=flow.look.u(3))
    items = [writer.item() for _ in range(rng.randint(3, 14))]
    columns: list[list[str]] = []
    if flow.width > flow.look.u(260) and rng.random() < 0.6:
        columns = [[words.pseudo_word(rng, writer.split)[:12] for _ in items] for _ in range(rng.randint(1, 2))]
    icon = rng.choice(("file", "folder", "mail", "user", "music", "picture")) if rng.random() < 0.5 else None
    widget = flow.list("", items, rows=rng.randint(3, 10), icon=icon, columns=columns)
    if widget and rng.random() < 0.5:
        widget.selected = rng.choice(items)


def sliders(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """One to three sliders."""
    labels = writer.labels(rng.randint(1, 3))
    width = max(flow.look.text.width(label) for label in labels)
    for label in labels:
        flow.slider(label, round(rng.random(), 2), label_width=width)


def link_list(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Links in a row or one below the other."""
    flow.links(writer.labels(rng.randint(2, 5)), vertical=rng.random() < 0.5)


def tool_row(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Icons of a tool bar."""
    count = rng.randint(3, 10)
    names = rng.sample(TOOL_ICONS, count)
    labels = writer.labels(count) if rng.random() < 0.25 else []
    flow.toolbar(names, has_frame=rng.random() < 0.3, labels=[label[:14] for label in labels])


def icon_grid(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Files and folders as large icons with names below."""
    look = flow.look
    side = look.u(rng.choice((26, 32, 40)))
    pitch_x, pitch_y = side + look.u(rng.choice((34, 44))), side + look.small.height + look.u(12)
    tones = [mix(look.accent, look.paper, 0.1), (228, 178, 64), mix(look.ink, look.ground, 0.3)]
    rows = 0
    for row in range(rng.randint(1, 4)):
        if flow.top + (row + 1) * pitch_y > flow.bottom:
            break
        rows += 1
        for column in range(flow.width // pitch_x):
            if rng.random() < 0.1:
                continue
            x, y = flow.left + column * pitch_x + (pitch_x - side) // 2, flow.top + row * pitch_y
            name = look.small.fit(writer.item(), pitch_x - 4)
            if not name or name.endswith("…"):
                continue
            icon = rng.choice(("folder", "folder", "file", "picture", "music", "mail", "chart"))
            box = (x, y, x + side, y + side)
            at = (x + side // 2, y + side + look.u(2))
            ink = rng.choice(tones)
            flow.add(Widget("icon", name, box, at, icon=icon, ink=ink, font_size=side, align="center"))
    for widget in flow.widgets:
        if widget.kind == "icon" and widget.label_at:
            widget.ink = widget.ink or look.ink
    flow.top += rows * pitch_y


def shape_canvas(flow: Flow, writer: Writer, rng: random.Random, *, ground: bool = True, share: float = 1.0) -> None:
    """Coloured shapes scattered on a sheet."""
    look = flow.look
    height = min(flow.height, look.u(rng.choice((120, 180, 260, 400))))
    if height < look.u(40) or flow.width < look.u(40):
        return
    if ground:
        box = (flow.left, flow.top, flow.right, flow.top + height)
        flow.add(Widget("panel", "", box, shape="sunken"))
    occupied: list[tuple[int, int, int, int]] = []
    for _ in range(round(rng.randint(4, 22) * share)):
        size = rng.choice(("small", "medium", "large"))
        side = look.u({"small": rng.randint(11, 15), "medium": rng.randint(21, 27), "large": rng.randint(36, 46)}[size])
        if side + 6 > min(height, flow.width):
            continue
        x, y = (
            rng.randint(flow.left + 3, flow.right - side - 3),
            rng.randint(flow.top + 3, flow.top + height - side - 3),
        )
        box = (x, y, x + side, y + side)
        if any(b[0] < box[2] + 2 and box[0] < b[2] + 2 and b[1] < box[3] + 2 and box[1] < b[3] + 2 for b in occupied):
            continue
        occupied.append(box)
        color = rng.choice([c for c in COLORS if c != ("black" if look.dark else "white")])
        shape = rng.choice(tuple(SHAPES))
        # A range of colours is called "red": vary around the pure one.
        wobble = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        fill = mix(COLORS[color], wobble, rng.uniform(0, 0.1))
        flow.add(Widget("shape", f"{color} {shape}", box, shape=shape, color=color, size=size, fill=fill))
    flow.top += height + look.pad


BLOCKS: tuple[tuple[Callable[[Flow, Writer, random.Random], None], float], ...] = (
    (article, 1.0),
    (form, 2.0),
    (choices, 1.8),
    (command_row, 1.6),
    (listing, 1.5),
    (sliders, 0.8),
    (link_list, 0.8),
    (tool_row, 1.0),
    (icon_grid, 0.9),
    (shape_canvas, 0.8),
)


def fill(flow: Flow, writer: Writer, rng: random.Random, density: float) -> None:
    """Fill a column with random blocks until it is full or, at lower density, chance stops it."""
    makers, weights = [maker for maker, _ in BLOCKS], [weight for _, weight in BLOCKS]
    for _ in range(8):
        if flow.height < flow.look.row * 1.5:
            break
        rng.choices(makers, weights)[0](flow, writer, rng)
        if rng.random() > 0.55 + density:
            break


def window_content(window: Window, look: Look, writer: Writer, rng: random.Random, density: float) -> None:
    """Fill a window: perhaps a menu bar, a tool bar, tabs, a side bar; then blocks; perhaps buttons at the bottom."""
    left, top, right, bottom = window.box
    width = right - left - 2
    if window.has_frame and width > look.u(220) and rng.random() < 0.45:
        window.menus = [Menu(label, writer.labels(rng.randint(3, 8))) for label in writer.labels(rng.randint(3, 6))]
    height = bottom - top - 2 - (look.bar_height if window.has_frame else 0) - (look.menu_height if window.menus else 0)
    pad = look.pad
    flow = Flow(look, pad, pad, width - pad, height - pad, window.widgets)
    if flow.width > look.u(140) and rng.random() < 0.3:
        tool_row(flow, writer, rng)
    if flow.height > look.u(90) and rng.random() < 0.28:
        count = rng.randint(2, 5)
        flow.tabs(writer.labels(count), rng.randrange(count))
    if flow.height > look.u(120) and rng.random() < 0.5:
        row = Flow(
            look, flow.left, flow.bottom - look.row - look.u(2), flow.right, flow.bottom + look.pad, window.widgets
        )
        command_row(row, writer, rng)
        flow.bottom -= look.row + look.u(2) + pad
    if flow.width > look.u(330) and rng.random() < 0.5:
        split = flow.left + round(flow.width * rng.choice((0.28, 0.36, 0.5)))
        side = flow.part(flow.left, split - pad)
        rng.choice((listing, link_list, choices, form, icon_grid))(side, writer, rng)
        if rng.random() < density:
            fill(side, writer, rng, density)
        main = flow.part(split + pad // 2, flow.right)
        fill(main, writer, rng, density)
    else:
        fill(flow, writer, rng, density)
