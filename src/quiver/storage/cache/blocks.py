"""What blocks take, which ones lie together, and which have to go when there is too little room."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PROTECTED = 0.8
"""Of a budget: what blocks used again may take before they count like others."""


_WHOLE = 1 << 40


def extents_of(blocks: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Bytes of each of some blocks of an object of this size."""
    return np.minimum(size - blocks * BLOCK, BLOCK)


def runs(blocks: NDArray[np.int64], gap: int = 0, longest: int = _WHOLE) -> list[tuple[int, int]]:
    """Ascending distinct numbers as ranges [first, last), joined across up to `gap` others, at most `longest`."""
    if not len(blocks):
        return []
    return _cut(blocks, np.flatnonzero(np.diff(blocks) > gap + 1) + 1, longest)


def _cut(blocks: NDArray[np.int64], breaks: NDArray[np.int64], longest: int) -> list[tuple[int, int]]:
    """Ranges that begin with the first number and with those at the places `breaks`, in pieces."""
    found = []
    for first, last in zip(
        blocks[np.r_[0, breaks]].tolist(), blocks[np.r_[breaks, len(blocks)] - 1].tolist(), strict=True
    ):
        found += [(start, min(start + longest, last + 1)) for start in range(first, last + 1, longest)]
    return found


class Wave(NamedTuple):
    """How blocks may be fetched together.

    Attributes:
        most: requests, if that takes no more than `along`.
        gap: other blocks that are fetched along rather than make one request more, whatever their number.
        longest: blocks of a request that is not made longer for want of requests.
        along: other blocks that are fetched along to keep to `most`.
        line: how many requests at once bring bytes as many times as fast as one.
    """

    most: int
    gap: int
    longest: int
    along: int
    line: int


def joined(blocks: NDArray[np.int64], wave: Wave) -> list[tuple[int, int]]:
    """Ascending distinct numbers as ranges [first, last), each a request.

    Where that makes more requests than the wave has, the smallest gaps are closed and ranges are longer: of all
    numbers of gaps that will do, as many as have the bytes come soonest. Where the gaps hold too much, nothing is
    gained by closing some of them, and there are more requests.
    """
    found = runs(blocks, wave.gap, wave.longest)
    if len(found) <= wave.most:
        return found
    gaps = np.diff(blocks) - 1
    wide = np.flatnonzero(gaps > wave.gap)
    wide = wide[gaps[wide].argsort(kind="stable")]
    costs = gaps[wide].cumsum()
    soonest = np.inf
    for closed in range(max(0, len(wide) + 1 - wave.most), int(costs.searchsorted(wave.along, "right")) + 1):
        breaks = np.sort(wide[closed:]) + 1
        sizes = [last - first for first, last in _cut(blocks, breaks, _WHOLE)]
        longest = max(wave.longest, _shortest_cut(sizes, wave.most))
        time = longest + sum(sizes) / wave.line
        if time < soonest:
            soonest, found = time, _cut(blocks, breaks, longest)
    return found


def _shortest_cut(sizes: Sequence[int], most: int) -> int:
    """The shortest length of which ranges have at most so many pieces together, as there are ranges at least."""
    enough = range(1, max(sizes) + 1)
    return enough[bisect_left(enough, x=True, key=lambda cut: sum(-(-size // cut) for size in sizes) <= most)]


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
