"""How a training example becomes turns of text: formats, style prefixes, length hints (molmo-model section 3.7)."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

# Styles that people meet without a prefix, nine times of ten.
DEMO_STYLES = frozenset({"point_count", "pointing", "user_qa", "long_caption"})
# Styles that never have one.
BARE_STYLES = frozenset({"demo", "android_control"})
# Evaluation asks in the words of the training set that is nearest.
STYLE_ALIASES = {"eval_short_answer": "vqa2", "eval_multiple_choice": "a_okvqa_mc"}

_STYLED_SHARE = 0.1
_UNHINTED_SHARE = 0.1
_LENGTH_UNIT = 15
_LENGTH_SPREAD = 25.0
INFERENCE_LENGTH = 65
"""Length hint that captions are asked for with when nothing else is said."""


def format_turns(
    turns: Sequence[str], message_format: Literal["role", "none"] = "role", *, leading_space: bool = True
) -> list[str]:
    """Dress alternating user and assistant turns as the models were trained on.

    Args:
        turns: user, assistant, user, ...
        message_format: "role" marks whose turn it is; "none" leaves text alone (caption pre-training).
        leading_space: the first turn begins with a space too; the others always do.
    """
    dressed = []
    for number, turn in enumerate(turns):
        text = f"User: {turn} Assistant:" if message_format == "role" and number % 2 == 0 else turn
        dressed.append(f" {text}" if number or leading_space else text)
    return dressed


def style_prefix(style: str, rng: np.random.RandomState) -> str:
    """Return the prefix of a fine-tuning question: the style and a colon, mostly nothing for demo styles.

    Demo styles draw one uniform number; others draw none.
    """
    style = STYLE_ALIASES.get(style, style)
    if style in BARE_STYLES or (style in DEMO_STYLES and rng.random_sample() > _STYLED_SHARE):
        return ""
    return f"{style}:"


def length_hint(style: str, answer_chars: int, rng: np.random.RandomState) -> str:
    """Return the prefix of caption pre-training: the style and about how long the answer is, one time in ten not.

    Draws one uniform number, then one normal one where a hint is given.
    """
    if rng.random_sample() > _UNHINTED_SHARE:
        return f"{style} {(answer_chars + int(rng.normal(scale=_LENGTH_SPREAD))) // _LENGTH_UNIT}:"
    return f"{style} :"


def inference_hint(style: str, length: int | None = INFERENCE_LENGTH) -> str:
    """Return the prefix that asks for a caption of a length; None asks for any."""
    return f"{style} :" if length is None else f"{style} {length}:"


def with_prefix(prefix: str, question: str) -> str:
    """Put a prefix before a question; either may be empty."""
    return f"{prefix} {question}" if prefix and question else prefix or question


def multiple_choice(question: str, options: Sequence[str]) -> str:
    """Return the question with its lettered options, one a line."""
    lines = [f"{chr(ord('A') + i)}: {option}" for i, option in enumerate(options)]
    return "\n".join([question, *lines, ""])


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
