"""The one rule by which oracles find what a phrase names."""

from dataclasses import dataclass

import pytest

from molmo_agent.envs.drawing.phrases import kind_in, named_elements, without_quotations

KINDS = (("menu item", "menu_item"), ("menu", "menu"), ("button", "button"))


@dataclass(frozen=True)
class Thing:
    label: str
    kind: str = "button"


SCREEN = (Thing("Cart"), Thing("Cart", "menu"), Thing("Cart options"), Thing("Art"), Thing(""))


@pytest.mark.parametrize(
    ("phrase", "numbers"),
    [
        ('the "Cart" button', [0]),
        ('the "CART" menu', [1]),
        ('"Cart"', [0, 1]),
        ('the "Add to cart" button', []),
        ("the cart button", [0]),
        ("the cart options", [2]),
        ("a part of it", []),
        ('type "Art" into Cart options', [3]),
        ("nothing here", []),
    ],
)
def test_labels_in_quotes_are_meant_to_the_letter_and_others_by_whole_words(phrase, numbers):
    found = named_elements(phrase, SCREEN, kind_in(phrase, KINDS), lambda thing: thing.label)
    assert found == [SCREEN[number] for number in numbers]


def test_a_kind_is_named_outside_of_quotes_and_longer_names_come_first():
    assert kind_in('the "button" menu item', KINDS) == "menu_item"
    assert kind_in("the buttons", KINDS) is None
    assert without_quotations('Click "Save" NOW') == "click   now"
