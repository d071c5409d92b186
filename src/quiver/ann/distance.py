"""Exact distances: computed in float64 from float32 components, rounded to float32 once.

cosine: 1 - x.q / (|x| |q|), in [0, 2]; euclidean: |x - q|, the root.

A row's distance does not depend on the rows beside it, nor on the processor: sums have eight lanes, whatever
the instruction set, and are added up in a fixed order (native/distance.h). A cosine distance is rounded to a
multiple of 2^-46, above the noise of the subtraction from 1, so that equal rows, and rows that differ by a power
of two, are at equal distance. Paging by (distance, key) relies on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann import _kernels
from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

FLOAT32_MAX = float(np.finfo(np.float32).max)

norm = _kernels.norm
"""Euclidean norm of a float32 vector: not finite only if a component is not, zero only if all components are."""


def norms(rows: Float32Matrix) -> NDArray[np.float32]:
    """Euclidean norm of each row, float32 of shape (rows,); the largest float32 where it is larger still."""
    out = np.empty(len(rows), np.float32)
    _kernels.norms(np.ascontiguousarray(rows), out)
    return out


def distances(query: NDArray[np.float32], rows: Float32Matrix, metric: DistanceMetric) -> NDArray[np.float32]:
    """Distance of `query` (dimension,) to each row, float32 of shape (rows,), always finite."""
    out = np.empty(len(rows), np.float32)
    _kernels.distances(
        np.ascontiguousarray(query), np.ascontiguousarray(rows), metric is DistanceMetric.COSINE, out
    )
    return out


def distances_at(
    query: NDArray[np.float32], data: memoryview, offsets: NDArray[np.int64], metric: DistanceMetric
) -> NDArray[np.float32]:
    """The same for the rows that begin at these bytes of `data`. Raises ValueError when one is not within it."""
    out = np.empty(len(offsets), np.float32)
    _kernels.distances_at(np.ascontiguousarray(query), data, offsets, metric is DistanceMetric.COSINE, out)
    return out
