"""Read the answer in a reply, and compare it: letters, numbers, formulas.

Each is read in two ways. ``strict`` takes it only where the prompt asks for it; ``lenient`` takes the last thing in the
reply that could be one.
"""

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from string import ascii_uppercase

from molmo_agent.data.readers.text_tasks.tasks import last_boxed

_WHOLE = re.compile(r"\(?([A-Z])\)?[.:)]?")
_STATED = re.compile(r"(?i:\banswer(?:\s+is)?\s*:?\s*)(?:\*\*|\$)?\(?([A-Z])\b")
_LETTER = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")
_FINAL = re.compile(r"(?i:final answer is|answer is)\s*:?\s*")


def letter_of(reply: str, count: int, *, strict: bool) -> str | None:
    """Return the letter of the option that a reply chooses; None if it names none.

    Args:
        reply: of the model.
        count: number of options.
        strict: the reply is the letter alone, or says that the answer is the letter; the last statement counts.
            Otherwise, the last capital letter that stands alone counts too.
    """
    letters = ascii_uppercase[:count]
    text = reply.replace("**", "").strip()
    if whole := _WHOLE.fullmatch(text):
        return whole[1] if whole[1] in letters else None
    stated = [letter for letter in _STATED.findall(text) if letter in letters]
    if not stated and not strict:
        stated = [letter for letter in _LETTER.findall(text) if letter in letters]
    return stated[-1] if stated else None


def number_of(reply: str, *, strict: bool) -> Decimal | None:
    """Return the number that a reply ends with; None if it has none.

    Args:
        reply: of the model.
        strict: the number behind the last ####. Otherwise, the last number.
    """
    text = reply.rpartition("####")[2] if strict else reply
    if strict and "####" not in reply:
        return None
    numbers = _NUMBER.findall(text)
    return decimal(numbers[0 if strict else -1]) if numbers else None


def decimal(text: str) -> Decimal | None:
    """Return a number as people write it, with commas or a dollar sign; None if it is none."""
    try:
        value = Decimal(text.replace(",", "").replace("$", "").strip().rstrip("."))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def formula_of(reply: str, *, strict: bool) -> str | None:
    r"""Return the formula that a reply ends with; None if it has none.

    Args:
        reply: of the model.
        strict: in the last \boxed{}. Otherwise, what stands behind "answer is" on its line, or the last $formula$.
    """
    boxed = last_boxed(reply)
    if boxed is not None or strict:
        return boxed
    if parts := _FINAL.split(reply)[1:]:
        line = parts[-1].split("\n", 1)[0]
        formula = re.match(r"\$([^$]+)\$", line)
        # A sentence may follow a full stop.
        return formula[1] if formula else re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].strip() or None
    quoted = re.findall(r"\$([^$\n]+)\$", reply)
    return quoted[-1].strip() if quoted else None


def same_formula(first: str, second: str) -> bool:
    """Return whether two answers in LaTeX are the same once they are written alike, or are the same number."""
    ours, theirs = plain_formula(first), plain_formula(second)
    if ours == theirs:
        return ours != ""
    left, right = _value(ours), _value(theirs)
    return left is not None and left == right


_SPACES = re.compile(r"\\[!,;: ]|\\quad|\\left(?![a-z])|\\right(?![a-z])|[\s$]|~")
_UNITS = re.compile(r"\\(?:text|mbox|mathrm)\{\s*[^{}]*\}\Z|\^\{?\\circ\}?|\\?%")


def plain_formula(text: str) -> str:
    r"""Return an answer in one way of writing: without spaces, units and signs of money, with \frac{a}{b}."""
    text = text.strip().rstrip(".")
    whole = re.fullmatch(r"\\(?:text|mbox|textbf|mathrm)\{([^{}]*)\}", text)
    text = whole[1] if whole else _UNITS.sub("", text.replace(r"\$", ""))
    text = re.sub(r"\\(?:text|textbf|mbox|mathrm)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", _SPACES.sub("", text))
    # \frac12, \frac{1}2, \sqrt3
    text = re.sub(r"\\frac([^{])([^{])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac(\{[^{}]*\})([^{])", r"\\frac\1{\2}", text)
    text = re.sub(r"\\sqrt([^{\[])", r"\\sqrt{\1}", text)
    # x=5 and k\in... say what the answer is of.
    text = re.sub(r"\A[a-zA-Z](?:=|\\in)(?=.)", "", text)
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        text = text.replace(",", "")
    return re.sub(r"(?<!\d)\.(?=\d)", "0.", text)


def _value(text: str) -> Fraction | None:
    r"""Return the value of a number, a/b or \frac{a}{b}; None of anything else."""
    fraction = re.fullmatch(r"(-?)\\frac\{(-?\d{1,30})\}\{(-?\d{1,30})\}|(-?\d{1,30})/(\d{1,30})", text)
    if fraction:
        above, below = (fraction[2], fraction[3]) if fraction[2] else (fraction[4], fraction[5])
        sign = -1 if fraction[1] else 1
        return sign * Fraction(int(above), int(below)) if int(below) else None
    return Fraction(text) if re.fullmatch(r"-?\d{1,30}(?:\.\d{1,30})?", text) else None
