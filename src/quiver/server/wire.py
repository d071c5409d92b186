"""The wire: request bytes to parameters, and answers to bytes.

JSON is read strictly: UTF-8 without a byte order mark, no duplicate members, no NaN or Infinity, no number
that a double or a 64-bit integer cannot hold, no lone surrogate, bounded nesting. Lists of floats are the
exception of the protocol: clients write non-finite components as the strings "NaN", "Infinity" and
"-Infinity", which become floats here so that the service can refuse them by name.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from quiver.model.errors import SerializationError
from quiver.server.vector_wire import read_put_vectors

if TYPE_CHECKING:
    from quiver.server.limits import ServerLimits

STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
UNSURE = float(1 << 63)
"""Floats from here on may have been integers that lost digits."""

NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read_params(operation: str, body: bytes, limits: ServerLimits) -> dict[str, Any]:
    """The parameters in a JSON body, exactly as sent but for non-finite vector components.

    Raises:
        SerializationError: the body is not acceptable JSON, or not an object.
    """
    params = parse_json(body, limits)
    if not isinstance(params, dict):
        raise SerializationError("The request body must be a JSON object")
    for holder in _float_lists(operation, params):
        values = holder.get("float32") if isinstance(holder, dict) else None
        if isinstance(values, list) and str in map(type, values):
            holder["float32"] = [NON_FINITE.get(v, v) if type(v) is str else v for v in values]
    return params


def read_fast(operation: str, body: bytes) -> dict[str, Any] | None:
    """The parameters of a well-formed PutVectors with its arrays in NumPy; None for anything else."""
    return read_put_vectors(body, parse_small) if operation == "PutVectors" else None


def parse_json(body: bytes, limits: ServerLimits) -> Any:
    """Strict JSON.

    Raises:
        SerializationError: with the reason, never quoting the body.
    """
    _check_nesting(body, limits)
    return parse_small(body)


def parse_small(body: bytes) -> Any:
    """`parse_json` for a body whose nesting is known to be harmless.

    orjson refuses most of what has to be refused; what it lets through (duplicate members, integers beyond 64
    bits) shows in its result, and then a slower reading judges.
    """
    try:
        value = orjson.loads(body)
        if _count_members(value) == STRING.sub(b"", body).count(b":"):
            return value
        return EXACT.decode(str(body, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise SerializationError("The request body is not valid JSON") from error


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
    return max(floats) >= UNSURE or min(floats) <= -UNSURE


def _check_nesting(body: bytes, limits: ServerLimits) -> None:
    opened = body.count(b"[") + body.count(b"{")
    if opened <= limits.max_depth:
        return
    brackets = STRING.sub(b"", body).translate(None, NOT_BRACKETS)
    if len(brackets) > 2 * limits.max_containers:
        raise SerializationError("The request body has too many arrays and objects")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > limits.max_depth:
            raise SerializationError("The request body is nested too deeply")


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


def _float_lists(operation: str, params: dict[str, Any]) -> list[Any]:
    """The objects that hold a `float32` list, where the operation has them."""
    if operation == "QueryVectors":
        return [params.get("queryVector")]
    vectors = params.get("vectors")
    if operation == "PutVectors" and isinstance(vectors, list):
        return [vector.get("data") for vector in vectors if isinstance(vector, dict)]
    return []
