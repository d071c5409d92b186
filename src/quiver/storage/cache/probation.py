"""Which blocks a full cache refused of late: one that is offered again is worth a place, a scan's are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TICKS = 8  # in a window
_LONG_AGO = 128
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def keys_of(name: bytes, blocks: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each of some blocks of an object, which has 16 bytes for a name."""
    low, high = np.frombuffer(name, "<u8")
    keys: NDArray[np.uint64] = low ^ ((high + blocks.astype(np.uint64)) * _SPREAD)
    return keys


class Probation:
    """Remembers the blocks of a window: as many refusals as the cache holds blocks, in 10 to 20 bytes each.

    So a scan of more than the cache holds is not known when it comes again. A block is not remembered while
    another of the window has its place; it is likely to be the next time.
    """

    def __init__(self, blocks: int) -> None:
        """The probation of a cache of `blocks` blocks."""
        self._keys = np.zeros(1 << max(10, (2 * blocks).bit_length()), np.uint32)
        self._ticks = np.full(len(self._keys), _LONG_AGO, np.uint8)
        self._tick = max(1, blocks // _TICKS)
        self._refused = 0

    def known(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of some distinct keys were refused within the window; they are forgotten, others remembered."""
        now = np.uint8(self._refused // self._tick & 0xFF)
        places = (keys & np.uint64(len(self._keys) - 1)).astype(np.int64)
        marks = (keys >> np.uint64(32)).astype(np.uint32)
        fresh = (
            now - self._ticks[places] < _TICKS
        )  # in a circle of 256: what is that old has long been overwritten
        known: NDArray[np.bool_] = fresh & (self._keys[places] == marks)
        self._ticks[places[known]] -= np.uint8(_LONG_AGO)
        free = ~fresh
        self._keys[places[free]], self._ticks[places[free]] = marks[free], now
        self._refused += len(keys) - int(known.sum())
        return known
