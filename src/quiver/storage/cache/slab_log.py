"""The writing end of the disk tier: slabs are appended to, sealed when full, deleted when the budget is reached.

The oldest goes first, after the blocks in it that were asked for since they were written are appended again; one
most of which was asked for stays for another round instead. One thread writes at a time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from quiver.storage.cache.slab import HEADER, LARGEST, OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from quiver.storage.cache.block_index import BlockIndex
    from quiver.storage.cache.slab import Slab
    from quiver.storage.cache.slab_folder import SlabFolder

BATCH = 64
"""Blocks that are written, or copied, at a time."""

_USUAL_SLAB = 64 << 20
_SMALLEST_RECORD = (
    1 / 16
)  # of a block: what a record counts for at least, so that tiny ones do not fill the memory


class SlabLog:
    """The slabs of one folder.

    Attributes:
        evicted: blocks that were deleted to make room.
    """

    def __init__(
        self,
        folder: SlabFolder,
        budget: int,
        block_bytes: int,
        index: BlockIndex,
        lock: AbstractContextManager[object],
    ) -> None:
        """A log with the blocks that the folder has.

        Args:
            folder: to be closed by the log.
            budget: bytes of all files.
            block_bytes: of a block.
            index: empty; told of every block that comes and goes.
            lock: held while the index changes.
        """
        self.evicted = 0
        self._folder = folder
        self._budget = budget
        self._slab_bytes = _slab_bytes(budget, block_bytes)
        self._slab_blocks = int(self._slab_bytes / (_SMALLEST_RECORD * block_bytes))
        self._usable = block_bytes + OVERHEAD <= self._slab_bytes
        self._index = index
        self._lock = lock
        self._active: int | None = None
        self._load(block_bytes)

    def _load(self, block_bytes: int) -> None:
        for slab in reversed(list(self._folder.slabs(self._budget if self._usable else 0, block_bytes))):
            self._index.register(slab)
        while self._index.slabs and self._charged() > self._budget - self._slab_bytes:
            self._discard(next(iter(self._index.slabs)))
        for number, slab in self._index.slabs.items():
            with suppress(OSError):
                slab.seal()
            self._active = number
        if self._active is not None and self._index.slabs[self._active].reach > self._slab_bytes // 2:
            self._active = None

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        with self._lock:
            return sum(slab.size for slab in self._index.slabs.values())

    def room(self) -> int:
        """Bytes that can be written before anything that counts has to go. To be called with the lock."""
        if not self._usable:
            return 0
        unused = (self._budget - self._charged()) // self._slab_bytes - 1
        wasted = sum(slab.dead for slab in self._index.slabs.values() if _mostly_dead(slab))
        return max(0, unused) * self._slab_bytes + wasted

    def append(self, entries: NDArray[np.void], data: Sequence[memoryview]) -> None:
        """Write up to BATCH distinct blocks. Raises OSError, also when the disk is full."""
        while self._usable and len(entries):
            fitting = self._fitting(entries)
            if fitting:
                self._write(entries[:fitting], data[:fitting])
                entries, data = entries[fitting:], data[fitting:]
            else:
                self._begin_slab()

    def close(self) -> None:
        """Seal all slabs and close them, and let others have the folder."""
        with self._lock:
            for number, slab in list(self._index.slabs.items()):
                with suppress(OSError):
                    slab.seal()
                self._index.retire(number)
        self._folder.close()

    # ---------------------------------------------------------------- writing

    def _fitting(self, entries: NDArray[np.void]) -> int:
        """How many of some blocks the active slab has room for."""
        if self._active is None:
            return 0
        slab = self._index.slabs[self._active]
        most = max(0, self._slab_blocks - len(slab.entries))
        return min(most, slab.fitting(entries["length"].astype(np.int64), self._slab_bytes))

    def _write(
        self, entries: NDArray[np.void], data: Sequence[memoryview], origins: NDArray[np.int64] | None = None
    ) -> None:
        """Append blocks to the active slab; copies count only while what they were made of does."""
        if self._active is None:
            return
        written = self._index.slabs[self._active].append(entries, data)
        with self._lock:
            counting = None if origins is None else self._index.still_at(written, origins[: len(written)])
            self._index.add(self._active, written, counting)
        if len(written) < len(entries):
            raise OSError("the disk is full")

    def _begin_slab(self) -> None:
        """Seal the active slab and begin another, with room made for the one after it. Raises OSError."""
        if self._active is not None:
            full = self._index.slabs[self._active]
            self._active = None
            with suppress(OSError):  # then it will be read by its headers
                full.seal()
        slab = self._folder.create()
        with self._lock:
            self._active = self._index.register(slab)
        while self._charged() > self._budget - self._slab_bytes:
            self._evict()

    # ---------------------------------------------------------------- making room

    def _evict(self) -> None:
        """Delete a slab, after what is worth keeping was appended to the active one. Raises OSError."""
        with self._lock:
            number, kept = self._victim()
            slab = self._index.slabs[number]
            entries = slab.entries[kept]
        try:
            for at in range(0, len(kept), BATCH):
                self._copy(slab, entries[at : at + BATCH], (number << 32) | kept[at : at + BATCH])
        finally:
            self._discard(number)

    def _victim(self) -> tuple[int, NDArray[np.int64]]:
        """The slab to delete, and which of its blocks to keep: half a slab's bytes, or all that is left."""
        slabs = self._index.slabs
        sealed = [number for number in slabs if number != self._active]
        emptiest = max(sealed, key=lambda number: slabs[number].dead)
        if _mostly_dead(slabs[emptiest]):
            return emptiest, np.flatnonzero(slabs[emptiest].live)
        for number in sealed:
            slab = slabs[number]
            kept = np.flatnonzero(slab.live & slab.used)
            if slab.entries["length"][kept].sum(dtype=np.int64) <= self._slab_bytes // 2:
                return number, kept
            slab.used[:] = False
            slabs[number] = slabs.pop(number)  # for another round
        return sealed[0], np.zeros(0, np.int64)

    def _copy(self, slab: Slab, entries: NDArray[np.void], origins: NDArray[np.int64]) -> None:
        """Append blocks of a slab again, as far as they are right and the active slab has room."""
        room = int(entries["length"].sum(dtype=np.int64)) + len(entries) * HEADER.size
        found = list(slab.read(entries, memoryview(bytearray(room))))
        right = np.array([piece is not None for piece in found])
        entries, origins = entries[right], origins[right]
        fitting = self._fitting(entries)
        if fitting:
            data = [piece[0] for piece in found if piece is not None]
            self._write(entries[:fitting], data[:fitting], origins[:fitting])

    def _discard(self, number: int) -> None:
        with self._lock:
            slab = self._index.slabs[number]
            self.evicted += self._index.forget(number, np.flatnonzero(slab.live))
        slab.discard()
        with self._lock:
            self._index.retire(number)

    def _charged(self) -> int:
        """Bytes that the slabs may come to have."""
        return sum(max(slab.reach, self._slab_bytes) for slab in self._index.slabs.values())


def _slab_bytes(budget: int, block_bytes: int) -> int:
    """A 32nd of a small budget, if that is a few blocks; a 128th of a very large one, so that files stay few."""
    smallest = min(budget // 8, 8 * (block_bytes + OVERHEAD))
    return min(max(budget // 32, smallest), max(_USUAL_SLAB, budget // 128), LARGEST)


def _mostly_dead(slab: Slab) -> bool:
    return slab.dead * 2 > slab.size
