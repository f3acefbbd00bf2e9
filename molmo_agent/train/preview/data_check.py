"""Check a mixture's data before training: what cannot be used and why, how long it is, what is there twice."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from molmo_agent.data.catalog import open_source, source_at
from molmo_agent.data.readers.pixmo_layouts import pixmo_kind
from molmo_agent.data.row import Row, Rows
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, NothingUsableError, Problem, reason_of
from molmo_agent.episode import Image
from molmo_agent.model import MolmoProcessor
from molmo_agent.train.batching.encode import encode
from molmo_agent.train.batching.sampler import spread
from molmo_agent.train.config import TrainConfig, source_names

OnProgress = Callable[[str, int, int], None]
"""Called with what is checked, and how many of how many rows are."""

_EXAMPLES = 3
_THREADS = 4
# What differs between two messages of one kind: quoted texts, numbers, paths.
_DETAILS = re.compile(r"""'[^']*'|"[^"]*"|\[[^\]]*\]|(?:[\w.-]*/)+[\w.-]+|0x[0-9a-f]+|-?\d+(?:[.,]\d+)*""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why some records cannot be used."""

    # The message of the first one.
    reason: str
    count: int
    # The first places: a file and a line or record, or a row's name.
    places: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class SourceCheck:
    """What was found in one data set."""

    name: str
    kind: str
    # Rows (an image with all its conversations, or text alone), and of those how many were read in full; 0 rows of an
    # infinite data set.
    rows: int = 0
    checked: int = 0
    conversations: int = 0
    points: int = 0
    unusable: list[Reason] = field(default_factory=list)
    # Number of unusable records, and of rows that were read and can be used.
    num_unusable: int = 0
    num_usable: int = 0
    # Conversations that are there more than once, with the first places.
    duplicates: int = 0
    duplicate_places: tuple[str, ...] = ()
    # The longest sequences in tokens, with names; and conversations that do not fit with the others of their row.
    longest: tuple[tuple[int, str], ...] = ()
    num_truncated: int = 0
    # The largest image: (width, height) and name.
    largest_image: tuple[int, int, str] | None = None


def check_mixture(
    config: TrainConfig, processor: MolmoProcessor, *, rows: int, on_progress: OnProgress = lambda *_: None
) -> list[SourceCheck]:
    """Check every data set of a mixture.

    Every record is parsed. Of the rows that this leaves, ``rows`` are also decoded and laid out as sequences.

    Args:
        config: the run.
        processor: of its model.
        rows: of each data set, spread evenly; 0: all.
        on_progress: see :data:`OnProgress`.

    Raises:
        UsageError: a file is missing or unreadable, or an option is wrong.
    """
    checks = []
    for name, source in zip(source_names(config.mixture), config.mixture, strict=True):
        on_progress(name, 0, 0)
        placed = replace(source if config.home is None else source_at(source, Path(config.home)), hold_out=0)
        checks.append(_check(name, placed, config, processor, rows, on_progress))
    return checks


def _check(
    name: str, source: Source, config: TrainConfig, processor: MolmoProcessor, most: int, on_progress: OnProgress
) -> SourceCheck:
    check = SourceCheck(name=name, kind=source.kind)
    try:
        data: Rows = open_source(source)
    except NothingUsableError as error:
        check.unusable, check.num_unusable = grouped(error.problems.entries), len(error.problems.entries)
        return check
    check.rows = len(data)
    numbers: Sequence[int] = spread(len(data), most or len(data)) if len(data) else range(most or 100)
    problems = list(data.problems.entries)
    findings = _Findings()
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, (number, row, problem) in enumerate(pool.map(lambda number: _read(data, number), numbers), 1):
            on_progress(name, done, len(numbers))
            if row is not None and problem is None:
                try:
                    encoded = encode(row, processor, config, number)
                except ROW_ERRORS as error:
                    problem = reason_of(error)
                else:
                    findings.add(row, encoded.size.tokens, encoded.num_truncated)
            if problem is not None:
                problems.append(Problem(file=row.name if row is not None else name, reason=problem, record=None))
    check.checked, check.num_usable = len(numbers), findings.rows
    check.unusable, check.num_unusable = grouped(problems), len(problems)
    findings.report(check)
    return check


def _read(data: Rows, number: int) -> tuple[int, Row | None, str | None]:
    """Return a row with its decoded images, or why it cannot be used."""
    row: Row | None = None
    try:
        row = data.row(number, number)
        for picture in row.pictures:
            size = _size(picture.image())
            if size != picture.size:
                return number, row, f"expected an image of {picture.size} pixels, got {size}; was it replaced?"
    except ROW_ERRORS as error:
        return number, row, reason_of(error)
    return number, row, None


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


@dataclass(slots=True)
class _Findings:
    """What is collected from the rows that can be used."""

    rows: int = 0
    conversations: int = 0
    points: int = 0
    num_truncated: int = 0
    lengths: list[tuple[int, str]] = field(default_factory=list)
    largest: tuple[int, int, str] | None = None
    seen: Counter[bytes] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)

    def add(self, row: Row, tokens: int, num_truncated: int) -> None:
        self.rows += 1
        self.conversations += len(row.conversations)
        self.num_truncated += num_truncated
        self.lengths = sorted([*self.lengths, (tokens, row.name)], reverse=True)[:_EXAMPLES]
        for picture in row.pictures:
            width, height = picture.size
            if self.largest is None or width * height > self.largest[0] * self.largest[1]:
                self.largest = (width, height, row.name)
        for conversation in row.conversations:
            self.points += len(conversation.target.points) if conversation.target else 0
            # Wordings are drawn, so that a target is known by what it names.
            asked = conversation.target.instruction if conversation.target else conversation.turns[0]
            if conversation.style == "long_caption":
                asked = ""
            text = "\0".join((row.name if row.pictures else "", conversation.style, asked, *conversation.turns[1:]))
            key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self.seen[key] += 1
            if self.seen[key] > 1:
                self.duplicates.append(row.name)

    def report(self, check: SourceCheck) -> None:
        check.conversations, check.points, check.num_truncated = self.conversations, self.points, self.num_truncated
        check.longest, check.largest_image = tuple(self.lengths), self.largest
        check.duplicates, check.duplicate_places = len(self.duplicates), tuple(self.duplicates[:_EXAMPLES])


def grouped(problems: Iterable[Problem]) -> list[Reason]:
    """Return problems by their reasons, the most frequent first; what is quoted in a reason does not count."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_DETAILS.sub("*", problem.reason), []).append(problem)
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    return [
        Reason(reason=group[0].reason, count=len(group), places=tuple(_place(one) for one in group[:_EXAMPLES]))
        for group in ordered
    ]


def _place(problem: Problem) -> str:
    record = "" if problem.record is None else f", record {problem.record}"
    return f"{problem.file}{record}" + (f" ({problem.row})" if problem.row else "")


def guess_kind(path: Path, first: Any) -> str:
    """Return the kind of data set that a person's file is, by its first record.

    Args:
        path: the file or folder.
        first: its first record, None for a folder or a table.
    """
    if isinstance(first, dict):
        if "points" in first and "label" in first and not {"messages", "answer", "question", "caption"} & first.keys():
            return "points"
        if {"traj", "element", "elements"} & first.keys() or ("instruction" in first and "bbox" in first):
            return "gui-grounding"
    if (path / "steps.jsonl").is_file():
        return "trajectories"
    return pixmo_kind(path) or "conversations"
