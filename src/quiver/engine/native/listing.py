"""Pages of a listing, in the order (key hash, key). Part i of n is the i-th of n equal ranges of the hash.

With a filter the rows that match are known before any key is read, so a page costs no more than its rows.
"""

from __future__ import annotations

import heapq
import math
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.engine.engine import Listing, ListPosition, Row
from quiver.engine.native.counting import select_live
from quiver.engine.native.lookup import make_row
from quiver.engine.native.snapshot import row_numbers
from quiver.format.keys import HASH_BITS
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.engine.native.tail import TailBlockView
    from quiver.model.filter import Filter

_BEYOND = 2  # rows: where the last page ended, and the one that shows that there are more
_SPREAD = 2.0  # standard deviations
_MOSTLY_DEAD = 0.01
_Entry = tuple[int, str, "Source", int]


def list_page(
    snapshot: Snapshot,
    *,
    limit: int,
    max_bytes: int,
    after: ListPosition | None = None,
    segment: int = 0,
    segment_count: int = 1,
    vectors: bool = False,
    metadata: bool = False,
    condition: Filter | None = None,
    non_filterable: Collection[str] = (),
) -> Listing:
    """See Index.list. Raises DataError."""
    first = _bound(segment, segment_count)
    start = ListPosition(first, "") if after is None else max(after, ListPosition(first, ""))
    stop = _bound(segment + 1, segment_count)
    chosen = select_live(snapshot.segments, condition) if condition is not None else _all(snapshot.segments)
    wanted = limit + _BEYOND
    if vectors:
        wanted = min(wanted, max_bytes // (4 * _dimension(snapshot)) + _BEYOND)
    runs = _runs(snapshot.segments, chosen, start, stop, wanted)
    shares = _shares(runs, wanted)
    _require(runs, shares, vectors=vectors, metadata=metadata)
    entries = [_segment_entries(run, start, share) for run, share in zip(runs, shares, strict=True)]
    entries.append(_tail_entries(snapshot.tail.blocks(condition, non_filterable), start, stop))
    rows: list[Row] = []
    nbytes = 0
    missing, position = Missing(), None
    merged = heapq.merge(*entries, key=lambda entry: entry[:2])
    for seen, (key_hash, key, source, number) in enumerate(merged):
        if seen == limit or nbytes >= max_bytes:
            missing.raise_any()
            return Listing(rows, position, snapshot.commit)
        with missing:
            rows.append(make_row(source, number, vectors=vectors, metadata=metadata))
            nbytes += _size(rows[-1])
        position = ListPosition(key_hash, key)
    missing.raise_any()
    return Listing(rows, None, snapshot.commit)


def _bound(segment: int, segment_count: int) -> int:
    return (segment << HASH_BITS) // segment_count


def _dimension(snapshot: Snapshot) -> int:
    """Components of a vector in the segments; 1 without any."""
    return snapshot.segments[0].reader.dimension if snapshot.segments else 1


def _size(row: Row) -> int:
    vector = 0 if row.vector is None else row.vector.nbytes
    return len(row.key.encode()) + vector + len(row.metadata or b"")


def _all(segments: Sequence[OpenSegment]) -> list[None]:
    return [None] * len(segments)


class _Run(NamedTuple):
    """Rows of a segment in the order of their keys' hashes.

    Attributes:
        alive: the part of them that is not dead, about.
    """

    opened: OpenSegment
    hashes: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    alive: float


def _runs(
    segments: Sequence[OpenSegment],
    chosen: Sequence[BitMap | None],
    start: ListPosition,
    stop: int,
    wanted: int,
) -> list[_Run]:
    """Of each segment. Raises MissingBytesError with what any of them lacks."""
    missing = Missing()
    for reader, _ in segments:
        with missing:
            reader.require_keys(wanted)
    missing.raise_any()
    return [_run(opened, start, stop, matching) for opened, matching in zip(segments, chosen, strict=True)]


def _run(opened: OpenSegment, start: ListPosition, stop: int, matching: BitMap | None) -> _Run:
    """Rows of a segment from `start` on with a hash below `stop`; only those that match, where that is known."""
    reader, dead = opened
    first = int(np.searchsorted(reader.key_hashes, np.uint64(start.key_hash), "left"))
    final = int(np.searchsorted(reader.key_hashes, np.uint64(stop - 1), "right"))
    hashes, numbers = reader.key_hashes[first:final], reader.key_rows[first:final]
    if matching is None:
        return _Run(opened, hashes, numbers, 1 - len(dead) / reader.rows)
    is_match = np.zeros(reader.rows, bool)
    is_match[row_numbers(matching)] = True
    kept = is_match[numbers]
    return _Run(opened, hashes[kept], numbers[kept], 1)


def _shares(runs: Sequence[_Run], wanted: int) -> list[int]:
    """How many rows of each run are among the first `wanted` that are alive, seldom more: hashes know no order."""
    alive = np.array([len(run.rows) * run.alive for run in runs])
    part = alive / max(1.0, alive.sum())
    expected = wanted * part
    most = expected + _SPREAD * np.sqrt(expected * (1 - part))
    return [max(1, math.ceil(rows / max(run.alive, _MOSTLY_DEAD))) for rows, run in zip(most, runs, strict=True)]


def _require(runs: Sequence[_Run], shares: Sequence[int], *, vectors: bool, metadata: bool) -> None:
    """Have what the page takes of every segment come in one wave. Raises MissingBytesError."""
    missing = Missing()
    for (opened, _, rows, _), share in zip(runs, shares, strict=True):
        with missing:
            opened.require_live(rows[:share], vectors=vectors, metadata=metadata)
    missing.raise_any()


def _segment_entries(run: _Run, start: ListPosition, at_once: int) -> Iterator[_Entry]:
    """Live rows past `start`, in order; reads keys `at_once` at a time, not much further than it is asked."""
    (reader, dead), hashes, numbers, _ = run
    position = 0
    while position < len(hashes):
        last = hashes[min(position + at_once, len(hashes)) - 1]
        end = int(np.searchsorted(hashes, last, "right"))
        rows = numbers[position:end].tolist()
        keys = zip(hashes[position:end].tolist(), reader.keys_of(rows), rows, strict=True)
        for key_hash, key, row in sorted(keys):
            if row not in dead and (key_hash, key) > start:
                yield key_hash, key, reader, row
        position = end


def _tail_entries(views: Sequence[TailBlockView], start: ListPosition, stop: int) -> Iterator[_Entry]:
    """The same for the tail, whose rows are in no order: hashes are sorted, keys read as far as asked."""
    blocks, chosen = [], []
    for block, mask in views:
        hashes = block.hashes[: len(mask)]
        inside = mask & (hashes >= np.uint64(start.key_hash)) & (hashes <= np.uint64(stop - 1))
        blocks.append(block)
        chosen.append(np.flatnonzero(inside))
    if not blocks:
        return
    hashes = np.concatenate([block.hashes[rows] for block, rows in zip(blocks, chosen, strict=True)])
    owners = np.repeat(np.arange(len(blocks)), [len(rows) for rows in chosen])
    order = np.argsort(hashes, kind="stable")
    ranked = zip(
        hashes[order].tolist(), owners[order].tolist(), np.concatenate(chosen)[order].tolist(), strict=True
    )
    for key_hash, group in groupby(ranked, key=itemgetter(0)):
        for key, owner, row in sorted((blocks[owner].keys[row], owner, row) for _, owner, row in group):
            if (key_hash, key) > start:
                yield key_hash, key, blocks[owner], row
