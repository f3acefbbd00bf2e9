"""Rows and files that a reader could not use, with reasons; readers skip them and continue."""

from dataclasses import dataclass, field

from molmo_agent.errors import UsageError

ROW_ERRORS = (UsageError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)
"""What reading one row can raise: a null or another type in the place of a value, a damaged or missing image."""


def reason_of(error: Exception) -> str:
    """Return why a row is unusable."""
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing"
    return str(error) or type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One unusable record or file."""

    file: str
    reason: str
    # Number of the record in the file and its offset in the uncompressed stream; None: the whole file.
    record: int | None = None
    offset: int | None = None
    row: str | None = None

    def __str__(self) -> str:
        """Return the location and the reason."""
        where = self.file
        if self.record is not None:
            where += f", record {self.record}"
        if self.offset is not None:
            where += f" at byte {self.offset}"
        if self.row is not None:
            where += f" ({self.row})"
        return f"{where}: {self.reason}"


class NothingUsableError(UsageError):
    """No row of a data set can be used."""

    def __init__(self, what: str, problems: "Problems") -> None:
        self.problems = problems
        super().__init__(f"{what} can be used; {problems.summary()}")


@dataclass(slots=True)
class Problems:
    """The problems of a reader, in order."""

    entries: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Record a problem."""
        self.entries.append(problem)

    def summary(self, most: int = 5) -> str:
        """Return a readable summary: the number of problems and the first few."""
        if not self.entries:
            return "everything was read"
        lines = [f"{len(self.entries)} could not be used:", *(f"  {problem}" for problem in self.entries[:most])]
        if len(self.entries) > most:
            lines.append(f"  ... and {len(self.entries) - most} more")
        return "\n".join(lines)
