"""Between Python values and those of the S3 Vectors model: NumPy goes in, what boto3 returns comes out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_ATOMS = frozenset({str, int, float, bool, type(None)})
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_VECTORS = ("data", "queryVector")
"""Members that hold a vector."""


def to_model(value: Any) -> Any:
    """A parameter in the types of the model: dictionaries, lists and scalars, and float arrays where vectors go.

    Anything else is passed on for the service to refuse by name.
    """
    if type(value) in _ATOMS:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if type(value) is dict or isinstance(value, Mapping):
        return {
            key: v if type(v) in _ATOMS else _vector(v) if key in _VECTORS else to_model(v)
            for key, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return list(value) if _ATOMS.issuperset(map(type, value)) else [to_model(item) for item in value]
    return value


def components(vector: ArrayLike) -> Any:
    """Of a vector: a float array of one dimension, else what NumPy makes of it, for the service to judge."""
    array = np.asarray(vector)
    return array if _is_float_vector(array) else array.tolist()


def _vector(value: Any) -> Any:
    """The member that holds a vector, its float arrays left as they are."""
    if not (type(value) is dict or isinstance(value, Mapping)):
        return to_model(value)
    return {key: v if _is_float_vector(v) else to_model(v) for key, v in value.items()}


def _is_float_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype in _FLOATS


def from_answer(body: dict[str, Any]) -> dict[str, Any]:
    """An answer as boto3 returns it: plain Python values, and times as aware datetimes.

    Goes through JSON, so that a distance is the very double that a client of the server gets.
    """
    answer: dict[str, Any] = orjson.loads(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))
    for member in ("vectorBucket", "vectorBuckets", "index", "indexes"):
        found = answer.get(member, ())
        for record in [found] if isinstance(found, dict) else found:
            record["creationTime"] = datetime.fromtimestamp(record["creationTime"], UTC)
    return answer
