"""What the tests of the disk tier share: objects whose every block says what it is, and looks at the folder."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.storage.cache.cached_view import Leases
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET = 64 * BLOCK
GUARD = threading.Lock()  # leases are taken by one thread


class Thing:
    """An object of a store.

    Attributes:
        name: its digest.
        data: its bytes, which no other object has at any block.
        blocks: the numbers of all its blocks.
    """

    leases = Leases()

    def __init__(self, number: int, size: int) -> None:
        self.name = xxhash.xxh3_128_digest(b"%d" % number)
        self.data = np.random.default_rng(number).bytes(size)
        self.blocks = np.arange(-(-size // BLOCK))

    @contextmanager
    def leased(self) -> Iterator[int]:
        with GUARD:
            lease = self.leases.begin()
        try:
            yield lease
        finally:
            with GUARD:
                self.leases.end(lease)

    def offer(self, tier: DiskTier, blocks: np.ndarray | None = None) -> None:
        """Have a tier be given blocks."""
        shelf = tier.attach(self.name, len(self.data), self.leases)
        with self.leased():
            if shelf is not None:
                tier.write(
                    shelf.file, self.blocks if blocks is None else blocks, memoryview(self.data), self.leases
                )

    def known(self, tier: DiskTier) -> np.ndarray:
        """Which blocks a tier has, as far as its memory knows."""
        file = tier._files.get(self.name)
        return np.zeros(len(self.blocks), bool) if file is None else file.kept.copy()

    def read(self, tier: DiskTier, blocks: np.ndarray | None = None) -> np.ndarray:
        """Which blocks a tier has, looked at in place where they can be; fails when one is wrong."""
        blocks = self.blocks if blocks is None else np.asarray(blocks)
        shelf = tier.attach(self.name, len(self.data), self.leases)
        if shelf is None:
            return np.zeros(len(blocks), bool)
        file, mapping = shelf
        with self.leased() as epoch:
            if mapping is None:
                held = tier.read(file, blocks, epoch)
                assert len(np.unique(held.blocks)) == len(held.blocks)
                for block, piece, checksum in zip(
                    held.blocks.tolist(), held.pieces, held.sums.tolist(), strict=True
                ):
                    assert piece == self.data[block * BLOCK : (block + 1) * BLOCK]
                    assert checksum == xxhash.xxh3_64_intdigest(piece)
                return np.isin(blocks, held.blocks)
            file.here = np.zeros(len(self.blocks), bool)
            file.hot[blocks] |= file.kept[blocks]
            file.used[blocks] = epoch
            right = tier.check(file, np.unique(blocks), mapping, lambda _, __: None)
            for block in right.tolist():
                place = slice(block * BLOCK, min((block + 1) * BLOCK, len(self.data)))
                assert mapping[place] == self.data[place]
            return np.isin(blocks, right)

    def drop(self, tier: DiskTier) -> None:
        """Have a tier forget the object."""
        shelf = tier.attach(self.name, len(self.data), self.leases)
        assert shelf is not None
        tier.discard(shelf.file)


@contextmanager
def tier_of(folder: Path, budget: int = BUDGET) -> Iterator[DiskTier]:
    """A tier that is closed at the end."""
    tier = DiskTier.open(folder, budget)
    try:
        yield tier
    finally:
        tier.close()


def files(folder: Path) -> list[Path]:
    """The files of a tier."""
    return sorted(folder.glob("[0-9]*/*.blocks"))


def used(folder: Path) -> int:
    """Bytes of the disk that all files below a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
