"""Known-bad variants of snapshots and clones; `mutants` has them among all others."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from quiver.engine.native import burial, engine, maintenance, pins
from quiver.engine.native.state import IndexCheckpoint, Pin, contents_of, encode_checkpoint
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.service.administration import Administration
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def unpinned(checkpoint: Checkpoint | None) -> set[str]:
    """What a checkpoint names, but for its pins."""
    contents = contents_of(checkpoint)
    if contents is None:
        return set()
    reserved = {one.segment for one in contents.reserved if not one.published}
    return {ref.id for ref in contents.segments} | reserved


def with_pins_unknown_to_collection() -> AbstractContextManager[Any]:
    return patch.object(maintenance, "references_of", unpinned)


def with_clones_of_clones_unknown_to_release() -> AbstractContextManager[Any]:
    """A source lets go of what its clone reads no more, although a clone of that does.

    It shows so seldom that nodes ask for the end of a log as they did in the run that it was found in.
    """

    async def unknown(self: CommitLog) -> bool:
        return False

    stack = ExitStack()
    stack.enter_context(patch.object(pins, "references_of", unpinned))
    stack.enter_context(patch.object(CommitLog, "_stands_last", unknown))
    return stack


def with_pins_buried() -> AbstractContextManager[Any]:
    """A deleted index takes with it what its clones read."""
    return patch.object(burial, "_remains", lambda checkpoint: b"")


def with_the_pin_after_the_clone() -> AbstractContextManager[Any]:
    async def clone(index: Any, clone_id: str, snapshot: str | None) -> Pin:
        await pins._flush(index)
        contents = await pins.read(index)
        named = contents.segments if snapshot is None else pins.snapshot_of(contents, snapshot).segments
        segments = [ref.seen_from_elsewhere(index.index_id) for ref in named]
        state = encode_checkpoint(IndexCheckpoint(index.spec, segments, origin=index.index_id))
        checkpoints = CheckpointStore(index.store, index.runtime, paths.index_root(clone_id), clone_id)
        await checkpoints.create(Checkpoint(1, 0, False, {}, 0, state), index.runtime.new_id())
        index.runtime.reach("clone:created")
        return await pins.add(index, "", clone_id, snapshot)

    return patch.object(engine, "clone", clone)


def with_overdue_clones_not_kept_from_coming() -> AbstractContextManager[Any]:
    """A pin is dropped when its clone is late, and the clone comes all the same."""

    async def needed(store: Any, runtime: Any, pin: Pin, *, overdue: bool) -> set[str] | None:
        newest = await CheckpointStore(store, runtime, paths.index_root(pin.holder), pin.holder).settled()
        if newest is None:
            return set() if overdue else None
        return pins.references_of(newest)

    return patch.object(pins, "_needed", needed)


def with_nameless_clones_deleted_at_sight() -> AbstractContextManager[Any]:
    """A clone without a name is deleted, and may get it at the same moment."""

    async def release(self: Administration, age: float) -> None:
        stored = await self.stored()
        for each in stored:
            if each.named is None and await self._upkeep.unborn(each.index_id, age):
                await self._upkeep.abandon(each.index_id)
        while any([await self._upkeep.release(each.index_id, age) for each in stored]):
            pass

    return patch.object(Administration, "_release", release)


def with_snapshots_before_the_flush() -> AbstractContextManager[Any]:
    """A snapshot holds what the last checkpoint held."""

    async def nothing(index: Any) -> None:
        await pins.read(index)

    return patch.object(pins, "_flush", nothing)
