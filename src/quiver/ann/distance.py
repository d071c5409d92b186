"""Exact distances: computed in float64 from float32 components, rounded to float32 once.

cosine: 1 - x.q / (|x| |q|), in [0, 2]; euclidean: |x - q|, the root.

A row's distance does not depend on the rows beside it: sums go through einsum, whose order of summation is that of
the components, and not through BLAS, whose order depends on the shape. A cosine distance is rounded to a multiple
of 2^-46, above the noise of the subtraction from 1, so that equal rows, and rows that differ by a power of two,
are at equal distance. Paging by (distance, key) relies on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_GRID = 2.0**-46
_BLOCK = 4096  # rows converted to float64 at a time
FLOAT32_MAX = float(np.finfo(np.float32).max)


def norms(rows: Float32Matrix) -> NDArray[np.float32]:
    """Euclidean norm of each row, float32 of shape (rows,); the largest float32 where it is larger still."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK].astype(np.float64)
        out[start : start + _BLOCK] = np.minimum(np.sqrt(np.einsum("ij,ij->i", block, block)), FLOAT32_MAX)
    return out


def distances(query: NDArray[np.float32], rows: Float32Matrix, metric: DistanceMetric) -> NDArray[np.float32]:
    """Distance of `query` (dimension,) to each row, float32 of shape (rows,), always finite."""
    out = np.empty(len(rows), np.float32)
    q = query.astype(np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK].astype(np.float64)
        if metric is DistanceMetric.COSINE:
            scale = np.sqrt(np.einsum("ij,ij->i", block, block)) * np.sqrt(q @ q)
            cosine = np.einsum("ij,j->i", block, q) / scale
            exact = np.clip(np.rint((1.0 - cosine) / _GRID) * _GRID, 0.0, 2.0)
        else:
            block -= q
            exact = np.minimum(np.sqrt(np.einsum("ij,ij->i", block, block)), FLOAT32_MAX)
        out[start : start + _BLOCK] = exact
    return out
