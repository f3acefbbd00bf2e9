"""What a run costs beside its scores: latency, tokens, passes, peak memory, and money.

Costs are kept in a file of their own: records depend on the settings alone, costs on the machine.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.errors import UsageError
from molmo_agent.files import append_line
from molmo_agent.interfaces import Usage
from molmo_agent.parse import json_lines

COSTS_FILE = "costs.jsonl"
Cost = dict[str, Any]
"""Of one: ``id``, ``seconds``, ``tokens_in``, ``tokens_out``, ``passes``; ``memory`` and ``gpu_memory``, bytes."""
_SUMS = ("tokens_in", "tokens_out", "passes")


class Price:
    """US dollars per million tokens, as ``IN,OUT``.

    Raises:
        UsageError: the text has another form.
    """

    def __init__(self, text: str) -> None:
        try:
            self.tokens_in, self.tokens_out = (float(part) for part in text.split(","))
        except ValueError:
            self.tokens_in = self.tokens_out = -1.0
        if not all(0 <= value < 1e6 for value in (self.tokens_in, self.tokens_out)):
            raise UsageError(
                f"expected --price IN,OUT in US dollars per million tokens, such as 0.15,0.60, got {text!r}"
            )


def costs_of(records: Sequence[Mapping[str, Any]], usages: Iterable[Usage], seconds: float) -> list[Cost]:
    """Return the costs of a batch's questions.

    Args:
        records: of the batch; skipped questions have no cost.
        usages: what the model reported; a question may have put several to it, as when it zooms.
        seconds: for the whole batch; each question that the model reported nothing of gets an equal share.
    """
    asked = [record for record in records if "skipped" not in record]
    waiting: dict[str, list[Mapping[str, Any]]] = {}
    for record in asked:
        waiting.setdefault(record["question"], []).append(record)
    reported: dict[str, list[Usage]] = {}
    for usage in usages:
        if usage.question in waiting:
            # The same question about several images: in the order of the reports.
            group = waiting[usage.question]
            reported.setdefault(group[0]["id"], []).append(usage)
            group.append(group.pop(0))
    memory, gpu_memory = _peak_memory(), _peak_gpu_memory()
    costs = []
    for record in asked:
        own = reported.get(record["id"], [])
        cost: Cost = {"id": record["id"], "seconds": sum(one.seconds for one in own) if own else seconds / len(asked)}
        for name in _SUMS:
            values = [getattr(one, name) for one in own]
            cost[name] = None if not values or None in values else sum(values)
        costs.append(cost | {"memory": memory, "gpu_memory": gpu_memory})
    return costs


def _peak_memory() -> int | None:
    """Return the most memory that this process had, in bytes; None where the system does not say (Windows)."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _peak_gpu_memory() -> int | None:
    """Return the most memory of an NVIDIA GPU that tensors of this process took, in bytes; None without one."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def append_costs(path: Path, costs: Iterable[Cost]) -> None:
    """Append costs to the file.

    Raises:
        OSError: it cannot be written to.
    """
    if lines := "\n".join(json.dumps(cost) for cost in costs):
        append_line(path, lines)


def read_costs(path: Path) -> list[Cost]:
    """Return the costs in a file, the last of each question; none without a file.

    Raises:
        DataError: a line is damaged.
    """
    if not path.exists():
        return []
    rows = [row for _, row in json_lines(path, on_cut_end=lambda _: None) if isinstance(row, dict) and "id" in row]
    return list({row["id"]: row for row in rows}.values())


def summarise_costs(costs: Sequence[Cost], price: Price | None = None) -> dict[str, Any] | None:
    """Return the figures of a run's costs, ready for JSON; None without costs.

    Args:
        costs: of the questions.
        price: of tokens; None computes no money.
    """
    if not costs:
        return None
    seconds = [float(cost["seconds"]) for cost in costs]
    p50, p95 = (float(value) for value in np.quantile(seconds, (0.5, 0.95)))
    figures: dict[str, Any] = {
        "questions": len(costs),
        "seconds": {"p50": p50, "p95": p95, "total": sum(seconds)},
    }
    for name in _SUMS:
        values = [cost[name] for cost in costs if cost.get(name) is not None]
        figures[name] = {"n": len(values), "total": sum(values), "mean": sum(values) / len(values)} if values else None
    for name in ("memory", "gpu_memory"):
        figures[name] = max((cost[name] for cost in costs if cost.get(name) is not None), default=None)
    if price is not None:
        priced = [cost for cost in costs if cost.get("tokens_in") is not None and cost.get("tokens_out") is not None]
        total = (
            sum(cost["tokens_in"] * price.tokens_in + cost["tokens_out"] * price.tokens_out for cost in priced) / 1e6
        )
        figures["usd"] = {"n": len(priced), "total": total, "mean": total / len(priced) if priced else None}
    return figures


def lines_of(figures: Mapping[str, Any] | None) -> list[str]:
    """Return the figures of a run's costs for people, a line each."""
    if figures is None:
        return []
    seconds = figures["seconds"]
    lines = [f"time per question: {seconds['p50']:.2f} s (p50), {seconds['p95']:.2f} s (p95)"]
    parts = [
        f"{figures[name]['mean']:.0f} {what}"
        for name, what in (("tokens_in", "tokens in"), ("tokens_out", "tokens out"), ("passes", "passes"))
        if figures[name]
    ]
    if parts:
        lines.append(f"per question: {', '.join(parts)}")
    memory = [
        f"{figures[name] / 1e9:.1f} GB{where}"
        for name, where in (("memory", " of the process"), ("gpu_memory", " on the GPU"))
        if figures[name]
    ]
    if memory:
        lines.append(f"peak memory: {', '.join(memory)}")
    if usd := figures.get("usd"):
        left_out = figures["questions"] - usd["n"]
        more = f"; {left_out} questions have no count of tokens" if left_out else ""
        lines.append(f"cost: {usd['total']:.4f} USD for {usd['n']} questions{more}")
    return lines
