"""Flush: the tail becomes a segment, and the rows it supersedes become tombstones of the older segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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


class Draft(NamedTuple):
    """A checkpoint in the making.

    Attributes:
        checkpoint: complete but for its state.
        segments: as the checkpoint underneath names them.
        snapshot: the index at the slot of `checkpoint`.
    """

    checkpoint: Checkpoint
    segments: list[SegmentRef]
    snapshot: Snapshot


async def flush(index: NativeIndex) -> bool:
    """Publish a checkpoint that holds everything committed so far. False when there was nothing to do, or when
    another node published first (whose checkpoint then holds the same rows).

    Raises StoreRefusedError, StoreUnavailableError, DataError; what was written is then an orphan that garbage
    collection removes.
    """
    draft = await begin(index)
    if draft.checkpoint.slot == draft.snapshot.base_slot:
        return False
    return await publish(index, draft, bury(draft.segments, draft.snapshot) + await store_tail(index, draft))


async def begin(index: NativeIndex) -> Draft:
    """Draft a checkpoint as of the newest commit. Raises StoreUnavailableError, DataError."""
    checkpoint: list[Checkpoint] = []
    segments: list[SegmentRef] = []

    def capture() -> None:
        checkpoint[:] = [index.log.draft_checkpoint(b"")]
        segments[:] = index.state.segments

    snapshot = await index.snapshots.take(capture)
    return Draft(checkpoint[0], segments, snapshot)


async def store_tail(index: NativeIndex, draft: Draft) -> list[SegmentRef]:
    """Write the tail's live rows as a segment; [] when there are none."""
    batch = tail_rows(draft.snapshot)
    if not batch.keys:
        return []
    built = await index.runtime.offload(build_segment, batch, index.spec)
    return [await store_segment(index, draft, built)]


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


async def store_segment(index: NativeIndex, draft: Draft, built: BuiltSegment) -> SegmentRef:
    """Write a segment under the name of the checkpoint that will be the first to reference it.

    Garbage collection relies on that name: it leaves alone what a checkpoint yet to come may reference.
    """
    segment = paths.segment_id(draft.checkpoint.generation, draft.checkpoint.slot, index.runtime.new_id())
    await write_segment(index.store, index.runtime, index.root, index.index_id, segment, built)
    return SegmentRef(segment, built.footer.rows, built.nbytes)


async def publish(index: NativeIndex, draft: Draft, segments: list[SegmentRef]) -> bool:
    """Create the checkpoint and adopt it; False when another node made one from the same base first."""
    state = encode_checkpoint(IndexCheckpoint(index.spec, segments))
    won = await index.log.publish_checkpoint(msgspec.structs.replace(draft.checkpoint, state=state))
    index.runtime.reach("checkpoint:published")
    await index.log.refresh()
    return won
