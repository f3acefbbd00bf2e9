"""Makes one document of a seed: written, drawn, measured, its answers checked."""

import io
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import PIL.Image

from molmo_agent.errors import DataError, ModelError, UsageError
from molmo_agent.pixmo.docs.document import TYPES, Document, checked
from molmo_agent.pixmo.docs.quality import problem_of
from molmo_agent.pixmo.docs.renderers import libraries, render
from molmo_agent.pixmo.docs.rules import kinds, write_document
from molmo_agent.pixmo.language_model.writer import UnusableReplyError
from molmo_agent.pixmo.shards import Shard, Written, write_rows

_TRIES = 4


class Writer(Protocol):
    """Writes documents: by rule, or with a language model."""

    def write(self, seed: int, type_: str, library: str, kind: str) -> Document:
        """Write one document, the same for the same arguments.

        Raises:
            DataError: what was written is no document.
            UnusableReplyError: the language model declined.
        """
        ...


class RuleWriter:
    """Writes documents by rule."""

    def write(self, seed: int, type_: str, library: str, kind: str) -> Document:
        """Write one document, the same for the same arguments."""
        return write_document(np.random.default_rng([0xD0C5, seed]), type_, library, kind)


@dataclass(frozen=True, slots=True)
class Made:
    """A row of the data set, and why earlier attempts were rejected."""

    row: dict[str, Any]
    document: Document
    rejected: tuple[str, ...]


def make_document(seed: int, type_: str, *, writer: Writer | None = None) -> Made | tuple[str, ...]:
    """Make the document of a seed; return the reasons instead if every attempt was rejected.

    Raises:
        UsageError: nothing on this machine draws documents of this type.
    """
    writer = writer or RuleWriter()
    choices = [(library, kind) for library in libraries() for kind in kinds(type_, library)]
    if not choices:
        needed = {"charts": "the extra 'pixmo'", "diagrams": "Graphviz (dot)"}.get(type_, "chromium")
        raise UsageError(f"nothing here draws {type_}: install {needed}; types: {', '.join(TYPES)}")
    rejected: list[str] = []
    for attempt in range(_TRIES):
        number = seed * _TRIES + attempt
        library, kind = choices[int(np.random.default_rng([0x1B, number]).integers(len(choices)))]
        try:
            document = writer.write(number, type_, library, kind)
        except (DataError, UnusableReplyError) as error:
            rejected.append(f"{kind}: {error}")
            continue
        right, wrong = checked(document)
        rejected += [f"{kind}: {reason}" for reason in wrong]
        if not right:
            rejected.append(f"{kind}: no question with a right answer")
            continue
        rendering = render(library, document.code)
        problem = problem_of(rendering)
        if problem or rendering.image is None:
            rejected.append(f"{kind}: {problem}")
            continue
        file = io.BytesIO()
        PIL.Image.fromarray(rendering.image).save(file, "PNG")
        row = {
            "image": {"bytes": file.getvalue(), "path": None},
            "image_id": f"{type_}-{seed:08d}",
            "questions": {
                "question": [asked.question for asked in right],
                "answer": [asked.answer for asked in right],
            },
            "kind": kind,
            "library": library,
            "query": document.query,
            "persona": document.persona,
            "code": document.code,
        }
        return Made(row, document, tuple(rejected))
    return tuple(rejected)


def make_docs(shard: Shard, *, type_: str, writer: Writer | None = None) -> Written:
    """Make the documents of a shard and write them as PixMo-Docs.

    Raises:
        UsageError: nothing on this machine draws documents of this type.
        ModelError: every document was rejected; the message has the first reason.
    """
    rows: list[dict[str, Any]] = []
    rejected: list[str] = []
    for seed in shard.seeds:
        made = make_document(seed, type_, writer=writer)
        if isinstance(made, Made):
            rows.append(made.row)
            rejected += made.rejected
        else:
            rejected += made
    if not rows:
        raise ModelError(f"expected documents of type {type_}, but all were rejected; the first: {rejected[0]}")
    write_rows(shard.path, rows)
    return Written(shard, len(rows), tuple(rejected))
