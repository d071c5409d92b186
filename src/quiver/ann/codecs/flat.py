"""The flat codec: the float32 row itself, scored in float32 with a proven error bound.

The bound is the classical one for a dot product in any order of summation: |fl(x.q) - x.q| <= g |x| |q| with
g = d u / (1 - d u), u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Candidates
within the bound are ranked again in float64, so that the answer is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.codec import Codec, Scorer, Scores
from quiver.ann.distance import distances
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_UNIT = 2.0**-24
_TAME = (1e-12, 1e12)  # norms whose products neither overflow nor lose precision to underflow in float32


class Flat(Codec):
    """No compression and no training."""

    name: ClassVar[str] = "flat"
    codes_are_rows: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self.code_size = 4 * dimension

    @classmethod
    def train(cls, rows: Float32Matrix, origins: Float32Matrix, seed: int) -> Self:  # noqa: ARG003 - nothing to learn
        return cls(rows.shape[1])

    def encode_rows(self, rows: Float32Matrix, origin: NDArray[np.float32]) -> NDArray[np.uint8]:  # noqa: ARG002
        return np.ascontiguousarray(rows, np.float32).view(np.uint8)

    def scorer(self, query: NDArray[np.float32], origin: NDArray[np.float32], metric: DistanceMetric) -> Scorer:  # noqa: ARG002
        query_norm = float(np.linalg.norm(query.astype(np.float64)))

        def score(codes: NDArray[np.uint8], norms: NDArray[np.float32]) -> Scores:
            rows = codes.view(np.float32)
            if len(rows) and _is_tame(query_norm, norms):
                return _score_float32(query, query_norm, rows, norms, metric)
            return _score_float64(query, rows, metric)

        return score

    def encode(self) -> bytes:
        return b""

    @classmethod
    def decode(cls, state: bytes, dimension: int) -> Self:
        if state:
            raise CorruptObjectError("flat codec: unexpected state")
        return cls(dimension)


def _is_tame(query_norm: float, norms: NDArray[np.float32]) -> bool:
    low, high = min(query_norm, float(norms.min())), max(query_norm, float(norms.max()))
    return _TAME[0] < low and high < _TAME[1]


def _score_float32(
    query: NDArray[np.float32],
    query_norm: float,
    rows: NDArray[np.float32],
    norms: NDArray[np.float32],
    metric: DistanceMetric,
) -> Scores:
    # The 16 covers the roundings of the norms, the quotient, the sums and the addition of the margin itself.
    bound = np.float32((query.size + 16) * _UNIT * 1.01)
    dots = rows @ query
    if metric is DistanceMetric.COSINE:
        estimate = 1 - dots / (norms * np.float32(query_norm))
        return Scores(estimate, np.full(len(rows), bound, np.float32))
    squares = norms * norms + np.float32(query_norm * query_norm)
    return Scores(squares - 2 * dots, 2 * bound * squares)


def _score_float64(query: NDArray[np.float32], rows: NDArray[np.float32], metric: DistanceMetric) -> Scores:
    """Exact distances, as scores; infinite scores are capped, and the margin then covers the cap."""
    exact = distances(query, rows, metric).astype(np.float64)
    if metric is DistanceMetric.EUCLIDEAN:
        exact = np.square(exact)
    top = float(np.finfo(np.float32).max)
    estimate = np.minimum(exact, top).astype(np.float32)
    margin = np.where(exact >= top, np.inf, 4 * _UNIT * estimate + np.finfo(np.float32).tiny)
    return Scores(estimate, margin.astype(np.float32))
