"""Splitting rows into requests: at most 500 vectors and about 16 MiB each, as S3 Vectors limits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

BATCH_ROWS = 500
BATCH_BYTES = 16 * 2**20


def by_count(keys: Sequence[str], count: int) -> Iterator[list[str]]:
    """The keys in lists of at most `count`."""
    for start in range(0, len(keys), count):
        yield list(keys[start : start + count])


def batches(
    keys: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any] | None] | None
) -> Iterator[list[dict[str, Any]]]:
    """The rows as `vectors` arguments of PutVectors, in order.

    Raises: ValidationError when the three do not have the same number of rows, before the first batch.
    """
    matrix = np.asarray(vectors)
    if matrix.dtype.kind in "iuf" and matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    if matrix.ndim != 2 or len(matrix) != len(keys):
        raise ValidationError(f"vectors must have the shape ({len(keys)}, dimension), not {matrix.shape}")
    if metadata is not None and len(metadata) != len(keys):
        raise ValidationError(f"there are {len(keys)} keys but {len(metadata)} metadata")
    return _batches(keys, matrix, metadata)


def _batches(
    keys: Sequence[str], matrix: np.ndarray[Any, Any], metadata: Sequence[Mapping[str, Any] | None] | None
) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for i, key in enumerate(keys):
        row: dict[str, Any] = {"key": key, "data": {"float32": matrix[i]}}
        row_size = 4 * matrix.shape[1]
        if metadata is not None and metadata[i] is not None:
            row["metadata"] = metadata[i]
            row_size += _size(metadata[i])
        if batch and (len(batch) == BATCH_ROWS or size + row_size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def _size(metadata: Mapping[str, Any] | None) -> int:
    """Bytes of the metadata as JSON; what JSON cannot hold is refused later, by the service."""
    try:
        return len(orjson.dumps(metadata, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError:
        return 0
