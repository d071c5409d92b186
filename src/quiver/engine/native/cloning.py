"""Clones: a new index whose first checkpoint names segments of another, so that no byte is copied.

First a pin at the source, so that garbage collection keeps the segments; then the clone's first checkpoint; then
its maker gives it a name. A maker that goes away after the first step is found out when the source's garbage is
collected (pins.release), one that goes away after the second by the operator's (Administration.collect).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.engine.native import pins
from quiver.engine.native.burial import Blind, bury
from quiver.engine.native.state import IndexCheckpoint, contents_of, encode_checkpoint
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import UnavailableError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog, LogSealedError
from quiver.storage.garbage import store_time

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.state import Pin
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

GIVEN_UP = "The clone was given up while it was being made; try again, or collect garbage at a greater age"


async def clone(index: NativeIndex, clone_id: str, snapshot: str | None) -> Pin:
    """See Pinning.clone; the pin that holds the clone's segments."""
    pin = await pins.add(index, "", clone_id, snapshot)
    index.runtime.reach("clone:pinned")
    segments = [ref.seen_from_elsewhere(index.index_id) for ref in pin.segments]
    contents = IndexCheckpoint(index.spec, segments, origin=index.index_id, texts=pin.texts)
    first = Checkpoint(1, 0, False, {}, 0, encode_checkpoint(contents))
    checkpoints = CheckpointStore(index.store, index.runtime, paths.index_root(clone_id), clone_id)
    if not await checkpoints.create(first, index.runtime.new_id()):
        raise UnavailableError(GIVEN_UP)
    index.runtime.reach("clone:created")
    return pin


async def is_unborn(store: ObjectStore, runtime: Runtime, index_id: str, age: float) -> bool:
    """See Pinning.unborn. A deletion that was cut short is finished."""
    root = paths.index_root(index_id)
    checkpoints = CheckpointStore(store, runtime, root, index_id)
    if not _is_open_clone(await checkpoints.settled()):
        return False
    await bury(store, runtime, index_id)
    newest = await checkpoints.settled()
    if newest is None or not _is_open_clone(newest):
        return False
    key = paths.checkpoint_key(root, newest.generation)
    created = [info.modified for info in await store.list(key) if info.key == key]
    return bool(created) and created[0] + age <= await store_time(store, runtime, root)


def _is_open_clone(newest: Checkpoint | None) -> bool:
    contents = contents_of(newest)
    return newest is not None and not newest.sealed and contents is not None and contents.origin != ""


async def abandon(store: ObjectStore, runtime: Runtime, index_id: str) -> None:
    """See Pinning.abandon."""
    log = CommitLog(store, runtime, paths.index_root(index_id), index_id, Blind())
    await log.refresh()
    if not log.sealed:
        with suppress(LogSealedError):  # another was quicker
            await log.append(Part(PartKind.SEAL, b""))
    await bury(store, runtime, index_id)
