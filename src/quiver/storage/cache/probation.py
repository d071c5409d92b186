"""Which blocks a full cache was offered of late: one that is offered again is worth a place, a scan's are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Probation:
    """Remembers about as many blocks as the cache holds, twice at least, in 4 bytes each.

    A block is forgotten when another takes its place, so the window has no sharp end: after as many refusals as
    there are places, about a third of the blocks are still known.
    """

    def __init__(self, blocks: int) -> None:
        """Sized for a cache of `blocks` blocks."""
        self._marks = np.zeros(1 << max(10, (2 * blocks).bit_length()), np.uint32)

    def known(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of some distinct keys were offered before; those that were not are remembered now."""
        places = (keys & np.uint64(len(self._marks) - 1)).astype(np.int64)
        marks = (keys >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        known: NDArray[np.bool_] = self._marks[places] == marks
        self._marks[places] = np.where(known, np.uint32(0), marks)
        return known
