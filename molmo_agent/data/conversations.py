"""Turn questions of published data sets into training texts: docs/reference/prompts.md."""

import re

import numpy as np

from molmo_agent.data.point_answers import PointAnswers
from molmo_agent.data.question import Question
from molmo_agent.data.row import Conversation
from molmo_agent.model.prompts import (
    LETTERS,
    best_answer,
    caption_wording,
    multiple_choice,
    no_points_prefix,
    plain_choice,
)
from molmo_agent.point_text.parse import format_inline_points

NO_LETTER_STYLE = "ai2_diagram_no_letter"
"""Multiple choice whose options are letters themselves: options and answer are listed unchanged."""

# Their questions may be answered with points, but the prompt rules that out for "how many" questions.
_PREFIXED = ("user_qa", "synthetic_qa")
_HOW_MANY = re.compile("how many.*")


def conversation(question: Question, rng: np.random.RandomState) -> Conversation:
    """Return a training conversation: a question in words and one of its answers.

    Args:
        question: with ``extra["turns"]`` a conversation of several turns; with ``extra["inline"]`` an explanation whose
            placeholders stand for points; with options a multiple choice, ``extra["correct"]`` being the right one's
            number.
        rng: draws wordings, prefixes, and one of several equally frequent answers.

    Raises:
        ValueError: no answer was published.
    """
    style, extra = question.style, question.extra
    if style in ("pointing", "point_count"):
        return PointAnswers()(question, rng)
    turns: tuple[str, ...]
    if "turns" in extra:
        turns = tuple(extra["turns"])
    elif question.options:
        turns = _choice(question)
    elif not question.answers:
        raise ValueError(f"{question.id} has no published answer to learn from: train on another split")
    else:
        turns = question.text, best_answer(question.answers, rng)
    if "inline" in extra:
        turns = turns[0], format_inline_points("molmo", turns[1], extra["inline"])
    if style in _PREFIXED:
        turns = tuple(
            no_points_prefix(rng) + turn if number % 2 == 0 and _HOW_MANY.fullmatch(turn.lower()) else turn
            for number, turn in enumerate(turns)
        )
    return Conversation(turns=turns, style=style)


def worded_caption(question: Question, rng: np.random.RandomState) -> Conversation:
    """Return a caption whose prompt asks for it in words, as in fine-tuning."""
    return Conversation(turns=(caption_wording(rng), best_answer(question.answers, rng)), style=question.style)


def choice_prompt(question: Question) -> str:
    """Return the prompt of a multiple choice; options that are letters themselves get no letters."""
    if question.style == NO_LETTER_STYLE:
        return plain_choice(question.text, question.options)
    return multiple_choice(question.text, question.options)


def _choice(question: Question) -> tuple[str, str]:
    correct = question.extra.get("correct")
    if correct is None:
        raise ValueError(f"{question.id} has no published answer to learn from: train on another split")
    answer = question.options[correct] if question.style == NO_LETTER_STYLE else LETTERS[correct]
    return choice_prompt(question), answer
