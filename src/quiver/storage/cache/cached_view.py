"""The RAM tier's part of one object: a mapping of its whole length, where only the blocks that came take memory.

So partitions and rows lie where they would in a mapped file, and are scanned in place.
"""

from __future__ import annotations

import mmap
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from quiver.ann._kernels import touch
from quiver.storage.cache.view import BLOCK, MissingBytesError, ObjectView, Wanted, covering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quiver.storage.cache.view import Places

    Supply = Callable[["CachedView", NDArray[np.int64]], NDArray[np.int64]]

T = TypeVar("T")

_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)


class Leases:
    """Which queries are under way: what any of them may be looking at is not dropped.

    Attributes:
        epoch: the number of the latest lease.
        horizon: blocks used in this epoch or later may be in use.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.horizon = 1
        self._active: dict[int, None] = {}

    def begin(self) -> int:
        """Take a lease."""
        self.epoch += 1
        self._active[self.epoch] = None
        self.horizon = next(iter(self._active))
        return self.epoch

    def end(self, lease: int) -> None:
        """Give it back."""
        del self._active[lease]
        self.horizon = next(iter(self._active), self.epoch + 1)


class Touched:
    """Distinct blocks, of any views.

    Attributes:
        supplied: those that were missing, and came while the work went on.
    """

    def __init__(self) -> None:
        self.supplied: list[Wanted] = []
        self._marks: dict[CachedView, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return sum(int(np.count_nonzero(marks)) for marks in self._marks.values())

    def of(self, view: CachedView) -> NDArray[np.bool_]:
        """Of each block of a view, whether it was added; to be marked."""
        marks = self._marks.get(view)
        if marks is None:
            marks = self._marks[view] = np.zeros(len(view.present), bool)
        return marks

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

    def __init__(self, key: str, size: int, leases: Leases, supply: Supply | None = None) -> None:
        """A view without any block.

        Args:
            supply: brings blocks of the view that it has at hand at once; called by the thread that lacks them.
        """
        self.key = key
        self.size = size
        self._leases = leases
        self._supply = supply
        self._mapping = mmap.mmap(-1, max(size, 1), flags=_FLAGS)
        self.data = memoryview(self._mapping).toreadonly()[:size]
        count = -(-size // BLOCK)
        self.here = np.zeros(count, np.uint8)
        self.present = self.here.view(bool)
        self.hot = np.zeros(count, bool)
        self.used = np.zeros(count, np.int64)
        self.damaged = False
        self.flying: dict[int, asyncio.Future[None]] = {}
        self._sums = np.zeros(count, np.uint64)  # of the blocks as they last came, 0 when not known
        self._arrived: list[Callable[[NDArray[np.int64]], None]] = []

    def require(self, starts: Places, ends: Places) -> None:
        if isinstance(starts, int) or isinstance(ends, int):
            starts, ends = np.array([starts]), np.array([ends])
        if self.has(starts, ends):
            return
        blocks = np.unique(covering(starts, ends))
        missing = blocks[~self.present[blocks]]
        if self._supply is not None and len(missing):
            came = self._supply(self, missing)
            if (looking := _LOOKING.get()) is not None:
                looking.supplied.append(Wanted(self, came))
            missing = missing[~self.present[missing]]
        if len(missing):
            raise MissingBytesError([Wanted(self, missing)])

    def has(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
        # Noted first, looked up then: what is noted is not dropped, or the dropping is taken back.
        looking, leases = _LOOKING.get(), self._leases
        seen = np.zeros(len(self.present), bool) if looking is None else looking.of(self)
        return touch(self.present, self.used, self.hot, seen, BLOCK, leases.epoch, leases.horizon, starts, ends)

    def on_arrival(self, arrived: Callable[[NDArray[np.int64]], None]) -> None:
        self._arrived.append(arrived)

    # ---------------------------------------------------------------- for the cache

    def sizes(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of each of some blocks."""
        return np.minimum(self.size - blocks * BLOCK, BLOCK)

    def extent(self, blocks: NDArray[np.int64]) -> int:
        """How many bytes some distinct blocks have."""
        return int(self.sizes(blocks).sum())

    def fill(
        self, blocks: NDArray[np.int64], pieces: Sequence[memoryview], sums: NDArray[np.uint64] | None = None
    ) -> int:
        """Take in distinct blocks; how many bytes were not here before.

        Args:
            sums: the xxh3 of each block, when the bytes were verified to have it.
        """
        absent = ~self.present[blocks]
        fresh = blocks[absent]
        for block, missing, piece in zip(blocks.tolist(), absent.tolist(), pieces, strict=True):
            if missing:
                self._mapping[block * BLOCK : block * BLOCK + len(piece)] = piece
        self._arrive(fresh, np.zeros(len(fresh), np.uint64) if sums is None else sums[absent])
        return self.extent(fresh)

    def _arrive(self, fresh: NDArray[np.int64], sums: NDArray[np.uint64]) -> None:
        """Note that blocks are here. Those that are again what they were need not be verified again."""
        changed = fresh[(self._sums[fresh] != sums) | (sums == 0)]
        self._sums[fresh] = sums
        self.hot[fresh] = False
        self.used[fresh] = self._leases.epoch
        if len(changed):
            for arrived in self._arrived:
                arrived(changed)
        self.present[fresh] = True

    def drop(self, blocks: NDArray[np.int64], horizon: int | None = None) -> NDArray[np.int64]:
        """Give the memory of blocks back, unless they were used from epoch `horizon` on; which ones."""
        self.present[blocks] = False
        if horizon is not None:  # a thread may have used some since they were chosen
            kept = self.used[blocks] >= horizon
            self.present[blocks[kept]] = True
            blocks = blocks[~kept]
        for first, last in runs(blocks):
            self._mapping.madvise(mmap.MADV_DONTNEED, first * BLOCK, min(last * BLOCK, self.size) - first * BLOCK)
        return blocks


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
