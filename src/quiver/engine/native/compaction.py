"""Compaction: segments of one size tier become one, and tombstoned rows disappear.

The merge reads a fixed set of segments while writes and flushes go on. Then, as of the newest commit, it is
published: tombstones that its inputs gained meanwhile move to the merged segment. Whoever loses the race for the
next generation tries again from the checkpoint that won; the merged rows are kept and only written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from pyroaring import BitMap

from quiver.engine.native.flush import begin, bury, publish, store_segment, store_tail
from quiver.model.types import VectorBatch
from quiver.storage.segment_writer import build_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.settings import NativeSettings
    from quiver.engine.native.snapshot import OpenSegment
    from quiver.engine.native.state import SegmentRef
    from quiver.storage.segment_writer import BuiltSegment

_ATTEMPTS = 8
_SMALLEST_TIER = 1 << 20  # bytes: everything below is one tier


class Merge(NamedTuple):
    """Merged segments, not yet published.

    Attributes:
        rows: for each input id, the row of the merged segment that each of its rows became; -1 where it was dead.
    """

    built: BuiltSegment | None
    rows: dict[str, NDArray[np.int64]]


def choose(segments: Sequence[SegmentRef], settings: NativeSettings) -> list[SegmentRef]:
    """The segments to merge next by size tier; [] when none need it. Mostly dead segments are rewritten alone."""
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
    return []


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

    Raises StoreRefusedError, StoreUnavailableError, DataError.
    """
    wanted = set(inputs)
    snapshot = await index.snapshots.take()
    opened = [segment for segment in snapshot.segments if segment.reader.segment in wanted]
    if len(opened) != len(wanted):
        return False
    merge = await index.runtime.offload(_merge, opened, index)
    for _ in range(_ATTEMPTS):
        outcome = await _publish(index, merge)
        if outcome is not None:
            return outcome
    return False


def _merge(opened: Sequence[OpenSegment], index: NativeIndex) -> Merge:
    keys: list[str] = []
    metadata: list[bytes] = []
    vectors = []
    sources = []
    for reader, dead in opened:
        live = np.setdiff1d(np.arange(reader.rows), np.array(dead, np.int64))
        keys += [reader.key(row) for row in live.tolist()]
        metadata += [reader.metadata_of(row) for row in live.tolist()]
        vectors.append(reader.take_vectors(live))
        sources.append(live)
    mapping = {reader.segment: np.full(reader.rows, -1, np.int64) for reader, _ in opened}
    if not keys:
        return Merge(None, mapping)
    built = build_segment(VectorBatch(keys, np.concatenate(vectors), metadata), index.spec)
    became = np.empty(len(keys), np.int64)
    became[built.order] = np.arange(len(keys))
    position = 0
    for (reader, _), live in zip(opened, sources, strict=True):
        mapping[reader.segment][live] = became[position : position + len(live)]
        position += len(live)
    return Merge(built, mapping)


async def _publish(index: NativeIndex, merge: Merge) -> bool | None:
    """Publish as of the newest commit; None when the generation was lost and another attempt makes sense."""
    draft = await begin(index)
    if not merge.rows.keys() <= {ref.id for ref in draft.segments}:
        return False
    kept = [ref for ref in bury(draft.segments, draft.snapshot) if ref.id not in merge.rows]
    if merge.built is not None:
        merged = await store_segment(index, draft, merge.built)
        dead = _moved_tombstones(merge, draft.snapshot.segments)
        kept.append(msgspec.structs.replace(merged, tombstones=dead.serialize() if dead else b""))
    return True if await publish(index, draft, kept + await store_tail(index, draft)) else None


def _moved_tombstones(merge: Merge, segments: Sequence[OpenSegment]) -> BitMap:
    """Rows of the merged segment whose originals died since the merge began."""
    dead = BitMap()
    for reader, hidden in segments:
        if reader.segment in merge.rows:
            became = merge.rows[reader.segment][np.array(hidden, np.int64)]
            dead |= BitMap(became[became >= 0].astype(np.uint32))
    return dead
