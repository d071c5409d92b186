"""Pages of a listing, in the order (key hash, key). Part i of n is the i-th of n equal ranges of the hash.

With a filter the rows that match are known before any key is read, so a page costs no more than its rows.
"""

from __future__ import annotations

import heapq
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Listing, ListPosition, Row
from quiver.engine.native.counting import select_live
from quiver.engine.native.lookup import make_row
from quiver.engine.native.snapshot import row_numbers
from quiver.format.keys import HASH_BITS
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pyroaring import BitMap

    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.engine.native.tail import TailBlockView
    from quiver.model.filter import Filter

_KEYS_AT_ONCE = 256
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
    entries = [
        _segment_entries(opened, start, stop, matching)
        for opened, matching in zip(snapshot.segments, chosen, strict=True)
    ]
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


def _size(row: Row) -> int:
    vector = 0 if row.vector is None else row.vector.nbytes
    return len(row.key.encode()) + vector + len(row.metadata or b"")


def _all(segments: Sequence[OpenSegment]) -> list[None]:
    return [None] * len(segments)


def _segment_entries(
    opened: OpenSegment, start: ListPosition, stop: int, matching: BitMap | None
) -> Iterator[_Entry]:
    """Live rows past `start` with a hash below `stop`, in order; reads keys not much further than it is asked.

    Only those that match, where it is known which do.
    """
    reader, dead = opened
    first = int(np.searchsorted(reader.key_hashes, np.uint64(start.key_hash), "left"))
    final = int(np.searchsorted(reader.key_hashes, np.uint64(stop - 1), "right"))
    hashes, numbers = reader.key_hashes[first:final], reader.key_rows[first:final]
    if matching is not None:
        is_match = np.zeros(reader.rows, bool)
        is_match[row_numbers(matching)] = True
        kept = is_match[numbers]
        hashes, numbers = hashes[kept], numbers[kept]
    position = 0
    while position < len(hashes):
        last = hashes[min(position + _KEYS_AT_ONCE, len(hashes)) - 1]
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
