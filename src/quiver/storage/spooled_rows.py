"""Rows on their way into a segment, more than memory holds: appended batch by batch, then read in any order.

Vectors go to one spool, keys and metadata to another; a few numbers per row stay in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann._kernels import slices_of
from quiver.format.keys import utf8_hashes
from quiver.model.mapped import release
from quiver.storage.row_source import RowSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix, VectorBatch
    from quiver.storage.spool import Spool, SpooledFile


class SpooledRows:
    """Takes batches in; `source` gives the rows out.

    Attributes:
        rows: rows taken in, keys that repeat counted each time.
        nbytes: of keys, vectors and metadata.
    """

    def __init__(self, spool: Spool, dimension: int) -> None:
        self.rows = 0
        self._dimension = dimension
        self._vectors = spool.open()
        self._texts = spool.open()
        self._hashes: list[NDArray[np.uint64]] = []
        self._sizes: list[NDArray[np.int64]] = []

    @property
    def nbytes(self) -> int:
        """Bytes of keys, vectors and metadata taken in."""
        return self._vectors.size + self._texts.size

    def append(self, batch: VectorBatch) -> None:
        """Take rows in; keys may repeat."""
        keys = list(map(str.encode, batch.keys))
        self._vectors.write(np.ascontiguousarray(batch.vectors, "<f4").reshape(-1).view(np.uint8).data)
        texts = [b""] * (2 * len(keys))
        texts[::2], texts[1::2] = keys, batch.metadata
        self._texts.write(b"".join(texts))
        self._sizes.append(np.fromiter(map(len, texts), np.int64, len(texts)))
        self._hashes.append(utf8_hashes(keys))
        self.rows += len(keys)

    def source(self) -> RowSource:
        """The rows with distinct keys: of those that repeat, the last. Nothing can be taken in afterwards."""
        ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._sizes]))
        hashes = np.concatenate([np.zeros(0, np.uint64), *self._hashes])
        source = _Source(self._vectors, self._dimension, self._texts.view(), ends, hashes)
        chosen = source.last_of_each_key()
        return source if len(chosen) == source.rows else _Chosen(source, chosen)


class _Source(RowSource):
    def __init__(
        self,
        vectors: SpooledFile,
        dimension: int,
        texts: memoryview,
        ends: NDArray[np.int64],
        hashes: NDArray[np.uint64],
    ) -> None:
        self._file = vectors
        self._vectors = np.frombuffer(vectors.view(), "<f4").reshape(-1, dimension)
        self.rows, self.dimension = self._vectors.shape
        self._texts = texts
        self._hashes = hashes
        self._ends = ends  # of key and metadata in turn, with a zero before

    def vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        return self._file.take(rows, 4 * self.dimension).view("<f4")

    def consecutive(self, start: int, end: int) -> Float32Matrix:
        release(self._vectors)  # what was read before
        return self._vectors[start:end]

    def texts(self, rows: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        return self._slices(2 * rows), self._slices(2 * rows + 1)

    def _slices(self, numbers: NDArray[np.int64]) -> list[bytes]:
        """Keys, whose numbers are even, and metadata, whose are odd."""
        return slices_of(self._texts, self._ends[numbers], self._ends[numbers + 1])

    def hashes(self, rows: NDArray[np.int64], keys: Sequence[bytes]) -> NDArray[np.uint64]:  # noqa: ARG002 - known
        return self._hashes[rows]

    def last_of_each_key(self) -> NDArray[np.int64]:
        """Ascending row numbers, without the rows whose key comes again."""
        hashes = self._hashes
        order = np.argsort(hashes, kind="stable")
        ascending = hashes[order]
        again = np.flatnonzero(ascending[1:] == ascending[:-1])
        kept = np.ones(self.rows, bool)
        for first in np.split(again, np.flatnonzero(np.diff(again) > 1) + 1):
            if len(first):
                rows = order[first[0] : first[-1] + 2]
                last = dict(zip(self._slices(2 * rows), rows.tolist(), strict=True))
                kept[rows] = False
                kept[list(last.values())] = True
        return np.flatnonzero(kept)


class _Chosen(RowSource):
    """Some rows of a source."""

    def __init__(self, source: RowSource, chosen: NDArray[np.int64]) -> None:
        self.rows = len(chosen)
        self.dimension = source.dimension
        self._source = source
        self._chosen = chosen

    def vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        return self._source.vectors(self._chosen[rows])

    def texts(self, rows: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        return self._source.texts(self._chosen[rows])

    def hashes(self, rows: NDArray[np.int64], keys: Sequence[bytes]) -> NDArray[np.uint64]:
        return self._source.hashes(self._chosen[rows], keys)
