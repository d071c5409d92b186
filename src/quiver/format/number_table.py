"""Distinct numbers in ascending order, compared exactly, searched in place.

Each number is stored as its nearest float64. An integer that no float64 equals also has an entry in a side
table: its difference from that float64, which for 64-bit integers is at most 1,024. Rounding keeps the order,
so the pair (float64, difference) sorts and compares as the exact number does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Literal

import numpy as np

from quiver.format._kernels import find_numbers
from quiver.format.sections import Sections, as_array, as_numbers, pack
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_F64 = np.dtype("<f8")
_U32 = np.dtype("<u4")
_I16 = np.dtype("<i2")
_EXACT = 2.0**53  # every integer of smaller magnitude is a float64
_FAR = 2**15  # further than any stored difference


def encode_numbers(numbers: Sequence[int | float]) -> tuple[bytes, NDArray[np.uint32], int]:
    """A table of the distinct numbers.

    Args:
        numbers: finite floats and integers in [-2**63, 2**64), in any order, with repetitions.

    Returns:
        The table, the index in it of each of `numbers`, and its number of entries.
    """
    if not numbers:
        return b"", np.zeros(0, np.uint32), 0
    nearest = np.array(numbers, _F64)
    differences = np.zeros(len(nearest), _I16)
    for number in np.flatnonzero(np.abs(nearest) >= _EXACT).tolist():
        differences[number] = int(numbers[number]) - int(nearest[number])
    order = np.lexsort((differences, nearest))
    nearest, differences = nearest[order], differences[order]
    first = np.ones(len(order), bool)
    first[1:] = (nearest[1:] != nearest[:-1]) | (differences[1:] != differences[:-1])
    codes = np.empty(len(order), np.uint32)
    codes[order] = np.cumsum(first) - 1
    nearest, differences = nearest[first], differences[first]
    inexact = np.flatnonzero(differences)
    encoded = pack([nearest.tobytes(), inexact.astype(_U32).tobytes(), differences[inexact].tobytes()])
    return encoded, codes, len(nearest)


class NumberTable:
    """An encoded table; raises `CorruptObjectError` when its bytes are inconsistent."""

    def __init__(self, buffer: memoryview) -> None:
        sections = Sections(buffer, 3)
        self._nearest = as_numbers(sections[0], "d")
        self._inexact = as_array(sections[1], _U32)
        self._differences = as_array(sections[2], _I16)
        if len(self._inexact) != len(self._differences):
            raise CorruptObjectError(f"{len(self._differences)} differences of {len(self._inexact)} numbers")

    def __len__(self) -> int:
        return len(self._nearest)

    def find_all(self, numbers: Iterable[int | float]) -> list[int]:
        """The indexes of those of some finite numbers that are in the table."""
        if not len(self._inexact):
            return find_numbers(self._nearest, numbers)
        firsts = [(number, self.below(number)) for number in numbers]
        return [first for number, first in firsts if first < self.up_to(number, first)]

    def below(self, number: int | float) -> int:
        """How many entries are less than a finite number."""
        return self._rank(number, "left", 0)

    def up_to(self, number: int | float, known: int = 0) -> int:
        """How many entries are less than or equal to a finite number; so many are `known` to be less."""
        return self._rank(number, "right", known)

    def _rank(self, number: int | float, side: Literal["left", "right"], known: int) -> int:
        if not len(self._inexact):  # Python compares integers and floats exactly
            return (bisect_left if side == "left" else bisect_right)(self._nearest, number, known)
        try:
            nearest = float(number)
        except OverflowError:  # an integer beyond every float64
            return len(self) if number > 0 else 0
        first = bisect_left(self._nearest, nearest)
        last = bisect_right(self._nearest, nearest, first)
        if first >= last:
            return first
        difference = number - int(nearest) if isinstance(number, int) else 0
        return first + int(
            np.searchsorted(self._differences_of(first, last), max(-_FAR, min(_FAR, difference)), side)
        )

    def _differences_of(self, first: int, last: int) -> NDArray[np.int64]:
        """The differences of the entries in [first, last), which share one float64; ascending."""
        low, high = np.searchsorted(self._inexact, np.array((first, last), _U32))
        positions = self._inexact[low:high].astype(np.int64) - first
        if len(positions) and not 0 <= positions.min() <= positions.max() < last - first:
            raise CorruptObjectError("differences out of order")
        differences = np.zeros(last - first, np.int64)
        differences[positions] = self._differences[low:high]
        return differences
