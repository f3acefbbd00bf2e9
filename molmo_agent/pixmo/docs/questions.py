"""Writes questions about a table by rule, with answers computed from it."""

import numpy as np

from molmo_agent.pixmo.docs.document import Asked
from molmo_agent.pixmo.docs.table import Query, Table, answer, written


def questions_about(rng: np.random.Generator, table: Table, *, exact: bool, most: int = 6) -> tuple[Asked, ...]:
    """Return up to ``most`` questions about a table, in any order.

    Args:
        rng: chooses among questions and their wordings.
        table: the data.
        exact: whether the values are written in the document; else only what can be seen is asked.
        most: number of questions.
    """
    asked: dict[str, Asked] = {}
    candidates = [pair for column in table.columns for pair in _about_column(rng, table, column, exact)]
    candidates += _about_table(rng, table)
    for number in rng.permutation(len(candidates)):
        query, wordings = candidates[number]
        text = wordings[int(rng.integers(len(wordings)))]
        try:
            asked.setdefault(text, Asked(text, query, answer(table, query)))
        except ValueError:
            # Two rows share the extreme value: there is no one answer.
            continue
        if len(asked) == most:
            break
    return tuple(asked.values())


_Candidate = tuple[Query, tuple[str, ...]]


def _about_table(rng: np.random.Generator, table: Table) -> list[_Candidate]:
    key = table.key
    candidates: list[_Candidate] = [
        (Query("rows"), (f"How many {plural(key)} are shown?", f"What is the number of {plural(key)} listed?"))
    ]
    numeric = all(not isinstance(value, str) for values in table.columns.values() for value in values)
    # Columns of different units, as on an invoice, are not compared.
    if len(table.columns) > 1 and numeric and table.unit:
        row = table.keys[int(rng.integers(len(table.keys)))]
        candidates.append(
            (Query("series", (row,)), (f"Which series is highest for {row}?", f"For {row}, which series has the most?"))
        )
    return candidates


def _about_column(rng: np.random.Generator, table: Table, column: str, exact: bool) -> list[_Candidate]:
    values, key = table.columns[column], table.key
    # Columns of flows are called "to Rail".
    of = "" if len(table.columns) == 1 else f" {column}" if column.startswith("to ") else f" for {column}"
    one, other = (table.keys[int(i)] for i in rng.choice(len(table.keys), 2, replace=False))
    if any(isinstance(value, str) for value in values):
        value = written(values[int(rng.integers(len(values)))])
        if len(table.columns) == 1:
            return [(Query("value", (column, row)), (f"What is given as {row}?",)) for row in table.keys]
        counted = [] if len({*values}) == len(values) else [
            (Query("equal", (column, value)), (f"How many {plural(key)} have {value} as {column}?",))
        ]  # fmt: skip
        return [
            *counted,
            (Query("value", (column, one)), (f"What is the {column} of {one}?", f"{one}: what is the {column}?")),
            (Query("which", (column, value)), (f"Which {key} has {value} as {column}?",)),
        ]
    candidates: list[_Candidate] = [
        (
            Query("largest", (column,)),
            (f"Which {key} has the highest value{of}?", f"Name the {key} with the most{of}."),
        ),
        (
            Query("smallest", (column,)),
            (f"Which {key} has the lowest value{of}?", f"Name the {key} with the least{of}."),
        ),
    ]
    numbers = [float(value) for value in values]
    clear = abs(numbers[table.keys.index(one)] - numbers[table.keys.index(other)]) > 0.1 * max(map(abs, numbers))
    if clear or exact:
        wordings = (f"Is {one} higher than {other}{of}?", f"Does {one} exceed {other}{of}?")
        candidates.append((Query("more", (column, one, other)), wordings))
    if exact:
        unit = f" in {table.unit}" if table.unit else ""
        bound = written(round(float(np.median(numbers)), 1))
        candidates += [
            (
                Query("value", (column, one)),
                (f"What is the value of {one}{of}{unit}?", f"How much is {one}{of}{unit}?"),
            ),
            (Query("value", (column, other)), (f"What number is given for {other}{of}?",)),
            (Query("sum", (column,)), (f"What is the total of all {plural(key)}{of}{unit}?",)),
            (
                Query("difference", (column, one, other)),
                (
                    f"What is the difference between {one} and {other}{of}{unit}?",
                    f"How far apart are {one} and {other}{of}?",
                ),
            ),
            (Query("above", (column, bound)), (f"How many {plural(key)} are above {bound}{of}?",)),
            (Query("mean", (column,)), (f"What is the average over all {plural(key)}{of}, to two decimals?",)),
        ]
    return candidates


def plural(noun: str) -> str:
    """Return the plural of an English noun."""
    if noun == "person":
        return "people"
    if noun.endswith(("s", "ch", "sh")):
        return noun if noun == "species" else f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
