"""Random web pages in a browser: a head with links, a hero, cards, articles, forms, a cookie banner."""

import random

from molmo_agent.envs.drawing.canvas import Color, mix
from molmo_agent.envs.drawing.fonts import face
from molmo_agent.envs.sim_desktop.contents import Writer, article, choices, command_row, form, link_list, shape_canvas
from molmo_agent.envs.sim_desktop.layout import Flow
from molmo_agent.envs.sim_desktop.looks import Look, hue, ink_on
from molmo_agent.envs.sim_desktop.state import Widget, Window


def web_page(
    window: Window, look: Look, writer: Writer, rng: random.Random, density: float, families: list[str]
) -> None:
    """Fill a window with browser controls (if it has a frame) and a page."""
    width = window.box[2] - window.box[0] - (2 if window.has_frame else 0)
    height = window.box[3] - window.box[1] - (look.bar_height + 2 if window.has_frame else 0)
    top = 0
    if window.has_frame:
        top = _browser_bar(window, look, writer, rng, width)
    page: Color = rng.choice(((255, 255, 255), (250, 250, 248), look.paper, look.ground))
    window.widgets.append(Widget("panel", "", (0, top, width, height), fill=page))
    brand = hue(rng, rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.8))
    ink = ink_on(page)
    family = rng.choice(families)
    size = look.font_size
    top = _page_head(window, look, writer, rng, (top, width), brand, family)
    margin = look.u(rng.choice((8, 16, 28, 48))) if width > look.u(300) else look.u(6)
    flow = Flow(look, margin, top + look.pad, width - margin, height - look.pad, window.widgets)
    start = len(window.widgets)
    if rng.random() < 0.6:
        flow.text(writer.short(3), bold=True, font_size=round(size * rng.choice((1.5, 1.8, 2.2))))
        flow.text(writer.sentence(rng.randint(3, 8)))
    for _ in range(6):
        if flow.height < look.row * 2:
            break
        block = rng.choice((article, _cards, _cards, form, choices, link_list, command_row, _news, shape_canvas))
        block(flow, writer, rng)
        if rng.random() > 0.6 + density:
            break
    for widget in window.widgets[start:]:
        if widget.ink is None and widget.kind in ("text", "checkbox", "radio", "field", "slider", "dropdown", "icon"):
            widget.ink = ink
        if widget.kind == "link":
            widget.ink = mix(brand, ink, 0.25)
    if rng.random() < 0.15:
        _banner(window, look, writer, rng, width, height)


def _browser_bar(window: Window, look: Look, writer: Writer, rng: random.Random, width: int) -> int:
    side, pad = look.row, look.u(4)
    x = pad
    for name in ("back", "forward", "refresh")[: rng.randint(1, 3)]:
        window.widgets.append(Widget("icon", name, (x, pad, x + side, pad + side), icon=name))
        x += side + look.u(2)
    right = width - pad
    for name in rng.sample(("menu", "star", "user", "download", "home"), rng.randint(0, 3)):
        if right - side > x + look.u(80):
            window.widgets.append(Widget("icon", name, (right - side, pad, right, pad + side), icon=name))
            right -= side + look.u(2)
    address = f"{writer.short(1).lower()}.{rng.choice(('com', 'org', 'net'))}/{writer.short(1).lower()}"
    placeholder = writer.label() if rng.random() < 0.3 else ""
    box = (x + pad, pad, right - pad, pad + side)
    if placeholder:
        window.widgets.append(Widget("field", placeholder, box))
    else:
        window.widgets.append(Widget("field", "", box, value=address))
    bottom = side + 2 * pad
    window.widgets.append(Widget("rule", "", (0, bottom - 1, width, bottom)))
    return bottom


def _page_head(
    window: Window, look: Look, writer: Writer, rng: random.Random, at: tuple[int, int], brand: Color, family: str
) -> int:
    top, width = at
    letters = face(family, round(look.font_size * 1.25), True)
    height = letters.height + look.u(14)
    ground = brand if rng.random() < 0.6 else mix(brand, (255, 255, 255), 0.92)
    ink = ink_on(ground)
    window.widgets.append(Widget("panel", "", (0, top, width, top + height), fill=ground))
    name = letters.fit(writer.short(1), width / 2)
    x, y = look.u(12), top + (height - letters.height) // 2
    box = (x, y, x + letters.width(name), y + letters.height)
    window.widgets.append(Widget("text", name, box, family=family, font_size=letters.size, bold=True, ink=ink))
    x = box[2] + look.u(24)
    body = look.text
    y = top + (height - body.height) // 2
    end = width - look.u(12)
    if rng.random() < 0.5:
        label = writer.label()
        wide = body.width(label) + look.u(20)
        if end - wide > x:
            box = (end - wide, top + look.u(5), end, top + height - look.u(5))
            window.widgets.append(Widget("button", label, box, primary=rng.random() < 0.5))
            end -= wide + look.u(10)
    if rng.random() < 0.4 and end - x > look.u(220):
        box = (end - look.u(130), top + look.u(5), end, top + height - look.u(5))
        window.widgets.append(Widget("field", writer.label(), box))
        end -= look.u(140)
    for label in writer.labels(rng.randint(1, 6)):
        wide = body.width(label)
        if x + wide > end:
            break
        window.widgets.append(
            Widget(
                "link",
                label,
                (x, y, x + wide, y + body.height + 2),
                ink=ink,
                bold=True,
                font_size=body.size,
                family=look.family,
            )
        )
        x += wide + look.u(18)
    return top + height


def _cards(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Images with a title, a price and a button each."""
    look = flow.look
    count = max(min(flow.width // look.u(120), 5), 1)
    pitch = flow.width // count
    width = pitch - look.u(10)
    image = round(width * rng.uniform(0.35, 0.65))
    height = image + look.text.height * 2 + look.row + look.u(22)
    if height > flow.height or width < look.u(80):
        return
    icon = rng.choice(("picture", "camera", "music", "cart", "star", None))
    for i in range(count):
        x = flow.left + i * pitch
        box = (x, flow.top, x + width, flow.top + height)
        fill = mix(look.paper, look.ground, 0.5)
        flow.add(Widget("panel", "", box, fill=fill, ink=look.edge, checked=True))
        photo = (x + 1, flow.top + 1, x + width - 1, flow.top + image)
        flow.add(Widget("picture", "", photo, value=str(rng.randrange(12)), icon=icon))
        inner = Flow(
            look, x + look.u(6), flow.top + image + look.u(5), x + width - look.u(6), flow.bottom, flow.widgets
        )
        tone = ink_on(fill)
        inner.text(look.bold.fit(writer.short(2), inner.width).rstrip("…"), bold=True, gap=look.u(2))
        inner.text(look.text.fit(writer.short(1), inner.width).rstrip("…"), gap=look.u(5))
        for widget in flow.widgets[-2:]:
            if widget.kind == "text":
                widget.ink = tone
        inner.buttons([writer.label()], primary=rng.choice((-1, 0)))
    flow.top += height + look.pad


def _news(flow: Flow, writer: Writer, rng: random.Random) -> None:
    """Rows of a small image, a headline link and a line of text."""
    look = flow.look
    side = look.text.height * 2 + look.u(8)
    for _ in range(rng.randint(2, 5)):
        if side + look.pad > flow.height or flow.width < look.u(150):
            return
        flow.add(
            Widget(
                "picture", "", (flow.left, flow.top, flow.left + side, flow.top + side), value=str(rng.randrange(12))
            )
        )
        inner = flow.part(flow.left + side + look.u(8), flow.right)
        inner.links([writer.short(3)])
        inner.top -= look.pad - look.u(3)
        inner.text(writer.sentence(rng.randint(3, 6)))
        flow.top += side + look.pad


def _banner(window: Window, look: Look, writer: Writer, rng: random.Random, width: int, height: int) -> None:
    """A notice over the foot of the page: everything below it is removed, as it would be hidden."""
    labels = writer.labels(rng.randint(1, 2))
    high = look.row * 2 + look.text.height
    top = height - high
    if top < height // 2:
        return
    window.widgets[:] = [w for w in window.widgets if w.box[3] <= top or (w.kind == "panel" and w.box[1] <= 60)]
    for widget in window.widgets:
        widget.box = (*widget.box[:3], min(widget.box[3], top)) if widget.kind == "panel" else widget.box
    fill = mix((30, 32, 40), look.accent, 0.1)
    window.widgets.append(Widget("panel", "", (0, top, width, height), fill=fill))
    flow = Flow(look, look.u(12), top + look.pad, width - look.u(12), height, window.widgets)
    start = len(window.widgets)
    flow.text(writer.sentence(rng.randint(3, 6)))
    flow.buttons(labels, primary=0)
    for widget in window.widgets[start:]:
        if widget.kind == "text":
            widget.ink = ink_on(fill)
