"""Draw the blocks of small web pages: rows of buttons, forms, lists, tabs, dialogs.

Each block uses the space that it needs at the top of a sheet, and skips what does not fit.
"""

from collections.abc import Callable

from molmo_agent.envs.drawing import icons, words
from molmo_agent.envs.drawing.canvas import IntBox, mix
from molmo_agent.envs.drawing.fonts import Face
from molmo_agent.envs.sim_desktop.looks import ink_on
from molmo_agent.synthetic.pages.drawings import free_box, images, shapes
from molmo_agent.synthetic.pages.widgets import (
    Sheet,
    button,
    button_size,
    close_box,
    drop_down,
    link,
    sunken,
    surface,
    text_field,
    tick_box,
)


def paragraph(sheet: Sheet, *, most: int = 5, links: float = 0.3) -> None:
    """Draw lines of text, in which some words may be links."""
    rng, letters = sheet.rng, sheet.font(10)
    has_links = rng.random() < links
    for _ in range(rng.randint(1, most)):
        if sheet.top + letters.height > sheet.bottom:
            return
        x, end = sheet.left, sheet.right - sheet.u(rng.choice((0, 10, 30)))
        line: list[str] = []
        start = x
        while True:
            word = rng.choice(words.dictionary(sheet.split))
            wide = letters.width(word)
            if x + wide > end:
                break
            if has_links and rng.random() < 0.25:
                _line(sheet, start, " ".join(line), letters)
                x = link(sheet, x, sheet.top, sheet.word(), letters) if x + wide + sheet.u(40) < end else end
                x, line = x + letters.width(" "), []
                start = x
                continue
            line.append(word)
            x += wide + letters.width(" ")
        _line(sheet, start, " ".join(line), letters)
        sheet.top += letters.height


def _line(sheet: Sheet, x: int, text: str, letters: Face) -> None:
    """Draw a part of a line; short parts are elements as well."""
    run = sheet.canvas.text(x, sheet.top, text, letters, sheet.look.ink) if text else -1
    if run >= 0 and text.count(" ") < 3:
        sheet.canvas.mark("text", text, (x, sheet.top, x + letters.width(text), sheet.top + letters.height), run)


def heading(sheet: Sheet) -> None:
    """Draw a line in bold."""
    letters = sheet.font(sheet.rng.choice((10, 13, 16)), bold=True)
    text = letters.fit(words.short_text(sheet.rng, sheet.split, 2), sheet.width).rstrip("…")
    if text and sheet.top + letters.height <= sheet.bottom:
        run = sheet.canvas.text(sheet.left, sheet.top, text, letters, sheet.look.ink)
        box = (sheet.left, sheet.top, sheet.left + letters.width(text), sheet.top + letters.height)
        sheet.mark("text", text, box, run)
        sheet.top += letters.height + sheet.u(2)


def buttons(sheet: Sheet) -> None:
    """Draw buttons side by side or one below the other."""
    rng = sheet.rng
    is_stacked, gap = rng.random() < 0.3, sheet.u(rng.choice((0, 2, 4, 8)))
    x, row = sheet.left + sheet.u(rng.choice((0, 0, 10))), 0
    for _ in range(rng.randint(1, 5)):
        label = sheet.word()
        wide, high = button_size(sheet, label)
        if x + wide > sheet.right or (is_stacked and row):
            x, sheet.top, row = sheet.left, sheet.top + row + gap, 0
        if x + wide > sheet.right or sheet.top + high > sheet.bottom:
            break
        button(sheet, (x, sheet.top, x + wide, sheet.top + high), label)
        x, row = x + wide + gap, high
    sheet.top += row


def scattered_buttons(sheet: Sheet) -> None:
    """Draw buttons of any size at random positions, without overlap."""
    rng = sheet.rng
    high = min(sheet.bottom - sheet.top, sheet.u(rng.choice((90, 150))))
    occupied_boxes: list[IntBox] = []
    for _ in range(rng.randint(1, 4)):
        label = sheet.word()
        side = max(sheet.u(rng.choice((24, 40, 40, 70, 100))), sheet.font(13.33).width(label) + 4)
        tall = sheet.u(rng.choice((21, 40, 40, 90)))
        box = free_box(sheet, side, tall, high, occupied_boxes)
        if box:
            button(sheet, box, label)
    sheet.top += high


def ticks(sheet: Sheet) -> None:
    """Draw check boxes or radio buttons, one below the other."""
    rng = sheet.rng
    kind, pitch, count = rng.choice(("checkbox", "radio")), sheet.u(rng.choice((17, 18, 20, 22))), rng.randint(1, 7)
    css, selected = rng.choice((10, 10, 13)), rng.choice((-1, rng.randrange(count)))
    x, gap = sheet.left + sheet.u(rng.choice((2, 5, 10))), sheet.u(rng.choice((4, 7)))
    for i in range(count):
        label = sheet.font(css).fit(sheet.word(), sheet.right - x - sheet.u(22))
        if sheet.top + pitch > sheet.bottom or not label or label.endswith("…"):
            break
        checked = i == selected or (kind == "checkbox" and rng.random() < 0.2)
        tick_box(sheet, kind, x, sheet.top + pitch // 2, label, gap=gap, checked=checked, css=css)
        sheet.top += pitch


def form(sheet: Sheet) -> None:
    """Draw text fields, text areas and select lists, with labels above, beside or without."""
    rng, letters = sheet.rng, sheet.font(10, bold=sheet.rng.random() < 0.5)
    side = rng.choice(("above", "above", "left", "none"))
    wide = min(sheet.u(rng.choice((80, 110, 130, 150))), sheet.width - sheet.u(4))
    for _ in range(rng.randint(1, 3)):
        lines = rng.choice((1, 1, 1, 2))
        tall = sheet.u(21) if lines == 1 else sheet.u(32)
        label, run, x = "" if side == "none" else sheet.word(), -1, sheet.left + sheet.u(rng.choice((0, 5)))
        above = letters.height + sheet.u(3) if side == "above" else 0
        beside = letters.width(label) + sheet.u(6) if side == "left" else 0
        if sheet.top + above + tall > sheet.bottom or letters.width(label) > sheet.width:
            break
        box = (x + beside, sheet.top + above, min(x + beside + wide, sheet.right - 1), sheet.top + above + tall)
        if box[2] - box[0] < sheet.u(24):
            break
        if label:
            y = sheet.top if side == "above" else sheet.top + (tall - letters.height) // 2
            run = sheet.canvas.text(x, y, label, letters, sheet.look.ink)
        value = words.short_text(rng, sheet.split, 1) if rng.random() < 0.25 else ""
        if rng.random() < 0.2:
            drop_down(sheet, box, value or words.short_text(rng, sheet.split, 1), label, run)
        else:
            text_field(sheet, box, label, run, value=value, lines=lines)
        sheet.top += above + tall + sheet.u(rng.choice((3, 8, 14)))


def list_box(sheet: Sheet) -> None:
    """Draw a list, in which one row may be selected, or a menu."""
    rng, letters = sheet.rng, sheet.font(sheet.rng.choice((10, 13.33)))
    kind = rng.choice(("list_item", "menu_item"))
    row, count = letters.height + sheet.u(rng.choice((1, 3, 5))), rng.randint(2, 6)
    count = min(count, (sheet.bottom - sheet.top - 2) // row)
    labels = [sheet.word() for _ in range(count)]
    room = sheet.width - sheet.u(20)
    labels = [label for label in labels if letters.width(label) <= room]
    if len(labels) < 2:
        return
    wide = max(letters.width(label) for label in labels) + sheet.u(20)
    box = (sheet.left, sheet.top, sheet.left + wide, sheet.top + row * len(labels) + 2)
    sunken(sheet, box)
    selected = rng.choice((-1, rng.randrange(len(labels)))) if kind == "list_item" else -1
    for i, label in enumerate(labels):
        spot = (box[0] + 1, box[1] + 1 + i * row, box[2] - 1, box[1] + 1 + (i + 1) * row)
        ink = ink_on(sheet.look.paper)
        if i == selected:
            fill = rng.choice(((206, 206, 206), sheet.look.accent))
            sheet.canvas.rect(spot, fill)
            ink = ink_on(fill)
        run = sheet.canvas.text(spot[0] + sheet.u(4), spot[1] + (row - letters.height) // 2, label, letters, ink)
        if kind == "menu_item" and rng.random() < 0.3:
            sheet.canvas.text(
                spot[2] - sheet.u(3), spot[1] + (row - letters.height) // 2, ">", letters, ink, align="right"
            )
        sheet.mark(kind, label, spot, run, state="selected" if i == selected else None)
    sheet.top = box[3]


def tabs(sheet: Sheet) -> None:
    """Draw a strip of tabs with text below."""
    rng, look, letters = sheet.rng, sheet.look, sheet.font(10)
    tall = sheet.u(27)
    if sheet.top + tall + sheet.u(30) > sheet.bottom:
        return
    is_numbered = rng.random() < 0.4
    strip = (sheet.left, sheet.top, sheet.right, sheet.top + tall + sheet.u(2))
    sheet.canvas.plate(strip, sheet.u(2), look.strip, mix(look.strip, (0, 0, 0), 0.15))
    x, selected = sheet.left + sheet.u(3), rng.randrange(3)
    for i in range(rng.randint(2, 4)):
        # "Page" and "4" never occur in training.
        label = f"{'Page' if sheet.split == 'held_out' else 'Tab'} #{i + 1}" if is_numbered and i < 3 else sheet.word()
        wide = letters.width(label) + sheet.u(12)
        if x + wide > sheet.right:
            break
        box = (x, sheet.top + sheet.u(4), x + wide, strip[3])
        fill = look.accent if i == selected else mix(look.strip, (255, 255, 255), 0.6)
        surface(sheet, box, fill, css_round=2)
        y = box[1] + (box[3] - box[1] - letters.height) // 2
        run = sheet.canvas.text((box[0] + box[2]) / 2, y, label, letters, ink_on(fill), align="center")
        sheet.mark("tab", label, box, run, state="selected" if i == selected else None)
        x += wide + sheet.u(2)
    sheet.top = strip[3] + sheet.u(rng.choice((4, 14)))
    inset = sheet.u(rng.choice((2, 12)))
    sheet.left, sheet.right = sheet.left + inset, sheet.right - inset
    paragraph(sheet, links=0.7)
    sheet.left, sheet.right = sheet.left - inset, sheet.right + inset


def sections(sheet: Sheet) -> None:
    """Draw headers that expand and collapse the text below them."""
    rng, look, letters = sheet.rng, sheet.look, sheet.font(sheet.rng.choice((10, 13)))
    open_section = rng.choice((-1, 0, 1))
    for i in range(rng.randint(1, 4)):
        tall = letters.height + sheet.u(rng.choice((2, 6)))
        label = letters.fit(sheet.word(), sheet.width - sheet.u(24))
        if sheet.top + tall > sheet.bottom or not label or label.endswith("…"):
            return
        box = (sheet.left, sheet.top, sheet.right, sheet.top + tall)
        fill = look.accent if i == open_section or rng.random() < 0.2 else look.button
        surface(sheet, box, fill, css_round=2)
        x = box[0] + sheet.u(4)
        if rng.random() < 0.6:
            side = max(sheet.u(8), 6)
            mark = icons.icon("chevron", side) if i == open_section else icons.icon("play", side)
            sheet.canvas.tint(mark, x, (box[1] + box[3] - side) // 2, ink_on(fill))
            x += side + sheet.u(4)
        run = sheet.canvas.text(x, box[1] + (tall - letters.height) // 2, label, letters, ink_on(fill))
        sheet.mark("section", label, box, run)
        sheet.top += tall + sheet.u(1)
        if i == open_section:
            paragraph(sheet, most=3)


def slider(sheet: Sheet) -> None:
    """Draw a slider with its label to the left."""
    rng, look, letters = sheet.rng, sheet.look, sheet.font(10)
    label, side = sheet.word(), sheet.u(16)
    left = sheet.left + letters.width(label) + sheet.u(6)
    right = min(left + sheet.u(129), sheet.right)
    if sheet.top + side > sheet.bottom or right - left < sheet.u(50):
        return
    y, level = sheet.top + side // 2, rng.random()
    run = sheet.canvas.text(sheet.left, y - letters.height / 2, label, letters, look.ink)
    x, thick = left + round((right - left - side) * level), max(sheet.u(3), 2)
    sheet.canvas.plate((left, y - thick, right, y + thick), thick, look.button, look.button_edge)
    sheet.canvas.plate((left, y - thick, x + side // 2, y + thick), thick, look.accent)
    sheet.canvas.plate((x, sheet.top, x + side, sheet.top + side), side // 2, look.accent)
    sheet.mark("slider", label, (left, sheet.top, right, sheet.top + side), run, state=f"{round(100 * level)}%")
    sheet.top += side


def dialog(sheet: Sheet, *, floating: bool = False) -> None:
    """Draw a dialog with a title bar, a close button, text and perhaps buttons; a floating one covers other blocks."""
    rng, look = sheet.rng, sheet.look
    wide = min(sheet.u(rng.choice((110, 125, 145))), sheet.width - 2)
    tall = sheet.u(rng.choice((75, 95, 120)))
    room = sheet.bottom - sheet.top
    if floating:
        room, sheet.top = sheet.u(150), sheet.bottom - min(sheet.u(150), sheet.bottom)
        sheet.top = max(sheet.top, sheet.bottom - sheet.u(158))
        room = sheet.bottom - sheet.top
    if tall > room or wide < sheet.u(80):
        return
    x, y = rng.randint(sheet.left, sheet.right - wide - 1), rng.randint(sheet.top, sheet.bottom - tall)
    box = (x, y, x + wide, y + tall)
    sheet.canvas.cover(box)
    sheet.canvas.plate(box, sheet.u(look.radius), look.ground, mix(look.edge, look.ground, 0.4))
    bar = (x + sheet.u(2), y + sheet.u(2), x + wide - sheet.u(2), y + sheet.u(22))
    sheet.canvas.plate(bar, sheet.u(2), look.strip, mix(look.strip, (0, 0, 0), 0.15))
    letters, run, title = sheet.font(10, bold=True), -1, ""
    if rng.random() < 0.6:
        title = letters.fit(sheet.word(), wide - sheet.u(40))
        title = "" if title.endswith("…") else title
        at = bar[0] + sheet.u(5), (bar[1] + bar[3] - letters.height) // 2
        run = sheet.canvas.text(*at, title, letters, ink_on(look.strip))
        if run >= 0:
            end = at[0] + letters.width(title)
            sheet.canvas.mark("window_title", title, (*at, end, at[1] + letters.height), run)
    side = sheet.u(rng.choice((14, 16, 17)))
    corner = (bar[2] - side - sheet.u(2), bar[1] + (bar[3] - bar[1] - side) // 2)
    close_box(sheet, (*corner, corner[0] + side, corner[1] + side), title, run)
    inner = Sheet(
        sheet.canvas,
        look,
        rng,
        sheet.split,
        sheet.scale,
        x + sheet.u(8),
        bar[3] + sheet.u(rng.choice((3, 8))),
        x + wide - sheet.u(6),
        y + tall - sheet.u(2),
        sheet.labelled_widgets,
        sheet.used_labels,
    )
    foot = rng.random() < 0.5
    inner.bottom -= sheet.u(28) if foot else 0
    paragraph(inner, most=4, links=0.0)
    if rng.random() < 0.2:
        form(inner)
    if foot:
        inner.top, inner.bottom = y + tall - sheet.u(26), y + tall - sheet.u(2)
        buttons(inner)
    if not floating:
        sheet.top = box[3]


def submit(sheet: Sheet) -> None:
    """Draw the large button below a form."""
    label = "Submit" if sheet.split != "held_out" and sheet.rng.random() < 0.5 else sheet.word()
    wide = max(sheet.u(95), sheet.font(13.33).width(label) + sheet.u(12))
    box = (sheet.left, sheet.top, sheet.left + wide, sheet.top + sheet.u(31))
    if box[2] <= sheet.right and box[3] <= sheet.bottom:
        button(sheet, box, label)
        sheet.top = box[3]


BLOCKS: tuple[tuple[Callable[[Sheet], None], float], ...] = (
    (paragraph, 1.2),
    (heading, 0.4),
    (buttons, 1.6),
    (scattered_buttons, 0.8),
    (ticks, 1.6),
    (form, 1.6),
    (list_box, 0.9),
    (tabs, 0.9),
    (sections, 0.9),
    (shapes, 1.8),
    (images, 0.5),
    (slider, 0.3),
    (dialog, 1.0),
)
"""The blocks of a page with their relative frequencies."""
