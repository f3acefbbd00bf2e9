"""Draws the steps of the corpora of the guard: each kind of thing on a screen with other things around it."""

from dataclasses import dataclass
from pathlib import Path

from drawn_text import FONT, Drawing

from molmo_agent.actions import Back, Click, Drag, Key, LongPress, OpenApp, Scroll, Type
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Step
from molmo_agent.geometry import Point
from molmo_agent.risk.judge import why_ask
from molmo_agent.transforms import ImageTransform

CORPORA = Path(__file__).parent / "corpora"


@dataclass(frozen=True)
class Line:
    """A line of a corpus."""

    kind: str
    text: str

    def __str__(self):
        return f"{self.kind}: {self.text}"


def read_corpus(name):
    """Return {"tuned": lines, "held out": lines} of a corpus."""
    parts, lines = {}, []
    for row in (CORPORA / name).read_text(encoding="utf-8").split("\n"):
        if row.startswith("["):
            lines = parts.setdefault(row.strip("[]"), [])
        elif row.strip() and not row.startswith("#"):
            kind, text = row.split(": ", 1)
            lines.append(Line(kind, text.replace("\\n", "\n")))
    return parts


class Stage:
    """A screen, where on it the step points, and the decision about it."""

    def __init__(self, width=900, height=600):
        self.drawing, self.size, self.history = Drawing(width, height), (width, height), []
        self.action = self.end = None

    def at(self, x, y):
        return Point(x / self.size[0], y / self.size[1])

    def observation(self):
        return Observation(self.drawing.array(), ImageTransform.identity(*self.size))

    def decision(self, action, instruction, label=None):
        point = action.start if isinstance(action, Drag) else getattr(action, "point", None)
        result = point and PointResult(status="ok", reply="", points=(LabelledPoint(point, label),))
        return Decision(action=action, instruction=instruction, result=result)

    def why(self, action, instruction, label=None):
        """Return why a person is asked, or an empty string."""
        return why_ask(
            self.decision(action, instruction, label),
            "",
            self.observation(),
            self.drawing.reader,
            self.history,
        )


def _middle(x, text):
    return x + FONT.getlength(text) / 2


def _menu_bar(stage, text):
    x, place = 10, None
    names = ["File", "Edit", "View", "Help"]
    if text not in names:
        names.insert(2, text)
    stage.drawing.rectangle(0, 0, 900, 30)
    for name in names:
        stage.drawing.text(x, 6, name)
        place = (_middle(x, name), 15) if name == text else place
        x += FONT.getlength(name) + 26
    return Click(stage.at(*place))


def _rows(stage, names, text, *, left, top, step, fill=None, width=260):
    stage.drawing.rectangle(left - 12, top - 12, width, step * len(names) + 16, fill=fill or (255, 255, 255))
    for number, name in enumerate(names):
        stage.drawing.text(left, top + step * number, name)
        if name == text:
            place = stage.at(_middle(left, name), top + step * number + 8)
    return place


def _menu(stage, text):
    _menu_bar(stage, "File")
    return Click(_rows(stage, ["New", "Open...", "Rename", text, "Delete", "Quit"], text, left=30, top=50, step=28))


def _toolbar(stage, text):
    x, place = 12, None
    for name in (text, "Delete", "Send"):
        stage.drawing.text(x, 40, name)
        place = (_middle(x, name), 48) if name == text else place
        x += FONT.getlength(name) + 40
    return Click(stage.at(*place))


def _tab(stage, text):
    x = 20
    for name in ("First page", text, "Other things"):
        width = FONT.getlength(name) + 40
        stage.drawing.button(x, 80, width, name)
        place = (x + width / 2, 94) if name == text else (0, 0)
        if name == text:
            action = Click(stage.at(*place))
        x += width
    stage.drawing.text(30, 150, "Some contents of the page")
    return action


def _list(stage, text):
    stage.drawing.button(700, 520, 90, "Delete")
    return Click(_rows(stage, ["alpha", text, "gamma.txt"], text, left=60, top=90, step=32, width=520))


def _link(stage, text):
    stage.drawing.text(40, 60, "The heading of the page").text(40, 100, "Some words before the place where it goes on.")
    stage.drawing.text(40, 140, text, color=(20, 60, 200)).text(40, 180, "Other words follow, one after the other.")
    return Click(stage.at(_middle(40, text), 148))


def _field(stage, text):
    stage.drawing.rectangle(100, 100, 320, 32).text(108, 107, text).button(440, 102, 90, "Send")
    return Click(stage.at(_middle(108, text), 116))


def _check_box(stage, text):
    stage.drawing.rectangle(60, 104, 16, 16).text(86, 103, text).text(86, 140, "Some other text")
    stage.drawing.rectangle(60, 141, 16, 16)
    return Click(stage.at(_middle(86, text), 111))


def _dialog(stage, text):
    words, names = text.split(" -> ")
    names = names.split(" / ")
    stage.drawing.text(30, 30, "Delete everything and send it").text(30, 560, "Pay by card, order now")
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, words)
    x = 660
    for name in reversed(names):
        width = max(80, FONT.getlength(name) + 30)
        x -= width + 10
        stage.drawing.button(x, 300, width, name)
        if name == names[0]:
            action = Click(stage.at(x + width / 2, 314))
    return action


def _button(stage, text):
    stage.drawing.text(60, 60, "A page with something to press")
    width = max(90, FONT.getlength(text) + 36)
    stage.drawing.button(300, 240, width, text)
    return Click(stage.at(300 + width / 2, 254))


def _phone_row(stage, text):
    for number, name in enumerate(("Something first", text, "Something else")):
        stage.drawing.text(30, 90 + 70 * number, name)
        stage.drawing.rectangle(0, 130 + 70 * number, 400, 2)
    return Click(stage.at(_middle(30, text), 168))


def _bottom(stage, text):
    stage.drawing.rectangle(0, 730, 400, 70)
    for number, name in enumerate(("Camera", text, "Music")):
        stage.drawing.text(40 + 130 * number, 765, name)
    return Click(stage.at(_middle(170, text), 772))


def _icon(stage, text):
    stage.drawing.draw.polygon([(500, 300), (508, 324), (516, 304), (526, 322), (520, 298)], fill=(60, 60, 60))
    return Click(stage.at(512, 312))


def _enter(stage, text):
    field, typed = text.split(" <- ")
    stage.drawing.rectangle(100, 100, 320, 32).text(108, 107, field)
    for action, said in ((Click(stage.at(160, 116)), f'click "{field}"'), (Type(typed), f'type "{typed}"')):
        stage.history.append(
            Step(index=len(stage.history), observation=stage.observation(), decision=stage.decision(action, said))
        )
    return Key(("enter",))


def _onto(stage, text):
    stage.drawing.text(60, 100, "report.pdf")
    stage.drawing.draw.rectangle((700, 420, 740, 460), fill=(90, 90, 90))
    stage.drawing.text(690, 470, text)
    return Drag(stage.at(90, 108), stage.at(720, 440))


_SWIPES = {"up": ((0.5, 0.8), (0.5, 0.3)), "down": ((0.5, 0.3), (0.5, 0.8)),
           "left": ((0.8, 0.5), (0.2, 0.5)), "right": ((0.2, 0.5), (0.8, 0.5))}  # fmt: skip


def _with(cls, draw, **values):
    def make(stage, text):
        return cls(draw(stage, text).point, **values)

    return make


_MAKERS = {
    "menu bar": _menu_bar,
    "menu": _menu,
    "toolbar": _toolbar,
    "tab": _tab,
    "list": _list,
    "link": _link,
    "field": _field,
    "check box": _check_box,
    "dialog": _dialog,
    "button": _button,
    "row": _phone_row,
    "bottom": _bottom,
    "icon": _icon,
    "enter": _enter,
    "onto": _onto,
    "double click": _with(Click, _list, count=2),
    "right click": _with(Click, _list, button="right"),
    "long press": _with(LongPress, _list),
    "key": lambda stage, text: Key(tuple("+" if key == "plus" else key for key in text.split("+"))),
    "type": lambda stage, text: Type(text),
    "scroll": lambda stage, text: Scroll(text),
    "swipe": lambda stage, text: Drag(*(Point(*place) for place in _SWIPES[text])),
    "slide": lambda stage, text: Drag(stage.at(300, 300), stage.at(400, 300)),
    "open": lambda stage, text: OpenApp(text),
    "back": lambda stage, text: Back(),
}
_PHONE = ("row", "bottom", "swipe", "open", "back", "long press")


def why_asked(line):
    """Draw a line of a corpus; return why a person is asked about it, or an empty string."""
    stage = Stage(400, 800) if line.kind in _PHONE and line.kind != "long press" else Stage()
    action = _MAKERS[line.kind](stage, line.text)
    name = line.text.split(" -> ")[-1].split(" / ")[0]
    if line.kind == "onto":
        said = f'drag "report.pdf" to "{name}"'
    elif line.kind == "slide":
        said = f"drag the {name} slider to the right"
    elif line.kind == "icon":
        said = f"click {name}"
    else:
        said = f'click "{name}"' if isinstance(action, Click | LongPress) else ""
    return stage.why(action, said)
