"""The figures of a run on steps: for each protocol the parts of the score, and how far episodes come."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.evaluation.grounding.protocols import Protocol, Record, protocol_rows

# The mean of the means of episodes: a row has no value for each of thousands.
BY_EPISODE = "episode"
MISSING_WRONG = "steps without question wrong"
"""In a rule: the steps of an episode that were not asked count as wrong."""

_NAMES = {"kind": "type", "place": "grounding", "text": "text"}


def step_rows(
    benchmark: str, options: Mapping[str, Any], protocols: Sequence[Protocol], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return the rows of :func:`~molmo_agent.evaluation.grounding.protocols.protocol_rows`, with more figures.

    ``parts`` has "type", "grounding", "text" and "step", each a ``mean`` and its ``n``. Grounding is over the steps
    where both actions have one type with a place; text over the steps whose recorded action has a text. ``episodes``
    has ``n``, ``incomplete``, the share of right ones (``success``), the mean share of steps before the first error
    (``progress``), and the mean of their means (``mean``).
    """
    rows = []
    for protocol in protocols:
        counted = [record for record in records if protocol.name in record.get("scores", {})]
        if MISSING_WRONG in protocol.rule:
            counted += _missing(counted, protocol.name)
        by_episode = [{**record, "facets": {**record["facets"], BY_EPISODE: [_id(record)]}} for record in counted]
        for row in protocol_rows(benchmark, options, [protocol], by_episode):
            values = {} if protocol.mean == BY_EPISODE else row["values"]
            more = {"parts": _parts(counted, protocol.name), "episodes": _episodes(counted, protocol.name)}
            rows.append(row | {"values": values} | more)
    return rows


def _id(record: Record) -> str:
    id_: str = record["episode"]["id"]
    return id_


def _grouped(records: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """Return episode -> number -> record; of several records of one step the first."""
    episodes: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in records:
        episodes[_id(record)].setdefault(record["episode"]["number"], record)
    return episodes


def _missing(records: Sequence[Record], name: str) -> list[dict[str, Any]]:
    """Return a wrong record for each step that was not asked, of episodes of which others were."""
    wrong: dict[str, Any] = {"scores": {name: False}, "unparsed": False, "facets": {}, "parts": {}}
    return [
        wrong
        | {"episode": {"id": id_, "number": number, "length": length}, "parts": {name: {"place": False, "text": 0}}}
        for id_, steps in _grouped(records).items()
        if (length := next(iter(steps.values()))["episode"]["length"])
        for number in range(length)
        if number not in steps
    ]


def _parts(records: Sequence[Record], name: str) -> dict[str, dict[str, float | int]]:
    figures = {}
    for part, title in _NAMES.items():
        values = [value for record in records if (value := record.get("parts", {}).get(name, {}).get(part)) is not None]
        if values:
            figures[title] = _mean(values)
    return figures | {"step": _mean([record["scores"][name] for record in records])}


def _mean(values: Sequence[bool | float]) -> dict[str, float | int]:
    return {"mean": sum(map(float, values)) / len(values), "n": len(values)}


def _episodes(records: Sequence[Record], name: str) -> dict[str, Any]:
    means, progress, incomplete = [], [], 0
    for steps in _grouped(records).values():
        length = next(iter(steps.values()))["episode"]["length"]
        rights = [float(steps[number]["scores"][name]) for number in sorted(steps)]
        means.append(sum(rights) / len(rights))
        if len(rights) < length:
            # Also of those cut off by --limit: nobody knows how they end.
            incomplete += 1
            continue
        first_error = next((place for place, right in enumerate(rights) if right < 1), len(rights))
        progress.append(first_error / len(rights))
    figures: dict[str, Any] = {"n": len(means), "incomplete": incomplete, "mean": sum(means) / len(means)}
    if progress:
        figures["success"] = sum(share == 1 for share in progress) / len(progress)
        figures["progress"] = sum(progress) / len(progress)
    return figures
