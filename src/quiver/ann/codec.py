"""The codec contract: how a row is encoded for the scan, and how codes are scored against a query.

Rows, queries and origins stand in search space (ann/space.py). Scores order rows as squared euclidean distances
there do. A codec is immutable once trained. Its state is stored in the segment index and is untrusted when read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from quiver.model.record import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class CodeLists(NamedTuple):
    """The codes of a segment, partition by partition. Rows stand in partition order.

    In place, partition p is `codes of n rows as the codec lays them out | n row numbers as little-endian int64`,
    starting at byte `offsets[p]` of `buffer`. The bytes stay where they are for as long as `buffer` is referenced.

    Attributes:
        ends: the row after the last of each partition, int64 of shape (count,), ascending.
        buffer: uint8 of shape (bytes,), read-only.
        offsets: int64 of shape (count,), each a multiple of 8.
    """

    ends: NDArray[np.int64]
    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]


class Estimates(Record, frozen=True):
    """Scored rows, the nearest first: row numbers (int64) and scores (float32), both of shape (n,)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Scanner(ABC):
    """Scores the codes of one segment. May be used by several threads at once."""

    @abstractmethod
    def scan(
        self,
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        limit: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Estimates:
        """The `limit` rows of some partitions with the smallest estimated scores; fewer when there are fewer.

        Args:
            partitions: distinct partition numbers.
            allowed: which rows of the segment may be found, shape (rows,); None for all.
        """


class Codec(ABC):
    """Row <-> code.

    Attributes:
        code_size: bytes per row.
        refined: codes are coarse enough that int8 rows, stored beside them, are worth scoring in between.
        floats: how many float32 end a code.
        block: how many codes lie together; a partition has whole blocks of them.
    """

    name: ClassVar[str]
    refined: ClassVar[bool] = True
    floats: ClassVar[int] = 0
    block: ClassVar[int] = 1
    code_size: int

    @classmethod
    @abstractmethod
    def train(cls, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix, seed: int) -> Self:
        """Learn from sample rows; the other arguments are those of `encode_rows`."""

    @abstractmethod
    def encode_rows(
        self, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
    ) -> NDArray[np.uint8]:
        """Codes of shape (n, code_size).

        Args:
            partitions: the partition of each row, shape (n,).
            origins: of every partition, shape (count, dimension).
        """

    def lay_out(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The codes of a partition, shape (n, code_size), as they are stored: the bytes of whole blocks."""
        return codes.reshape(-1)

    def take_up(self, stored: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        """What `lay_out` was given: shape (count, code_size)."""
        return stored.reshape(count, self.code_size)

    def canonical(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes of shape (n, code_size) in a form that those which mean the same have in common."""
        return codes

    @abstractmethod
    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        """A scanner of the segment with these codes and partition origins, shape (count, dimension)."""

    @abstractmethod
    def encode(self) -> bytes:
        """The state to store."""

    @classmethod
    @abstractmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        """Raises CorruptObjectError when the state does not fit."""
