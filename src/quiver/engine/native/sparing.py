"""Decides whether what partitions hold beside codes is fetched with these, or later and of candidates alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quiver.storage.cache.block_cache import FIRST_WAVE
from quiver.storage.cache.blocks import runs
from quiver.storage.cache.pace import LONGEST
from quiver.storage.cache.view import BLOCK, covering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.storage.cache.view import MissingBytesError
    from quiver.storage.segment_codes import SegmentCodes


_AGAIN = 0.002  # seconds that a round costs beside its requests: the search begins again
_FEW = FIRST_WAVE // 2  # requests for codes: as many may be needed for int8 rows
_LONG = 1.0  # seconds, which are worth any number of requests


def comes_along(
    blocks: int, candidates: int, seconds: float, bandwidth: float, rounds: int = 1, requests: int = 1
) -> bool:
    """Whether all int8 rows come with the codes of their partitions, because a later round costs more time.

    Candidates that may lie anywhere in B blocks lie in about B (1 - exp(-candidates / B)) of them. So later they
    cost `rounds` rounds more, and spare the transfer of the others. All come along where

        65,536 bytes * B exp(-candidates / B) / bandwidth <= rounds * (seconds + 2 ms).

    A query is to make no more than so many requests, and codes without what lies between them take more. So where
    the codes alone take more than a few, all come along unless the others would take a second.

    Args:
        blocks: B, those that hold int8 rows and no codes, and are not here.
        candidates: rows that will be sifted by them.
        seconds: of a request; the search that begins again takes the rest.
        bandwidth: bytes per second over all connections.
        rounds: that are made more when they come later.
        requests: for the codes alone.
    """
    spared = blocks * math.exp(-candidates / blocks) if blocks else 0.0
    worth = rounds * (seconds + _AGAIN)
    if requests > _FEW:
        worth = max(worth, _LONG)
    return BLOCK * spared <= worth * bandwidth


def spare_int8(
    codes: SegmentCodes, partitions: NDArray[np.int64], missing: MissingBytesError, candidates: int, rounds: int
) -> bool:
    """Whether to go on with the codes of partitions alone when they cannot be had whole; see `comes_along`.

    Where no codes are missing that costs no round: the int8 rows come in the next either way.
    """
    view, absent = missing.wanted[0]
    held = covering(*codes.ranges(partitions))
    if not codes.in_parts or view.pace is None or not np.isin(absent, held).all():
        return False
    beside = np.setdiff1d(absent, covering(*codes.code_ranges(partitions)))
    if len(beside) < len(absent):
        pace = view.pace
        bandwidth = pace.bandwidth(len(runs(absent, pace.gap, LONGEST)))
        requests = len(runs(np.setdiff1d(absent, beside), pace.narrow_gap, LONGEST))
        if comes_along(len(beside), candidates, pace.seconds, bandwidth, rounds, requests):
            return False
    view.spare(beside)
    return True
