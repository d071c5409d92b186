"""Reads a segment: keys, vectors, metadata, codes and columns, every byte verified before it is first used."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from quiver.ann._kernels import at_hand, covered, run_places, strings_at, texts_at
from quiver.ann.distance import distances_at
from quiver.ann.exact import bounds_at
from quiver.format import paths
from quiver.format.key_filter import KeyFilter
from quiver.format.metadata_columns import MetadataColumns
from quiver.format.sections import as_array
from quiver.format.segment_index import TEXT_PLACES
from quiver.model.errors import CorruptObjectError
from quiver.storage.cache.view import BLOCK, Missing, WholeView, covering
from quiver.storage.index_sections import IndexSections
from quiver.storage.segment_codes import SegmentCodes
from quiver.storage.segment_texts import SegmentTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.ann.exact import Bounds
    from quiver.model.types import DistanceMetric, Float32Matrix, IndexSpec
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.cache.view import ObjectView

T = TypeVar("T")

_LENGTH = struct.Struct("<I")
_SHORT_TEXT = 512  # bytes from a text's place on that are fetched before its length is known
_LARGEST_BLOCK = 1 << 30


class SegmentReader:
    """One open segment. On a local root both objects are memory-mapped; on others they are cached in blocks, and
    any method may raise MissingBytesError (storage/cache/view.py).

    Attributes:
        segment, owner: its id, and that of the index it is stored under.
        rows: how many rows, including those that tombstones hide.
        dimension: components of each vector.
        structure: names of its partitioner and codec.
        structure_name: both in one.
        codes: its partitions.
        texts: its text fields.
        stable: whether all bytes are at hand.
    """

    def __init__(
        self, root: str, segment: str, sections: IndexSections, rows: Callable[[str, int], ObjectView]
    ) -> None:
        """A reader.

        Args:
            root, segment: where the segment is, and its id.
            sections: of its index object.
            rows: the view of an object by its key, given the size that is due.
        """
        self.segment = segment
        self.owner = sections.footer.owner
        self._key = sections.key
        self._rows_key = paths.segment_key(root, segment, paths.ROWS)
        self._sections = sections
        footer = self._footer = sections.footer
        self.rows = footer.rows
        self.dimension = footer.dimension
        self.structure = (footer.partitioner, footer.codec)
        self.structure_name = "+".join(self.structure)
        self.codes = SegmentCodes(sections)
        self.texts = SegmentTexts(sections)
        self._view = rows(self._rows_key, footer.rows_size)
        self.stable = self._view.stable
        self._data = self._view.data
        if len(self._data) != footer.rows_size:
            raise CorruptObjectError(f"{self._rows_key}: {len(self._data)} bytes, {footer.rows_size} are due")
        self._check_layout()
        self._verified = bytearray(-(-footer.rows_size // footer.block_bytes))
        self._unverified = len(self._verified)
        self._view.on_arrival(self._distrust)

    @classmethod
    def over(cls, root: str, owner: str, segment: str, index: memoryview, rows: memoryview) -> SegmentReader:
        """A reader of two objects that are at hand. Raises CorruptObjectError, UnsupportedFormatError."""
        key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
        return cls(root, segment, IndexSections(key, owner, WholeView(index)), lambda _, __: WholeView(rows))

    @classmethod
    async def open(cls, store: ObjectStore, root: str, owner: str, segment: str) -> SegmentReader:
        """A reader of both objects, read whole. Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        index = await store.get(paths.segment_key(root, segment, paths.SEGMENT_INDEX))
        rows = await store.get(paths.segment_key(root, segment, paths.ROWS))
        return cls.over(root, owner, segment, memoryview(index), memoryview(rows))

    @property
    def views(self) -> tuple[ObjectView, ObjectView]:
        """Of both objects."""
        return self._sections.view, self._view

    @property
    def head(self) -> tuple[int, int]:
        """The range of the index object that every search begins with."""
        return self._sections.head, len(self._sections.view.data)

    def take_head(self) -> bytes:
        """See `IndexSections.take_head`."""
        return self._sections.take_head()

    @property
    def resident(self) -> int:
        """Bytes held in memory, mapped files and cached blocks apart."""
        if not self.stable:
            return self._sections.copied
        whole = (view for view in self.views if view.stable)
        held = sum(len(view.data) for view in whole if isinstance(view.data.obj, bytes | bytearray))
        return held + self._sections.copied

    def check_spec(self, spec: IndexSpec) -> None:
        """Raises CorruptObjectError when the segment is of another shape than the index."""
        if (self.dimension, self._footer.metric) != (spec.dimension, spec.metric.value):
            raise CorruptObjectError(f"{self._key}: not of this index's dimension and metric")

    def _check_layout(self) -> None:
        footer = self._footer
        width = 4 * footer.dimension
        if width <= 0 or not 0 <= footer.code_size <= 4 * width or footer.int8_size not in (0, footer.dimension):
            raise CorruptObjectError(f"{self._key}: impossible sizes in the footer")
        if footer.text_size not in ((0, TEXT_PLACES) if footer.code_size else (0,)):
            raise CorruptObjectError(f"{self._key}: impossible sizes in the footer")
        if footer.rows < 1 or not 0 < footer.block_bytes <= _LARGEST_BLOCK or not 0 < footer.code_block <= 1024:
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

    @cached_property
    def key_hashes(self) -> NDArray[np.uint64]:
        """Ascending, shape (rows,)."""
        return self._sections.array("key_hashes", np.dtype("<u8"), self.rows).view(np.uint64)

    @cached_property
    def key_rows(self) -> NDArray[np.uint32]:
        """The row of each entry of key_hashes."""
        rows = self._sections.array("key_rows", np.dtype("<u4"), self.rows).view(np.uint32)
        if len(rows) and int(rows.max()) >= self.rows:
            raise CorruptObjectError(f"{self._key}: key_rows out of range")
        return rows

    @cached_property
    def key_filter(self) -> KeyFilter | None:
        """Knows keys that are certainly absent; None in a segment of version 1."""
        if self._footer.version == 1:
            return None
        return KeyFilter(as_array(self._sections.section("key_filter"), np.dtype("<u4")))

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """Euclidean norm of each row."""
        return self._sections.array("norms", np.dtype("<f4"), self.rows).view(np.float32)

    @cached_property
    def columns(self) -> MetadataColumns:
        """For filters."""
        return MetadataColumns.decode(self._sections.section("columns"), self.rows)

    @cached_property
    def _key_offsets(self) -> NDArray[np.uint64]:
        return self._sections.array("key_offsets", np.dtype("<u8"), self.rows).view(np.uint64)

    @cached_property
    def _metadata_offsets(self) -> NDArray[np.uint64]:
        return self._sections.array("metadata_offsets", np.dtype("<u8"), self.rows).view(np.uint64)

    @cached_property
    def block_digests(self) -> NDArray[np.uint64]:
        """The xxh3 of each block of rows.parquet."""
        return self._sections.array("blocks", np.dtype("<u8"), len(self._verified)).view(np.uint64)

    # ---------------------------------------------------------------- rows

    def _bytes(self, start: int, length: int) -> memoryview:
        """A range of rows.parquet, verified."""
        if start < 0 or length < 0 or start + length > len(self._data):
            raise CorruptObjectError(f"{self._rows_key}: range {start}+{length} is out of bounds")
        self._view.require(start, start + length)
        size = self._footer.block_bytes
        first, last = start // size, -(-(start + length) // size)
        if self._verified.find(0, first, last) >= 0:
            self._verify(np.arange(first, last))
        return self._data[start : start + length]

    def _verify(self, blocks: NDArray[np.int64]) -> None:
        """Require blocks, and check those that were not checked before."""
        size = self._footer.block_bytes
        if not self.stable:
            self._view.require(blocks * size, np.minimum((blocks + 1) * size, len(self._data)))
        verified = np.frombuffer(self._verified, bool)
        if verified[blocks].all():
            return
        for number in np.unique(blocks[~verified[blocks]]).tolist():
            digest = self._view.digest(number * size, min((number + 1) * size, len(self._data)))
            if digest != int(self.block_digests[number]):
                raise CorruptObjectError(f"{self._rows_key}: checksum of block {number} does not match")
            self._verified[number] = 1
        # Bytes that may go and come again always have to be asked for.
        self._unverified = self._verified.count(0) if self.stable else len(self._verified)

    def _distrust(self, arrived: NDArray[np.int64]) -> None:
        """Have the blocks of rows.parquet that lie in these blocks of the cache checked, perhaps again."""
        ends = np.minimum((arrived + 1) * BLOCK, len(self._data))
        np.frombuffer(self._verified, np.uint8)[covering(arrived * BLOCK, ends, self._footer.block_bytes)] = 0

    def _read_texts(self, offsets: NDArray[np.uint64]) -> list[bytes]:
        """Of verified blocks all at once; where some are to be verified, one by one."""
        texts = self._read_here(texts_at, offsets)
        return list(self._texts(offsets)) if texts is None else texts

    def _read_here(self, read: Callable[..., list[T] | None], offsets: NDArray[np.uint64]) -> list[T] | None:
        """What a kernel reads at some offsets; None when a block was not verified, though all are here."""
        offsets = np.ascontiguousarray(offsets)
        size, notes = self._footer.block_bytes, self._view.notes
        texts = read(self._data, offsets, self._verified, size, notes)
        if texts is None and not self.stable:
            self._require_texts(offsets.astype(np.int64))
            texts = read(self._data, offsets, self._verified, size, notes)
        return texts

    def _texts(self, offsets: NDArray[np.uint64]) -> Iterator[bytes]:
        data, head = self._data, _LENGTH.size
        for offset in offsets.tolist():
            if not 0 <= offset <= len(data) - head:
                raise CorruptObjectError(f"{self._rows_key}: offset {offset} is out of bounds")
            end = offset + head + _LENGTH.unpack_from(data, offset)[0]  # verified with the rest, or not used
            if end > len(data):
                raise CorruptObjectError(f"{self._rows_key}: a text at {offset} is out of bounds")
            if self._unverified:
                self._bytes(offset, end - offset)
            yield bytes(data[offset + head : end])

    def _require_texts(self, offsets: NDArray[np.int64]) -> None:
        """Require the blocks of all texts: in one wave those that short texts lie in, in another what is left."""
        if ((offsets < 0) | (offsets > len(self._data) - _LENGTH.size)).any():
            raise CorruptObjectError(f"{self._rows_key}: a text is out of bounds")
        size = self._footer.block_bytes
        self._verify(covering(offsets, np.minimum(offsets + _SHORT_TEXT, len(self._data)), size))
        lengths = np.array([_LENGTH.unpack_from(self._data, offset)[0] for offset in offsets.tolist()], np.int64)
        ends = np.minimum(offsets + _LENGTH.size + lengths, len(self._data))
        self._verify(covering(offsets, ends, size))

    def key(self, row: int) -> str:
        """The key of a row."""
        return self.keys_of([row])[0]

    def _text_offsets(self, rows: Sequence[int] | NDArray[np.integer[Any]], column: int) -> NDArray[np.uint64]:
        """Where the keys (0) or metadata (1) of some rows are in rows.parquet."""
        if self._footer.text_size:
            numbers = np.asarray(rows, np.int64)
            places = self.codes.text_places(numbers, fetch=self.stable)
            if places is None:
                loaded = ("_metadata_offsets" if column else "_key_offsets") in self.__dict__
                if not (loaded or self._sections_tell(len(rows))):
                    places = self.codes.text_places(numbers)
            if places is not None:
                return np.ascontiguousarray(places[:, column])
        return (self._metadata_offsets if column else self._key_offsets)[rows]

    def places_agree(self, rows: NDArray[np.int64]) -> bool:
        """Whether partitions and sections, where both tell, say the same of where the texts of some rows are."""
        if not self._footer.text_size or "key_offsets" not in self._footer.sections:
            return True
        told = np.stack([self._key_offsets[rows], self._metadata_offsets[rows]], axis=1)
        return np.array_equal(told, self.codes.text_places(rows))  # type: ignore[arg-type]  # fetched if need be

    def _sections_tell(self, count: int) -> bool:
        """Whether sections of their own tell where the texts of so many rows are, when partitions would have to be
        fetched for it: these hold much besides, and rows that were found by their keys lie in as many of them."""
        if self.stable or not self._footer.text_size:
            return not self._footer.text_size
        if "key_offsets" not in self._footer.sections:
            return False
        apart = min(count, len(self.codes.ends)) * self.codes.mean_partition
        return apart > self._footer.text_size * self.rows

    def keys_of(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """The keys of some rows."""
        offsets = self._text_offsets(rows, 0)
        try:
            keys = self._read_here(strings_at, offsets)
            return [text.decode() for text in self._texts(offsets)] if keys is None else keys
        except UnicodeDecodeError as error:
            raise CorruptObjectError(f"{self._rows_key}: a key is not UTF-8") from error

    def key_bytes_of(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]:
        """The same as UTF-8; costs less than `keys_of` where there are many."""
        keys = self._read_texts(self._text_offsets(rows, 0))
        joined = b"\0".join(keys)  # UTF-8 just when each of them is: no character goes on past a zero
        try:
            _ = joined.isascii() or joined.decode()
        except UnicodeDecodeError as error:
            raise CorruptObjectError(f"{self._rows_key}: a key is not UTF-8") from error
        return keys

    def metadata_of(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]:
        """The metadata of some rows, JSON texts."""
        return self._read_texts(self._text_offsets(rows, 1))

    def require_index(self, start: int, end: int) -> None:
        """Have a range of the index object come in one wave. Raises MissingBytesError."""
        self._sections.view.require(start, end)

    def require_all(self) -> None:
        """Have all of rows.parquet come in one wave. Raises MissingBytesError."""
        self._view.require(0, len(self._data))

    def require_keys(self, count: int) -> None:
        """Have what finds so many rows by their keys, and tells where their texts are, come in one wave.

        Raises MissingBytesError, CorruptObjectError.
        """
        if self.stable:
            return
        missing = Missing()
        with missing:
            _ = self.key_hashes
        with missing:
            _ = self.key_rows
        if self._sections_tell(count):
            with missing:
                _ = self._key_offsets
        missing.raise_any()

    def require_rows(self, rows: NDArray[np.int64], *, metadata: bool, vectors: bool = True) -> None:
        """Have all of some rows come in one wave: their keys, and what is asked for of vectors and metadata.

        Raises MissingBytesError, CorruptObjectError.
        """
        if self.stable:
            return
        missing = Missing()
        with missing:
            if vectors:
                self._places(rows)
        with missing:
            self.keys_of(rows)
        with missing:
            if metadata:
                self.metadata_of(rows)
        missing.raise_any()

    def has_metadata(self, rows: NDArray[np.int64]) -> bool:
        """Whether nothing of the keys and metadata of some rows has to be fetched, as far as they are short.

        Raises MissingBytesError, CorruptObjectError.
        """
        if self.stable:
            return True
        texts = np.concatenate([self._text_offsets(rows, column) for column in (0, 1)]).view(np.int64)
        return self._view.has(texts, np.minimum(texts + _SHORT_TEXT, len(self._data)))

    def take_vectors(self, rows: NDArray[np.int64]) -> Float32Matrix:
        """A copy of some rows, shape (len(rows), dimension); only the blocks that hold them are verified."""
        starts = self._places(rows)
        taken: Float32Matrix = self._windows[starts >> 2].view("<f4").reshape(len(rows), self.dimension)
        return taken

    def distances(
        self, rows: NDArray[np.int64], query: NDArray[np.float32], metric: DistanceMetric
    ) -> NDArray[np.float32]:
        """The exact distances of some rows to a query, shape (len(rows),), computed where the rows stand."""
        return distances_at(query, self._data, self._places(rows), metric)

    def distances_here(
        self, rows: NDArray[np.int64], query: NDArray[np.float32], metric: DistanceMetric
    ) -> NDArray[np.float32] | None:
        """The same, or None when anything has to be fetched first; nothing is used then."""
        starts, width = self._starts(rows), 4 * self.dimension
        size, notes = self._footer.block_bytes, self._view.notes
        if not at_hand(self._verified, size, starts, width, notes):
            if not at_hand(self._unchecked, size, starts, width, notes):
                return None
            self._verify_vectors(starts)
        return distances_at(query, self._data, starts, metric)

    def bounds(
        self, rows: NDArray[np.int64], query: NDArray[np.float32], norm: float, metric: DistanceMetric
    ) -> Bounds | None:
        """Bounds of the scores of some rows for a query of this norm: see quiver.ann.exact."""
        return bounds_at(query, norm, self._data, self._places(rows), metric)

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in rows.parquet some vectors begin, shape (len(rows),); their blocks are verified."""
        starts, width = self._starts(rows), 4 * self.dimension
        size = self._footer.block_bytes
        if self._unverified and not covered(self._verified, size, starts, width, self._view.notes):
            self._verify_vectors(starts)
        return starts

    def _verify_vectors(self, starts: NDArray[np.int64]) -> None:
        """Require the blocks of vectors that begin there, and check those that were not checked before."""
        width, size = 4 * self.dimension, self._footer.block_bytes
        span = np.arange(0, width + size - 1, size)  # a row may lie across several blocks
        self._verify(np.minimum(starts[:, None] + span, starts[:, None] + width - 1).reshape(-1) // size)

    @cached_property
    def _unchecked(self) -> bytearray:
        """In place of `_verified`, when that does not matter."""
        return bytearray(b"\1") * len(self._verified)

    def _starts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in rows.parquet some vectors begin, shape (len(rows),)."""
        ends, shifts = self._run_shifts
        starts = np.empty(len(rows), np.int64)
        run_places(rows, ends, shifts, 4 * self.dimension, starts)
        return starts

    @cached_property
    def _run_shifts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each row group, the row after its last, and where it would start if earlier rows stood before it."""
        runs, width = self._footer.runs, 4 * self.dimension
        shifts = np.array([run.offset - run.first * width for run in runs], np.int64)
        return np.array([run.first + run.rows for run in runs], np.int64), shifts

    @cached_property
    def _windows(self) -> NDArray[np.void]:
        """A window of a row's width from every fourth byte of rows.parquet on, each one opaque item: NumPy picks
        those out five times as fast as rows of a matrix."""
        width = np.dtype((np.void, 4 * self.dimension))
        return np.ndarray(((len(self._data) - width.itemsize) // 4 + 1,), width, self._data, strides=(4,))

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
        return self.match(keys, *self.candidates(hashes))

    def match(self, keys: Sequence[str], numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same, of the candidates for these keys."""
        found = np.full(len(keys), -1, np.int64)
        if len(rows):
            for number, row, key in zip(numbers.tolist(), rows.tolist(), self.keys_of(rows), strict=True):
                if key == keys[number]:
                    found[number] = row
        return found

    def candidates(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows whose keys have one of these hashes, and before them which; two arrays of one length."""
        maybe = np.arange(len(hashes))
        if self.key_filter is not None:
            maybe = np.flatnonzero(self.key_filter.may_hold(hashes))
        if not len(maybe):
            return maybe, maybe
        self.require_keys(len(maybe))
        low = np.searchsorted(self.key_hashes, hashes[maybe], "left")
        high = np.searchsorted(self.key_hashes, hashes[maybe], "right")
        held = np.flatnonzero(low < high)
        rows = [self.key_rows[low[each] : high[each]] for each in held]
        numbers = np.repeat(maybe[held], (high - low)[held])
        return numbers, np.concatenate(rows).astype(np.int64) if rows else maybe[:0]

    def verify_rows(self) -> None:
        """Check every byte of rows.parquet. Raises CorruptObjectError."""
        self._bytes(0, len(self._data))

    def verify(self) -> None:
        """Check every byte of both objects, padding apart. Raises CorruptObjectError."""
        self.verify_rows()
        for name in self._footer.sections:
            self._sections.section(name)
