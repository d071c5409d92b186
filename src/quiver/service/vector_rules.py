"""What keys and vectors a record may have; from lists of floats to one float32 matrix.

Components are rounded to float32 first and judged then: 1e39 has become infinite, and 1e-50 zero. A vector of the
smallest subnormal numbers has a norm, although its square is zero in float32: only components decide what is zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from quiver.ann.distance import norm
from quiver.model.errors import FieldError, ValidationError
from quiver.model.types import DistanceMetric
from quiver.service.text import utf8_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix, VectorBatch

MAX_KEY_BYTES = 1024
_FLOAT32 = np.dtype(np.float32)
_NO_VECTOR = np.empty(0, np.float32)

_NOT_FINITE = "vector contains NaNs or Infs"
_ZERO_NORM = "cosine distance does not support vectors with zero norm"
_KEY_LENGTH = "Record key length exceeds the maximum allowed"
_QUERY = "Query vector contains invalid values or is invalid for this index"


def check_keys(paths: str, keys: Sequence[str], first: int = 0) -> None:
    """Check keys whose length in characters was validated.

    Args:
        paths: template of a key's path, such as `vectors[{}].key`.
        keys: vector keys.
        first: number of the first of them.

    Raises:
        ValidationError: a key has more than 1,024 bytes in UTF-8.
        SerializationError: a key holds half of a surrogate pair.
    """
    for row, key in enumerate(keys):
        if not key.isascii() and utf8_length(key, paths.format(first + row)) > MAX_KEY_BYTES:
            raise ValidationError.at(paths.format(first + row), _KEY_LENGTH)


def last_of_each_key(keys: Sequence[str]) -> list[int]:
    """Row numbers, ascending, of a batch without the rows that a later row with the same key overwrites."""
    return sorted({key: row for row, key in enumerate(keys)}.values())


def without_overwritten(batch: VectorBatch) -> VectorBatch:
    """A batch whose keys may repeat without the vectors that a later one of the same key replaces."""
    kept = last_of_each_key(batch.keys)
    return batch if len(kept) == len(batch.keys) else batch.take(kept)


def build_matrix(
    keys: Sequence[str],
    rows: Sequence[Any] | NDArray[Any],
    dimension: int,
    metric: DistanceMetric,
    first: int = 0,
) -> Float32Matrix:
    """The vectors of a batch as one C-contiguous float32 matrix of shape (len(rows), dimension).

    Args:
        keys: of the records, for messages.
        rows: n validated float lists: sequences of numbers, or one-dimensional arrays; or one array of shape
            (n, components) of numbers.
        dimension: of the index.
        metric: of the index.
        first: number of the first record, for paths.

    Raises:
        ValidationError: a vector has the wrong length, a component that is not finite in float32, or under the
            cosine metric none but zeros; the first such record is named.
    """
    matrix = np.empty((len(rows), dimension), np.float32)
    if isinstance(rows, np.ndarray) and rows.shape == matrix.shape:
        _assign(matrix, rows)
    else:
        for row, values in enumerate(rows):
            if len(values) != dimension:
                _refuse_first(keys, rows, dimension, metric, first)
            _assign(matrix[row], values)
    if _has_fault(matrix, metric):
        _refuse_first(keys, rows, dimension, metric, first)
    return matrix


def take_matrix(
    keys: Sequence[str],
    rows: Sequence[Any] | NDArray[Any],
    dimension: int,
    metric: DistanceMetric,
    first: int = 0,
) -> Float32Matrix:
    """As `build_matrix`, for who copies the vectors anyway: `rows` itself where it is such a matrix.

    Raises: ValidationError.
    """
    if (
        isinstance(rows, np.ndarray)
        and rows.dtype == _FLOAT32
        and rows.shape == (len(rows), dimension)
        and rows.flags.c_contiguous
        and rows.flags.aligned
        and not _has_fault(rows, metric)
    ):
        return rows
    return build_matrix(keys, rows, dimension, metric, first)  # which says what is wrong, if anything is


def check_query_vector(values: Any, dimension: int, metric: DistanceMetric) -> NDArray[np.float32]:
    """The vector of a query as float32 of shape (dimension,), read from a validated float list.

    Raises:
        ValidationError: as for a stored vector, in the words used for queries.
    """
    vector, fault = _judge(values, dimension, metric)
    if fault is not None:
        raise ValidationError(_QUERY, FieldError("vector", f"Invalid input: {fault}"))
    return vector


def _assign(target: NDArray[np.float32], values: Any) -> None:
    """Round `values` into `target`, of the same length; what is too large becomes infinite."""
    if isinstance(values, np.ndarray) and values.dtype == target.dtype:
        target[:] = values
        return
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            target[:] = values
        except OverflowError:  # an integer beyond float64
            target[:] = [_as_float(value) for value in values]


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _has_fault(matrix: Float32Matrix, metric: DistanceMetric) -> bool:
    """Whether any row is not finite, or zero under the cosine metric."""
    if not np.isfinite(matrix).all():
        return True
    if metric is not DistanceMetric.COSINE:
        return False
    suspects = matrix[matrix[:, 0] == 0]
    return not bool(suspects.any(axis=1).all())


def _judge(values: Any, dimension: int, metric: DistanceMetric) -> tuple[NDArray[np.float32], str | None]:
    """One vector, shape (dimension,), and what is wrong with it, if anything."""
    if len(values) != dimension:
        return _NO_VECTOR, f"vector must have length {dimension}, but has length {len(values)}"
    if isinstance(values, np.ndarray) and values.dtype is _FLOAT32:
        vector = values.copy()
    else:
        vector = np.empty(dimension, np.float32)
        _assign(vector, values)
    length = norm(vector)
    if not math.isfinite(length):
        return vector, _NOT_FINITE
    if metric is DistanceMetric.COSINE and not length:
        return vector, _ZERO_NORM
    return vector, None


def _refuse_first(
    keys: Sequence[str], rows: Sequence[Any] | NDArray[Any], dimension: int, metric: DistanceMetric, first: int
) -> None:
    """Raise for the first record at fault."""
    for row, values in enumerate(rows):
        fault = _judge(values, dimension, metric)[1]
        if fault is not None:
            raise ValidationError.at(f"vectors[{first + row}]", f"Invalid record for key '{keys[row]}': {fault}")
