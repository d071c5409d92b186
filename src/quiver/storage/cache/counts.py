"""What the caches of a process did, and what they hold: one snapshot, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiskCounts:
    """What the disk tier did since it was opened, in blocks, and the bytes it has.

    Attributes:
        hits: verified in place before their first use, or read; and right.
        misses: asked for, and not here or not right.
        admitted: written because they were offered.
        refused: offered and not written: for want of a second offer, or while the disk fails.
        evicted: made holes of, to have room.
        damaged: not what was written; they were dropped.
        failures: of the disk to take bytes.
        nbytes: bytes of the disk that the files take, at most.
        budget: bytes that the files may have.
    """

    hits: int = 0
    misses: int = 0
    admitted: int = 0
    refused: int = 0
    evicted: int = 0
    damaged: int = 0
    failures: int = 0
    nbytes: int = 0
    budget: int = 0


@dataclass(frozen=True, slots=True)
class PaceFigures:
    """What a store was measured to do; None where no request has told anything but what was assumed.

    Attributes:
        seconds: that a request of next to no bytes takes.
        rate: bytes per second that a request gets, among as many as there usually are.
        total: bytes per second of all requests in flight together, where they are in each other's way.
    """

    seconds: float | None = None
    rate: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What the caches did since the root was opened, and what they hold.

    A block counts once for each piece of work that needs it (a query, a lookup, a page of a listing), where that
    found it; one that another piece of work was fetching already is not counted. Warming and upkeep are not work
    in this sense, but what they fetch is counted.

    Attributes:
        found_in_memory, found_on_disk, missed: blocks that work needed, by where they were.
        fetched: blocks that came from the store, those along the way to others too.
        fetched_bytes: their bytes.
        requests: for them; those that failed are left out.
        dropped: blocks that memory had to give up.
        nbytes: bytes of the blocks in memory.
        budget: bytes that these may have.
        disk: of the disk tier; None without one.
        pace: of the store.
    """

    found_in_memory: int = 0
    found_on_disk: int = 0
    missed: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    requests: int = 0
    dropped: int = 0
    nbytes: int = 0
    budget: int = 0
    disk: DiskCounts | None = None
    pace: PaceFigures = PaceFigures()
