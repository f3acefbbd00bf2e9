"""MathVista's metric, without its judge, a language model that extracts the answer from a reply."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from molmo_agent.evaluation.metrics.choice import nearest_option, select_option


@dataclass(frozen=True, slots=True, kw_only=True)
class MathVistaQuestion:
    """The answer format of a MathVista question."""

    question_type: Literal["multi_choice", "free_form"]
    answer_type: Literal["text", "integer", "float", "list"]
    # The option texts of a multiple-choice question; their letters are A, B, ...
    choices: Sequence[str] = ()
    # Decimals of a float; the data set stores whole numbers, as 1 or as 1.0.
    precision: float | None = None


def extract_math_vista(reply: str, question: MathVistaQuestion) -> str | None:
    """Return the answer of a reply if it can be found without the judge, else None.

    Such replies are empty, one of the option texts, or the number alone (the official extraction's first steps).
    """
    if not reply or (question.question_type == "multi_choice" and reply in question.choices):
        return reply
    try:
        if question.answer_type == "integer":
            return str(int(reply))
        if question.answer_type == "float":
            return str(float(reply))
    except ValueError:
        pass
    return None


def normalise_math_vista(extraction: str, question: MathVistaQuestion, *, reference_quirks: bool = False) -> str | None:
    """Return an extracted answer in the form of the gold answers; None if it is unusable.

    An option's text for multiple choice; a whole number, or a number with the question's decimals; else the text.

    The reference knows no small letters, takes a letter before any colon ("ratio: B" is O), and gives nonsense the
    nearest option; cuts decimals off integers; rounds binary halves down (0.25 to 0.2); and finds no float usable when
    the precision is stored as 1.0. By default an integer must be whole, and halves are rounded up.
    """
    if question.question_type == "multi_choice":
        choose = _official_choice if reference_quirks else _choice
        index = choose(extraction.strip(), question.choices)
        return None if index is None else question.choices[index]
    if question.answer_type not in ("integer", "float"):
        return extraction
    try:
        value = float(extraction)
        if question.answer_type == "integer":
            return str(int(value)) if reference_quirks or value.is_integer() else None
        if reference_quirks:
            return None if isinstance(question.precision, float) else str(round(value, question.precision))
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(value):
        return None
    # The factor makes halves without an exact binary form round up.
    return str(value if question.precision is None else round(value * (1 + 1e-12), int(question.precision)))


def _official_choice(text: str, choices: Sequence[str]) -> int:
    if letters := re.findall("([a-zA-Z]):", text):
        text = letters[0].upper()
    if len(text) == 1 and text in ascii_uppercase[: len(choices)]:
        return ascii_uppercase.index(text)
    return nearest_option(text, choices)


def _choice(text: str, choices: Sequence[str]) -> int | None:
    lowered = [choice.strip().lower() for choice in choices]
    if text.lower() in lowered:
        return lowered.index(text.lower())
    letters = ascii_uppercase[: len(choices)]
    if len(bare := text.strip("().: ")) == 1 and bare.isalpha():
        return letters.index(bare.upper()) if bare.upper() in letters else None
    named = {letter for letter in re.findall(r"(?<!\w)([A-Z])(?!\w|'\w)", text) if letter in letters}
    return letters.index(named.pop()) if len(named) == 1 else select_option(text, choices)


def math_vista(reply: str, answer: str, question: MathVistaQuestion, *, reference_quirks: bool = False) -> bool:
    """Return whether a reply is right, as far as this can be decided without the judge.

    The published scores use the judge; these are lower where a reply is a sentence. The reference without its judge
    compares a multiple-choice reply with the letters alone, so an option's own text may be wrong, and the rest as text:
    "1.50" is not 1.5, "[1,2]" not "[1, 2]". By default both are compared by their values.

    Args:
        reply: without the clean-up of short answers.
        answer: the gold answer; an option's text for multiple choice.
        question: the expected answer format.
        reference_quirks: score as the reference does.
    """
    if reference_quirks:
        if question.question_type == "multi_choice":
            index = select_option(reply, ascii_uppercase[: len(question.choices)], reference_quirks=True)
            assert index is not None  # the reference always chooses
            reply = question.choices[index]
        return normalise_math_vista(reply, question, reference_quirks=True) == answer
    prediction = normalise_math_vista(reply, question)
    if prediction is None or question.question_type == "multi_choice":
        return prediction == answer
    target = normalise_math_vista(answer, question)
    return target is not None and "".join(prediction.split()) == "".join(target.split())
