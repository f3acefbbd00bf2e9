"""Protocols: named, hashed ways to make one number of the answers to a benchmark.

Numbers under different protocols do not compare, so each has a hash of all that it depends on: benchmark, options such
as the split, prompt, rule, mean, and how points are read. The answers are scored under all protocols of a benchmark at
once.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from molmo_agent.errors import UnknownNameError, UsageError

Record = Mapping[str, Any]
NEAR_PX = (10, 50)
"""A miss within these distances from the target, in pixels, is reported as a near miss."""

DEFAULT = "default"
INSTRUCTION = "the instruction alone, in the model's own wording for pointing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How answers become a number."""

    name: str
    # See molmo_agent.evaluation.grounding.rules.RULES, or the benchmark's metric.
    rule: str = "inside"
    # "items": every question counts the same; else the mean of the means of this group's values.
    mean: str = "items"
    # "strict": only an answer that an agent would act on; "lenient": tags of points anywhere in the reply.
    reading: Literal["strict", "lenient"] = "strict"
    points: Literal["first", "all"] = "first"
    prompt: str = INSTRUCTION
    # Whose protocol it is, and what is wrong with it.
    note: str = ""


def identity(benchmark: str, options: Mapping[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Return all that a protocol's number depends on besides model and data, ready for JSON, with its hash.

    Args:
        benchmark: name.
        options: of the benchmark's reader, such as the split; folders of images are not part of it.
        protocol: the protocol.
    """
    # The name and the note explain the others; two names for the same rule compare.
    parts = {
        "benchmark": benchmark,
        "options": {name: value for name, value in sorted(options.items()) if name != "images"},
        **{key: value for key, value in asdict(protocol).items() if key not in ("name", "note")},
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return {"name": protocol.name, **parts, "hash": digest[:16]}


def check_comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Check that two numbers may be compared.

    Args:
        first: ``protocol`` of one run's summary, see :func:`identity`.
        second: that of the other run.

    Raises:
        UsageError: their protocols differ, or one run names none; the message says in what they differ.
    """
    for which, protocol in (("first", first), ("second", second)):
        if not protocol.get("hash"):
            raise UsageError(f"the {which} run names no protocol; run the same agent eval again to write it")
    if first["hash"] == second["hash"]:
        return
    fields = [
        f"{name} {first.get(name)!r} and {second.get(name)!r}"
        for name in dict.fromkeys((*first, *second))
        if name not in ("name", "hash", "note", "score", "items", "n", "wrong", "wrong_format", "values")
        and first.get(name) != second.get(name)
    ]
    raise UsageError(
        f"the runs have different protocols, so their numbers do not compare: {'; '.join(fields) or 'other versions'}; "
        "choose the same with --protocol"
    )


def find_protocol(benchmark: str, protocols: Sequence[Protocol], name: str | None) -> Protocol | None:
    """Return a protocol by name, the first one for None; None if the benchmark has no protocols and none is named.

    Raises:
        UsageError: the benchmark has no protocols.
        UnknownNameError: it has no such protocol.
    """
    by_name = {protocol.name: protocol for protocol in protocols}
    if name is None:
        return next(iter(protocols), None)
    if not protocols:
        raise UsageError(f"{benchmark} has a single protocol; leave --protocol out")
    by_name.setdefault(DEFAULT, protocols[0])
    if name not in by_name:
        raise UnknownNameError(f"protocol of {benchmark}", name, by_name)
    return by_name[name]


def protocol_rows(
    benchmark: str, options: Mapping[str, Any], protocols: Sequence[Protocol], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return the number of each protocol for the same answers.

    A row is a protocol's identity with ``score``, ``items`` (the mean over the questions), ``n``, ``wrong_format``,
    ``note`` and, for a mean of groups, their ``values``. A protocol without a question that it counts has no row.
    """
    rows = []
    for protocol in protocols:
        counted = [record for record in records if protocol.name in record.get("scores", {})]
        if not counted:
            continue
        scores = [float(record["scores"][protocol.name]) for record in counted]
        items = sum(scores) / len(scores)
        groups: dict[str, list[float]] = defaultdict(list)
        if protocol.mean != "items":
            for record, score in zip(counted, scores, strict=True):
                for value in record.get("facets", {}).get(protocol.mean, ()):
                    groups[value].append(score)
        values = {value: sum(group) / len(group) for value, group in sorted(groups.items())}
        rows.append(
            identity(benchmark, options, protocol)
            | {
                "score": sum(values.values()) / len(values) if values else items,
                "items": items,
                "n": len(counted),
                "wrong_format": sum(_unread(record, protocol) for record in counted),
                "values": values,
                "note": protocol.note,
            }
        )
    return rows


def _unread(record: Record, protocol: Protocol) -> bool:
    """Return whether a reply has the wrong format; other benchmarks read it in one way only."""
    return protocol.reading in record["unread"] if "unread" in record else bool(record["unparsed"])


MakeRows = Callable[[str, Mapping[str, Any], Sequence[Protocol], Sequence[Record]], list[dict[str, Any]]]
"""As :func:`protocol_rows`; steps have more figures in their rows."""


def summarise_protocols(
    benchmark: str,
    options: Mapping[str, Any],
    protocols: Sequence[Protocol],
    records: Sequence[Record],
    chosen: Protocol,
    *,
    make_rows: MakeRows = protocol_rows,
) -> dict[str, Any]:
    """Return what a run's summary has of protocols, ready for JSON.

    ``protocol`` is the row of the chosen one, ``protocols`` has all rows of ``make_rows``; ``near_misses`` and
    ``confusion`` as :func:`near_misses` and :func:`confusion` return them.

    Raises:
        UsageError: the chosen protocol counts no question, as in records of an earlier version.
    """
    rows = make_rows(benchmark, options, protocols, records)
    row = next((row for row in rows if row["name"] == chosen.name), None)
    if row is None:
        raise UsageError(
            f"no record has a score under the protocol {chosen.name}; choose another --protocol, or another --out to "
            "ask again"
        )
    return {
        "protocol": row,
        "protocols": rows,
        "near_misses": near_misses(records),
        "confusion": confusion(records, chosen.name),
    }


def with_main(records: Sequence[Record], protocol: Protocol) -> list[dict[str, Any]]:
    """Return the records with the score of a protocol first, as the main one."""
    ordered = []
    for record in records:
        scores = record.get("scores", {})
        main = {name: score for name, score in scores.items() if name == protocol.name}
        ordered.append({**record, **({"scores": {**main, **scores}} if "scores" in record else {})})
    return ordered


def near_misses(records: Sequence[Record]) -> dict[str, int]:
    """Return how many first points miss their target, and how many of them by at most :data:`NEAR_PX` pixels."""
    misses = [record["miss_px"] for record in records if record.get("miss_px")]
    return {"misses": len(misses)} | {f"within {near} px": sum(px <= near for px in misses) for near in NEAR_PX}


def confusion(records: Sequence[Record], protocol: str) -> dict[str, dict[str, dict[str, int]]]:
    """Return for each group's values how the answers ended: right, or what they did instead.

    Args:
        records: of a run.
        protocol: its name.
    """
    table: dict[str, dict[str, Counter[str]]] = {}
    for record in records:
        if protocol not in record.get("scores", {}):
            continue
        score = float(record["scores"][protocol])
        ending = "right" if score >= 1 else "partly" if score > 0 else record.get("answered", "wrong")
        for facet, values in record.get("facets", {}).items():
            for value in values:
                table.setdefault(facet, {}).setdefault(value, Counter())[ending] += 1
    return {facet: {value: dict(counts) for value, counts in sorted(rows.items())} for facet, rows in table.items()}
