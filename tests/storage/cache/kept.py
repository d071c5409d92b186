"""What the tests of the disk tier share: objects whose every block says what it is, and looks at the folder."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.storage.cache.disk_tier import DiskTier

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
BUDGET = 256 * BLOCK
_TOKENS = itertools.count()


class Thing:
    """An object of a store.

    Attributes:
        name: its digest.
        data: its bytes, which no other object has at any block.
        blocks: the numbers of all its blocks.
    """

    def __init__(self, number: int, size: int, block_bytes: int = BLOCK) -> None:
        self.name = xxhash.xxh3_128_digest(b"%d" % number)
        self.data = np.random.default_rng(number).bytes(size)
        self.blocks = np.arange(-(-size // block_bytes))
        self.block_bytes = block_bytes

    def offer(self, tier: DiskTier, blocks: np.ndarray | None = None) -> None:
        """Have a tier be given blocks."""
        tier.write(self.name, self.blocks if blocks is None else blocks, memoryview(self.data))

    def known(self, tier: DiskTier, blocks: np.ndarray | None = None) -> np.ndarray:
        """Which blocks a tier has, as far as its memory knows."""
        return tier._index.locate(self.name, self.blocks if blocks is None else blocks) >= 0

    def read(self, tier: DiskTier, blocks: np.ndarray | None = None) -> np.ndarray:
        """Which blocks a tier gave; fails when one is wrong."""
        blocks = self.blocks if blocks is None else blocks
        held = tier.read(self.name, blocks, len(self.data))
        for block, piece, checksum in zip(held.blocks.tolist(), held.pieces, held.sums.tolist(), strict=True):
            assert piece == self.data[block * self.block_bytes : (block + 1) * self.block_bytes]
            assert checksum == xxhash.xxh3_64_intdigest(piece)
        assert len(np.unique(held.blocks)) == len(held.blocks)
        return np.isin(blocks, held.blocks)


def opened(folder: Path, budget: int, block_bytes: int = BLOCK) -> DiskTier:
    """A tier with a token of its own."""
    return DiskTier.open(folder, budget, f"token{next(_TOKENS)}", block_bytes)


@contextmanager
def tier_of(folder: Path, budget: int = BUDGET, block_bytes: int = BLOCK) -> Iterator[DiskTier]:
    """A tier that is closed at the end."""
    tier = opened(folder, budget, block_bytes)
    try:
        yield tier
    finally:
        tier.close()


def slabs(folder: Path) -> list[Path]:
    """The files of a tier, the oldest first."""
    return sorted(folder.glob("[0-9]*/*.slab"))


def used(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
