"""The wire: request bytes to parameters, and answers to bytes.

JSON is read strictly: UTF-8 without a byte order mark, no duplicate members, no NaN or Infinity, no number
that a double or a 64-bit integer cannot hold, no lone surrogate, bounded nesting. Lists of floats are the
exception of the protocol: clients write non-finite components as the strings "NaN", "Infinity" and
"-Infinity", which become floats here so that the service can refuse them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.model.errors import SerializationError
from quiver.model.strict_json import NON_FINITE, STRING, parse_strict
from quiver.server.vector_wire import read_put_vectors

if TYPE_CHECKING:
    from quiver.server.limits import ServerLimits

_PUTS = ("PutVectors", "PutVectorsIfAbsent")
_QUERIES = ("QueryVectors", "QueryVectorsWithData")
_LISTED = dict.fromkeys(_PUTS, ("vectors", "data")) | {"BatchQueryVectors": ("queries", "queryVector")}
"""Lists of float lists: the member that is a list, and that of its items which holds the floats."""
NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


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
    """The parameters of a well-formed put with its arrays in NumPy; None for anything else."""
    return read_put_vectors(body, parse_strict) if operation in _PUTS else None


def parse_json(body: bytes, limits: ServerLimits) -> Any:
    """Strict JSON.

    Raises:
        SerializationError: with the reason, never quoting the body.
    """
    _check_nesting(body, limits)
    return parse_strict(body)


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


def _float_lists(operation: str, params: dict[str, Any]) -> list[Any]:
    """The objects that hold a `float32` list, where the operation has them."""
    if operation in _QUERIES:
        return [params.get("queryVector")]
    member, holder = _LISTED.get(operation, ("", ""))
    items = params.get(member)
    return [item.get(holder) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
