"""The form of Molmo's pointing replies as text: completeness, predictable continuations, confidence of the digits."""

import re
from collections.abc import Sequence

_COMPLETE = re.compile(r"\s*(<points?\s[^>]*>[^<]*</points?>|There are none\.)\s*", re.DOTALL)


def is_complete(text: str) -> bool:
    """Return whether a reply that starts with its point is complete; "Counting the ..." continues until EOS."""
    return _COMPLETE.fullmatch(text) is not None


def plain_label(instruction: str) -> str:
    """Return the label that a reply would use for an instruction: no quotes, no tags, lower case."""
    return re.sub(r"[<>\"]", "", instruction).strip().lower()


def guess_next(text: str, label: str) -> str:
    """Guess the continuation of an incomplete reply; empty if it cannot be predicted.

    The form determines most of a reply. Its label is often that of the question, and always occurs twice.
    """
    opening = ' <point x="'
    if opening.startswith(text):
        return opening[len(text) :]
    close = "</points>" if "<points" in text else "</point>"
    if match := re.search(r'alt="([^"]*)">([^<]*)$', text):
        alt, label_start = match.groups()
        return alt[len(label_start) :] + close if alt.startswith(label_start) else ""
    if match := re.search(r'alt="([^"]*)$', text):
        alt_start = match.group(1)
        return f'{label[len(alt_start) :]}">{label}{close}' if label.startswith(alt_start) else ""
    if match := re.search(r'([xy])(\d*)="\s*\d{1,3}(\.\d?)?$', text):
        axis, number, decimal = match.groups()
        if decimal is None:
            return "."
        if len(decimal) == 2:
            if axis == "x":
                return f'" y{number}="'
            return f'" alt="{label}">{label}{close}' if not number else ""
    return ""


def digit_confidence(pieces: Sequence[str], probabilities: Sequence[float]) -> float | None:
    """Return the model's probability of the first point's whole percents; None if the reply has no point.

    This is the product of the token probabilities over the digits before the decimal points of x and y. Decimals are
    finer than any target and are ignored.

    Args:
        pieces: the reply, token by token.
        probabilities: the model's probability of each token.
    """
    text, product, digits = "", 1.0, 0
    for piece, probability in zip(pieces, probabilities, strict=True):
        if re.search(r'[xy]1?="\s*\d{0,2}$', text) and re.match(r"\s*\d", piece):
            product *= probability
            digits += 1
        text += piece
        if re.search(r'y1?="\s*\d+\.', text):
            break
    return product if digits else None
