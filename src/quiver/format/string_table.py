"""Distinct strings in code point order, searched in place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quiver.format._kernels import find_strings
from quiver.format.sections import Sections, as_numbers, pack
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_U64 = np.dtype("<u8")


def encode_strings(ascending: Sequence[str]) -> bytes:
    """A table of distinct strings, given in ascending order (UTF-8 keeps the order of code points)."""
    if not ascending:
        return b""
    encoded = [string.encode() for string in ascending]
    offsets = np.zeros(len(encoded) + 1, _U64)
    np.cumsum([len(string) for string in encoded], out=offsets[1:])
    return pack([offsets.tobytes(), b"".join(encoded)])


class StringTable:
    """An encoded table; `CorruptObjectError` here or on a search when its bytes are inconsistent."""

    def __init__(self, buffer: memoryview) -> None:
        sections = Sections(buffer, 2)
        self._offsets = as_numbers(sections[0], "Q")
        self._text = sections[1]

    def __len__(self) -> int:
        return max(0, len(self._offsets) - 1)

    def find(self, string: str) -> int | None:
        """The index of a string."""
        found = self.find_all((string,))
        return found[0] if found else None

    def find_all(self, strings: Iterable[str]) -> list[int]:
        """The indexes of those of some strings that are in the table."""
        try:
            return find_strings(self._offsets, self._text, map(_encode, strings))
        except ValueError as error:
            raise CorruptObjectError(str(error)) from None

    def prefix_range(self, prefix: str) -> tuple[int, int]:
        """First index, and one past the last, of the strings that begin with `prefix`."""
        wanted = _encode(prefix)
        begin, numbers = partial(self.head, length=len(wanted)), range(len(self))
        first = bisect_left(numbers, wanted, key=begin)
        return first, bisect_right(numbers, wanted, lo=first, key=begin)

    def head(self, index: int, length: int | None = None) -> bytes:
        """The first `length` bytes of the string at `index`, or all of them."""
        start, end = self._offsets[index], self._offsets[index + 1]
        if not start <= end <= len(self._text):
            raise CorruptObjectError(f"string {index} is bytes {start} to {end} of {len(self._text)}")
        return self._text[start : end if length is None else min(end, start + length)].tobytes()


def _encode(string: str) -> bytes:
    # A lone surrogate is in no table, but may be asked for.
    return string.encode("utf-8", "surrogatepass")
