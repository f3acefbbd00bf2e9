"""Which elements a phrase names: the rule by which oracles locate targets on simulated screens and pages.

A label in quotes must match exactly: ``the "Add to cart" button`` is not "Cart". Without quotes, a label is named
where its words stand in the phrase. Of several, those of the named kind come first, then those with the longest label.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

_QUOTATION = re.compile(r'"([^"]+)"')


class HasKind(Protocol):
    """Something with a kind, such as an element of a screen."""

    @property
    def kind(self) -> str:
        """What it is: "button"."""
        ...


_Element = TypeVar("_Element", bound=HasKind)


def without_quotations(phrase: str) -> str:
    """Return a phrase in lower case without its quotations."""
    return _QUOTATION.sub(" ", phrase.casefold())


def kind_in(phrase: str, kind_names: Sequence[tuple[str, str]]) -> str | None:
    """Return the kind that a phrase names outside of quotes; the first in the list counts.

    Args:
        phrase: any text.
        kind_names: pairs (name of the kind in instructions, kind).
    """
    words = without_quotations(phrase)
    return next((kind for name, kind in kind_names if re.search(rf"\b{name}\b", words)), None)


def named_elements(
    phrase: str, elements: Iterable[_Element], kind: str | None, label_of: Callable[[_Element], str]
) -> list[_Element]:
    """Return the elements that a phrase names equally well; empty if it names none.

    Args:
        phrase: an instruction or a part of one.
        elements: the visible elements.
        kind: the kind that the phrase names, see :func:`kind_in`.
        label_of: returns the label of an element; "" is never matched.
    """
    lower = phrase.casefold()
    quotations = {text.casefold() for text in _QUOTATION.findall(lower)}
    matches = []
    for element in elements:
        label = label_of(element).casefold()
        if label and (label in quotations if quotations else re.search(rf"(?<!\w){re.escape(label)}(?!\w)", lower)):
            matches.append(((element.kind == kind, len(label)), element))
    best = max((score for score, _ in matches), default=None)
    return [element for score, element in matches if score == best]
