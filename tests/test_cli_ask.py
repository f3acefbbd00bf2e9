import builtins
import io

import numpy as np
import pytest
from rich.console import Console

from molmo_agent.actions import Click, Type
from molmo_agent.cli.confirm import Asker, crop_as_text
from molmo_agent.episode import Decision
from molmo_agent.geometry import Point
from molmo_agent.testing import ToyEnv

SCREEN = ToyEnv().reset(seed=0)[0]
DECISION = Decision(action=Click(Point(0.25, 0.5)), instruction="click [b]Save[/b]")


def terminal(encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    return Console(file=file, force_terminal=True, width=80, color_system="truecolor")


def answers(monkeypatch, *lines):
    waiting = iter(lines)

    def read(*_):
        line = next(waiting)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr(builtins, "input", read)


def shown(console):
    console.file.flush()
    return console.file.buffer.getvalue().decode(console.file.encoding)


@pytest.mark.parametrize(
    ("lines", "yes"), [(("y",), True), (("n",), False), (("",), False), (("what?", "y"), True), ((None,), False)]
)
def test_only_a_clear_yes_is_one(monkeypatch, lines, yes):
    answers(monkeypatch, *lines)
    assert Asker(terminal())(DECISION, SCREEN, "") is yes


def test_the_question_shows_the_action_its_purpose_its_risk_and_its_target(monkeypatch):
    answers(monkeypatch, "n")
    console = terminal()
    Asker(console)(DECISION, SCREEN, "'Delete' may not be undone")
    text = shown(console)
    assert "Click (0.250, 0.500)" in text
    assert "click [b]Save[/b]" in text, "what the task says is no markup"
    assert "'Delete' may not be undone" in text
    assert "▀" in text


def test_a_terminal_that_cannot_show_a_picture_is_asked_all_the_same(monkeypatch):
    answers(monkeypatch, "y")
    console = terminal("latin-1")
    assert Asker(console)(DECISION, SCREEN, "")
    assert "Click" in shown(console)


def test_a_secret_is_asked_about_by_its_name(monkeypatch):
    answers(monkeypatch, "n")
    console = terminal()
    Asker(console)(Decision(action=Type("{{PIN}}")), SCREEN, "it types a secret")
    assert 'Type "{{PIN}}"' in shown(console)


@pytest.mark.parametrize("size", [(120, 160), (1, 1), (3, 500), (2160, 3840)])
@pytest.mark.parametrize("point", [Point(0, 0), Point(0.5, 0.5), Point(1, 1)])
def test_a_crop_never_leaves_the_picture(size, point):
    text = crop_as_text(np.zeros((*size, 3), np.uint8), point, 80)
    lines = text.plain.splitlines()
    assert len({len(line) for line in lines}) <= 1
    assert all(len(line) <= 80 for line in lines)


def test_the_target_itself_is_not_painted_over():
    image = np.full((200, 300, 3), 7, np.uint8)
    image[96:105, 146:155] = (0, 200, 0)
    colours = [str(span.style) for span in crop_as_text(image, Point(0.5, 0.5), 80).spans]
    assert sum("#00c800" in colour for colour in colours) >= 9 * 4
    assert any("#e6005c" in colour for colour in colours)
