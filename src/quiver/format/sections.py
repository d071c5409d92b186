"""Several byte ranges in one buffer, each found without reading the others.

Layout, little-endian: the number of sections (u64), the end of each section as an offset from the start of the
buffer (u64 each), then the sections, each starting at a multiple of 8. Sections that are all empty pack to no
bytes at all. Alignment makes arrays usable in place when the buffer itself starts at a multiple of 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_WORD = 8
_U64 = np.dtype("<u8")


def pack(sections: Sequence[bytes]) -> bytes:
    """One buffer that holds the sections; `Sections` reads it."""
    if not any(sections):
        return b""
    ends = np.empty(len(sections), _U64)
    parts = [len(sections).to_bytes(_WORD, "little"), b""]
    position = _WORD + _WORD * len(sections)
    for number, section in enumerate(sections):
        padding = -position % _WORD
        parts += (bytes(padding), section)
        position += padding + len(section)
        ends[number] = position
    parts[1] = ends.tobytes()
    return b"".join(parts)


class Sections:
    """A packed buffer, every access bounds-checked.

    Args:
        buffer: what `pack` made; untrusted.
        count: how many sections there have to be; None takes what the buffer says.

    Raises:
        CorruptObjectError: here or on access, when offsets do not fit the buffer.
    """

    def __init__(self, buffer: memoryview, count: int | None = None) -> None:
        self._buffer = buffer
        if not buffer:
            self._ends: NDArray[np.uint64] = np.zeros(count or 0, _U64)
            return
        declared = int.from_bytes(buffer[:_WORD], "little")
        if declared > len(buffer) // _WORD - 1 or (count is not None and declared != count):
            raise CorruptObjectError(f"{declared} sections in {len(buffer)} bytes, expected {count}")
        self._ends = np.frombuffer(buffer, _U64, declared, _WORD)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[memoryview]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> memoryview:
        if not self._buffer:
            return self._buffer
        end = int(self._ends[number])
        before = int(self._ends[number - 1]) if number else _WORD + _WORD * len(self)
        start = before + -before % _WORD
        if not _WORD + _WORD * len(self) <= start <= end <= len(self._buffer):
            raise CorruptObjectError(f"section {number} is bytes {start} to {end} of {len(self._buffer)}")
        return self._buffer[start:end]


def as_array(section: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A section as a one-dimensional read-only view; CorruptObjectError when it ends inside an element."""
    if len(section) % dtype.itemsize:
        raise CorruptObjectError(f"{len(section)} bytes are no array of {dtype.itemsize}-byte elements")
    view = np.frombuffer(section, dtype)
    view.flags.writeable = False
    return view


@overload
def as_numbers(section: memoryview, code: Literal["I", "Q"]) -> memoryview[int]: ...
@overload
def as_numbers(section: memoryview, code: Literal["d"]) -> memoryview[float]: ...
def as_numbers(section: memoryview, code: Literal["I", "Q", "d"]) -> memoryview[int] | memoryview[float]:
    """A section of numbers that are looked up singly, which an array makes objects of many times as slowly.

    `code` is that of the module struct. CorruptObjectError when the section ends inside a number.
    """
    try:
        return section.cast(code)
    except TypeError:
        raise CorruptObjectError(f"{len(section)} bytes are no numbers of the kind {code}") from None
