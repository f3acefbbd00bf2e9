"""Writes documents with a language model: one reply with data and code, one with questions. Nothing is trusted."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from molmo_agent.errors import DataError
from molmo_agent.parse import load_json
from molmo_agent.pixmo.docs.document import Asked, Document
from molmo_agent.pixmo.docs.rules import topics
from molmo_agent.pixmo.docs.table import Query, Table
from molmo_agent.pixmo.language_model.client import Budget, LanguageModel
from molmo_agent.pixmo.language_model.prompts import prompt

_RULES = {
    "matplotlib": "Draw one figure; do not show or save it.",
    "html": "One page, at most 700 pixels wide, with all styles inside and no links.",
    "graphviz": "One graph in the DOT language.",
    "plotly": "Leave one figure in the variable fig, at most 760 pixels wide; do not show or save it.",
    "latex": "One document of one page, with the packages of a basic installation and no files beside it.",
    "mermaid": "One diagram in Mermaid's language.",
    "vega-lite": "One specification with its data in it.",
}
_FENCE = re.compile(r"^\s*```[a-z]*\n(.*)\n```\s*$", re.DOTALL)


class Text(Protocol):
    """Writes text for a role."""

    def write(self, role: str, prompt: str) -> str:
        """Return the reply to a prompt."""
        ...


class ModelWriter:
    """Writes documents with a language model."""

    def __init__(self, model: Text) -> None:
        self._model = model

    @classmethod
    def at(cls, address: str, *, cache: Path, max_tokens: int) -> "ModelWriter":
        """Return a writer for an address, see :meth:`LanguageModel.at`; its roles are coder and question-writer."""
        return cls(LanguageModel.at(address, cache, Budget(max_tokens)))

    def write(self, seed: int, type_: str, library: str, kind: str) -> Document:
        """Write one document.

        Raises:
            DataError: a reply is not what was asked for.
            ModelError: the model gave no reply.
        """
        rng = np.random.default_rng([0x11, seed])
        words = topics()
        who = words["personas"][int(rng.integers(len(words["personas"])))]["who"]
        topic = words["topics"][int(rng.integers(len(words["topics"])))][0]
        asked = {"persona": who, "kind": kind, "topic": topic, "type": type_, "library": library, "seed": str(seed)}
        reply = self._model.write("coder", prompt("docs_coder_v1", **asked, library_rules=_RULES[library]))
        written = _json(reply, "the coder's reply")
        if not isinstance(written, Mapping) or not isinstance(written.get("code"), str):
            raise DataError("expected the coder's reply to be an object with code, got something else")
        table = _table(written)
        data = json.dumps({"key": table.key, "keys": table.keys, "columns": dict(table.columns)})
        reply = self._model.write("question-writer", prompt("docs_questions_v1", code=written["code"], data=data))
        questions = _questions(_json(reply, "the question writer's reply"))
        return Document(type_, kind, library, f"a {kind} about {topic}", who, written["code"], table, questions)


def _json(reply: str, where: str) -> Any:
    fenced = _FENCE.match(reply)
    return load_json(fenced[1] if fenced else reply, where=where)


def _table(written: Mapping[str, Any]) -> Table:
    try:
        columns = {str(name): tuple(values) for name, values in written["columns"].items()}
        table = Table(str(written["title"]), str(written["key"]), tuple(map(str, written["keys"])), columns,
                      str(written.get("unit", "")))  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"expected title, key, keys and columns in the coder's reply: {error}") from error
    if any(
        isinstance(value, bool) or not isinstance(value, str | int | float) for c in columns.values() for value in c
    ):
        raise DataError("expected numbers and texts in the columns of the coder's reply")
    return table


def _questions(written: Any) -> tuple[Asked, ...]:
    try:
        return tuple(
            Asked(
                str(item["question"]),
                Query(str(item["operation"]), tuple(map(str, item["arguments"]))),
                str(item["answer"]),
            )
            for item in written
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"expected questions with operation, arguments and answer: {error!r}") from error
