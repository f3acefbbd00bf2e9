"""What the metrics share about the reference evaluators whose verdicts they can reproduce."""

from typing import Literal

from molmo_agent.errors import MolmoAgentError

Generation = Literal["molmo", "molmo2"]
"""Whose quirks: the first evaluation code, or its successor's where the two differ."""


class ReferenceFailure(MolmoAgentError):
    """The reference evaluator fails on this input; raised only with ``reference_quirks=True``."""

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(f"the reference fails here with {kind}: {why}; it has a score without reference_quirks")
