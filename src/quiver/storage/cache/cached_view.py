"""The RAM tier's part of one object: a mapping of its whole length, where only the blocks that came take memory.

So partitions and rows lie where they would in a mapped file, and are scanned in place.
"""

from __future__ import annotations

import mmap
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from quiver.storage.cache.view import BLOCK, MissingBytesError, ObjectView, Wanted, covering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from numpy.typing import NDArray

    from quiver.storage.cache.view import Places

T = TypeVar("T")

_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)


class Leases:
    """Which queries are under way: what any of them may be looking at is not dropped.

    Attributes:
        epoch: the number of the latest lease.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._active: dict[int, None] = {}

    @property
    def horizon(self) -> int:
        """Blocks used in this epoch or later may be in use."""
        return next(iter(self._active), self.epoch + 1)

    def begin(self) -> int:
        """Take a lease."""
        self.epoch += 1
        self._active[self.epoch] = None
        return self.epoch

    def end(self, lease: int) -> None:
        """Give it back."""
        del self._active[lease]


class Touched:
    """Distinct blocks, of any views."""

    def __init__(self) -> None:
        self._marks: dict[CachedView, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return sum(int(np.count_nonzero(marks)) for marks in self._marks.values())

    def note(self, view: CachedView, blocks: NDArray[np.int64]) -> None:
        """Add blocks, perhaps not for the first time."""
        marks = self._marks.get(view)
        if marks is None:
            marks = self._marks[view] = np.zeros(len(view.present), bool)
        marks[blocks] = True

    def during(self, work: Callable[[], T]) -> T:
        """Do work, and add every block that it requires."""
        token = _LOOKING.set(self)
        try:
            return work()
        finally:
            _LOOKING.reset(token)


_LOOKING: ContextVar[Touched | None] = ContextVar("looking", default=None)  # set in the thread that does the work


class CachedView(ObjectView):
    """An object of the store, as far as it was fetched.

    Attributes:
        key: the object's.
        size: bytes of the object.
        present, hot: of each block: whether it is here, and whether it was used again in a later query.
        used: the epoch in which each block was last used.
        flying: blocks that are being fetched.
        damaged: its bytes proved wrong; whoever holds it should not keep them.
    """

    stable = False

    def __init__(self, key: str, size: int, leases: Leases) -> None:
        self.key = key
        self.size = size
        self._leases = leases
        self._mapping = mmap.mmap(-1, max(size, 1), flags=_FLAGS)
        self.data = memoryview(self._mapping).toreadonly()[:size]
        count = -(-size // BLOCK)
        self.present = np.zeros(count, bool)
        self.hot = np.zeros(count, bool)
        self.used = np.zeros(count, np.int64)
        self.damaged = False
        self.flying: dict[int, asyncio.Future[None]] = {}
        self._arrived: list[Callable[[NDArray[np.int64]], None]] = []

    def require(self, starts: Places, ends: Places) -> None:
        if isinstance(starts, int) and isinstance(ends, int):
            blocks = np.arange(starts // BLOCK, -(-ends // BLOCK)) if starts < ends else np.zeros(0, np.int64)
        else:
            blocks = covering(np.asarray(starts), np.asarray(ends))
        # Marked first, looked up then: in between, the loop's thread may drop what no lease used.
        self.hot[blocks] |= self.used[blocks] < self._leases.horizon
        self.used[blocks] = self._leases.epoch
        present = self.present[blocks]
        looking = _LOOKING.get()
        if looking is not None:
            looking.note(self, blocks)
        if not present.all():
            raise MissingBytesError([Wanted(self, np.unique(blocks[~present]))])

    def on_arrival(self, arrived: Callable[[NDArray[np.int64]], None]) -> None:
        self._arrived.append(arrived)

    # ---------------------------------------------------------------- for the cache

    def sizes(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of each of some blocks."""
        return np.minimum(self.size - blocks * BLOCK, BLOCK)

    def extent(self, blocks: NDArray[np.int64]) -> int:
        """How many bytes some distinct blocks have."""
        return int(self.sizes(blocks).sum())

    def fill(self, first: int, data: memoryview) -> int:
        """Take in the blocks from number `first` on; how many bytes were not here before."""
        came = np.arange(first, first + -(-len(data) // BLOCK))
        fresh = came[~self.present[came]]
        for start, end in runs(fresh):
            part = data[(start - first) * BLOCK : (end - first) * BLOCK]
            self._mapping[start * BLOCK : start * BLOCK + len(part)] = part
        return self.arrive(fresh)

    @property
    def target(self) -> memoryview:
        """Where absent blocks may be written before they `arrive`."""
        return memoryview(self._mapping)[: self.size]

    def arrive(self, fresh: NDArray[np.int64]) -> int:
        """Note that absent blocks are here; how many bytes."""
        self.hot[fresh] = False
        self.used[fresh] = self._leases.epoch
        for arrived in self._arrived:
            arrived(fresh)
        self.present[fresh] = True
        return self.extent(fresh)

    def drop(self, blocks: NDArray[np.int64]) -> int:
        """Give the memory of blocks back; how many bytes."""
        self.present[blocks] = False
        for first, last in runs(blocks):
            self._mapping.madvise(mmap.MADV_DONTNEED, first * BLOCK, min(last * BLOCK, self.size) - first * BLOCK)
        return self.extent(blocks)


def runs(blocks: NDArray[np.int64], gap: int = 0, longest: int = 1 << 40) -> list[tuple[int, int]]:
    """Ascending distinct numbers as ranges [first, last), joined across up to `gap` others, at most `longest`."""
    if not len(blocks):
        return []
    breaks = np.flatnonzero(np.diff(blocks) > gap + 1) + 1
    found = []
    for first, last in zip(
        blocks[np.r_[0, breaks]].tolist(), blocks[np.r_[breaks, len(blocks)] - 1].tolist(), strict=True
    ):
        found += [(start, min(start + longest, last + 1)) for start in range(first, last + 1, longest)]
    return found
