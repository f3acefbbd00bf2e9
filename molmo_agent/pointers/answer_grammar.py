"""The shape of a Molmo's answer, as text: when it is whole, what must come next, how sure its digits are."""

import re
from collections.abc import Sequence

_WHOLE = re.compile(r"\s*(<points?\s[^>]*>[^<]*</points?>|There are none\.)\s*", re.DOTALL)


def is_complete(text: str) -> bool:
    """Tell whether an answer that begins with its point has ended; "Counting the ..." goes on until EOS."""
    return _WHOLE.fullmatch(text) is not None


def plain_label(instruction: str) -> str:
    """Return what an answer would call the thing that an instruction names: no quotes, no tags, lower case."""
    return re.sub(r"[<>\"]", "", instruction).strip().lower()


def guess_next(text: str, label: str) -> str:
    """Guess how an unfinished answer goes on; empty where that is anybody's guess.

    The form dictates most of an answer; its label is often the question's, and always said twice.
    """
    opening = ' <point x="'
    if opening.startswith(text):
        return opening[len(text) :]
    close = "</points>" if "<points" in text else "</point>"
    if found := re.search(r'alt="([^"]*)">([^<]*)$', text):
        alt, said = found.groups()
        return alt[len(said) :] + close if alt.startswith(said) else ""
    if found := re.search(r'alt="([^"]*)$', text):
        said = found.group(1)
        return f'{label[len(said) :]}">{label}{close}' if label.startswith(said) else ""
    if found := re.search(r'([xy])(\d*)="\s*\d{1,3}(\.\d?)?$', text):
        axis, number, decimal = found.groups()
        if decimal is None:
            return "."
        if len(decimal) == 2:
            if axis == "x":
                return f'" y{number}="'
            return f'" alt="{label}">{label}{close}' if not number else ""
    return ""


def digit_confidence(pieces: Sequence[str], chances: Sequence[float]) -> float | None:
    """Return the probability that the model gave the first point's whole percents.

    The product, over the digits before the decimal points of x and y, of the probability of each chosen token. Decimals
    are finer than any target and are left out. None if the answer has no point.

    Args:
        pieces: the answer, token by token.
        chances: the probability of each token when it was chosen.
    """
    text, product, digits = "", 1.0, 0
    for piece, chance in zip(pieces, chances, strict=True):
        if re.search(r'[xy]1?="\s*\d{0,2}$', text) and re.match(r"\s*\d", piece):
            product *= chance
            digits += 1
        text += piece
        if re.search(r'y1?="\s*\d+\.', text):
            break
    return product if digits else None
