"""The looks of small web pages, and functions that draw their widgets: grey buttons, blue links, plain boxes.

Lengths are CSS pixels of an unscaled page; ``Sheet.u`` converts them to pixels of the image.
"""

from dataclasses import dataclass, field
from random import Random

from molmo_agent.envs.drawing import icons, words
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.drawing.fonts import Face, face
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_desktop.looks import hue, ink_on

PAGE_LOOKS: tuple[str, ...] = ("plain", "plain", "plain", "raised", "grey")
HELD_OUT_PAGE_LOOKS: tuple[str, ...] = ("round", "night")
"""Looks that do not occur in training."""

# Characters of scripts that the bundled fonts support; accented letters are in the word lists.
SCRIPTS = (
    "αβγδεζηθικλμνξοπρστυφχψω",
    "абвгдежзиклмнопрстуфхцчшщыэюя",
    "あいうえおかきくけこさしすせそたちつてとなにのはひまみもやよりるれろわ",
    "アイウエオカキクケコサシスセタチツテトナニノハヒマミモヤヨラリルレロワン",
    "日本語中文人大小上下左右山川水火木金土月",
    "가나다라마바사아자차카타파하한국어",
)
_WHITE: Color = (255, 255, 255)
_BLACK: Color = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLook:
    """Colours and fonts of a page."""

    name: str
    family: str
    # Font of text areas.
    mono: str
    ground: Color
    ink: Color
    link: Color
    button: Color
    button_edge: Color
    # Fields, lists, unticked boxes.
    paper: Color
    edge: Color
    # Title bars, strips behind tabs.
    strip: Color
    accent: Color
    # Corner radius of buttons, and of everything else, in CSS pixels.
    button_round: float
    radius: float
    bevel: bool


def sample_page_look(rng: Random, name: str, families: list[str]) -> PageLook:
    """Sample a look of a family of looks, with one of the given fonts: mostly the usual sans serif."""
    usual = [family for family in ("arimo", "arimo", "arimo", "arimo", "tinos", "cousine") if family in families]
    family = rng.choice(usual) if usual and rng.random() < 0.75 else rng.choice(families)
    accent = rng.choice(((0, 127, 255), (0, 117, 255), (40, 90, 200), hue(rng, 0.8, 0.75)))
    base = dict(
        name=name,
        family=family,
        mono="cousine" if "cousine" in families else rng.choice(families),
        ground=_WHITE,
        ink=_BLACK if rng.random() < 0.7 else (51, 51, 51),
        link=(0, 0, 238) if rng.random() < 0.8 else mix((0, 0, 238), hue(rng, 0.9, 0.6), 0.5),
        button=(239, 239, 239),
        button_edge=(118, 118, 118),
        paper=_WHITE,
        edge=(118, 118, 118),
        strip=(233, 233, 233),
        accent=accent,
        button_round=rng.choice((2.5, 3, 3)),
        radius=rng.choice((2, 2.5, 3)),
        bevel=False,
    )
    if name == "plain" and rng.random() < 0.2:
        base |= dict(ground=mix(_WHITE, hue(rng, 1.0, 1.0), rng.uniform(0.03, 0.2)))
    if name == "raised":
        grey = rng.choice(((192, 192, 192), (212, 208, 200)))
        base |= dict(button=grey, button_edge=(96, 96, 96), strip=grey, bevel=True, radius=0.0, button_round=0.0)
        if rng.random() < 0.4:
            base |= dict(ground=grey)
    if name == "grey":
        base |= dict(button=(246, 246, 246), button_edge=(197, 197, 197), edge=(190, 190, 190), ink=(69, 69, 69))
    if name == "round":
        base |= dict(button=accent, button_edge=accent, button_round=20.0, radius=6.0, edge=mix(accent, _WHITE, 0.3))
    if name == "night":
        dark = mix((24, 26, 30), accent, 0.08)
        base |= dict(
            ground=dark,
            ink=(232, 232, 232),
            link=(140, 180, 255),
            button=mix(dark, _WHITE, 0.2),
            button_edge=(150, 150, 150),
            paper=mix(dark, _BLACK, 0.4),
            strip=mix(dark, _WHITE, 0.12),
        )
    return PageLook(**base)  # type: ignore[arg-type]


@dataclass(slots=True)
class Sheet:
    """A page that is being drawn: the free area, and the style of its widgets."""

    canvas: Canvas
    look: PageLook
    rng: Random
    split: WordSplit
    # Pixels of the image per CSS pixel.
    scale: float
    # The free area in pixels of the image; ``top`` moves down as blocks are drawn.
    left: int
    top: int
    right: int
    bottom: int
    # (kind, label) of the widgets on the page, for the instruction at the top.
    labelled_widgets: list[tuple[str, str]] = field(default_factory=list)
    used_labels: set[str] = field(default_factory=set)

    def u(self, css: float) -> int:
        """Return a length in pixels of the image."""
        return round(css * self.scale)

    @property
    def width(self) -> int:
        """Width of the free area in pixels."""
        return self.right - self.left

    def font(self, css: float = 10, *, bold: bool = False, family: str = "") -> Face:
        """Return the page's font at a size in CSS pixels per em."""
        return face(family or self.look.family, max(self.u(css), 8), bold)

    def word(self) -> str:
        """Return a label that is new on this page: a phrase, a word, random letters, sometimes another script."""
        for _ in range(8):
            text = self._word()
            if text.casefold() not in self.used_labels:
                break
        self.used_labels.add(text.casefold())
        return text

    def _word(self) -> str:
        rng, split = self.rng, self.split
        while True:
            roll = rng.random()
            if roll < 0.25:
                return words.label(rng, split)
            if roll < 0.55:
                text = rng.choice(words.dictionary(split))
                text = text.capitalize() if rng.random() < 0.5 else text
            elif roll < 0.85:
                letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
                text = "".join(rng.choice(letters) for _ in range(rng.randint(2, 6)))
            elif roll < 0.93:
                text = words.pseudo_word(rng, split)
            else:
                script = rng.choice(SCRIPTS)
                text = "".join(rng.choice(script) for _ in range(rng.randint(2, 5)))
            if split == "all" or words.is_held_out(text) == (split == "held_out"):
                return text

    def mark(self, kind: str, label: str, box: IntBox, run: int = -1, **facts: str | None) -> None:
        """Record an element."""
        self.canvas.mark(kind, label, box, run, **facts)
        if label and run >= 0:
            self.labelled_widgets.append((kind, label))


def surface(
    sheet: Sheet, box: IntBox, fill: Color, *, css_round: float | None = None, edge: Color | None = None
) -> None:
    """Draw the body of a button."""
    look = sheet.look
    if look.bevel:
        sheet.canvas.rect(box, None, look.button_edge)
        inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
        sheet.canvas.bevel(inner, fill, mix(fill, _WHITE, 0.8), mix(fill, _BLACK, 0.4))
        return
    radius = sheet.u(look.button_round if css_round is None else css_round)
    sheet.canvas.plate(box, radius, fill, look.button_edge if edge is None else edge)


def sunken(sheet: Sheet, box: IntBox) -> None:
    """Draw the body of a field."""
    look = sheet.look
    if look.bevel:
        sheet.canvas.bevel(box, look.paper, (118, 118, 118), (220, 220, 220))
    else:
        sheet.canvas.plate(box, sheet.u(look.radius), look.paper, look.edge)


def button_size(sheet: Sheet, label: str) -> tuple[int, int]:
    """Return the (width, height) of an ordinary button."""
    letters = sheet.font(13.33)
    return letters.width(label) + sheet.u(16), max(sheet.u(21), letters.height + 2)


def button(sheet: Sheet, box: IntBox, label: str, *, css: float = 13.33, fill: Color | None = None) -> None:
    """Draw a button with a centred label, which may be wider than the button."""
    look, letters = sheet.look, sheet.font(css)
    fill = fill or look.button
    surface(sheet, box, fill)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3] - letters.height) / 2
    run = sheet.canvas.text(x, y, label, letters, ink_on(fill), box[2] - box[0] - 2, "center")
    sheet.mark("button", label, box, run)


def tick_box(sheet: Sheet, kind: str, x: int, y: int, label: str, *, gap: int, checked: bool, css: float) -> None:
    """Draw a check box or radio button, centred vertically at ``y``, with its label to the right."""
    look, side = sheet.look, sheet.u(13)
    box = (x, y - side // 2, x + side, y - side // 2 + side)
    on = checked and not look.bevel
    fill = look.accent if on else look.paper
    edge = look.accent if on else look.edge
    if kind == "radio":
        sheet.canvas.plate(box, side // 2, look.paper, edge)
        if checked:
            r = max(side // 4, 2)
            mask = icons.shape("circle", side - 2 * r)
            sheet.canvas.tint(mask, x + r, box[1] + r, look.accent if on else _BLACK)
    else:
        sunken(sheet, box) if look.bevel else sheet.canvas.plate(box, sheet.u(2.5), fill, edge)
        if checked:
            size = max(side - 4, 6)
            ink = ink_on(fill) if on else _BLACK
            sheet.canvas.tint(icons.icon("check", size), x + (side - size) // 2, box[1] + (side - size) // 2, ink)
    letters = sheet.font(css)
    run = sheet.canvas.text(box[2] + gap, y - letters.height / 2, label, letters, look.ink)
    sheet.mark(kind, label, box, run, state="checked" if checked else "unchecked")


def text_field(sheet: Sheet, box: IntBox, label: str, run: int, *, value: str = "", lines: int = 1) -> None:
    """Draw a text input, or a text area with a resize grip; the label is drawn by the caller, if at all."""
    sunken(sheet, box)
    letters = sheet.font(13.33) if lines == 1 else sheet.font(13, family=sheet.look.mono)
    x, y = box[0] + sheet.u(3), box[1] + (sheet.u(2) if lines > 1 else (box[3] - box[1] - letters.height) // 2)
    if value:
        sheet.canvas.text(x, y, value, letters, ink_on(sheet.look.paper), box[2] - x - 2)
    if lines > 1:
        for reach in (3, 6):
            at = sheet.u(reach)
            sheet.canvas.line((box[2] - 2 - at, box[3] - 3, box[2] - 3, box[3] - 2 - at), (120, 120, 120))
    sheet.mark("field", label, box, run, state=value or None)


def link(sheet: Sheet, x: int, y: int, label: str, letters: Face) -> int:
    """Draw an underlined link; return its right end."""
    look = sheet.look
    end = x + letters.width(label)
    run = sheet.canvas.text(x, y, label, letters, look.link)
    line = y + letters.ascent + max(sheet.u(1), 1)
    sheet.canvas.rect((x, line, end, line + max(sheet.u(0.7), 1)), look.link)
    sheet.mark("link", label, (x, y, end, min(y + letters.height, sheet.bottom)), run)
    return end


def drop_down(sheet: Sheet, box: IntBox, value: str, label: str, run: int) -> None:
    """Draw a closed select list with a value."""
    look, letters, side = sheet.look, sheet.font(13.33), max(sheet.u(9), 5)
    sunken(sheet, box)
    y = (box[1] + box[3] - letters.height) / 2
    sheet.canvas.text(box[0] + sheet.u(5), y, value, letters, ink_on(look.paper), box[2] - box[0] - side - sheet.u(10))
    mask = icons.icon("chevron", side)
    sheet.canvas.tint(mask, box[2] - side - sheet.u(3), (box[1] + box[3] - side) // 2, ink_on(look.paper))
    sheet.mark("dropdown", label, box, run, state=value)


def close_box(sheet: Sheet, box: IntBox, title: str, run: int) -> None:
    """Draw the close button of a dialog."""
    surface(sheet, box, sheet.look.button, css_round=2)
    side = max(round((box[2] - box[0]) * 0.55), 5)
    at = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    sheet.canvas.tint(icons.icon("close", side), *at, ink_on(sheet.look.button))
    sheet.canvas.mark("window_close", title, box, -1)
