"""Long texts are drawn in time that grows with their length, and as short ones are."""

import itertools
import random

import pytest

from molmo_agent import load_env
from molmo_agent.actions import Click, Type
from molmo_agent.envs.drawing.fonts import face
from molmo_agent.envs.sim_phone.draw_items import _wrap

ALPHABETS = ["abc def ", "unbroken", "日本語テキスト", "a\n", "äöü🙂"]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_fifty_thousand_characters_are_typed_and_drawn_at_once(alphabet):
    """Letter by letter against the rest of the text, this took minutes."""
    env = load_env("sim-desktop")
    _, info = env.reset(seed=0, options={"task": "fill-field"})
    (box,) = env.locate(info["instruction"])[:1]
    env.step(Click(box.center))
    text = (alphabet * 50_000)[:50_000]
    assert env.step(Type(text))[0].image.any()
    assert "".join(_wrap(text, face("roboto", 14), 200.0)).replace(" ", "") == text.replace(" ", "").replace("\n", "")


def test_lines_are_as_long_as_fits():
    letters, rng = face("roboto", 14), random.Random(0)
    for _ in range(50):
        word = "".join(rng.choices("ilmW", k=rng.randrange(1, 60)))
        room = rng.uniform(20, 120)
        lines = _wrap(word, letters, room)
        assert "".join(lines) == word
        assert all(letters.width(line) <= room for line in lines)
        assert all(letters.width(line + after[0]) > room for line, after in itertools.pairwise(lines))


def test_even_a_letter_that_does_not_fit_gets_its_line():
    assert _wrap("WWW", face("roboto", 14), 1.0) == ["W", "W", "W"]
