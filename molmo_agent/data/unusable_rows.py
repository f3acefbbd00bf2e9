"""What a reader could not use, where it is and why; readers go on where they can."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that was wrong."""

    file: str
    reason: str
    # Number of the record in the file, and where it begins in the uncompressed stream; None: the file as a whole.
    record: int | None = None
    offset: int | None = None
    row: str | None = None

    def __str__(self) -> str:
        """Say all that is known."""
        where = self.file
        if self.record is not None:
            where += f", record {self.record}"
        if self.offset is not None:
            where += f" at byte {self.offset}"
        if self.row is not None:
            where += f" ({self.row})"
        return f"{where}: {self.reason}"


@dataclass(slots=True)
class Problems:
    """The problems of a reading, in the order they were met."""

    found: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Take note of one."""
        self.found.append(problem)

    def summary(self, most: int = 5) -> str:
        """Return how many there are and the first few, for people."""
        if not self.found:
            return "everything was read"
        lines = [f"{len(self.found)} could not be used:", *(f"  {problem}" for problem in self.found[:most])]
        if len(self.found) > most:
            lines.append(f"  ... and {len(self.found) - most} more")
        return "\n".join(lines)
