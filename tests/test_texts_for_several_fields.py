"""Texts for one field after another: what begins with a verb is a step of its own and never typed."""

import pytest

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction


def steps(text):
    """Return (gesture, target or value) of each step."""
    return [(step.gesture, step.targets[0] if step.targets else step.value) for step in split_instruction(text)]


def test_a_verb_after_a_typed_text_begins_a_step_and_is_not_typed():
    first = [("click", '"Name"'), ("type", "Ada")]
    town = [("click", "the Town field"), ("type", "Bath")]
    cases = {
        'type "Bath" into the Town field': town,
        'then please enter "Bath" into the Town field': town,
        "write Bath into the Town field": town,
        'put "Bath" in the Town field': town,
        "click Save in the Edit box": [("click", "Save in the Edit box")],
        "double-click Save in the Edit box": [("double_click", "Save in the Edit box")],
        'choose "Bath" in the Town box': [("click", '"Bath" in the Town box')],
    }
    wrong = {}
    for joint in (", ", " and ", "; ", ", then "):
        for text, expected in cases.items():
            read = steps(f'type "Ada" into "Name"{joint}{text}')
            if read != first + expected:
                wrong[joint + text] = read
    assert wrong == {}


def test_a_text_without_a_verb_goes_into_the_next_field():
    for text, typed in [("Bath", "Bath"), ('"type this"', "type this"), ("Berg", "Berg")]:
        read = steps(f"type Ada into the Name field, then {text} into the Town field")
        assert read[2:] == [("click", "the Town field"), ("type", typed)], text


@pytest.mark.parametrize("keys", ["Enter", "Tab", "ctrl+a"])
def test_keys_with_a_place_are_refused_and_not_typed(keys):
    with pytest.raises(UsageError, match="keys go to what has the focus"):
        steps(f'type "Ada" into "Name", press {keys} in the Town box')
