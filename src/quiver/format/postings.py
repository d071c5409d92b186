"""For each value of a column, the rows that hold it.

Rows of rare values stand in one array, ordered by value, so that a value of one row costs 8 bytes and a range
of values is one slice. Frequent values have a serialized roaring bitmap each instead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from quiver.format._kernels import rows_posted
from quiver.format.sections import Sections, as_array, as_numbers, pack
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_FREQUENT = 64  # with this many rows in a segment of a million, a bitmap is no larger than the list
_U32 = np.dtype("<u4")
_U64 = np.dtype("<u8")


def encode_postings(codes: NDArray[np.uint32], rows: NDArray[np.uint32], values: int) -> bytes:
    """The postings of (value index, row) pairs.

    Args:
        codes: indexes of values, each below `values`; shape (m,).
        rows: the row of each, ascending; shape (m,).
        values: number of distinct values.
    """
    if not len(codes):
        return b""
    order = np.argsort(codes, kind="stable")
    codes, rows = codes[order], rows[order]
    first = np.ones(len(codes), bool)
    first[1:] = (codes[1:] != codes[:-1]) | (rows[1:] != rows[:-1])
    codes, rows = codes[first], rows[first]
    counts = np.bincount(codes, minlength=values)
    starts = np.cumsum(counts) - counts
    frequent = np.flatnonzero(counts >= _FREQUENT)
    bitmaps = [encode_bitmap(rows[starts[value] :][: counts[value]]) for value in frequent]
    rare = rows[counts[codes] < _FREQUENT]
    counts[frequent] = 0
    return pack(
        [
            _offsets(counts, _U32),
            rare.astype(_U32).tobytes(),
            frequent.astype(_U32).tobytes(),
            _offsets(np.array([len(bitmap) for bitmap in bitmaps], np.int64), _U64),
            b"".join(bitmaps),
        ]
    )


def _offsets(lengths: NDArray[np.int64], dtype: np.dtype[np.uint32] | np.dtype[np.uint64]) -> bytes:
    """The n + 1 boundaries of n ranges, or nothing for no ranges."""
    return np.concatenate(([0], np.cumsum(lengths))).astype(dtype).tobytes() if len(lengths) else b""


def encode_bitmap(rows: NDArray[np.uint32]) -> bytes:
    """A set of rows in the portable roaring format."""
    return bytes(_bitmap(rows).serialize())


def decode_bitmap(buffer: memoryview, rows: int) -> BitMap:
    """The inverse of `encode_bitmap`; CorruptObjectError when it is invalid or holds rows beyond `rows`."""
    try:
        bitmap = BitMap.deserialize(bytes(buffer))
    except (ValueError, IndexError):  # the library says IndexError to an empty buffer
        raise CorruptObjectError("invalid roaring bitmap") from None
    if bitmap and bitmap.max() >= rows:
        raise CorruptObjectError(f"a bitmap names row {bitmap.max()} of {rows}")
    return bitmap


def _bitmap(rows: NDArray[np.uint32]) -> BitMap:
    # Of all its sources, BitMap takes only an array as one block of memory; ascending, it takes it fastest.
    return BitMap(array("I", np.sort(rows).tobytes()))


class Postings:
    """Encoded postings, read in place.

    Args:
        buffer: what `encode_postings` made; untrusted.
        values: number of distinct values of the column.
        rows: number of rows there are.

    Raises:
        CorruptObjectError: here or in `select`, when the bytes are inconsistent.
    """

    def __init__(self, buffer: memoryview, values: int, rows: int) -> None:
        sections = Sections(buffer, 5)
        self._row_count = rows
        self._offsets = as_numbers(sections[0], "I")
        self._rows = as_array(sections[1], _U32)
        self._frequent = as_numbers(sections[2], "I")
        self._bitmap_offsets = as_numbers(sections[3], "Q")
        self._bitmaps = sections[4]
        if len(self._offsets) != (values + 1 if buffer else 0):
            raise CorruptObjectError(f"postings of {len(self._offsets) - 1} values, expected {values}")
        self._check_bitmaps(as_array(sections[3], _U64))

    def _check_bitmaps(self, ends: NDArray[np.uint64]) -> None:
        count = len(self._frequent)
        if len(ends) != (count + 1 if count else 0):
            raise CorruptObjectError(f"{len(ends)} bitmap offsets for {count} values")
        # Ascending, so that no byte is read for two values and work is linear in the size of the buffer.
        if count and (ends[-1] > len(self._bitmaps) or np.any(ends[1:] < ends[:-1])):
            raise CorruptObjectError("bitmap offsets do not ascend within their section")

    def select(self, first: int, last: int) -> BitMap:
        """Rows that hold any of the values with indexes in [first, last)."""
        if first >= last or not len(self._offsets):
            return BitMap()
        low = bisect_left(self._frequent, first)
        numbers = range(low, bisect_left(self._frequent, last, low))
        return self._join(self._rare(first, last), numbers)

    def select_any(self, values: Iterable[int]) -> BitMap:
        """Rows that hold any of some values, given by index, each below the number of values there are."""
        if not len(self._offsets):
            return BitMap()
        try:
            rare, numbers = rows_posted(self._offsets, self._rows, self._frequent, values)
        except ValueError as error:
            raise CorruptObjectError(str(error)) from None
        return self._join(np.frombuffer(rare, _U32), numbers)

    def _join(self, rare: NDArray[np.uint32], numbers: Iterable[int]) -> BitMap:
        """These rows, and those of the bitmaps with some numbers."""
        ends, bitmaps = self._bitmap_offsets, self._bitmaps
        found = [decode_bitmap(bitmaps[ends[number] : ends[number + 1]], self._row_count) for number in numbers]
        if len(rare) or not found:
            found.append(self._checked(rare))
        return found[0] if len(found) == 1 else BitMap.union(*found)

    def _rare(self, first: int, last: int) -> NDArray[np.uint32]:
        start, end = self._offsets[first], self._offsets[last]
        if not start <= end <= len(self._rows):
            raise CorruptObjectError(f"rows {start} to {end} of {len(self._rows)} posted")
        rows: NDArray[np.uint32] = self._rows[start:end]
        return rows

    def _checked(self, rows: NDArray[np.uint32]) -> BitMap:
        found = _bitmap(rows)
        if found and found.max() >= self._row_count:
            raise CorruptObjectError(f"postings name row {found.max()} of {self._row_count}")
        return found
