"""Reads a segment: keys, vectors, metadata, codes and columns, every byte verified before it is first used."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.ann import registry
from quiver.format import paths, segment_index
from quiver.format.metadata_columns import MetadataColumns
from quiver.format.sections import as_array
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import ObjectStore

_LENGTH = struct.Struct("<I")


class SegmentReader:
    """One open segment. On a local root both objects are memory-mapped.

    Attributes:
        segment: its id.
        rows: how many rows, including those that tombstones hide.
        resident: bytes held in memory, mapped files apart.
    """

    def __init__(self, root: str, owner: str, segment: str, index: memoryview, rows: memoryview) -> None:
        self.segment = segment
        self._key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
        self._rows_key = paths.segment_key(root, segment, paths.ROWS)
        self._index = index
        self._data = rows
        self._footer = segment_index.decode_footer(self._key, owner, index)
        self.rows = self._footer.rows
        self.resident = sum(len(view) for view in (index, rows) if isinstance(view.obj, bytes | bytearray))
        if len(rows) != self._footer.rows_size:
            raise CorruptObjectError(f"{self._rows_key}: {len(rows)} bytes, {self._footer.rows_size} are due")
        self._check_layout()
        self._verified = np.zeros(-(-len(rows) // segment_index.BLOCK_BYTES), bool)

    @classmethod
    async def open(cls, store: ObjectStore, root: str, owner: str, segment: str) -> SegmentReader:
        """Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        index = await store.get(paths.segment_key(root, segment, paths.SEGMENT_INDEX))
        rows = await store.get(paths.segment_key(root, segment, paths.ROWS))
        return cls(root, owner, segment, memoryview(index), memoryview(rows))

    def check_spec(self, spec: IndexSpec) -> None:
        """Raises CorruptObjectError when the segment is of another shape than the index."""
        if (self._footer.dimension, self._footer.metric) != (spec.dimension, spec.metric.value):
            raise CorruptObjectError(f"{self._key}: not of this index's dimension and metric")

    def _check_layout(self) -> None:
        footer = self._footer
        width = 4 * footer.dimension
        if width <= 0:
            raise CorruptObjectError(f"{self._key}: dimension {footer.dimension}")
        position = 0
        for run in footer.runs:
            if run.first != position or run.rows < 1 or not 0 <= run.offset <= len(self._data) - run.rows * width:
                raise CorruptObjectError(f"{self._key}: row groups do not fit rows.parquet")
            position += run.rows
        ends = footer.partition_ends
        if position != footer.rows or not ends or ends != sorted(ends) or ends[0] < 0 or ends[-1] != footer.rows:
            raise CorruptObjectError(f"{self._key}: partitions do not cover the rows")

    # ---------------------------------------------------------------- derived arrays

    def _array(self, name: str, dtype: str) -> NDArray[np.generic]:
        section = segment_index.read_section(self._key, self._footer, self._index, name)
        return as_array(section, np.dtype(dtype))

    def _per_row(self, name: str, dtype: str) -> NDArray[np.generic]:
        array = self._array(name, dtype)
        if len(array) != self.rows:
            raise CorruptObjectError(f"{self._key}: section {name} has {len(array)} entries for {self.rows} rows")
        return array

    @cached_property
    def key_hashes(self) -> NDArray[np.uint64]:
        """Ascending, shape (rows,)."""
        return self._per_row("key_hashes", "<u8").view(np.uint64)

    @cached_property
    def key_rows(self) -> NDArray[np.uint32]:
        """The row of each entry of key_hashes."""
        rows = self._per_row("key_rows", "<u4").view(np.uint32)
        if len(rows) and int(rows.max()) >= self.rows:
            raise CorruptObjectError(f"{self._key}: key_rows out of range")
        return rows

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """Euclidean norm of each row."""
        return self._per_row("norms", "<f4").view(np.float32)

    @cached_property
    def columns(self) -> MetadataColumns:
        """For filters."""
        section = segment_index.read_section(self._key, self._footer, self._index, "columns")
        return MetadataColumns.decode(section, self.rows)

    @cached_property
    def partitioner(self) -> Partitioner:
        """Which partitions to probe."""
        kind = registry.partitioner(self._footer.partitioner)
        partitioner = kind.decode(self._footer.partitioner_state, self._footer.dimension)
        if partitioner.count != len(self._footer.partition_ends):
            raise CorruptObjectError(f"{self._key}: not as many partitions as its partitioner makes")
        return partitioner

    @cached_property
    def codec(self) -> Codec:
        """How the rows are encoded."""
        return registry.codec(self._footer.codec).decode(self._footer.codec_state, self._footer.dimension)

    @cached_property
    def _key_offsets(self) -> NDArray[np.uint64]:
        return self._per_row("key_offsets", "<u8").view(np.uint64)

    @cached_property
    def _metadata_offsets(self) -> NDArray[np.uint64]:
        return self._per_row("metadata_offsets", "<u8").view(np.uint64)

    @cached_property
    def _block_digests(self) -> NDArray[np.uint64]:
        digests = self._array("blocks", "<u8").view(np.uint64)
        if len(digests) != len(self._verified):
            raise CorruptObjectError(
                f"{self._key}: {len(digests)} block checksums for {len(self._verified)} blocks"
            )
        return digests

    # ---------------------------------------------------------------- rows

    def _bytes(self, start: int, length: int) -> memoryview:
        """A range of rows.parquet, verified."""
        if start < 0 or length < 0 or start + length > len(self._data):
            raise CorruptObjectError(f"{self._rows_key}: range {start}+{length} is out of bounds")
        self._verify(
            np.arange(start // segment_index.BLOCK_BYTES, -(-(start + length) // segment_index.BLOCK_BYTES))
        )
        return self._data[start : start + length]

    def _verify(self, blocks: NDArray[np.int64]) -> None:
        """Check the blocks that were not checked before."""
        size = segment_index.BLOCK_BYTES
        for number in blocks[~self._verified[blocks]].tolist():
            block = self._data[number * size : (number + 1) * size]
            if xxhash.xxh3_64_intdigest(block) != int(self._block_digests[number]):
                raise CorruptObjectError(f"{self._rows_key}: checksum of block {number} does not match")
            self._verified[number] = True

    def _text(self, offset: int) -> bytes:
        (length,) = _LENGTH.unpack(self._bytes(offset, _LENGTH.size))
        return bytes(self._bytes(offset + _LENGTH.size, length))

    def key(self, row: int) -> str:
        """The key of a row."""
        try:
            return self._text(int(self._key_offsets[row])).decode()
        except UnicodeDecodeError as error:
            raise CorruptObjectError(f"{self._rows_key}: key of row {row} is not UTF-8") from error

    def metadata_of(self, row: int) -> bytes:
        """The metadata of a row, JSON text."""
        return self._text(int(self._metadata_offsets[row]))

    def take_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of some rows, shape (len(rows), dimension); only the blocks that hold them are verified."""
        dimension = self._footer.dimension
        out = np.empty((len(rows), dimension), np.float32)
        for run in self._footer.runs:
            inside = np.flatnonzero((rows >= run.first) & (rows < run.first + run.rows))
            if len(inside):
                local = rows[inside] - run.first
                starts = run.offset + local * 4 * dimension
                ends = starts + 4 * dimension - 1
                self._verify(np.unique(np.concatenate([starts, ends]) // segment_index.BLOCK_BYTES))
                view = np.frombuffer(self._data, "<f4", run.rows * dimension, run.offset)
                out[inside] = view.reshape(run.rows, dimension)[local]
        return out

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Rows [start, end) as (first row, read-only view of shape (n, dimension)), one per row group."""
        end = self.rows if end is None else end
        width = 4 * self._footer.dimension
        for run in self._footer.runs:
            low, high = max(start, run.first), min(end, run.first + run.rows)
            if low < high:
                view = self._bytes(run.offset + (low - run.first) * width, (high - low) * width)
                yield low, np.frombuffer(view, "<f4").reshape(-1, self._footer.dimension)

    def codes(self, partition: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """The codes of a partition as (first row, codes of shape (n, code_size))."""
        start = self._footer.partition_ends[partition - 1] if partition else 0
        end = self._footer.partition_ends[partition]
        if self.codec.codes_are_rows:
            for first, block in self.blocks(start, end):
                yield first, block.view(np.uint8)
        elif start < end:
            yield start, self._codes[start:end]

    @cached_property
    def _codes(self) -> NDArray[np.uint8]:
        section = segment_index.read_section(self._key, self._footer, self._index, "codes")
        if len(section) != self.rows * self.codec.code_size:
            raise CorruptObjectError(f"{self._key}: section codes does not fit the rows")
        return np.frombuffer(section, np.uint8).reshape(self.rows, self.codec.code_size)

    def find(self, keys: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each key, or -1; shape (len(keys),). Hashes only narrow the search: keys decide."""
        found = np.full(len(keys), -1, np.int64)
        low = np.searchsorted(self.key_hashes, hashes, "left")
        high = np.searchsorted(self.key_hashes, hashes, "right")
        for number in np.flatnonzero(low < high).tolist():
            for row in self.key_rows[low[number] : high[number]].tolist():
                if self.key(row) == keys[number]:
                    found[number] = row
        return found

    def verify(self) -> None:
        """Check every byte and every derived array against the rows. Raises CorruptObjectError."""
        self._bytes(0, len(self._data))
        for name in self._footer.sections:
            segment_index.read_section(self._key, self._footer, self._index, name)
        hashes = self.key_hashes
        for position, row in enumerate(self.key_rows.tolist()):
            if xxhash.xxh3_64_intdigest(self.key(row).encode()) != int(hashes[position]):
                raise CorruptObjectError(f"{self._key}: key hashes do not match the keys")
            self.metadata_of(row)
        if len(np.unique(self.key_rows)) != self.rows or (hashes[1:] < hashes[:-1]).any():
            raise CorruptObjectError(f"{self._key}: key hashes are not a sorted permutation of the rows")
