"""A filter over key hashes: says for sure that a key is absent, without reading the sorted hashes.

A split block Bloom filter: blocks of eight 32-bit words, one bit in each word for every key (Putze, Sanders,
Singler, "Cache-, hash- and space-efficient Bloom filters", 2009; the same construction and salts as in the Parquet
format). With 12 bits a key about one absent key in 200 passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS_PER_KEY = 12
_WORDS = 8
_SALTS = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)
_U32 = np.dtype("<u4")


def build(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The filter of these keys, uint32 of shape (blocks * 8,)."""
    blocks = max(1, -(-len(hashes) * _BITS_PER_KEY // (32 * _WORDS)))
    words = np.zeros((blocks, _WORDS), _U32)
    place, masks = _places(hashes, blocks)
    for word in range(_WORDS):
        np.bitwise_or.at(words[:, word], place, masks[:, word])
    return words.reshape(-1)


class KeyFilter:
    """A stored filter, read in place.

    Args:
        words: what `build` made; untrusted.

    Raises:
        CorruptObjectError: it is not made of whole blocks.
    """

    def __init__(self, words: NDArray[np.uint32]) -> None:
        if not len(words) or len(words) % _WORDS:
            raise CorruptObjectError(f"key filter of {len(words)} words")
        self._words = words.reshape(-1, _WORDS)

    def may_hold(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """False for keys that were certainly not in the filter, shape (len(hashes),)."""
        place, masks = _places(hashes, len(self._words))
        found: NDArray[np.bool_] = ((self._words[place] & masks) == masks).all(axis=1)
        return found


def _places(hashes: NDArray[np.uint64], blocks: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The block of each hash, and the bit it has in each of the eight words."""
    place = ((hashes >> np.uint64(32)) * np.uint64(blocks)) >> np.uint64(32)
    bits = (hashes.astype(np.uint32)[:, None] * _SALTS) >> np.uint32(27)
    return place.astype(np.int64), np.uint32(1) << bits
