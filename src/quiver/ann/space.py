"""Search space: where nearer means smaller euclidean distance, whatever the metric of the index.

Under the cosine metric rows and queries are scaled to unit length, so that the squared distance is twice the
cosine distance; under the euclidean metric they stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann._kernels import unit
from quiver.ann.distance import norm
from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

TAME = (1e-9, 1e9)
"""Norms between which squared distances neither overflow nor vanish in float32."""


def is_tame(norms: NDArray[np.float32]) -> bool:
    """Whether rows of these norms can be searched approximately, in float32."""
    return bool(len(norms)) and TAME[0] < float(norms.min()) and float(norms.max()) < TAME[1]


def to_space(rows: Float32Matrix, norms: NDArray[np.float32], metric: DistanceMetric) -> Float32Matrix:
    """Rows of shape (n, dimension) with their norms, placed in search space."""
    if metric is DistanceMetric.COSINE:
        return rows / norms[:, None]
    return rows


def query_to_space(query: NDArray[np.float32], metric: DistanceMetric) -> tuple[NDArray[np.float32] | None, float]:
    """A query of shape (dimension,), placed in search space, and its euclidean norm.

    None when it is so far out, under the euclidean metric, that float32 cannot rank rows for it.
    """
    if metric is DistanceMetric.COSINE:
        point = np.empty(len(query), np.float32)
        return point, unit(query, point)
    length = norm(query)
    return (query if length < TAME[1] else None), length
