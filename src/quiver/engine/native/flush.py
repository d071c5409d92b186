"""Flush: the tail becomes a segment, and the rows it supersedes become tombstones of the older segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from quiver.engine.native.state import IndexCheckpoint, SegmentRef, encode_checkpoint
from quiver.format import paths
from quiver.model.types import VectorBatch
from quiver.storage.segment_writer import build_segment, write_segment

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.snapshot import Snapshot
    from quiver.format.checkpoint import Checkpoint
    from quiver.storage.segment_writer import BuiltSegment


async def flush(index: NativeIndex) -> bool:
    """Publish a checkpoint that holds everything committed so far. False when there was nothing to do, or when
    another node published first (whose checkpoint then holds the same rows).

    Raises StoreRefusedError, StoreUnavailableError, DataError; what was written is then an orphan that garbage
    collection removes.
    """
    drafts: list[Checkpoint] = []
    refs: list[list[SegmentRef]] = []

    def capture() -> None:
        drafts.append(index.log.draft_checkpoint(b""))
        refs.append(list(index.state.segments))

    snapshot = await index.snapshots.take(capture)
    draft, segments = drafts[-1], refs[-1]
    if draft.slot == snapshot.base_slot:
        return False
    batch = tail_rows(snapshot)
    segments = bury(segments, snapshot)
    if len(batch.keys):
        built = await index.runtime.offload(build_segment, batch, index.spec)
        segments.append(await store_segment(index, draft, built))
    return await publish(index, draft, segments)


def tail_rows(snapshot: Snapshot) -> VectorBatch:
    """The live rows of the tail."""
    keys: list[str] = []
    metadata: list[bytes] = []
    vectors = []
    for block, mask in snapshot.tail.blocks():
        chosen = np.flatnonzero(mask)
        vectors.append(block.vectors[chosen])
        keys += [block.keys[row] for row in chosen.tolist()]
        metadata += [block.metadata[row] for row in chosen.tolist()]
    return VectorBatch(keys, np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32), metadata)


def bury(segments: list[SegmentRef], snapshot: Snapshot) -> list[SegmentRef]:
    """The segments with every row dead at the snapshot among their tombstones; without those that died whole."""
    buried = []
    for ref, (_, dead) in zip(segments, snapshot.segments, strict=True):
        if len(dead) < ref.rows:
            buried.append(msgspec.structs.replace(ref, tombstones=dead.serialize() if dead else b""))
    return buried


async def store_segment(index: NativeIndex, draft: Checkpoint, built: BuiltSegment) -> SegmentRef:
    """Write a segment under the name of the checkpoint that will be the first to reference it.

    Garbage collection relies on that name: it leaves alone what a checkpoint yet to come may reference.
    """
    segment = paths.segment_id(draft.generation, draft.slot, index.runtime.new_id())
    await write_segment(index.store, index.runtime, index.root, index.index_id, segment, built)
    return SegmentRef(segment, built.footer.rows, built.nbytes)


async def publish(index: NativeIndex, draft: Checkpoint, segments: list[SegmentRef]) -> bool:
    """Create the checkpoint and adopt it; False when another node made one from the same base first."""
    state = encode_checkpoint(IndexCheckpoint(index.spec, segments))
    won = await index.log.publish_checkpoint(msgspec.structs.replace(draft, state=state))
    index.runtime.reach("checkpoint:published")
    await index.log.refresh()
    return won
