"""The blocks of remote objects that a process keeps on disk, under a byte budget and across restarts.

While there is room every block that is offered is taken; then only one that is offered for the second time within
a window, because it was fetched twice. With the second chance that the slab log gives to what is asked for, a scan
neither pushes out what is used again and again nor wears the disk.

It is a cache: damage, a full or a failing disk make it hold less, and are counted; no method raises for them.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock  # noqa: TID251 - guards what worker threads share; no thread is started here
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from quiver.storage.cache.block_index import BlockIndex, words
from quiver.storage.cache.counts import DiskCounts
from quiver.storage.cache.location_table import keys_of
from quiver.storage.cache.probation import Probation
from quiver.storage.cache.slab import ENTRY, HEADER, digest_of
from quiver.storage.cache.slab_folder import SlabFolder
from quiver.storage.cache.slab_log import BATCH, SlabLog
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from quiver.storage.cache.block_cipher import BlockCipher
    from quiver.storage.cache.block_index import Shelved

    _Found = tuple[int, memoryview, int]

SMALLEST = 16
"""Bytes of the shortest block that can be encrypted."""

_FIRST_PAUSE, _LONGEST_PAUSE = 256, 1 << 16  # offered blocks that are refused after the disk failed


class Held(NamedTuple):
    """Blocks of an object that were read: their numbers, their bytes, the xxh3 of each (uint64 of shape (n,)).

    The bytes are where the reading was told to put them.
    """

    blocks: NDArray[np.int64]
    pieces: Sequence[memoryview]
    sums: NDArray[np.uint64]


class DiskTier:
    """Synchronous and thread-safe. `drop` touches memory only."""

    def __init__(
        self, folder: SlabFolder, budget: int, block_bytes: int, cipher: BlockCipher | None = None
    ) -> None:
        """The tier of an open folder, which it closes."""
        self._cipher = cipher
        self._counts: Counter[str] = Counter()
        self._budget = budget
        self._block_bytes = block_bytes
        self._lock = Lock()  # of what is in memory; held briefly
        self._writing = Lock()  # of the files; taken before the other
        self._index = BlockIndex(block_bytes)
        self._log = SlabLog(folder, budget, block_bytes, self._index, self._lock)
        self._probation = Probation(budget // block_bytes)
        self._pause, self._refusing = _FIRST_PAUSE, 0
        self._closed = False
        self._weigh()

    @classmethod
    def open(
        cls, folder: Path, budget: int, token: str, block_bytes: int = BLOCK, cipher: BlockCipher | None = None
    ) -> DiskTier:
        """Take the first numbered folder in `folder` that no other process has, with the blocks in it.

        Args:
            folder: made if need be.
            budget: bytes that the files of this process may have; too few for eight blocks, and none are kept.
            token: 1 to 64 letters and digits, different each time; part of the names of new files.
            block_bytes: of a block; the last of an object is shorter.
            cipher: what the blocks in the folder are encrypted with, None for not at all.

        Raises: OSError when the folder cannot be used.
        """
        taken = SlabFolder.take(folder, token)
        try:
            return cls(taken, budget, block_bytes, cipher)
        except BaseException:
            taken.close()
            raise

    @property
    def counters(self) -> DiskCounts:
        """What the tier did so far, and what it has."""
        return DiskCounts(**self._counts, budget=self._budget)

    def room(self, count: int) -> int:
        """Bytes that reading so many blocks may take."""
        return count * (self._block_bytes + HEADER.size)

    def read(self, object_id: bytes, blocks: NDArray[np.int64], size: int, into: bytearray | None = None) -> Held:
        """Those of some blocks that are here, and right; a block that is wrong is dropped.

        Args:
            object_id: 16 bytes.
            blocks: distinct numbers.
            size: of the object, in bytes.
            into: where the blocks go, of the size that `room` tells; memory that was used before is quicker.
        """
        object_id = self._name(object_id)
        free = memoryview(bytearray(self.room(len(blocks))) if into is None else into)
        with self._lock:
            shelved = self._index.pin(object_id, blocks)
        found: list[_Found] = []
        right = [np.zeros(len(part.places), bool) for part in shelved]
        try:
            for part, fits in zip(shelved, right, strict=True):
                found += self._copy_out(object_id, blocks[part.places], part, size, fits, free)
                free = free[self.room(len(fits)) :]
        finally:
            with self._lock:
                for part, fits in zip(shelved, right, strict=True):
                    self._counts["damaged"] += self._index.unpin(part, fits)
                self._counts["hits"] += len(found)
                self._counts["misses"] += len(blocks) - len(found)
        numbers, pieces, sums = zip(*found, strict=True) if found else ((), (), ())
        return Held(np.array(numbers, np.int64), pieces, np.array(sums, np.uint64))

    def write(self, object_id: bytes, blocks: NDArray[np.int64], source: memoryview) -> None:
        """Offer blocks, from a view of the whole object; those that are here already count as asked for again.

        Args:
            object_id: 16 bytes.
            blocks: their numbers.
            source: as long as the object; the bytes of the blocks stay as they are during the call.
        """
        source = source.cast("B")
        object_id = self._name(object_id)
        blocks = np.unique(blocks[(blocks >= 0) & (blocks < -(-len(source) // self._block_bytes))])
        if self._cipher is not None:
            blocks = blocks[len(source) - blocks * self._block_bytes >= SMALLEST]
        with self._writing:
            with self._lock:
                chosen = self._admit(object_id, blocks)
            try:
                for at in range(0, len(chosen), BATCH):
                    self._log.append(*self._records(object_id, chosen[at : at + BATCH], source))
                    self._counts["admitted"] += len(chosen[at : at + BATCH])
                    self._pause = _FIRST_PAUSE
            except OSError:
                self._counts["failures"] += 1
                self._refusing = self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            if len(chosen):
                self._weigh()

    def drop(self, object_id: bytes) -> None:
        """Forget the blocks of an object."""
        with self._lock:
            self._index.forget_object(self._name(object_id))

    def close(self) -> None:
        """Write what makes the next opening quick, and let go of the folder. Nothing is found afterwards."""
        with self._writing:
            if not self._closed:
                self._closed = True
                self._log.close()

    # ---------------------------------------------------------------- parts

    def _copy_out(
        self,
        object_id: bytes,
        blocks: NDArray[np.int64],
        part: Shelved,
        size: int,
        right: NDArray[np.bool_],
        into: memoryview,
    ) -> Iterator[_Found]:
        """The right blocks of a slab, which are marked in `right`."""
        offsets = blocks * self._block_bytes
        fits = (
            (part.entries["object"] == words(object_id)).all(axis=1)
            & (part.entries["offset"] == offsets.astype(np.uint64))
            & (part.entries["length"] == np.minimum(self._block_bytes, size - offsets))
        )
        read = part.slab.read(part.entries[fits], into)
        for place, block, held in zip(np.flatnonzero(fits).tolist(), blocks[fits].tolist(), read, strict=True):
            if held is not None:
                right[place] = True
                yield block, *self._opened(object_id, block, *held)

    def _name(self, object_id: bytes) -> bytes:
        return object_id if self._cipher is None else self._cipher.name(object_id)

    def _opened(self, name: bytes, block: int, data: memoryview, checksum: int) -> tuple[memoryview, int]:
        """A block that was read, and its xxh3; decrypted where it stands."""
        if self._cipher is None:
            return data, checksum
        self._cipher.open(name, block * self._block_bytes, data)
        return data, xxh3_64_intdigest(data)

    def _admit(self, object_id: bytes, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the offered blocks to write."""
        locations = self._index.locate(object_id, blocks)
        self._index.use(locations[locations >= 0])
        blocks = blocks[locations < 0]
        if self._closed or self._refusing:
            self._refusing = max(0, self._refusing - len(blocks))
            chosen = blocks[:0]
        else:
            free = self._log.room() // self._block_bytes
            again = self._probation.known(keys_of(words(object_id), blocks[free:]))
            chosen = np.concatenate([blocks[:free], blocks[free:][again]])
        self._counts["refused"] += len(blocks) - len(chosen)
        return chosen

    def _records(
        self, object_id: bytes, blocks: NDArray[np.int64], source: memoryview
    ) -> tuple[NDArray[np.void], list[memoryview]]:
        offsets = (blocks * self._block_bytes).tolist()
        data = [source[offset : offset + self._block_bytes] for offset in offsets]
        if self._cipher is not None:
            data = [self._cipher.seal(object_id, *each) for each in zip(offsets, data, strict=True)]
        entries = np.zeros(len(blocks), ENTRY)
        entries["object"] = words(object_id)
        entries["offset"] = offsets
        entries["length"] = [len(piece) for piece in data]
        pairs = zip(offsets, data, strict=True)
        entries["digest"] = [digest_of(object_id, offset, xxh3_64_intdigest(piece)) for offset, piece in pairs]
        return entries, data

    def _weigh(self) -> None:
        self._counts["evicted"] = self._log.evicted
        self._counts["nbytes"] = self._log.nbytes
