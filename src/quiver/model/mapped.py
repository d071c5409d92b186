"""Pages of mapped files that have been read or written: let go of, so that they count for no process's memory.

They stay in the page cache, with what was written to them, and come back when they are touched again. That is true
of shared mappings alone; what was changed in a private one would be lost.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 32 << 20
"""Bytes after which it is worth while to let go of what lies behind."""


def release(data: memoryview | NDArray[Any], start: int = 0, end: int | None = None) -> None:
    """Let go of the pages of bytes [start, end) of a shared mapping; nothing for what is in memory.

    Args:
        data: contiguous.
    """
    mapping = _mapping(data)
    if mapping is None or not hasattr(mapping, "madvise"):
        return
    bytes_ = np.frombuffer(data, np.uint8)
    base = bytes_.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    first, last = base + start, base + min(len(bytes_), len(bytes_) if end is None else end)
    first -= first % mmap.PAGESIZE
    if last < len(mapping):
        last -= last % mmap.PAGESIZE  # the page goes on with what is still needed
    if first < last:
        mapping.madvise(mmap.MADV_DONTNEED, first, last - first)


def is_shared(array: NDArray[Any]) -> bool:
    """Whether an array of somebody else's is a contiguous part of a file that NumPy has mapped, changes shared."""
    contiguous = array.size > 0 and array.flags.c_contiguous
    return contiguous and isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+")


class Behind:
    """Lets go of what lies behind a pass over mapped data, from the start on.

    Args:
        data: as for `release`.
    """

    def __init__(self, data: memoryview | NDArray[Any]) -> None:
        self._data = data
        self._at = 0

    def passed(self, end: int) -> None:
        """What lies before byte `end` is not needed for now."""
        if end - self._at >= STEP:
            release(self._data, self._at, end)
            self._at = end

    def ended(self) -> None:
        """Nor is the rest."""
        release(self._data, self._at)


def _mapping(data: memoryview | NDArray[Any]) -> mmap.mmap | None:
    """What the data lie in."""
    owner: object = data
    while isinstance(owner, (np.ndarray, memoryview)):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            return None
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) else None
