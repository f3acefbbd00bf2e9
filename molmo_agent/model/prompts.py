"""Molmo's prompts: formats, style prefixes, length hints and wordings (docs/reference/prompts.md)."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from molmo_agent.model.prompt_banks import CAPTIONS, NO_POINTS, WORDINGS

# Demo styles, which have no prefix in nine of ten examples.
DEMO_STYLES = frozenset({"point_count", "pointing", "user_qa", "long_caption"})
TEXT_STYLE = "text"
"""Conversations without an image."""
# Styles that never have a prefix.
BARE_STYLES = frozenset({"demo", "android_control", TEXT_STYLE})
# Evaluation uses the prompts of the most similar training set.
STYLE_ALIASES = {"eval_short_answer": "vqa2", "eval_multiple_choice": "a_okvqa_mc"}

_STYLED_SHARE = 0.1
_UNHINTED_SHARE = 0.1
_LENGTH_UNIT = 15
_LENGTH_SPREAD = 25.0

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters of the options of a multiple choice."""


def role_prompt(question: str) -> str:
    """Return a user turn in the format of the fine-tuned models: ``" User: ... Assistant:"``."""
    return f" User: {question} Assistant:"


def format_turns(
    turns: Sequence[str], message_format: Literal["role", "none"] = "role", *, leading_space: bool = True
) -> list[str]:
    """Format alternating user and assistant turns as in training.

    Args:
        turns: user, assistant, user, ...
        message_format: "role" adds speaker marks; "none" adds nothing (caption pre-training).
        leading_space: whether the first turn starts with a space; the others always do.
    """
    dressed = []
    for number, turn in enumerate(turns):
        text = role_prompt(turn) if message_format == "role" and number % 2 == 0 else f" {turn}"
        dressed.append(text if number or leading_space else text[1:])
    return dressed


def asked(
    question: str,
    style: str,
    message_format: Literal["role", "none"] = "role",
    prefix: Literal["style", "tag", "length", "none"] = "style",
) -> str:
    """Return a question as a model is asked that was trained with this format and these prefixes.

    A model that was trained with length hints is asked without one: ``"pointing : Point to ..."``, as one in ten
    training examples. One that saw the tag of every style is asked with it. Otherwise tags of styles are left to the
    caller: demo styles, such as pointing, mostly have none.
    """
    tag = style_tag(style) if prefix == "tag" else ""
    if prefix == "length" and style not in BARE_STYLES:
        tag = f"{style} :"
    return format_turns([with_prefix(tag, question)], message_format)[0]


def style_tag(style: str) -> str:
    """Return the tag of a style, which demo styles have too: the prefix of captions without length hints."""
    return "" if style in BARE_STYLES else f"{style}:"


def style_prefix(style: str, rng: np.random.RandomState) -> str:
    """Return the prefix of a fine-tuning question: the style and a colon; for demo styles mostly empty.

    Demo styles draw one uniform number; others draw none.
    """
    style = STYLE_ALIASES.get(style, style)
    if style in DEMO_STYLES and rng.random_sample() > _STYLED_SHARE:
        return ""
    return style_tag(style)


def length_hint(style: str, answer_chars: int, rng: np.random.RandomState) -> str:
    """Return the prefix of caption pre-training: the style and about how long the answer is, one time in ten not.

    Draws one uniform number, then one normal one where a hint is given. Text without an image has no prefix, and draws
    none.
    """
    if style == TEXT_STYLE:
        return ""
    if rng.random_sample() > _UNHINTED_SHARE:
        return f"{style} {(answer_chars + int(rng.normal(scale=_LENGTH_SPREAD))) // _LENGTH_UNIT}:"
    return f"{style} :"


def caption_prompt(hint: int | None, *, tags: bool) -> str:
    """Return the prompt for a long caption with a length hint, as the published evaluation of captions asks.

    Args:
        hint: about how long the caption is, in units of 15 characters; None asks without a hint.
        tags: whether the model was trained with tags of styles; others are asked in words.
    """
    if tags:
        return "long_caption :" if hint is None else f"long_caption {hint}:"
    length = "" if hint is None else f" Write about {_LENGTH_UNIT * hint} characters."
    return f"{caption_wording()}{length}"


def with_prefix(prefix: str, question: str) -> str:
    """Put a prefix before a question; either may be empty."""
    return f"{prefix} {question}" if prefix and question else prefix or question


def multiple_choice(question: str, options: Sequence[str]) -> str:
    """Return the question with its lettered options, one a line."""
    lines = [f"{LETTERS[number]}: {option}" for number, option in enumerate(options)]
    return "\n".join([question, *lines, ""])


def plain_choice(question: str, options: Sequence[str]) -> str:
    """Return the question with its options, one a line, for options that are letters themselves."""
    return "\n".join([question, *options, ""])


def best_answer(answers: Sequence[str], rng: np.random.RandomState) -> str:
    """Return the most frequent of several reference answers, a random one among equals (one draw).

    Raises:
        ValueError: no answer.
    """
    if not answers:
        raise ValueError("expected at least one reference answer, got none")
    counts = Counter(answers)
    most = max(counts.values())
    tied = [answer for answer, count in counts.items() if count == most]
    return tied[rng.randint(0, len(tied))]


CountingStyle = Literal["pointing", "point_count", "count_then_point", "only_count"]
"""What a question about a label asks for: places, a count after them, a count before them, or a count alone."""


def wording(style: CountingStyle, label: str, rng: np.random.RandomState | None = None) -> str:
    """Return a question for all places of a label, for their number, or for both.

    Args:
        style: see :data:`CountingStyle`.
        label: what to look for; asked in lower case, as in training.
        rng: draws one of many wordings (one draw); None takes the plainest.
    """
    bank = WORDINGS[style]
    return bank[0 if rng is None else rng.randint(0, len(bank))].format(label=label.lower())


def caption_wording(rng: np.random.RandomState | None = None) -> str:
    """Return a question for a long caption: one of many wordings (one draw), or the plainest."""
    return CAPTIONS[0 if rng is None else rng.randint(0, len(CAPTIONS))]


def no_points_prefix(rng: np.random.RandomState | None = None) -> str:
    """Return what stands before a question to be answered in words: one of many (one draw), or the plainest."""
    return NO_POINTS[0 if rng is None else rng.randint(0, len(NO_POINTS))]


AndroidForm = Literal["ll", "hl_ll", "hl", "hl_cot"]
"""AndroidControl's four forms: the step, goal and step, the goal alone, the goal with a plan to be written first."""


def android_prompt(form: AndroidForm, *, goal: str = "", step: str = "") -> str:
    """Return AndroidControl's question: docs/reference/data.md#androidcontrol.

    Args:
        form: which of the four.
        goal: the instruction of the whole episode.
        step: the instruction of the current step.

    Raises:
        ValueError: no such form, or one that needs a goal or a step that is not given.
    """
    patterns = {
        "ll": "low_level: {step}",
        "hl_ll": "high_level: {goal} low_level: {step}",
        "hl": "high_level: {goal}",
        "hl_cot": "high_level_cot: {goal}",
    }
    if form not in patterns:
        raise ValueError(f"expected one of the forms {', '.join(patterns)}, got {form!r}")
    for name, value in (("goal", goal), ("step", step)):
        if f"{{{name}}}" in patterns[form] and not value:
            raise ValueError(f"the form {form!r} needs a {name}; got none")
    return patterns[form].format(goal=goal, step=step)


def android_answer(form: AndroidForm, action: str, *, step: str = "") -> str:
    """Return AndroidControl's answer: the action's text, after the plan where the form asks for one."""
    return f"Plan: {step} Action: {action}" if form == "hl_cot" else action
