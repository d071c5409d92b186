"""Which blocks the disk tier holds, in which slab, and who reads from it. In memory, for one thread at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.storage.cache.location_table import LocationTable, keys_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.storage.cache.slab import Slab

_ID_BYTES = 16


class Shelved(NamedTuple):
    """A slab's blocks among those of a request: their places in the request, numbers in the slab, and entries."""

    number: int
    slab: Slab
    places: NDArray[np.int64]
    within: NDArray[np.int64]
    entries: NDArray[np.void]


class BlockIndex:
    """Slabs by number, and the location of each block: its slab's number, and its own in there.

    Attributes:
        slabs: the next to be evicted first.
    """

    def __init__(self, block_bytes: int) -> None:
        self.slabs: dict[int, Slab] = {}
        self._block_bytes = block_bytes
        self._table = LocationTable()
        self._readers: dict[int, int] = {}
        self._retired: dict[int, Slab] = {}  # to be closed by their last reader
        self._registered = 0

    def locate(self, object_id: bytes, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The location of each block of an object, negative when it is not held."""
        return self._table.find(keys_of(words(object_id), blocks))

    def still_at(self, entries: NDArray[np.void], locations: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which blocks are held at these locations."""
        still: NDArray[np.bool_] = self._table.find(self._keys(entries)) == locations
        return still

    def use(self, locations: NDArray[np.int64]) -> None:
        """Note that held blocks were asked for."""
        for number in np.unique(locations >> 32).tolist():
            self.slabs[number].used[locations[locations >> 32 == number] & 0xFFFFFFFF] = True

    # ---------------------------------------------------------------- blocks that come and go

    def register(self, slab: Slab) -> int:
        """Add a slab, as the youngest, with the blocks that are noted in it; its number."""
        number = self._registered
        self._registered += 1
        self.slabs[number] = slab
        keys = self._keys(slab.entries)
        _, last = np.unique(keys[::-1], return_index=True)
        counting = np.zeros(len(keys), bool)
        counting[len(keys) - 1 - last] = True
        self._settle(number, np.arange(len(keys)), counting)
        return number

    def add(self, number: int, written: NDArray[np.void], counting: NDArray[np.bool_] | None = None) -> None:
        """Note distinct blocks that were written to a slab; all of them count, or some."""
        within = self.slabs[number].note(written)
        self._settle(number, within, np.ones(len(within), bool) if counting is None else counting)

    def _settle(self, number: int, within: NDArray[np.int64], counting: NDArray[np.bool_]) -> None:
        """Have the table lead to blocks of a slab, no longer to older copies of them."""
        slab = self.slabs[number]
        slab.kill(within[~counting])
        within = within[counting]
        keys = self._keys(slab.entries[within])
        older = self._table.find(keys)
        for other in np.unique(older[older >= 0] >> 32).tolist():
            self.slabs[other].kill(older[older >> 32 == other] & 0xFFFFFFFF)
        self._table.put(keys, (number << 32) | within)

    def forget(self, number: int, within: NDArray[np.int64]) -> int:
        """Drop distinct blocks of a slab; how many of them were still held."""
        if not len(within):
            return 0
        slab = self.slabs[number]
        there = self._table.remove(self._keys(slab.entries[within]), (number << 32) | within)
        slab.kill(within[there])
        return int(there.sum())

    def forget_object(self, object_id: bytes) -> None:
        """Drop all blocks of an object."""
        sought = words(object_id)
        for number, slab in self.slabs.items():
            self.forget(number, np.flatnonzero(slab.live & (slab.entries["object"] == sought).all(axis=1)))

    def retire(self, number: int) -> None:
        """Take a slab out with its blocks; it is closed as soon as nobody reads from it."""
        self.forget(number, np.flatnonzero(self.slabs[number].live))
        slab = self.slabs.pop(number)
        if number in self._readers:
            self._retired[number] = slab
        else:
            slab.close()

    # ---------------------------------------------------------------- readers

    def pin(self, object_id: bytes, blocks: NDArray[np.int64]) -> list[Shelved]:
        """Where the held ones of some blocks are, slab by slab; these slabs stay open until they are unpinned."""
        locations = self.locate(object_id, blocks)
        order = np.argsort(locations, kind="stable")
        order = order[locations[order] >= 0]
        shelved = []
        for places in np.split(order, np.flatnonzero(np.diff(locations[order] >> 32)) + 1) if len(order) else []:
            number = int(locations[places[0]] >> 32)
            within = locations[places] & 0xFFFFFFFF
            slab = self.slabs[number]
            shelved.append(Shelved(number, slab, places, within, slab.entries[within]))
            self._readers[number] = self._readers.get(number, 0) + 1
        return shelved

    def unpin(self, part: Shelved, right: NDArray[np.bool_]) -> int:
        """End a reading: the right blocks count as asked for, the others are dropped; how many were."""
        self._readers[part.number] -= 1
        if not self._readers[part.number]:
            del self._readers[part.number]
            if part.number in self._retired:
                self._retired.pop(part.number).close()
        if part.number not in self.slabs:
            return 0
        part.slab.used[part.within[right]] = True
        return self.forget(part.number, part.within[~right])

    def _keys(self, entries: NDArray[np.void]) -> NDArray[np.uint64]:
        return keys_of(entries["object"], (entries["offset"] // self._block_bytes).astype(np.int64))


def words(object_id: bytes) -> NDArray[np.uint64]:
    """The two words of an object's digest, shape (1, 2)."""
    if len(object_id) != _ID_BYTES:
        raise ValueError("an object is named by 16 bytes")
    return np.frombuffer(object_id, "<u8").reshape(1, 2)
