"""The votes of a study: one JSON line each, written at once; a later vote on the same match replaces an earlier one."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from molmo_agent.errors import DataError
from molmo_agent.files import append_line
from molmo_agent.parse import json_lines

VOTES_FILE = "votes.jsonl"
FIRST, SECOND, BOTH_GOOD, BOTH_BAD, DONT_KNOW = "first", "second", "both_good", "both_bad", "dont_know"
OUTCOMES = (FIRST, SECOND, BOTH_GOOD, BOTH_BAD, DONT_KNOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What an annotator said of one match; ``first`` and ``second`` are models, not sides of the page."""

    annotator: str
    question: str
    category: str
    first: str
    second: str
    # One of OUTCOMES.
    outcome: str
    # Whether ``first`` was shown on the left, as A.
    first_is_a: bool = True
    # From the display of the match to the vote.
    seconds: float = 0.0
    # ISO 8601 in UTC.
    time: str = ""

    @property
    def match(self) -> tuple[str, str, str]:
        """Which match it is on: (question, first, second)."""
        return self.question, self.first, self.second


def append_vote(path: Path, vote: Vote) -> None:
    """Append a vote to the file, as one whole line.

    Raises:
        OSError: the file cannot be written to.
    """
    append_line(path, json.dumps(asdict(vote), ensure_ascii=False))


def drop_cut_end(path: Path) -> None:
    """Remove a last line without line feed, as a killed process may leave it: the next vote would be joined to it."""
    if path.exists():
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def read_votes(path: Path) -> list[Vote]:
    """Return the last vote of each annotator on each match, in the order of the file; none without a file.

    Raises:
        DataError: a line is damaged.
    """
    if not path.exists():
        return []
    names = {field.name for field in fields(Vote)}
    needed = {"annotator", "question", "category", "first", "second", "outcome"}
    votes: list[Vote] = []
    for number, row in json_lines(path, on_cut_end=lambda _: None):
        if not isinstance(row, dict) or not needed <= row.keys() <= names or row["outcome"] not in OUTCOMES:
            raise DataError(f"expected line {number} of {path} to be a vote; remove the line or the file")
        if not all(isinstance(row[name], str) for name in needed) or row["first"] == row["second"]:
            raise DataError(f"expected line {number} of {path} to be a vote on two models; remove the line or the file")
        votes.append(Vote(**row))
    return last_votes(votes)


def last_votes(votes: Iterable[Vote]) -> list[Vote]:
    """Return the last vote of each annotator on each match."""
    return list({(vote.annotator, *vote.match): vote for vote in votes}.values())
