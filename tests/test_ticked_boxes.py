"""What is ticked is asked for as a check box, and a tick must change something in its row."""

import numpy as np

from molmo_agent.actions import Click
from molmo_agent.episode import Decision, Observation, Step
from molmo_agent.geometry import Point
from molmo_agent.policies.instructions.substep import as_check_box
from molmo_agent.policies.verification import doubt_about
from molmo_agent.transforms import ImageTransform


def screen(*marks, size=(640, 400)):
    """Return a grey image with a dark square of 8 pixels at each (x, y)."""
    image = np.full((size[1], size[0], 3), 230, np.uint8)
    for x, y in marks:
        image[y - 4 : y + 4, x - 4 : x + 4] = 30
    return image


def doubt(instruction, before, after):
    height, width = before.shape[:2]
    seen = Observation(before, ImageTransform.identity(width, height))
    step = Step(
        index=0,
        observation=seen,
        decision=Decision(action=Click(Point(0.25, 0.5)), instruction=instruction),
        effect="changed",
    )
    return doubt_about(step, (), (step,), after, None)


def test_a_plain_name_is_asked_for_as_a_check_box_and_other_phrases_stay():
    expected = {
        '"Send me the newsletter"': 'the "Send me the newsletter" checkbox',
        "Gift wrapping": "the Gift wrapping checkbox",
        "the Remember me": "the Remember me checkbox",
        "the Remember me box": "the Remember me box",
        "the Gift checkbox": "the Gift checkbox",
        'the second "Gift"': 'the second "Gift"',
        "the Gift option": "the Gift option",
        "Gift in the Order dialog": "Gift in the Order dialog",
        '"Gift" below "Order"': '"Gift" below "Order"',
    }
    assert {phrase: as_check_box(phrase) for phrase in expected} == expected


def test_a_neighbour_that_changes_is_no_tick():
    nothing_near = "nothing changed near it"
    cases = {
        "a field above lost the focus": ([(160, 150)], nothing_near),
        "something below changed": ([(160, 240)], nothing_near),
        "the box": ([(160, 200)], ""),
        "a switch at the end of the row": ([(600, 205)], ""),
        "the box and a field": ([(160, 150), (160, 200)], ""),
    }
    for name, (marks, expected) in cases.items():
        assert doubt('tick "News"', screen(), screen(*marks)) == expected, name


def test_on_a_large_screen_the_row_is_higher():
    size = (1440, 3120)
    before, after = screen(size=size), screen((1300, 1600), size=size)
    assert doubt("tick News", before, after) == ""
    assert doubt("tick News", before, screen((1300, 1660), size=size)) == "nothing changed near it"


def test_other_clicks_may_change_anything():
    assert doubt("click News", screen(), screen((160, 50))) == ""
