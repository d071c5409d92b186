"""Rows at a byte per coordinate: scored between the codes and the float32 rows, and scanned by the codec `sq8`.

A coordinate is one of 256 levels between the least and the greatest that training has seen, as faiss's 8-bit
quantizer has them, which scans those of `sq8`.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from quiver.ann import _kernels
from quiver.ann.codec_state import pack, unpack_floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_DEVIATIONS = 4
_LEVELS = 255  # steps over the range; a level stands for the middle of its step


class Refiner:
    """Byte rows of a trained range; immutable.

    Attributes:
        low: the least of each coordinate, float32 of shape (dimension,).
        width: of the range of each coordinate.
    """

    def __init__(self, low: NDArray[np.float32], width: NDArray[np.float32]) -> None:
        self.low, self.width = low, width
        self._step = (width / np.float32(_LEVELS)).astype(np.float32)
        self._middle = (low + self._step / 2).astype(np.float32)  # of the lowest level

    @cached_property
    def doubt(self) -> float:
        """Times the root of a score: by how much the scores of two rows as near as that may differ more than their
        distances do, but for a few pairs in a hundred thousand.

        Rounding errs evenly by up to half a step, so the error of a squared distance is nearly normal, of the
        standard deviation 2 |(q - x) step| / sqrt(12); wide coordinates count as their part in the distance is.
        Rows with coordinates outside the range may err more.
        """
        squares = np.square(self._step, dtype=np.float64)
        total = float(squares.sum())
        error = 2 * math.sqrt(float(squares @ squares) / total / 12) if total else 0.0
        return _DEVIATIONS * math.sqrt(2) * error

    @property
    def trained(self) -> NDArray[np.float32]:
        """The range as faiss's 8-bit quantizer keeps it, shape (2 * dimension,)."""
        return np.concatenate([self.low, self.width])

    @classmethod
    def train(cls, rows: Float32Matrix) -> Self:
        """Learn from sample rows, at least one."""
        low = rows.min(axis=0)
        return cls(low, rows.max(axis=0) - low)

    def encode_rows(self, rows: Float32Matrix) -> NDArray[np.uint8]:
        """Byte rows, shape (n, dimension); coordinates outside the range are moved to its nearest end."""
        codes = np.empty(rows.shape, np.uint8)
        _kernels.byte_rows(np.ascontiguousarray(rows), self.low, self.width, codes)
        return codes

    def score(self, query: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Estimated squared euclidean distances of byte rows to a query, shape (n,)."""
        return self.score_at(
            query, np.ascontiguousarray(codes).reshape(-1), np.arange(len(codes)) * codes.shape[1]
        )

    def score_at(
        self, query: NDArray[np.float32], data: NDArray[np.uint8], offsets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The same for the byte rows that begin at some offsets of `data`."""
        scores = np.empty(len(offsets), np.float32)
        _kernels.refine_at(query - self._middle, self._step, data, offsets, scores)
        return scores

    def nearest_at(
        self,
        query: NDArray[np.float32],
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        count: int,
        near: int = 0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers, ascending, of the `count` of these byte rows that score least, and of all that tie with those;
        and their scores.

        Of all when the range of the coordinates is too wide for scores to be numbers.

        Args:
            near: leave out those that are hardly among so many nearest, by `doubt`; 0 to leave out none.
        """
        numbers, scores = np.empty(len(offsets), np.int64), np.empty(len(offsets), np.float32)
        base, doubt = query - self._middle, self.doubt
        found = _kernels.sift_at(base, self._step, data, offsets, count, near, doubt, numbers, scores)
        return numbers[:found], scores[:found]

    def encode(self) -> bytes:
        """The state to store."""
        return pack(len(self.low), self.trained.astype("<f4").tobytes())

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        """Raises CorruptObjectError when the state does not fit."""
        low, width = unpack_floats(state, dimension, 2 * dimension, "byte rows").reshape(2, dimension)
        return cls(low, width)
