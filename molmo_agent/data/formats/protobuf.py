"""Read protocol-buffer messages field by field, without generated classes."""

import struct
from collections.abc import Iterator
from itertools import islice

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VALUES = 100_000
"""Of a repeated field: one byte of a message can become a hundred bytes of memory."""


def varint(data: bytes, start: int) -> tuple[int, int]:
    """Return an unsigned integer and the position of the next byte.

    Raises:
        ValueError: the integer is truncated or longer than 64 bits.
    """
    value = 0
    for count in range(10):
        if start + count >= len(data):
            raise ValueError("an integer is truncated")
        byte = data[start + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, start + count + 1
    raise ValueError("an integer has more than 64 bits")


def signed(value: int) -> int:
    """Return a varint as a 64-bit signed integer."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (field number, wire type, value) of a message: integers, or bytes.

    Raises:
        ValueError: the bytes are not a valid message.
    """
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == VARINT:
            value, place = varint(data, place)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, place = varint(data, place)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if place + length > len(data):
            raise ValueError(f"field {number} is truncated")
        yield number, kind, data[place : place + length]
        place += length


def expect_bytes(number: int, kind: int, value: int | bytes) -> bytes:
    """Return a field's bytes.

    Raises:
        ValueError: the field is not of type bytes.
    """
    if kind != BYTES or isinstance(value, int):
        raise ValueError(f"field {number} should hold bytes")
    return value


Values = list[bytes] | list[int] | list[float]
"""Of one feature."""


def feature_map(data: bytes) -> dict[str, Values]:
    """Read TensorFlow's ``Example``: names of features, each a list of bytes, of integers or of floats.

    Raises:
        ValueError: the bytes are not a valid ``Example``.
    """
    features: dict[str, Values] = {}
    for number, kind, value in fields(data):
        if number != 1:
            continue
        for inner_number, inner_kind, entry in fields(expect_bytes(number, kind, value)):
            parts = {n: expect_bytes(n, k, v) for n, k, v in fields(expect_bytes(inner_number, inner_kind, entry))}
            features[parts.get(1, b"").decode()] = feature_values(parts.get(2, b""))
    return features


def feature_values(data: bytes) -> Values:
    """Return the values of one ``Feature``.

    Raises:
        ValueError: the bytes are not a valid ``Feature``, or there are more than MAX_VALUES.
    """
    for number, kind, value in fields(data):
        content = expect_bytes(number, kind, value)
        if number == 1:
            texts = [expect_bytes(n, k, v) for n, k, v in islice(fields(content), MAX_VALUES + 1)]
            _check_count(len(texts))
            return texts
        if number == 2:
            return _floats(content)
        if number == 3:
            integers: list[int] = []
            for _, item_kind, item in fields(content):
                _check_count(len(integers))
                if isinstance(item, int):
                    integers.append(signed(item))
                    continue
                place = 0
                while item_kind == BYTES and place < len(item):  # packed
                    one, place = varint(item, place)
                    integers.append(signed(one))
                    _check_count(len(integers))
            return integers
    return []


def _floats(data: bytes) -> list[float]:
    """Return the values of a ``FloatList``, packed or not; each has four bytes."""
    values: list[float] = []
    for number, kind, value in fields(data):
        packed = value if isinstance(value, bytes) else b""
        if number != 1 or kind not in (BYTES, FIXED32) or len(packed) % 4:
            raise ValueError("expected floats of four bytes")
        _check_count(len(values) + len(packed) // 4)
        values += struct.unpack(f"<{len(packed) // 4}f", packed)
    return values


def _check_count(count: int) -> None:
    if count > MAX_VALUES:
        raise ValueError(f"a field has more than {MAX_VALUES} values")
