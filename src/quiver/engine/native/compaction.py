"""Compaction: segments of one size tier become one, and tombstoned rows disappear.

The merge reads a fixed set of segments while writes and flushes go on, and writes the merged one under a name
that was reserved. Then, as of the newest commit, it is published: tombstones that its inputs gained meanwhile move
to the merged segment. Whoever loses the race for the next generation tries again from the checkpoint that won.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyroaring import BitMap

from quiver.engine.native.flush import (
    TextsChangedError,
    begin,
    build_options,
    bury,
    publish,
    store_segment,
    store_tail,
)
from quiver.engine.native.reservation import check_reserved, is_there, release, reserve, without
from quiver.engine.native.snapshot import row_numbers
from quiver.model.errors import MissingObjectError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.row_source import SegmentsSource
from quiver.storage.segment_builder import build_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.settings import NativeSettings
    from quiver.engine.native.snapshot import OpenSegment
    from quiver.engine.native.state import SegmentRef
    from quiver.model.types import IndexSpec, TextField
    from quiver.storage.segment_builder import BuildOptions, BuiltSegment

_SMALLEST_TIER = 1 << 20  # bytes: everything below is one tier


class Merge(NamedTuple):
    """Merged segments, not yet published.

    Attributes:
        rows: for each input id, the row of the merged segment that each of its rows became; -1 where it was dead.
    """

    built: BuiltSegment | None
    rows: dict[str, NDArray[np.int64]]


def choose(
    segments: Sequence[SegmentRef], settings: NativeSettings, texts: Sequence[TextField] = ()
) -> list[SegmentRef]:
    """The segments to merge next by size tier; [] when none need it.

    Mostly dead segments are rewritten alone; so are in the end those without one of `texts`, the smallest first.
    """
    tiers: dict[int, list[SegmentRef]] = {}
    for ref in segments:
        if 2 * len(ref.dead()) > ref.rows:
            return [ref]
        if ref.nbytes < settings.merge_bytes:
            tier = max(0, (ref.nbytes // _SMALLEST_TIER).bit_length() - 1) // 2
            tiers.setdefault(tier, []).append(ref)
    for _, refs in sorted(tiers.items()):
        largest = max(groups(refs, settings.merge_bytes), key=len)
        if len(refs) >= settings.tier_fanout and len(largest) > 1:
            return largest
    lacking = [ref for ref in segments if ref.lacks(texts)]
    return [min(lacking, key=lambda ref: ref.nbytes)] if lacking else []


def groups(segments: Sequence[SegmentRef], nbytes: int) -> list[list[SegmentRef]]:
    """All segments, in order, in groups that together stay within a size (a larger one stands alone)."""
    found: list[list[SegmentRef]] = []
    total = 0
    for ref in segments:
        total += ref.nbytes
        if not found or total > nbytes:
            found.append([])
            total = ref.nbytes
        found[-1].append(ref)
    return found


async def compact(index: NativeIndex, inputs: Sequence[str]) -> bool:
    """Merge the segments with these ids and publish the result; False when another node's work came first.

    Raises IndexSealedError, StoreRefusedError, StoreUnavailableError, ReservationLostError, DataError.
    """
    while True:
        try:
            return await _compact(index, inputs)
        except TextsChangedError:
            continue


async def _compact(index: NativeIndex, inputs: Sequence[str]) -> bool:
    """The same, but for TextsChangedError."""
    wanted = set(inputs)
    snapshot = await index.snapshots.take()
    chosen = [segment for segment in snapshot.segments if segment.reader.segment in wanted]
    if len(chosen) != len(wanted):
        return False
    options = await build_options(index, snapshot, index.progress)
    try:
        opened = await index.snapshots.whole(chosen)
    except ObjectNotFoundError as error:
        await index.log.refresh()
        if wanted <= {ref.id for ref in index.state.segments}:
            raise MissingObjectError(f"{error.message} is missing") from error
        return False
    merge = await index.runtime.offload(_merge, opened, index.spec, options)
    merged = None
    if merge.built is not None:
        merged = await store_segment(index, await reserve(index), merge.built)
    try:
        while (outcome := await _publish(index, merge, merged)) is None:
            pass
    except TextsChangedError:
        if merged is not None:
            await release(index, merged.id)
        raise
    if merged is not None and not outcome:
        await release(index, merged.id)
    return outcome


def _merge(opened: Sequence[OpenSegment], spec: IndexSpec, options: BuildOptions) -> Merge:
    live = [segment.live() for segment in opened]
    mapping = {reader.segment: np.full(reader.rows, -1, np.int64) for reader, _ in opened}
    source = SegmentsSource([reader for reader, _ in opened], live, spec.dimension)
    if not source.rows:
        return Merge(None, mapping)
    built = build_segment(source, spec, options)
    became = np.empty(source.rows, np.int64)
    became[built.order] = np.arange(source.rows)
    position = 0
    for (reader, _), rows in zip(opened, live, strict=True):
        mapping[reader.segment][rows] = became[position : position + len(rows)]
        position += len(rows)
    return Merge(built, mapping)


async def _publish(index: NativeIndex, merge: Merge, merged: SegmentRef | None) -> bool | None:
    """Publish as of the newest commit; None when another checkpoint came first and it has to be tried again."""
    async with index.maintenance.publishing:
        draft = await begin(index)
        if not merge.rows.keys() <= {ref.id for ref in draft.contents.segments}:
            return False
        kept = [ref for ref in bury(draft.contents.segments, draft.snapshot) if ref.id not in merge.rows]
        reserved = draft.contents.reserved
        added = []
        if merged is not None:
            check_reserved(reserved, merged.id)
            draft.check_texts(merged)
            reserved = without(reserved, merged.id)
            added.append(merged.with_dead(_moved_tombstones(merge, draft.snapshot.segments)))
        added += await store_tail(index, draft)
        won = await publish(index, draft, kept + added, added, reserved)
        if merged is not None:
            won = not await is_there(index, merged.id)
        return True if won else None


def _moved_tombstones(merge: Merge, segments: Sequence[OpenSegment]) -> BitMap:
    """Rows of the merged segment whose originals died since the merge began."""
    dead = BitMap()
    for reader, hidden in segments:
        if reader.segment in merge.rows:
            became = merge.rows[reader.segment][row_numbers(hidden)]
            dead |= BitMap(became[became >= 0].astype(np.uint32))
    return dead
