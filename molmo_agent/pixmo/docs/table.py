"""The data behind a document, and answers that are computed from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = float | int | str


@dataclass(frozen=True, slots=True)
class Table:
    """Named rows with columns of numbers or texts.

    Attributes:
        title: of the document.
        key: what the rows are, such as "city".
        keys: the names of the rows.
        columns: values by column, one for each row.
        unit: of the numbers.
    """

    title: str
    key: str
    keys: tuple[str, ...]
    columns: Mapping[str, tuple[Value, ...]]
    unit: str = ""

    def __post_init__(self) -> None:
        wrong = [name for name, values in self.columns.items() if len(values) != len(self.keys)]
        if wrong or not self.keys or len({*self.keys}) != len(self.keys):
            raise ValueError(
                f"expected distinct row names and one value for each in every column, got {wrong or self.keys}"
            )


@dataclass(frozen=True, slots=True)
class Query:
    """An operation on a table, by name, and what it takes: columns, rows or values."""

    operation: str
    arguments: tuple[str, ...] = field(default=())


def written(value: Value) -> str:
    """Return a value as an answer: without needless zeros, and without thousands separators."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else f"{value:.10g}"


def answer(table: Table, query: Query) -> str:
    """Compute an answer from the table alone.

    Raises:
        ValueError: the operation is unknown, its arguments are not of this table, or its answer is ambiguous.
    """
    arguments = query.arguments
    match query.operation, len(arguments):
        case "value", 2:
            return written(_cell(table, *arguments))
        case "largest" | "smallest", 1:
            values = _numbers(table, arguments[0])
            best = max(values) if query.operation == "largest" else min(values)
            return table.keys[_only(values, best)]
        case "series", 1:
            names = [*table.columns]
            row = [_number(_cell(table, name, arguments[0])) for name in names]
            return names[_only(row, max(row))]
        case "rows", 0:
            return str(len(table.keys))
        case "columns", 0:
            return str(len(table.columns))
        case "sum", 1:
            return written(round(sum(_numbers(table, arguments[0])), 6))
        case "mean", 1:
            values = _numbers(table, arguments[0])
            return written(round(sum(values) / len(values), 2))
        case "difference", 3:
            column, one, other = arguments
            gap = _number(_cell(table, column, one)) - _number(_cell(table, column, other))
            return written(round(abs(gap), 6))
        case "more", 3:
            column, one, other = arguments
            first, second = (_number(_cell(table, column, row)) for row in (one, other))
            if first == second:
                raise ValueError(f"{one} and {other} have the same {column}")
            return "Yes" if first > second else "No"
        case "above", 2:
            column, bound = arguments
            return str(sum(value > float(bound) for value in _numbers(table, column)))
        case "equal", 2:
            column, value = arguments
            return str(sum(written(cell) == value for cell in _column(table, column)))
        case "links", 2:
            name, node = arguments
            own = written(_cell(table, name, node)) in table.keys
            return str(own + sum(cell == node for cell in _column(table, name)))
        case "which", 2:
            column, value = arguments
            return table.keys[_only([written(cell) for cell in _column(table, column)], value)]
    raise ValueError(f"expected a known operation with its arguments, got {query.operation!r} with {len(arguments)}")


def _column(table: Table, name: str) -> tuple[Value, ...]:
    if name not in table.columns:
        raise ValueError(f"expected a column of {', '.join(table.columns)}, got {name!r}")
    return table.columns[name]


def _cell(table: Table, column: str, row: str) -> Value:
    if row not in table.keys:
        raise ValueError(f"expected a row of {', '.join(table.keys)}, got {row!r}")
    return _column(table, column)[table.keys.index(row)]


def _number(value: Value) -> float:
    if isinstance(value, str):
        raise ValueError(f"expected a number, got {value!r}")
    return float(value)


def _numbers(table: Table, column: str) -> list[float]:
    return [_number(value) for value in _column(table, column)]


def _only(values: Sequence[Value], wanted: Value) -> int:
    places = [i for i, value in enumerate(values) if value == wanted]
    if len(places) != 1:
        raise ValueError(f"expected one row with {wanted!r}, got {len(places)}")
    return places[0]
