"""Seeded damage to files, as killed writers, full disks, other programs and attackers do it."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

# Values that a field of any type does not expect.
ODD: list[Any] = [
    None, True, False, -1, 0, 1, 3.5, 1e308, -1e308, 10**30, 10**400, float("nan"), float("inf"), "", "a", "\x1b[2J",
    "\ud800", "../../etc/passwd", "/dev/zero", "C:\\x", "x" * 5000, "{0.__class__}", "\x00", "2001-01-01", [], {}, [[]],
    [None], [1, 2, 3], {"x": 1}, {"point": 3}, {"x": float("nan"), "y": 1}, {"x": 0.5, "y": 0.5}, {"": ""}, [[0] * 300],
    {"file": "../x"},
]  # fmt: skip


def places_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places_of(inner, (*path, key))


def change_value(value: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON value with one value inside replaced, removed, renamed or wrapped in many lists."""
    paths = list(places_of(value))
    if not paths:
        return rng.choice(ODD)
    copied, path = copy.deepcopy(value), rng.choice(paths)
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.random()
    if kind < 0.2:
        del parent[path[-1]]
    elif kind < 0.3 and isinstance(parent, dict):
        parent["x" + str(path[-1])] = parent.pop(path[-1])
    elif kind < 0.35:
        for _ in range(rng.choice((10, 80, 900))):
            parent[path[-1]] = [parent[path[-1]]]
    else:
        parent[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return copied


def damage(data: bytes, rng: random.Random) -> bytes:
    """Return a file's bytes with a piece cut off, changed, repeated or inserted, or in another encoding."""
    at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    kind = rng.randrange(9)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:end] + data[at:end] + data[end:]
    if kind == 3:
        flipped = bytearray(data)
        for _ in range(rng.randrange(1, 6) if data else 0):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 4:
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-be", "utf-32")))
    if kind == 5:
        return data[:at] + rng.choice((b"[", b'{"a":')) * rng.choice((70, 2000, 60_000)) + data[at:]
    if kind == 6:
        return b"\xef\xbb\xbf" + data
    if kind == 7:
        odd = (
            b"\xff",
            b"\xe9",
            b"\xc3",
            b"\xe2\x80\xa8",
            b"\x00",
            b"\r",
            b"\x1b[2J",
            b"NaN",
            b"1e999",
            b"9" * 5000,
            b"&a *a",
        )
        return data[:at] + rng.choice(odd) + data[at:]
    return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage a file of JSON or JSON lines: half of the time within a value of one of its lines, else in its bytes."""
    if rng.random() < 0.5:
        return damage(data, rng)
    try:
        return json.dumps(change_value(json.loads(data), rng)).encode()
    except ValueError:
        lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    try:
        lines[number] = json.dumps(change_value(json.loads(lines[number]), rng)).encode()
    except ValueError:
        return damage(data, rng)
    return b"\n".join(lines)
