"""Common definitions for reproducing the scores of the reference evaluators."""

from typing import Literal

from molmo_agent.errors import MolmoAgentError

Generation = Literal["molmo", "molmo2"]
"""Selects whose quirks to reproduce: the first evaluation code's, or its successor's."""


class ReferenceFailure(MolmoAgentError):
    """The reference evaluator fails on this input; raised only with ``reference_quirks=True``."""

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(f"the reference fails here with {kind}: {why}; it has a score without reference_quirks")
