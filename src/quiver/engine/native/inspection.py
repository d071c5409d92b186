"""What an index consists of, as its objects tell it (Upkeep.inspect)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.engine.native.state import Pin, SegmentRef, Volume, contents_of, references_of
from quiver.engine.pinning import Pinned
from quiver.engine.upkeep import IndexSummary, SegmentSummary
from quiver.format import paths
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.checkpoint_store import CheckpointStore

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore


async def newest_checkpoint(checkpoints: CheckpointStore) -> Checkpoint | None:
    """The newest checkpoint of a log, None when there is none. Raises DataError, StoreUnavailableError."""
    while True:
        generation = await checkpoints.newest(0)
        if generation is None:
            return None
        try:
            return await checkpoints.load(generation)
        except ObjectNotFoundError:
            continue  # a newer one has just replaced it


async def inspect_index(store: ObjectStore, runtime: Runtime, index_id: str) -> IndexSummary:
    """Reads the listing and the newest checkpoint, nothing else. Raises DataError, StoreUnavailableError."""
    root = paths.index_root(index_id)
    checkpoint = await newest_checkpoint(CheckpointStore(store, runtime, root, index_id))
    listed = await store.list(root)
    slot = checkpoint.slot if checkpoint else 0
    contents = contents_of(checkpoint)
    refs = contents.segments if contents else []
    volume = contents.volume if contents else Volume()
    names = [paths.classify(root, info.key) for info in listed]
    live = references_of(checkpoint)
    return IndexSummary(
        index_id,
        slot,
        sum(name.kind == "log" and name.slot > slot for name in names),
        checkpoint.sealed if checkpoint else False,
        [_summarise(ref) for ref in refs],
        sum(_unneeded(name, checkpoint, live) for name in names),
        len(listed),
        sum(info.size for info in listed),
        volume.accepted,
        volume.written,
        [shown(pin) for pin in contents.pins] if contents else [],
        contents.origin if contents else "",
    )


def shown(pin: Pin) -> Pinned:
    """A pin as an operator sees it. Raises CorruptObjectError."""
    rows = sum(ref.rows - len(ref.dead()) for ref in pin.segments)
    nbytes = sum(ref.nbytes for ref in pin.segments)
    return Pinned(pin.name, pin.holder, pin.created, pin.slot, rows, nbytes)


async def origin_of(store: ObjectStore, runtime: Runtime, index_id: str) -> str:
    """The index that this one was cloned from, "" when it was not. Raises DataError, StoreUnavailableError."""
    checkpoints = CheckpointStore(store, runtime, paths.index_root(index_id), index_id)
    contents = contents_of(await newest_checkpoint(checkpoints))
    return contents.origin if contents else ""


def _unneeded(name: paths.ObjectName, newest: Checkpoint | None, live: set[str]) -> bool:
    if name.kind == "segment":
        return name.segment not in live
    if newest is None:
        return name.kind == "mark"
    return (
        name.kind == "mark"
        or (name.kind == "opening" and newest.sealed)
        or (name.kind == "checkpoint" and name.generation < newest.generation)
        or (name.kind == "log" and name.slot <= newest.slot)
    )


def _summarise(ref: SegmentRef) -> SegmentSummary:
    return SegmentSummary(ref.id, ref.rows, len(ref.dead()), ref.nbytes, ref.home)
