"""A document before it is drawn: who asked for what, the code, the data, and questions with checked answers."""

from dataclasses import dataclass

from molmo_agent.pixmo.docs.table import Query, Table, answer

TYPES = ("charts", "tables", "diagrams", "other")
"""The parts of the data set, as its readers name them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the operation that answers it, and the answer that the writer gave."""

    question: str
    query: Query
    answer: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        type: one of :data:`TYPES`.
        kind: such as "treemap".
        library: that draws it, see :mod:`~molmo_agent.pixmo.docs.renderers`.
        query: what was asked for.
        persona: who asked.
        code: what draws it.
        table: the data.
        questions: about the data.
    """

    type: str
    kind: str
    library: str
    query: str
    persona: str
    code: str
    table: Table
    questions: tuple[Asked, ...]


def checked(document: Document) -> tuple[tuple[Asked, ...], tuple[str, ...]]:
    """Return the questions whose answers follow from the data, and why the others do not."""
    right, wrong = [], []
    for asked in document.questions:
        try:
            expected = answer(document.table, asked.query)
        except ValueError as error:
            wrong.append(f"{asked.question!r}: {error}")
            continue
        if asked.answer.strip() == expected:
            right.append(asked)
        else:
            wrong.append(f"{asked.question!r}: answered {asked.answer!r}, but the data give {expected!r}")
    return tuple(right), tuple(wrong)
