"""Pins: what snapshots and clones keep of an index rides in its checkpoints, beside its own segments.

So the chain of checkpoints stays the one authority on what garbage collection may remove. A pin of a clone stands
before the clone does, and shrinks to what the clone's newest checkpoint still names. That never grows: a clone has
segments of others from its first checkpoint only. It is pinned by the one index it was made from. The pin may name
segments that this index has from its own origin, and keeps them there as long as any other name of them would.

What changes pins changes the newest checkpoint alone, and reads no log.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from quiver.engine.engine import IndexSealedError
from quiver.engine.native.reservation import now
from quiver.engine.native.state import IndexCheckpoint, Pin, contents_of, encode_checkpoint, references_of
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.model.errors import ConflictError, NotFoundError, QuiverError, QuotaExceededError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import store_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.engine.native.index import NativeIndex
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import ObjectStore

MAX_PINS = 1_000
NO_SNAPSHOT = "The specified snapshot could not be found"
SNAPSHOT_EXISTS = "A snapshot with the specified name already exists"
TOO_MANY_PINS = f"An index can have at most {MAX_PINS} snapshots and clones"

NEVER_WAS = Checkpoint(1, 0, True, {}, 0, b"")
"""The first and last checkpoint of an index that shall not come to be."""


async def add(index: NativeIndex, name: str, holder: str = "", of: str | None = None) -> Pin:
    """Pin the index as it is now, or as a snapshot `of` it has it.

    Raises IndexSealedError, NotFoundError, ConflictError, QuotaExceededError, StoreRefusedError,
    StoreUnavailableError, DataError.
    """
    await _flush(index)
    created = await now(index)
    pin_id = index.runtime.new_id()

    def change(newest: Checkpoint, contents: IndexCheckpoint) -> list[Pin]:
        if newest.sealed:
            raise IndexSealedError
        if any(pin.id == pin_id for pin in contents.pins):
            return contents.pins
        _check_room(contents.pins, name)
        slot, segments, texts = newest.slot, contents.segments, contents.texts
        if of is not None:
            snapshot = snapshot_of(contents, of)
            slot, segments, texts = snapshot.slot, snapshot.segments, snapshot.texts
        return [*contents.pins, Pin(pin_id, name, created, slot, segments, holder, texts)]

    pins = await _amend(index.store, index.runtime, index.index_id, index.spec, change)
    await _adopt(index)
    return next(pin for pin in pins if pin.id == pin_id)


async def remove(index: NativeIndex, name: str) -> None:
    """Remove a snapshot. Raises IndexSealedError, NotFoundError, and what `add` raises of the store."""
    removed = snapshot_of(await read(index), name).id

    def change(_: Checkpoint, contents: IndexCheckpoint) -> list[Pin]:
        return [pin for pin in contents.pins if pin.id != removed]

    await _amend(index.store, index.runtime, index.index_id, index.spec, change)
    await _adopt(index)


async def _adopt(index: NativeIndex) -> None:
    """Stand on the checkpoint that was published; it is, whatever fails now."""
    with suppress(QuiverError):
        await index.log.refresh()
    index.maintenance.published()


async def read(index: NativeIndex) -> IndexCheckpoint:
    """What the newest checkpoint holds. Raises IndexSealedError, StoreUnavailableError, DataError."""

    def capture() -> IndexCheckpoint:
        if index.log.sealed:
            raise IndexSealedError
        return index.state.contents

    return await index.log.observe(capture)


async def release(store: ObjectStore, runtime: Runtime, index_id: str, age: float) -> bool:
    """See Pinning.release."""
    newest = await CheckpointStore(store, runtime, paths.index_root(index_id), index_id).settled()
    contents = contents_of(newest)
    held = [pin for pin in contents.pins if pin.holder] if contents else []
    if contents is None or not held:
        return False
    today = await store_time(store, runtime, paths.index_root(index_id))
    needed = {
        pin.id: segments
        for pin in held
        if (segments := await _needed(store, runtime, pin, overdue=pin.created + age <= today)) is not None
    }

    def change(_: Checkpoint, contents: IndexCheckpoint) -> list[Pin]:
        shrunk = [_shrink(pin, needed[pin.id]) if pin.id in needed else pin for pin in contents.pins]
        return [pin for pin in shrunk if pin.segments or pin.id not in needed]

    return await _amend(store, runtime, index_id, contents.spec, change) != contents.pins


async def _needed(store: ObjectStore, runtime: Runtime, pin: Pin, *, overdue: bool) -> set[str] | None:
    """The segments that the clone of a pin may still read; None for as long as it may be in the making.

    A pin in the making is left alone even if it is empty. Its maker may not know yet that it was published, would
    make it anew, then perhaps not empty, and would lose that one to whoever judged the first.

    A clone that is overdue may be about to come to be all the same, its maker having stalled. So its place is
    taken: either its first checkpoint is there, or it never will be.
    """
    checkpoints = CheckpointStore(store, runtime, paths.index_root(pin.holder), pin.holder)
    while (newest := await checkpoints.settled()) is None:
        if not overdue:
            return None
        await checkpoints.create(NEVER_WAS, runtime.new_id())
    return references_of(newest)


def _shrink(pin: Pin, needed: set[str]) -> Pin:
    return msgspec.structs.replace(pin, segments=[ref for ref in pin.segments if ref.id in needed])


def snapshot_of(contents: IndexCheckpoint, name: str) -> Pin:
    """The snapshot of this name. Raises NotFoundError."""
    for pin in contents.pins:
        if pin.name == name and not pin.holder:
            return pin
    raise NotFoundError(NO_SNAPSHOT)


def _check_room(pins: list[Pin], name: str) -> None:
    if name and any(pin.name == name for pin in pins):
        raise ConflictError(SNAPSHOT_EXISTS)
    if len(pins) >= MAX_PINS:
        raise QuotaExceededError(TOO_MANY_PINS)


async def _flush(index: NativeIndex) -> None:
    """Until the segments hold every commit acknowledged before the call. Raises IndexSealedError, ..."""

    def slots() -> tuple[int, int]:
        if index.log.sealed:
            raise IndexSealedError
        return index.log.slot, index.log.base_slot

    wanted, flushed = await index.log.observe(slots)
    while flushed < wanted:
        await index.maintenance.flush()
        _, flushed = await index.log.observe(slots)


async def _amend(
    store: ObjectStore,
    runtime: Runtime,
    index_id: str,
    spec: IndexSpec,
    change: Callable[[Checkpoint, IndexCheckpoint], list[Pin]],
) -> list[Pin]:
    """Publish the newest checkpoint again with other pins, until it has those that `change` makes of it; them.

    That a checkpoint could be created does not mean that it counts (see reservation.py), so the newest one is
    looked at again.
    """
    checkpoints = CheckpointStore(store, runtime, paths.index_root(index_id), index_id)
    while True:
        newest = await checkpoints.settled() or Checkpoint(0, 0, False, {}, 0, b"")
        contents = contents_of(newest) or IndexCheckpoint(spec, [])
        pins = change(newest, contents)
        if pins == contents.pins:
            return pins
        state = encode_checkpoint(msgspec.structs.replace(contents, pins=pins))
        draft = msgspec.structs.replace(
            newest, generation=newest.generation + 1, state=state if pins or not newest.sealed else b""
        )
        await checkpoints.create(draft, runtime.new_id())
        runtime.reach("checkpoint:published")
