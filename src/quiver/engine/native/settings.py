"""Plain values of the native engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from quiver.storage.commit_log import LogSettings
from quiver.storage.segment_builder import EXACT_FLOATS
from quiver.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class NativeSettings:
    """When to flush, compact and collect, and how much memory open indexes may take.

    Attributes:
        flush_rows, flush_bytes, flush_slots: a tail past any of these is flushed to a segment.
        tail_limit: a tail past this many times a flush threshold refuses writes with BusyError.
        tier_fanout: this many segments of one size tier are merged.
        merge_bytes: segments are not merged into anything larger.
        exact_floats: segments with fewer vector components in all are scanned whole.
        spool: where what is built and does not fit in memory goes.
        garbage_age: seconds (by the store's clock) that unreferenced objects are left alone.
        memory_bytes: budget of open indexes; the least recently used are closed beyond it.
        open_segments: segments kept open; memory-mapped, each takes two file descriptors.
        background: flush, compact and collect by themselves.
        reluctant: leave that to other nodes, and only flush before writes would be refused.
        staleness: seconds by which an eventual read may lag behind.
        patience: seconds that a read waits for a commit it was asked for.
        log: of each index's commit log.
    """

    flush_rows: int = 32_768
    flush_bytes: int = 64 << 20
    flush_slots: int = 512
    tail_limit: int = 6
    tier_fanout: int = 4
    merge_bytes: int = 256 << 30
    exact_floats: int = EXACT_FLOATS
    spool: Spool = field(default_factory=Spool)
    garbage_age: float = 600.0
    memory_bytes: int = 512 << 20
    open_segments: int = 256
    background: bool = True
    reluctant: bool = False
    staleness: float = 1.0
    patience: float = 30.0
    log: LogSettings = field(default_factory=LogSettings)
