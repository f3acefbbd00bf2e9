"""What a table of benchmarks says of one, and the table of the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from molmo_agent.evaluation.grounding.protocols import Protocol

NOT_REMADE = "no published number was made again"
_MADE = "reader and rules, on made files in the published layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """One benchmark."""

    what: str
    data: str
    reader: str
    # Number of questions or steps, as its authors state it.
    count: str
    protocols: tuple[Protocol, ...]
    options: Mapping[str, str | None] = field(default_factory=dict)
    # What could not be checked.
    unchecked: str = NOT_REMADE
    # Why figures may not be comparable.
    caveat: str = ""


def table_of(rows: Mapping[str, BenchmarkRow]) -> str:
    """Return the table of the documentation, in Markdown."""
    lines = [
        "| benchmark | files | protocols | n | checked | not checked |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        protocols = ", ".join(f"`{protocol.name}`" for protocol in row.protocols)
        data = row.data.removeprefix("the folder with ")
        lines.append(f"| `{name}` | {data} | {protocols} | {row.count} | {_MADE} | {row.unchecked} |")
    return "\n".join(lines)
