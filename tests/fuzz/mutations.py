"""Seeded mutations: of JSON values, of JSON text, and of any bytes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e-46, 1e39, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, 10**40, "", " ", "a",
    "a" * 64, "a" * 1024, "a" * 3000, "\0", "\n", "\u202e", "e\u0301", "\U0001f600", "\ud800", "\u4e2d" * 400,
    "NaN", "Infinity", "-Infinity", "../..", "$and", "%2e", [], {}, [[]], [None], [True], [1, "x"], ["a"] * 600,
    {"": {}}, {"$or": []}, {"float32": []}, {"float32": [0, 0]}, {"a": 1, "b": 2},
]  # fmt: skip
ODD_NAMES = ["extra", "", "vectors", "filter", "$and", "nextToken", "indexArn"]
ODD_TEXTS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"01", b"[" * 40 + b"]" * 40, b'{"a":1,"a":1}', b"",
    b"tru",
]  # fmt: skip
ODD_BYTES = [
    b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u12", b"NaN", b"1e999", b"9" * 30,
    b"[" * 50, b"}" * 3, b"}", b"]", b'"', b"\\", b",", b"//", b"/**/", b'{"a":1,"a":1}',
]  # fmt: skip
EXTREMES = [b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00", b"\x7f" * 4]
LONGEST = 1 << 16
"""Longer inputs are cut: what a mutation doubles again and again must not grow without end."""


def change_value(value: Any, chance: random.Random) -> str:
    """Replace, remove, add, repeat or wrap one member somewhere in a JSON value; what was done."""
    places = list(_places(value))
    odd = copy.deepcopy(chance.choice(ODD_VALUES))
    if not places:
        if isinstance(value, dict):
            value["extra"] = odd
        else:
            value.append(odd)
        return "add"
    holder, key = chance.choice(places)
    action = chance.choice(["replace", "replace", "replace", "remove", "add", "repeat", "deepen"])
    if action == "remove":
        del holder[key]
    elif action == "repeat":
        holder[key] = [holder[key]] * chance.choice([1, 2, 101, 600])
    elif action == "deepen":
        for _ in range(chance.choice([1, 5, 20, 200])):
            holder[key] = [holder[key]] if chance.random() < 0.5 else {"$and": [holder[key]]}
    elif action == "add" and isinstance(holder, dict):
        holder[chance.choice(ODD_NAMES)] = odd
    else:
        alike = [other for other in ODD_VALUES if type(other) is type(holder[key])]
        holder[key] = copy.deepcopy(chance.choice(alike)) if alike and chance.random() < 0.6 else odd
    return f"{action} {str(key)[:20]!r}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def damage_text(text: bytes, chance: random.Random) -> bytes:
    """JSON text that may not be any more."""
    at = chance.randrange(len(text) + 1)
    match chance.randrange(5):
        case 0:
            return text[:at] + chance.choice(ODD_BYTES) + text[at:]
        case 1:
            return text[:at]
        case 2:
            return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        case 3:
            return text.replace(b"1", chance.choice(ODD_TEXTS), 1)
        case _:
            return text[:at] + text[at + 1 :]


def havoc(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds after one to eight changes: of bits, of bytes, and of pieces cut, doubled or exchanged."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        at, length = chance.randrange(len(data) + 1), chance.randrange(1, 17)
        match chance.randrange(8):
            case 0 | 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2 if at < len(data):
                data[at] = chance.randrange(256)
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length] * chance.choice([1, 1, 50])
            case 5:
                odd = chance.choice(EXTREMES)
                data[at : at + len(odd)] = odd
            case 6:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                data[at : at + length] = other[start : start + length]
            case _:
                data[at:at] = chance.choice(ODD_BYTES)
    return bytes(data[:LONGEST])
