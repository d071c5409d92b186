"""Exact scores in float32, with a proven bound of their error: what rows without codes are scanned with.

The bound is the classical one for a dot product in any order of summation: |fl(x.q) - x.q| <= g |x| |q| with
g = d u / (1 - d u), u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Candidates
within the bound are ranked again in float64, so that the answer is exact.

Scores order rows as distances do: the distance itself under the cosine metric, its square under the euclidean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.ann import _kernels
from quiver.ann.distance import FLOAT32_MAX, distances
from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_UNIT = 2.0**-24
_TAME = (1e-12, 1e12)  # norms whose products neither overflow nor lose precision to underflow in float32


class Bounds(NamedTuple):
    """Least and greatest possible score of each row, float32 of shape (n,)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]


def score_of(distance: float, metric: DistanceMetric) -> float:
    """The score of a row at this distance."""
    return distance if metric is DistanceMetric.COSINE else distance * distance


def score_bounds(
    query: NDArray[np.float32],
    query_norm: float,
    rows: Float32Matrix,
    norms: NDArray[np.float32],
    metric: DistanceMetric,
) -> Bounds:
    """Bounds of the score of each row.

    Args:
        query: shape (dimension,), of euclidean norm `query_norm`.
        rows: shape (n, dimension), of euclidean norms `norms`.
    """
    if len(rows) and _is_tame(query_norm, norms):
        return _in_float32(query, query_norm, rows, norms, metric)
    return bounds_of(distances(query, rows, metric), metric)


def bounds_at(
    query: NDArray[np.float32],
    query_norm: float,
    data: memoryview,
    offsets: NDArray[np.int64],
    metric: DistanceMetric,
) -> Bounds | None:
    """The same for the rows that begin at these bytes of `data`; None for a query that float32 cannot rank for.

    Norms are summed with the rest: a cosine has half the error of a squared norm beside that of the product.
    Squared gaps are all positive, so that their error is a share of their sum. Rows that float32 says nothing of
    have infinite bounds. Raises ValueError when a row is not within the data.
    """
    if not _TAME[0] < query_norm < _TAME[1]:
        return None
    low, high = np.empty(len(offsets), np.float32), np.empty(len(offsets), np.float32)
    norm = query_norm if metric is DistanceMetric.COSINE else None
    _kernels.bounds_at(np.ascontiguousarray(query), norm, data, offsets, low, high)
    return Bounds(low, high)


def bounds_of(distances: NDArray[np.float32], metric: DistanceMetric) -> Bounds:
    """Bounds of the scores of rows at known distances; infinite scores are capped, and their bounds cover that."""
    if metric is DistanceMetric.COSINE:
        return Bounds(distances, distances)  # rounding keeps their order
    squares = np.square(distances.astype(np.float64))
    estimate = np.minimum(squares, FLOAT32_MAX).astype(np.float32)
    least = 4 * _UNIT * estimate + np.finfo(np.float32).tiny
    margin = np.where(squares >= FLOAT32_MAX, np.inf, least).astype(np.float32)
    with np.errstate(over="ignore"):  # the bound of a capped score is infinite
        return Bounds(estimate - margin, estimate + margin)


def _is_tame(query_norm: float, norms: NDArray[np.float32]) -> bool:
    low, high = min(query_norm, float(norms.min())), max(query_norm, float(norms.max()))
    return _TAME[0] < low and high < _TAME[1]


def _in_float32(
    query: NDArray[np.float32],
    query_norm: float,
    rows: Float32Matrix,
    norms: NDArray[np.float32],
    metric: DistanceMetric,
) -> Bounds:
    # The 16 covers the roundings of the norms, the quotient, the sums and the addition of the margin itself.
    bound = np.float32((query.size + 16) * _UNIT * 1.01)
    dots = rows @ query
    if metric is DistanceMetric.COSINE:
        estimate = 1 - dots / (norms * np.float32(query_norm))
        return Bounds(estimate - bound, estimate + bound)
    squares = norms * norms + np.float32(query_norm * query_norm)
    estimate, margin = squares - 2 * dots, 2 * bound * squares
    return Bounds(estimate - margin, estimate + margin)
