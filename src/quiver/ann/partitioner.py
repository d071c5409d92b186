"""The coarse partitioner contract: which rows lie together, and which parts to look into for a query.

Rows and queries stand in search space (ann/space.py), where nearer means smaller euclidean distance. A partitioner
is immutable once trained. Its state is stored in the segment index and is untrusted when read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann import _kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class Partitioner(ABC):
    """Partitions are numbered 0..count-1.

    Attributes:
        origins: the point that codes of each partition are relative to, float32 of shape (count, dimension).
        ranks_by_distance: partitions rank by the squared distance of the query to their origins.
    """

    name: ClassVar[str]
    ranks_by_distance: ClassVar[bool] = False
    origins: Float32Matrix

    @property
    def count(self) -> int:
        """How many partitions there are."""
        return len(self.origins)

    @classmethod
    @abstractmethod
    def train(cls, rows: Float32Matrix, count: int, seed: int, start: Float32Matrix | None = None) -> Self:
        """Learn at most `count` partitions from sample rows (at least one); the same input gives the same result.

        Args:
            rows: shape (n, dimension).
            start: origins of partitioners that were trained on much of the same data, shape (any, dimension); a
                partitioner that can start from them needs less work.
        """

    @abstractmethod
    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        """The partition of each row, shape (rows,)."""

    @abstractmethod
    def divide(self, partition: int, rows: Float32Matrix, seed: int) -> Self:
        """This partitioner with one partition, of which sample rows are given, divided in two.

        The new partition has the last number; all others keep theirs.
        """

    @abstractmethod
    def side(self, first: int, second: int, rows: Float32Matrix) -> NDArray[np.bool_]:
        """Which rows belong to `second` rather than `first`, the two halves of a division, shape (rows,)."""

    @abstractmethod
    def rank(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """How unpromising each partition is for a query, shape (count,): the smallest are probed first."""

    def nearest(self, query: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
        """At most `limit` partitions, the most promising first."""
        return nearest(self.rank(query), limit)

    def within(
        self, query: NDArray[np.float32], margin: float, usual: float = 0.0
    ) -> tuple[NDArray[np.int64], float]:
        """The partitions that rank at most a margin behind the first, the most promising first; and how far the
        query is from the origin of that.

        Args:
            usual: from this distance on, the margin grows in proportion to it; 0: it does not.
        """
        ranks = self.rank(query)
        numbers = nearest(ranks, self.count, margin)
        square = np.empty(1, np.float32)
        _kernels.squares(query, np.ascontiguousarray(self.origins[numbers[:1]]), square)
        away = math.sqrt(square[0])
        return (
            nearest(ranks, self.count, margin * away / usual) if 0 < usual < away < math.inf else numbers
        ), away

    @abstractmethod
    def encode(self) -> bytes:
        """The state to store."""

    @classmethod
    @abstractmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        """Raises CorruptObjectError when the state does not fit."""


def nearest(ranks: NDArray[np.float32], limit: int, margin: float = np.inf) -> NDArray[np.int64]:
    """Numbers of at most `limit` partitions ranked at most `margin` behind the first, the most promising first."""
    numbers = np.empty(min(limit, len(ranks)), np.int64)
    return numbers[: _kernels.nearest(np.ascontiguousarray(ranks), margin, numbers)]
