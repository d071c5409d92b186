"""The blocks of remote objects that a process keeps on disk, under a byte budget and across restarts.

Each object has a file of its whole length, with holes. Searches look at its blocks in place, through a private
mapping; where blocks are encrypted they are read into memory.

While there is room every block that is offered is taken; then only one that is offered for the second time within
a window, because it was fetched twice. Blocks that were used in one query only go first, then the least recently
used; what a query under way has used stays. So a scan neither pushes out what is used again and again nor wears
the disk.

It is a cache: damage, a full or a failing disk make it hold less, and are counted; no method raises for them.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from threading import Lock  # noqa: TID251 - guards what worker threads share; no thread is started here
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from quiver.storage.cache.blocks import PROTECTED, extents_of, least_worth
from quiver.storage.cache.cache_folder import CacheFolder
from quiver.storage.cache.counts import DiskCounts
from quiver.storage.cache.probation import Probation, keys_of
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from quiver.storage.cache.block_cipher import BlockCipher
    from quiver.storage.cache.cached_view import Leases
    from quiver.storage.cache.object_file import ObjectFile

SMALLEST = 16
"""Bytes of the shortest block that can be encrypted."""

_FIRST_PAUSE, _LONGEST_PAUSE = 256, 1 << 16  # offered blocks that are refused after the disk failed
_BATCH = 64  # blocks that are written, or deleted, before others get a turn
_FULL, _DRAIN = 0.98, 0.95  # of the budget: that blocks may take, and that is left when they are deleted
_MOST_FILES = 1 << 14


class Held(NamedTuple):
    """Blocks of an object that were read: their numbers, their bytes, the xxh3 of each (uint64 of shape (n,)).

    The bytes are where the reading was told to put them.
    """

    blocks: NDArray[np.int64]
    pieces: Sequence[memoryview]
    sums: NDArray[np.uint64]


class Shelf(NamedTuple):
    """What the tier has for an object.

    Attributes:
        file: its file.
        mapping: the object in it; None where blocks cannot be looked at in place.
    """

    file: ObjectFile
    mapping: mmap.mmap | None


class DiskTier:
    """Synchronous and thread-safe.

    Attributes:
        lock: of what is in memory; held briefly.
    """

    def __init__(self, folder: CacheFolder, budget: int, cipher: BlockCipher | None = None) -> None:
        """The tier of an open folder, which it closes."""
        self.lock = Lock()
        self._cipher = cipher
        self._counts: Counter[str] = Counter()
        self._budget = budget
        self._writing = Lock()  # one thread at a time; taken before the other
        self._probation = Probation(budget // BLOCK)
        self._pause, self._refusing = _FIRST_PAUSE, 0
        self._closed = False
        self._folder = folder
        self._nbytes = 0
        self._files: dict[bytes, ObjectFile] = {}  # those that were asked for last at the end
        for file in folder.files():
            self._add(file)
        while self._files and (self._nbytes > budget or len(self._files) > _MOST_FILES):
            self.discard(next(iter(self._files.values())))

    @classmethod
    def open(cls, folder: Path, budget: int, cipher: BlockCipher | None = None) -> DiskTier:
        """Take the first numbered folder in `folder` that no other process has, with the blocks in it.

        Args:
            folder: made if need be.
            budget: bytes of the disk that the files of this process may take.
            cipher: what the blocks in the folder are encrypted with, None for not at all.

        Raises: OSError when the folder cannot be used.
        """
        taken = CacheFolder.take(folder)
        try:
            return cls(taken, budget, cipher)
        except BaseException:
            taken.close()
            raise

    @property
    def counters(self) -> DiskCounts:
        """What the tier did so far, and what it has."""
        return DiskCounts(**self._counts, nbytes=self._nbytes, budget=self._budget)

    def has_room(self, nbytes: int) -> bool:
        """Whether so many bytes more would have nothing evicted, and leave some room."""
        return self._nbytes + nbytes <= _DRAIN * self._budget

    def attach(self, object_id: bytes, size: int, leases: Leases) -> Shelf | None:
        """The file of an object, made if need be; None when there can be none, or somebody maps it already.

        Args:
            object_id: 16 bytes.
            size: of the object, in bytes.
            leases: which blocks may be in use.
        """
        name = object_id if self._cipher is None else self._cipher.name(object_id)
        if not size or self._closed:
            return None
        file = self._files.get(name)
        try:
            if file is None:
                file = self._create(name, size, leases)
            if file is None or file.is_mapped or file.size != size:
                return None
            with self.lock:
                if self._files.get(name) is file:
                    self._files[name] = self._files.pop(name)
                    return Shelf(file, file.map() if self._cipher is None else None)
            return self.attach(object_id, size, leases)  # a thread that made room has discarded the file
        except (OSError, ValueError) as error:
            self._fail()
            if file is not None and isinstance(error, FileNotFoundError | ValueError):
                self.discard(file)  # others deleted it, or cut it shorter
            return None

    def _create(self, name: bytes, size: int, leases: Leases) -> ObjectFile | None:
        """A new file, if there is room for it. Raises OSError."""
        file = self._folder.create(name, size)
        if self._nbytes + file.overhead > self._budget:
            self._evict(self._nbytes + file.overhead - int(_DRAIN * self._budget), leases)
        if len(self._files) >= _MOST_FILES:
            idle = (each for each in self._files.values() if not each.is_mapped)
            if (oldest := next(idle, None)) is not None:
                self.discard(oldest)
        if self._nbytes + file.overhead > self._budget or len(self._files) >= _MOST_FILES:
            file.discard()
            return None
        self._add(file)
        return file

    def check(
        self,
        file: ObjectFile,
        blocks: NDArray[np.int64],
        mapping: mmap.mmap,
        arrive: Callable[[NDArray[np.int64], NDArray[np.uint64]], None],
    ) -> NDArray[np.int64]:
        """Verify absent blocks where they are, by the thread that lacks them and has marked them as used; a block
        that is wrong is dropped.

        Args:
            file: whose blocks are mapped.
            blocks: distinct ascending numbers.
            mapping: of the file.
            arrive: is told, under the lock, which ones are right, and the xxh3 of each.

        Returns: those that are here now.
        """
        asked = len(blocks)
        blocks = blocks[file.kept[blocks]]
        readable = file.readable(mapping, blocks)
        data = memoryview(mapping)
        with self.lock:
            absent = np.ones(len(blocks), bool) if file.here is None else ~file.here[blocks]
            stays = file.kept[blocks]
            blocks, readable = blocks[absent & stays], readable[absent & stays]
            right = readable.copy()
            right[readable], sums = file.verified(blocks[readable], data)
            arrive(blocks[right], sums[right[readable]])
            self._forget(file, blocks[~right])
            self._counts["hits"] += int(right.sum())
            self._counts["misses"] += asked - int(right.sum())
        return blocks[right]

    def room(self, count: int) -> int:
        """Bytes that reading so many blocks may take."""
        return count * BLOCK

    def read(self, file: ObjectFile, blocks: NDArray[np.int64], epoch: int, into: bytearray | None = None) -> Held:
        """Those of some blocks that are here, and right; a block that is wrong is dropped.

        Args:
            file: of the object.
            blocks: distinct numbers.
            epoch: of a lease that has not ended.
            into: where the blocks go, of the size that `room` tells; memory that was used before is quicker.
        """
        free = memoryview(bytearray(self.room(len(blocks))) if into is None else into)
        with self.lock:
            kept = blocks[file.kept[blocks]]
            file.used[kept] = epoch
            file.hot[kept] = True
        found = dict(file.read(kept, free))
        sums = np.array([xxh3_64_intdigest(found.get(block, b"")) for block in kept.tolist()], np.uint64)
        with self.lock:
            still = file.kept[kept]
            right = still & file.fits(kept, sums) & np.isin(kept, list(found))
            self._forget(file, kept[still & ~right])
            self._counts["hits"] += int(right.sum())
            self._counts["misses"] += len(blocks) - int(right.sum())
        pieces = [found[block] for block in kept[right].tolist()]
        return Held(kept[right], pieces, self._opened(file, kept[right], pieces, sums[right]))

    def _opened(
        self, file: ObjectFile, blocks: NDArray[np.int64], pieces: Sequence[memoryview], sums: NDArray[np.uint64]
    ) -> NDArray[np.uint64]:
        """Decrypt blocks that were read where they stand; the xxh3 of each."""
        if self._cipher is None:
            return sums
        for block, piece in zip(blocks.tolist(), pieces, strict=True):
            self._cipher.open(file.name, block * BLOCK, piece)
        return np.array([xxh3_64_intdigest(piece) for piece in pieces], np.uint64)

    def write(
        self,
        file: ObjectFile,
        blocks: NDArray[np.int64],
        source: memoryview,
        leases: Leases,
        landed: Callable[[NDArray[np.int64]], None] = lambda _: None,
    ) -> None:
        """Offer blocks, from a view of the whole object; those that are here already count as asked for again.

        Args:
            file: of the object.
            blocks: their numbers.
            source: as long as the object; the bytes of the blocks stay as they are during the call.
            leases: which blocks may be in use.
            landed: is told, under the lock, which blocks the file keeps from now on.
        """
        blocks = np.unique(blocks[(blocks >= 0) & (blocks < len(file.kept))])
        if self._cipher is not None:
            blocks = blocks[extents_of(blocks, file.size) >= SMALLEST]
        with self._writing:
            with self.lock:
                chosen = self._admit(file, blocks, leases.epoch)
            try:
                chosen = self._fitting(file, chosen, leases)
                for at in range(0, len(chosen), _BATCH):
                    self._put(file, chosen[at : at + _BATCH], source.cast("B"), landed)
                    self._pause = _FIRST_PAUSE
            except OSError:
                if not file.retired:
                    self._fail()

    def close(self) -> None:
        """Let go of the folder. Nothing is found afterwards."""
        with self._writing, self.lock:
            if not self._closed:
                self._closed = True
                self._files.clear()
                self._folder.close()

    # ---------------------------------------------------------------- blocks that come

    def _admit(self, file: ObjectFile, blocks: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Which of the offered blocks to write."""
        kept = file.kept[blocks]
        file.used[blocks[kept]] = epoch
        blocks = blocks[~kept]
        if self._closed or self._refusing or file.retired:
            self._refusing = max(0, self._refusing - len(blocks))
            chosen = blocks[:0]
        else:
            free = max(0, int(_FULL * self._budget) - self._nbytes) // BLOCK
            again = self._probation.known(keys_of(file.name, blocks[free:]))
            chosen = np.concatenate([blocks[:free], blocks[free:][again]])
        self._counts["refused"] += len(blocks) - len(chosen)
        return chosen

    def _fitting(self, file: ObjectFile, chosen: NDArray[np.int64], leases: Leases) -> NDArray[np.int64]:
        """As many of some blocks as there is room for, after others made room."""
        sizes = file.sizes(chosen)
        if self._nbytes + int(sizes.sum()) > _FULL * self._budget:
            self._evict(self._nbytes + int(sizes.sum()) - int(_DRAIN * self._budget), leases)
        return chosen[np.cumsum(sizes) <= _FULL * self._budget - self._nbytes]

    def _put(
        self,
        file: ObjectFile,
        blocks: NDArray[np.int64],
        source: memoryview,
        landed: Callable[[NDArray[np.int64]], None],
    ) -> None:
        offsets = (blocks * BLOCK).tolist()
        pieces = [source[offset : offset + BLOCK] for offset in offsets]
        if self._cipher is not None:
            pieces = [self._cipher.seal(file.name, *each) for each in zip(offsets, pieces, strict=True)]
        file.write(blocks, pieces)
        with self.lock:
            if file.name in self._files and not file.retired:
                file.kept[blocks] = True
                self._nbytes += int(file.sizes(blocks).sum())
                self._counts["admitted"] += len(blocks)
                landed(blocks)

    def _fail(self) -> None:
        """Take no blocks for a while."""
        self._counts["failures"] += 1
        self._refusing = self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    # ---------------------------------------------------------------- blocks that go

    def _evict(self, excess: int, leases: Leases) -> None:
        """Delete the blocks that are worth least, as far as nobody uses them."""
        horizon = leases.horizon
        with self.lock:
            files = list(self._files.values())
            loose = [np.flatnonzero(file.kept & (file.used < horizon)) for file in files]
        chosen = least_worth(files, loose, excess, PROTECTED * self._budget)
        for file, blocks in zip(files, chosen, strict=True):
            for at in range(0, len(blocks), _BATCH):
                with self.lock:
                    part = blocks[at : at + _BATCH]
                    if not file.retired:
                        gone = file.release(part[file.kept[part]], horizon)
                        self._counts["evicted"] += len(gone)
                        self._erase(file, gone)
            if len(blocks) and not file.kept.any() and not file.is_mapped:
                self.discard(file)

    def _forget(self, file: ObjectFile, wrong: NDArray[np.int64]) -> None:
        """Drop kept blocks that are wrong. To be called with the lock."""
        if len(wrong):
            self._counts["damaged"] += len(wrong)
            self._erase(file, np.sort(file.forget(wrong)))

    def _erase(self, file: ObjectFile, gone: NDArray[np.int64]) -> None:
        """Give back the room of blocks that were forgotten. To be called with the lock."""
        if not file.retired:
            self._nbytes -= int(file.sizes(gone).sum())
            with suppress(OSError):
                file.erase(gone)

    def _add(self, file: ObjectFile) -> None:
        with self.lock:
            self._files[file.name] = file
            self._nbytes += file.overhead + int(file.sizes(np.flatnonzero(file.kept)).sum())

    def discard(self, file: ObjectFile) -> None:
        """Delete a file, with the blocks in it; who looks at it may go on."""
        with self.lock:
            if self._files.get(file.name) is file:
                del self._files[file.name]
                self._nbytes -= file.overhead + int(file.sizes(np.flatnonzero(file.kept)).sum())
                file.discard()
