"""Reads a segment: keys, vectors, metadata, codes and columns, every byte verified before it is first used."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.format import paths, segment_index
from quiver.format.key_filter import KeyFilter
from quiver.format.metadata_columns import MetadataColumns
from quiver.format.sections import as_array
from quiver.model.errors import CorruptObjectError
from quiver.storage.segment_codes import SegmentCodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix, IndexSpec
    from quiver.objectstore.store import ObjectStore

_LENGTH = struct.Struct("<I")
_LARGEST_BLOCK = 1 << 30


class SegmentReader:
    """One open segment. On a local root both objects are memory-mapped.

    Attributes:
        segment: its id.
        rows: how many rows, including those that tombstones hide.
        resident: bytes held in memory, mapped files apart.
        dimension: components of each vector.
        structure: names of its partitioner and codec.
        codes: its partitions.
    """

    def __init__(self, root: str, owner: str, segment: str, index: memoryview, rows: memoryview) -> None:
        self.segment = segment
        self._key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
        self._rows_key = paths.segment_key(root, segment, paths.ROWS)
        self._index = index
        self._data = rows
        footer = self._footer = segment_index.decode_footer(self._key, owner, index)
        self.rows = footer.rows
        self.dimension = footer.dimension
        self.structure = (footer.partitioner, footer.codec)
        self.codes = SegmentCodes(self._key, footer, index)
        self.resident = sum(len(view) for view in (index, rows) if isinstance(view.obj, bytes | bytearray))
        if len(rows) != footer.rows_size:
            raise CorruptObjectError(f"{self._rows_key}: {len(rows)} bytes, {footer.rows_size} are due")
        self._check_layout()
        self._verified = bytearray(-(-len(rows) // footer.block_bytes))
        self._unverified = len(self._verified)

    @classmethod
    async def open(cls, store: ObjectStore, root: str, owner: str, segment: str) -> SegmentReader:
        """Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        index = await store.get(paths.segment_key(root, segment, paths.SEGMENT_INDEX))
        rows = await store.get(paths.segment_key(root, segment, paths.ROWS))
        return cls(root, owner, segment, memoryview(index), memoryview(rows))

    def check_spec(self, spec: IndexSpec) -> None:
        """Raises CorruptObjectError when the segment is of another shape than the index."""
        if (self.dimension, self._footer.metric) != (spec.dimension, spec.metric.value):
            raise CorruptObjectError(f"{self._key}: not of this index's dimension and metric")

    def _check_layout(self) -> None:
        footer = self._footer
        width = 4 * footer.dimension
        if width <= 0 or not 0 <= footer.code_size <= 4 * width or footer.int8_size not in (0, footer.dimension):
            raise CorruptObjectError(f"{self._key}: impossible sizes in the footer")
        if footer.rows < 1 or not 0 < footer.block_bytes <= _LARGEST_BLOCK:
            raise CorruptObjectError(f"{self._key}: impossible numbers in the footer")
        position = 0
        for run in footer.runs:
            fits = 0 <= run.offset <= len(self._data) - run.rows * width and run.offset % 4 == 0
            if run.first != position or run.rows < 1 or not fits:
                raise CorruptObjectError(f"{self._key}: row groups do not fit rows.parquet")
            position += run.rows
        if position != footer.rows:
            raise CorruptObjectError(f"{self._key}: row groups do not cover the rows")

    # ---------------------------------------------------------------- derived arrays

    def _section(self, name: str) -> memoryview:
        return segment_index.read_section(self._key, self._footer, self._index, name)

    def _array(self, name: str, dtype: str, count: int) -> NDArray[np.generic]:
        return segment_index.read_array(self._key, self._footer, self._index, name, dtype, count)

    @cached_property
    def key_hashes(self) -> NDArray[np.uint64]:
        """Ascending, shape (rows,)."""
        return self._array("key_hashes", "<u8", self.rows).view(np.uint64)

    @cached_property
    def key_rows(self) -> NDArray[np.uint32]:
        """The row of each entry of key_hashes."""
        rows = self._array("key_rows", "<u4", self.rows).view(np.uint32)
        if len(rows) and int(rows.max()) >= self.rows:
            raise CorruptObjectError(f"{self._key}: key_rows out of range")
        return rows

    @cached_property
    def key_filter(self) -> KeyFilter | None:
        """Knows keys that are certainly absent; None in a segment of version 1."""
        if self._footer.version == 1:
            return None
        return KeyFilter(as_array(self._section("key_filter"), np.dtype("<u4")))

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """Euclidean norm of each row."""
        return self._array("norms", "<f4", self.rows).view(np.float32)

    @cached_property
    def columns(self) -> MetadataColumns:
        """For filters."""
        return MetadataColumns.decode(self._section("columns"), self.rows)

    @cached_property
    def _key_offsets(self) -> NDArray[np.uint64]:
        return self._array("key_offsets", "<u8", self.rows).view(np.uint64)

    @cached_property
    def _metadata_offsets(self) -> NDArray[np.uint64]:
        return self._array("metadata_offsets", "<u8", self.rows).view(np.uint64)

    @cached_property
    def block_digests(self) -> NDArray[np.uint64]:
        """The xxh3 of each block of rows.parquet."""
        return self._array("blocks", "<u8", len(self._verified)).view(np.uint64)

    # ---------------------------------------------------------------- rows

    def _bytes(self, start: int, length: int) -> memoryview:
        """A range of rows.parquet, verified."""
        if start < 0 or length < 0 or start + length > len(self._data):
            raise CorruptObjectError(f"{self._rows_key}: range {start}+{length} is out of bounds")
        size = self._footer.block_bytes
        first, last = start // size, -(-(start + length) // size)
        if self._verified.find(0, first, last) >= 0:
            self._verify(np.arange(first, last))
        return self._data[start : start + length]

    def _verify(self, blocks: NDArray[np.int64]) -> None:
        """Check the blocks that were not checked before."""
        size = self._footer.block_bytes
        verified = np.frombuffer(self._verified, bool)
        if verified[blocks].all():
            return
        for number in np.unique(blocks[~verified[blocks]]).tolist():
            block = self._data[number * size : (number + 1) * size]
            if xxhash.xxh3_64_intdigest(block) != int(self.block_digests[number]):
                raise CorruptObjectError(f"{self._rows_key}: checksum of block {number} does not match")
            self._verified[number] = 1
        self._unverified = self._verified.count(0)

    def _text(self, offset: int) -> bytes:
        if not 0 <= offset <= len(self._data) - _LENGTH.size:
            raise CorruptObjectError(f"{self._rows_key}: offset {offset} is out of bounds")
        (length,) = _LENGTH.unpack_from(self._data, offset)  # verified with the rest, or not used
        if self._unverified:
            self._bytes(offset, _LENGTH.size + length)
        elif offset + _LENGTH.size + length > len(self._data):
            raise CorruptObjectError(f"{self._rows_key}: a text at {offset} is out of bounds")
        return bytes(self._data[offset + _LENGTH.size : offset + _LENGTH.size + length])

    def key(self, row: int) -> str:
        """The key of a row."""
        try:
            return self._text(int(self._key_offsets[row])).decode()
        except UnicodeDecodeError as error:
            raise CorruptObjectError(f"{self._rows_key}: key of row {row} is not UTF-8") from error

    def metadata_of(self, row: int) -> bytes:
        """The metadata of a row, JSON text."""
        return self._text(int(self._metadata_offsets[row]))

    def take_vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        """A copy of some rows, shape (len(rows), dimension); only the blocks that hold them are verified."""
        firsts, offsets = self._run_places
        run = np.searchsorted(firsts, rows, "right") - 1
        width = 4 * self.dimension
        starts = offsets[run] + (rows - firsts[run]) * width
        if self._unverified:
            size = self._footer.block_bytes
            span = np.arange(0, width + size - 1, size)  # a row may lie across several blocks
            self._verify(np.minimum(starts[:, None] + span, starts[:, None] + width - 1).reshape(-1) // size)
        taken: Float32Matrix = self._windows[starts >> 2]
        return taken

    @cached_property
    def _run_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and offset of each row group."""
        runs = self._footer.runs
        return np.array([run.first for run in runs], np.int64), np.array([run.offset for run in runs], np.int64)

    @cached_property
    def _windows(self) -> NDArray[np.float32]:
        """rows.parquet as float32, one window of a row's width from every component on."""
        floats = np.frombuffer(self._data, "<f4", len(self._data) // 4)
        return np.lib.stride_tricks.sliding_window_view(floats, self.dimension)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Rows [start, end) as (first row, read-only view of shape (n, dimension)), one per row group."""
        end = self.rows if end is None else end
        width = 4 * self.dimension
        for run in self._footer.runs:
            low, high = max(start, run.first), min(end, run.first + run.rows)
            if low < high:
                view = self._bytes(run.offset + (low - run.first) * width, (high - low) * width)
                yield low, np.frombuffer(view, "<f4").reshape(-1, self.dimension)

    def find(self, keys: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each key, or -1; shape (len(keys),). Hashes only narrow the search: keys decide."""
        found = np.full(len(keys), -1, np.int64)
        if self.key_filter is not None:
            maybe = np.flatnonzero(self.key_filter.may_hold(hashes))
            if not len(maybe):
                return found
            if len(maybe) < len(keys):
                found[maybe] = self._find([keys[number] for number in maybe.tolist()], hashes[maybe])
                return found
        return self._find(keys, hashes)

    def _find(self, keys: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        found = np.full(len(keys), -1, np.int64)
        low = np.searchsorted(self.key_hashes, hashes, "left")
        high = np.searchsorted(self.key_hashes, hashes, "right")
        for number in np.flatnonzero(low < high).tolist():
            for row in self.key_rows[low[number] : high[number]].tolist():
                if self.key(row) == keys[number]:
                    found[number] = row
        return found

    def verify_rows(self) -> None:
        """Check every byte of rows.parquet. Raises CorruptObjectError."""
        self._bytes(0, len(self._data))

    def verify(self) -> None:
        """Check every byte of both objects, padding apart. Raises CorruptObjectError."""
        self.verify_rows()
        for name in self._footer.sections:
            self._section(name)
