"""What blocks take, which ones lie together, and which have to go when there is too little room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PROTECTED = 0.8
"""Of a budget: what blocks used again may take before they count like others."""


def extents_of(blocks: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Bytes of each of some blocks of an object of this size."""
    return np.minimum(size - blocks * BLOCK, BLOCK)


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


class Holder(Protocol):
    """Who has blocks of an object; `used` and `hot` are of each block."""

    used: NDArray[np.int64]
    hot: NDArray[np.bool_]

    def sizes(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes that each of some blocks takes."""


def least_worth(
    holders: Sequence[Holder], loose: Sequence[NDArray[np.int64]], excess: int, protected: float
) -> list[NDArray[np.int64]]:
    """Which blocks of each holder have to go, ascending: those used in one query only first, then the least
    recently used.

    Args:
        holders: who has them.
        loose: of each, the blocks that may go.
        excess: bytes that have to.
        protected: bytes of blocks used again from which on these count like others.
    """
    owners = np.repeat(np.arange(len(holders)), [len(blocks) for blocks in loose])
    if not len(owners):
        return list(loose)
    pairs = list(zip(holders, loose, strict=True))
    used = np.concatenate([holder.used[blocks] for holder, blocks in pairs])
    hot = np.concatenate([holder.hot[blocks] for holder, blocks in pairs])
    sizes = np.concatenate([holder.sizes(blocks) for holder, blocks in pairs])
    if hot.sum() * BLOCK > protected:
        hot[:] = False
    order = np.lexsort((used, hot))
    chosen = np.zeros(len(order), bool)
    chosen[order[: np.searchsorted(np.cumsum(sizes[order]), excess) + 1]] = True
    parts = np.split(chosen, np.cumsum([len(blocks) for blocks in loose])[:-1])
    return [blocks[part] for blocks, part in zip(loose, parts, strict=True)]
