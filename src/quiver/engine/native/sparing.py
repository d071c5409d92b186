"""Decides whether what partitions hold beside codes is fetched with these, or later and of candidates alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quiver.storage.cache.blocks import runs
from quiver.storage.cache.pace import LONGEST
from quiver.storage.cache.view import BLOCK, covering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.storage.cache.view import MissingBytesError
    from quiver.storage.segment_codes import SegmentCodes


_AGAIN = 0.002  # seconds that a round costs beside its requests: the search begins again


def comes_along(blocks: int, candidates: int, seconds: float, bandwidth: float, rounds: int = 1) -> bool:
    """Whether all int8 rows come with the codes of their partitions, because a later round costs more time.

    Candidates that may lie anywhere in B blocks lie in about B (1 - exp(-candidates / B)) of them. So later they
    cost `rounds` rounds more, and spare the transfer of the others. All come along where

        65,536 bytes * B exp(-candidates / B) / bandwidth <= rounds * (seconds + 2 ms).

    Args:
        blocks: B, those that hold int8 rows and no codes, and are not here.
        candidates: rows that will be sifted by them.
        seconds: of a request; the search that begins again takes the rest.
        bandwidth: bytes per second over all connections.
    """
    spared = blocks * math.exp(-candidates / blocks) if blocks else 0.0
    return BLOCK * spared <= rounds * (seconds + _AGAIN) * bandwidth


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
        if comes_along(len(beside), candidates, pace.seconds, bandwidth, rounds):
            return False
    view.spare(beside)
    return True
