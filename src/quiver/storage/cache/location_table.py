"""Where each block of the disk tier is: a hash table of plain numbers, about 40 bytes of memory for a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSENT = -1
_EMPTY, _GONE = -1, -2  # a key that is gone leaves its place taken: others may have been put behind it
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FULLEST = 0.75


def keys_of(objects: NDArray[np.uint64], blocks: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each block of objects.

    Args:
        objects: digests, two words each, shape (n, 2), or (1, 2) for blocks of one object.
        blocks: their numbers, shape (n,).

    Two blocks may get the same number, about as often as two digests of 64 bits are the same: what is found by it
    has to be verified.
    """
    keys: NDArray[np.uint64] = objects[:, 0] ^ ((objects[:, 1] + blocks.astype(np.uint64)) * _SPREAD)
    return keys


class LocationTable:
    """Maps keys to locations, which are not negative. Open addressing; each step is taken for all keys at once."""

    def __init__(self) -> None:
        self._resize(64)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The location of each key, or ABSENT."""
        return np.maximum(self._locations[self._places(keys)], ABSENT)

    def put(self, keys: NDArray[np.uint64], locations: NDArray[np.int64]) -> None:
        """Set the locations of distinct keys."""
        if self._taken + len(keys) > _FULLEST * len(self._keys):
            self._rebuild(len(keys))
        self._taken += len(keys)
        while len(keys):
            places = self._places(keys)
            self._keys[places], self._locations[places] = keys, locations
            beaten = self._keys[places] != keys  # to an empty place, by another of these keys
            keys, locations = keys[beaten], locations[beaten]

    def remove(self, keys: NDArray[np.uint64], locations: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Forget the keys that are at these locations; which ones were."""
        places = self._places(keys)
        there: NDArray[np.bool_] = self._locations[places] == locations
        self._locations[places[there]] = _GONE
        return there

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where each key is, or the empty place where it would be put."""
        mask = len(self._keys) - 1
        places = (keys & np.uint64(mask)).astype(np.int64)
        strides = (keys >> np.uint64(32)).astype(np.int64) | 1
        left = np.arange(len(keys))
        while True:
            here = places[left]
            left = left[(self._locations[here] != _EMPTY) & (self._keys[here] != keys[left])]
            if not len(left):
                return places
            places[left] = (places[left] + strides[left]) & mask

    def _rebuild(self, more: int) -> None:
        here = self._locations >= 0
        keys, locations = self._keys[here], self._locations[here]
        self._resize(1 << int(1.6 * (len(keys) + more)).bit_length())
        self.put(keys, locations)

    def _resize(self, size: int) -> None:
        self._keys = np.zeros(size, np.uint64)
        self._locations = np.full(size, _EMPTY, np.int64)
        self._taken = 0
