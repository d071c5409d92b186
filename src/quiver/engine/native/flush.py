"""Flush: the tail becomes a segment, and the rows it supersedes become tombstones of the older segments."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from quiver.engine.native.state import SegmentRef, Volume, encode_checkpoint
from quiver.format import paths
from quiver.model.types import VectorBatch
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.row_source import BatchSource
from quiver.storage.segment_builder import BuildOptions, build_segment
from quiver.storage.segment_writer import write_index, write_rows
from quiver.text.analysis import ANALYSIS_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.snapshot import Snapshot
    from quiver.engine.native.state import IndexCheckpoint, Reservation
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.progress import Progress
    from quiver.model.types import Float32Matrix, TextField
    from quiver.storage.segment_builder import BuiltSegment


class Draft(NamedTuple):
    """A checkpoint in the making.

    Attributes:
        checkpoint: complete but for its state.
        contents: what the checkpoint underneath holds.
        snapshot: the index at the slot of `checkpoint`.
        tail_bytes: of the tail, about.
        active: text fields that can be searched now.
    """

    checkpoint: Checkpoint
    contents: IndexCheckpoint
    snapshot: Snapshot
    tail_bytes: int
    active: list[TextField]

    def check_texts(self, ref: SegmentRef) -> None:
        """Raises TextsChangedError when a text field could not be searched any more with this segment."""
        if ref.lacks(self.active):
            raise TextsChangedError


class TextsChangedError(Exception):
    """A text field came to be searchable while a segment without it was being built: build it again."""


async def flush(index: NativeIndex) -> bool:
    """Publish a checkpoint that holds everything committed so far. False when there was nothing to do, or when
    another node published first (whose checkpoint then holds the same rows).

    Raises StoreRefusedError, StoreUnavailableError, DataError; what was written is then an orphan that garbage
    collection removes.
    """
    draft = await begin(index)
    if draft.checkpoint.slot == draft.snapshot.base_slot:
        return False
    added = await store_tail(index, draft)
    return await publish(index, draft, bury(draft.contents.segments, draft.snapshot) + added, added)


async def begin(index: NativeIndex) -> Draft:
    """Draft a checkpoint as of the newest commit. Raises StoreUnavailableError, DataError."""
    drafts: list[tuple[Checkpoint, IndexCheckpoint, int, list[TextField]]] = []

    def capture() -> None:
        state = index.state
        active = [field for field in state.texts if state.is_active(field)]
        drafts[:] = [(index.log.draft_checkpoint(b""), state.contents, state.tail.nbytes, active)]

    snapshot = await index.snapshots.take(capture)
    checkpoint, contents, nbytes, active = drafts[0]
    return Draft(checkpoint, contents, snapshot, nbytes, active)


async def store_tail(
    index: NativeIndex,
    draft: Draft,
    superseded: Callable[[Sequence[str]], NDArray[np.bool_]] | None = None,
) -> list[SegmentRef]:
    """Write the tail's live rows as a segment; [] when there are none.

    Args:
        superseded: says which keys have newer rows elsewhere.
    """
    batch = tail_rows(draft.snapshot)
    if superseded is not None and batch.keys:
        newer = await index.snapshots.complete(partial(superseded, batch.keys))
        batch = batch.take(np.flatnonzero(~newer).tolist())
    if not batch.keys:
        return []
    options = await build_options(index, draft.snapshot, index.progress)
    built = await index.runtime.offload(build_segment, BatchSource(batch), index.spec, options)
    segment = paths.segment_id(draft.checkpoint.generation, draft.checkpoint.slot, index.runtime.new_id())
    return [await store_segment(index, segment, built)]


async def build_options(index: NativeIndex, snapshot: Snapshot, progress: Progress) -> BuildOptions:
    """How the index builds segments; partitioners start from the largest segment there is.

    Raises StoreUnavailableError, DataError.
    """
    start = None
    with suppress(ObjectNotFoundError):  # merged away and collected meanwhile: then they start from nothing
        start = await index.snapshots.complete(partial(_largest_origins, snapshot, index.spec.partitioner))
    return BuildOptions(index.settings.spool, index.settings.exact_floats, start, progress, snapshot.texts)


def _largest_origins(snapshot: Snapshot, partitioner: str) -> Float32Matrix | None:
    """Those of the largest segment with this partitioner; None when it is not divided."""
    alike = [reader for reader, _ in snapshot.segments if reader.structure[0] == partitioner]
    largest = max(alike, key=lambda reader: reader.rows, default=None)
    return largest.codes.origins if largest is not None and len(largest.codes.ends) > 1 else None


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
            buried.append(ref.with_dead(dead))
    return buried


async def store_segment(index: NativeIndex, segment: str, built: BuiltSegment) -> SegmentRef:
    """Write a segment. Its name has the generation of the checkpoint that will be the first to speak of it.

    Garbage collection relies on that: it leaves alone what a checkpoint yet to come may reference.
    """
    await write_rows(index.store, index.runtime, index.root, segment, built.rows_file)
    return await store_index(index, segment, built)


async def store_index(index: NativeIndex, segment: str, built: BuiltSegment) -> SegmentRef:
    """Write the index of a segment whose rows are there."""
    written = await write_index(index.store, index.runtime, index.root, index.index_id, segment, built)
    ref = SegmentRef(
        segment,
        built.footer.rows,
        built.nbytes,
        index_bytes=written.index_bytes,
        head_bytes=written.head_bytes,
        texts=list(built.texts),
        analysis=ANALYSIS_VERSION,
    )
    await index.snapshots.adopt(ref, written.head)
    return ref


async def publish(
    index: NativeIndex,
    draft: Draft,
    segments: list[SegmentRef],
    added: Sequence[SegmentRef],
    reserved: list[Reservation] | None = None,
    loaded_bytes: int = 0,
) -> bool:
    """Create the checkpoint and adopt it; False when another node made one from the same base first.

    Args:
        segments: all that the checkpoint names.
        added: those of them that are new.
        reserved: None for the reservations as they were.
        loaded_bytes: accepted past the log.
    """
    written = draft.tail_bytes + sum(ref.nbytes for ref in added)
    volume: Volume = draft.contents.volume.plus(draft.tail_bytes + loaded_bytes, written)
    kept = draft.contents.reserved if reserved is None else reserved
    texts = list(draft.snapshot.texts)
    contents = msgspec.structs.replace(
        draft.contents, segments=segments, reserved=kept, volume=volume, texts=texts
    )
    return await _create(index, msgspec.structs.replace(draft.checkpoint, state=encode_checkpoint(contents)))


async def _create(index: NativeIndex, checkpoint: Checkpoint) -> bool:
    won = await index.log.publish_checkpoint(checkpoint)
    index.runtime.reach("checkpoint:published")
    await index.log.refresh()
    if won:
        index.maintenance.published()
    return won
