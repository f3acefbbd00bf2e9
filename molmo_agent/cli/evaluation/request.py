"""The options of a benchmark on published data or a person's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from molmo_agent.cli.evaluation.judged import JudgeOptions
from molmo_agent.cli.evaluation.text import TextOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of a benchmark on published data or a person's own."""

    benchmark: str
    model: str
    out: Path | None
    path: Path | None
    choices: Mapping[str, str]
    max_crops: int | None
    limit: int | None
    ray: bool
    workers: int
    address: str | None
    protocol: str | None
    price: str | None
    hub_results: str | None
    judge: JudgeOptions
    text: TextOptions
