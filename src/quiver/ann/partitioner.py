"""The coarse partitioner contract: which rows lie together, and which parts to look into for a query.

A partitioner is immutable once trained. Its state is stored in the segment index and is untrusted when read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class Partitioner(ABC):
    """Partitions are numbered 0..count-1."""

    name: ClassVar[str]
    count: int

    @classmethod
    @abstractmethod
    def train(cls, rows: Float32Matrix, count: int, seed: int) -> Self:
        """Learn about `count` partitions from sample rows (at least one); the same seed gives the same result."""

    @abstractmethod
    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        """The partition of each row, shape (rows,)."""

    @abstractmethod
    def probe(self, query: NDArray[np.float32], limit: int) -> NDArray[np.int32]:
        """Up to `limit` distinct partitions, the most promising first."""

    @abstractmethod
    def origin(self, partition: int) -> NDArray[np.float32]:
        """The point that codes of this partition are relative to, shape (dimension,)."""

    @abstractmethod
    def encode(self) -> bytes:
        """The state to store."""

    @classmethod
    @abstractmethod
    def decode(cls, state: bytes, dimension: int) -> Self:
        """Raises CorruptObjectError when the state does not fit."""
