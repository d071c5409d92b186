"""JSON as received: strict values, and lists of floats straight into NumPy.

Refused are a byte order mark, text that is not UTF-8, duplicate members, NaN and Infinity, numbers that a double
or a 64-bit integer cannot hold, and lone surrogates. Nesting is for the caller to bound.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from quiver.model.errors import SerializationError

if TYPE_CHECKING:
    import simdjson
    from numpy.typing import NDArray

STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""What clients write for components that JSON has no numbers for."""

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_UNSURE = float(1 << 63)
"""Floats from here on may have been integers that lost digits."""


def parse_strict(text: bytes) -> Any:
    """One JSON value.

    orjson refuses most of what has to be refused; what it lets through (duplicate members, integers beyond 64
    bits) shows in its result, and then a slower reading judges.

    Raises:
        SerializationError: with the reason, never quoting the text.
    """
    try:
        value = orjson.loads(text)
        bare = STRING.sub(b"", text)
        members = bare.count(b":")
        if type(value) is dict and members == len(value) and not _LONG_NUMBER.search(bare):
            return value  # each colon is a member's: there is no object within, and nothing was lost
        return value if _count_members(value) == members else EXACT.decode(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise SerializationError("The request body is not valid JSON") from error


def float32_array(text: bytes, parser: simdjson.Parser) -> NDArray[np.float32]:
    """A JSON array of numbers as float32; components out of range become infinite, for the caller to judge.

    Raises:
        ValueError, TypeError, RuntimeError: not a flat array of plain numbers.
    """
    if not text.startswith(b"[") or text.count(b"[") != 1 or b'"' in text or b"{" in text:
        raise ValueError("not a flat array of numbers")
    document: Any = parser.parse(text)
    doubles = np.frombuffer(document.as_buffer(of_type="d"), np.float64)
    with np.errstate(over="ignore"):
        return doubles.astype(np.float32)


def _count_members(value: Any) -> int:
    """Members of all objects in a parsed value, or -1 when a number may not be what was written."""
    members = 0
    containers: list[list[Any]] = [[value]]
    while containers:
        values = containers.pop()
        kinds = set(map(type, values))
        if float in kinds and _any_unsure(values if kinds == {float} else [v for v in values if type(v) is float]):
            return -1
        if list in kinds:
            containers += [v for v in values if type(v) is list]
        if dict in kinds:
            objects = [v for v in values if type(v) is dict]
            members += sum(map(len, objects))
            containers += [list(v.values()) for v in objects]
    return members


def _any_unsure(floats: list[float]) -> bool:
    return max(floats) >= _UNSURE or min(floats) <= -_UNSURE


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse(_: str) -> Any:
    raise ValueError("not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return value


def _int64(text: str) -> int:
    value = int(text) if len(text) <= 20 else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("integer out of range")
    return value


EXACT = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite, parse_int=_int64
)
"""The slower reading, which loses nothing."""
