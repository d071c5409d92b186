"""What a process has of one object: a mapping of its whole length, where only the blocks that came take memory.

So partitions and rows lie where they would in a mapped file, and are scanned in place. With a disk tier the
mapping is private, of the object's file there: blocks that the file keeps are seen in it, and those that it does
not (yet) keep are in memory, above it.
"""

from __future__ import annotations

import mmap
from array import array
from inspect import ismethod
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakMethod

import numpy as np
from xxhash import xxh3_64_intdigest

from quiver.ann._kernels import (
    begin_work,
    end_work,
    take_notes,
    touch,
    touch_parts,
    touched_of,
    work_begun,
)
from quiver.storage.cache.blocks import extents_of, runs
from quiver.storage.cache.object_file import NORESERVE
from quiver.storage.cache.view import BLOCK, MissingBytesError, ObjectView, Wanted, covering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quiver.ann._kernels import Notes
    from quiver.storage.cache.disk_tier import Shelf
    from quiver.storage.cache.object_file import ObjectFile
    from quiver.storage.cache.pace import Pace
    from quiver.storage.cache.view import Places

    Supply = Callable[["CachedView", NDArray[np.int64]], NDArray[np.int64]]

T = TypeVar("T")

_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE


class Leases:
    """Which queries are under way: what any of them may be looking at is not dropped.

    Attributes:
        epoch: the number of the latest lease.
        horizon: blocks used in this epoch or later may be in use.
        clock: both, for kernels.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.horizon = 1
        self.clock = array("q", [self.epoch, self.horizon])
        self._active: dict[int, None] = {}

    def begin(self) -> int:
        """Take a lease."""
        self.epoch = self.clock[0] = lease = self.epoch + 1
        self._active[lease] = None  # the horizon is this one already, or of one that was taken before
        return lease

    def end(self, lease: int) -> None:
        """Give it back."""
        del self._active[lease]
        self.horizon = self.clock[1] = next(iter(self._active), self.epoch + 1)


class Work:
    """One piece of work, perhaps in several attempts: which blocks it needs and where these were.

    Attributes:
        supplied: how many blocks came from the disk, in all attempts.
        sparing: whether the last attempt found a way without some blocks.
        found: how many blocks the last attempt found in memory, and how many in place on the disk; those that had
            to come, or would have had to, in this or another are left out.
    """

    __slots__ = ("_missed", "found", "sparing", "supplied")

    def __init__(self) -> None:
        self.supplied = 0
        self.sparing = False
        self.found = (0, 0)
        self._missed: dict[CachedView, NDArray[np.bool_]] = {}

    def attempt(self, work: Callable[[], T]) -> T:
        """Do work, in any thread. Raises MissingBytesError."""
        begin_work(self)
        self.sparing = False
        less = (0, 0)
        try:
            result = work()
            if self._missed:
                less = self._count_missed()
            return result
        finally:
            touched, kept = end_work()
            self.found = touched - kept - less[0], kept - less[1]

    def _count_missed(self) -> tuple[int, int]:
        """How many of the blocks that this attempt touched had to come, and are in memory now or on the disk."""
        counts = np.array([touched_of(view.notes, marks) for view, marks in self._missed.items()])
        touched, kept = counts.sum(axis=0).tolist()
        return touched - kept, kept

    def miss(self, view: CachedView, blocks: NDArray[np.int64]) -> None:
        """Note that blocks were missing."""
        if view not in self._missed:
            self._missed[view] = np.zeros(len(view.present), bool)
        self._missed[view][blocks] = True


class CachedView(ObjectView):
    """An object of the store, as far as it was fetched.

    Attributes:
        key: the object's.
        size: bytes of the object.
        present, hot: of each block: whether it is here, and whether it was used again in a later query.
        used: the epoch in which each block was last used.
        flying: blocks that are being fetched.
        damaged: its bytes proved wrong; whoever holds it should not keep them.
        users: how many opened it and did not close it.
        pace: of the store that it is fetched from; None if it is not fetched.
        file: of the object in the disk tier; None without one.
        in_place: whether blocks in the file are looked at where they are.
        kept: of each block, whether it is seen in the file.
    """

    stable = False
    notes: Notes

    def __init__(
        self,
        key: str,
        size: int,
        leases: Leases,
        supply: Supply | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        """A view without any block.

        Args:
            supply: brings blocks of the view that it has at hand at once; called by the thread that lacks them.
            shelf: of the object in the disk tier.
        """
        self.key = key
        self.size = size
        self.users = 0
        self.pace: Pace | None = None
        self._leases = leases
        self._supply = supply
        count = -(-size // BLOCK)
        self.present = np.zeros(count, bool)
        self.hot = np.zeros(count, bool)
        self.used = np.zeros(count, np.int64)
        self.kept = np.zeros(count, bool)
        self.file: ObjectFile | None = None if shelf is None else shelf.file
        mapping = None if shelf is None else shelf.mapping
        self.in_place = mapping is not None
        if shelf is not None and mapping is not None:
            file = shelf.file
            self.used, self.hot, self.kept, file.here = file.used, file.hot, file.kept, self.present
        self.notes = take_notes(self.present, self.kept, self.used, self.hot, leases.clock, BLOCK)
        self.mapping = mmap.mmap(-1, max(size, 1), flags=_FLAGS) if mapping is None else mapping
        self.data = memoryview(self.mapping).toreadonly()[:size]
        self.damaged = False
        self.flying: dict[int, asyncio.Future[None]] = {}
        self._sums = np.zeros(count, np.uint64)  # of the blocks as they last came, 0 when not known
        self._arrived: list[Callable[[], Callable[[NDArray[np.int64]], None] | None]] = []

    # Noted first, looked up then: what is noted is not dropped, or the dropping is taken back.

    def has(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
        return touch(self.notes, starts, ends)

    def require(self, starts: Places, ends: Places) -> None:
        if not touch(self.notes, starts, ends):
            self._supplied(np.atleast_1d(starts), np.atleast_1d(ends))

    def require_parts(self, bounds: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        if not touch_parts(self.notes, bounds, numbers):
            self._supplied(bounds[numbers], bounds[numbers + 1])

    def _supplied(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Have the blocks of ranges come that are absent, from the disk. Raises MissingBytesError."""
        blocks = np.unique(covering(starts, ends))
        missing = blocks[~self.present[blocks]]
        if self._supply is not None and len(missing):
            came = self._supply(self, missing)
            work = work_begun()
            if not self.in_place and isinstance(work, Work):
                work.miss(self, came)
                work.supplied += len(came)
            missing = missing[~self.present[missing]]
        if len(missing):
            raise MissingBytesError([Wanted(self, missing)])

    def spare(self, blocks: NDArray[np.int64]) -> None:
        """Have absent blocks that were required not be fetched nor counted: the work goes on without them."""
        work = work_begun()
        if isinstance(work, Work):
            work.miss(self, blocks)
            work.sparing = True

    def digest(self, start: int, end: int) -> int:
        """See ObjectView. Of a block that was verified when it came from the disk it is known already."""
        block = start // BLOCK
        known = (
            int(self._sums[block]) if (start, end) == (block * BLOCK, min((block + 1) * BLOCK, self.size)) else 0
        )
        return known or xxh3_64_intdigest(self.data[start:end])

    def on_arrival(self, arrived: Callable[[NDArray[np.int64]], None]) -> None:
        """See ObjectView. Readers are held weakly: a view outlives those that share it."""
        self._arrived.append(WeakMethod(arrived) if ismethod(arrived) else lambda: arrived)

    # ---------------------------------------------------------------- for the cache

    def sizes(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of each of some blocks."""
        return extents_of(blocks, self.size)

    def extent(self, blocks: NDArray[np.int64]) -> int:
        """How many bytes some distinct blocks have."""
        return int(self.sizes(blocks).sum())

    @property
    def in_memory(self) -> NDArray[np.bool_]:
        """Of each block, whether it takes memory."""
        return self.present & ~self.kept

    def fill(
        self, blocks: NDArray[np.int64], pieces: Sequence[memoryview], sums: NDArray[np.uint64] | None = None
    ) -> int:
        """Take in distinct blocks, apart from those that the file keeps; how many bytes were not here before.

        Args:
            sums: the xxh3 of each block, when the bytes were verified to have it.
        """
        absent = ~self.present[blocks] & ~self.kept[blocks]
        fresh = blocks[absent]
        for block, missing, piece in zip(blocks.tolist(), absent.tolist(), pieces, strict=True):
            if missing:
                self.mapping[block * BLOCK : block * BLOCK + len(piece)] = piece
        self.hot[fresh] = False
        self.arrive(fresh, np.zeros(len(fresh), np.uint64) if sums is None else sums[absent])
        return self.extent(fresh)

    def arrive(self, fresh: NDArray[np.int64], sums: NDArray[np.uint64]) -> None:
        """Note that blocks are here. Those that are again what they were need not be verified again."""
        changed = fresh[(self._sums[fresh] != sums) | (sums == 0)]
        self._sums[fresh] = sums
        self.used[fresh] = self._leases.epoch
        if len(changed):
            for reference in self._arrived.copy():
                if (arrived := reference()) is not None:
                    arrived(changed)
                else:
                    self._arrived.remove(reference)
        self.present[fresh] = True

    def doubt(self, blocks: NDArray[np.int64], horizon: int) -> NDArray[np.int64]:
        """Have blocks be absent, unless they were used from epoch `horizon` on; which ones."""
        self.present[blocks] = False
        busy = self.used[blocks] >= horizon  # a thread may have used some since they were chosen
        self.present[blocks[busy]] = True
        return blocks[~busy]

    def drop(self, blocks: NDArray[np.int64], horizon: int) -> NDArray[np.int64]:
        """The same, and give their memory back."""
        gone = self.doubt(blocks, horizon)
        self.give_back(gone)
        return gone

    def give_back(self, blocks: NDArray[np.int64]) -> None:
        """Hold ascending blocks no longer in memory; what the file has of them is seen from now on."""
        for first, last in runs(blocks):
            self.mapping.madvise(mmap.MADV_DONTNEED, first * BLOCK, min(last * BLOCK, self.size) - first * BLOCK)
