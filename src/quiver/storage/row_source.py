"""Where the rows of a new segment come from: memory, segments, or a spool; read in parts, then in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from quiver.format.keys import utf8_hashes
from quiver.format.rows_parquet import GROUP_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix, VectorBatch
    from quiver.storage.segment_reader import SegmentReader


class RowSource(ABC):
    """Rows 0 to rows - 1, with distinct keys.

    Attributes:
        rows: how many.
        dimension: components of each vector.
    """

    rows: int
    dimension: int

    @abstractmethod
    def vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        """The vectors of some rows, shape (len(rows), dimension)."""

    @abstractmethod
    def texts(self, rows: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        """Keys, UTF-8, and metadata of some rows."""

    def hashes(self, rows: NDArray[np.int64], keys: Sequence[bytes]) -> NDArray[np.uint64]:  # noqa: ARG002
        """The hashes of the keys of some rows, which are given too."""
        return utf8_hashes(keys)

    def parts(self) -> Iterator[tuple[int, Float32Matrix]]:
        """All vectors in order, as (first row, vectors), each part small enough for memory."""
        step = max(1, GROUP_BYTES // (4 * self.dimension))
        for start in range(0, self.rows, step):
            yield start, self.consecutive(start, min(start + step, self.rows))

    def consecutive(self, start: int, end: int) -> Float32Matrix:
        """The vectors of rows [start, end); in place where that can be, so they may be read-only."""
        return self.vectors(np.arange(start, end))


class BatchSource(RowSource):
    """The rows of a batch."""

    def __init__(self, batch: VectorBatch) -> None:
        self.rows, self.dimension = batch.vectors.shape
        self._batch = batch

    def vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        return self._batch.vectors[rows]

    def consecutive(self, start: int, end: int) -> Float32Matrix:
        return self._batch.vectors[start:end]

    def texts(self, rows: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        numbers = rows.tolist()
        return [self._batch.keys[row].encode() for row in numbers], [self._batch.metadata[row] for row in numbers]


class SegmentsSource(RowSource):
    """Some rows of each of several segments, one after the other.

    Args:
        chosen: for each reader, ascending row numbers.
    """

    def __init__(
        self, readers: Sequence[SegmentReader], chosen: Sequence[NDArray[np.int64]], dimension: int
    ) -> None:
        self.dimension = dimension
        self._readers = readers
        self._chosen = chosen
        self._ends = np.cumsum([len(rows) for rows in chosen])
        self.rows = int(self._ends[-1]) if len(self._ends) else 0

    def vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        out = np.empty((len(rows), self.dimension), np.float32)
        for reader, places, theirs in self._split(rows):
            out[places] = reader.take_vectors(theirs)
        return out

    def texts(self, rows: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        texts = np.empty((2, len(rows)), object)
        for reader, places, theirs in self._split(rows):
            texts[0, places], texts[1, places] = reader.key_bytes_of(theirs), reader.metadata_of(theirs)
        keys, metadata = texts.tolist()
        return keys, metadata

    def _split(
        self, rows: NDArray[np.int64]
    ) -> Iterator[tuple[SegmentReader, NDArray[np.int64], NDArray[np.int64]]]:
        """For each segment that holds some: the places in `rows`, and the segment's own row numbers."""
        owners = np.searchsorted(self._ends, rows, "right")
        for number, reader in enumerate(self._readers):
            places = np.flatnonzero(owners == number)
            if len(places):
                before = int(self._ends[number - 1]) if number else 0
                yield reader, places, self._chosen[number][rows[places] - before]
