"""Garbage collection: the only code that deletes, but for openings, which whoever replaces one deletes first.

In this order, each a reason to keep: the boundary (no log entry past any checkpoint that is still there),
references (nothing that the newest names), sequence (no segment of a generation yet to come), age last. Ages
compare times of the store's own clock only. A listing that fails ends the collection. An opening goes when it
holds copies of what is no more: of segments that may hold deleted rows, and of checkpoints before the newest.

Readers conclude from what is still there (CommitLog), so the order of deletion is a promise:

* Checkpoints go one after the other, oldest first, and none before its predecessor is gone for certain. So while
  a checkpoint is there, all that follow it are.
* Log entries go after checkpoints, and only those that every remaining checkpoint holds. So while a checkpoint is
  there, the log past it is whole.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from quiver.format import paths
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError
from quiver.storage.opening_store import OpeningStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectInfo, ObjectStore
    from quiver.storage.checkpoint_store import CheckpointStore


async def collect(
    store: ObjectStore,
    runtime: Runtime,
    root: str,
    checkpoints: CheckpointStore,
    age: float,
    references: Callable[[Checkpoint], Collection[str]],
) -> list[ObjectInfo]:
    """Remove what no reader, writer or maintainer of the log under `root` can need; what was removed.

    Args:
        age: seconds, by the store's clock, that an object is left alone after its creation.
        references: the ids of the segments that a checkpoint names.

    Raises: StoreUnavailableError, StoreRefusedError, DataError.
    """
    newest = await checkpoints.newest(0)
    if newest is None:
        return []
    try:
        checkpoint = await checkpoints.load(newest)
    except ObjectNotFoundError:
        return []  # a newer one exists: its collector is at work
    now = await store_time(store, runtime, root)
    listed = await store.list(root)
    if any(_supersedes(root, info, checkpoint) for info in listed):
        return []  # what was loaded may be a draft that lost, landed late in a generation already collected
    named = references(checkpoint)
    chain = _of_kind(root, listed, "checkpoint")
    superseded = _superseded(chain)

    def is_due(info: ObjectInfo) -> bool:
        since = superseded.get(info.key, info.modified)
        return _is_garbage(root, info, checkpoint, named) and since + age <= now

    expired = list(takewhile(is_due, chain))
    entries = [info for info in _of_kind(root, listed, "log") if is_due(info)]
    others = [
        info for kind in ("segment", "published", "mark") for info in _of_kind(root, listed, kind) if is_due(info)
    ]
    settled = max((info.modified for info in chain), default=now) + age <= now
    for info in _of_kind(root, listed, "opening"):
        if settled and info.modified + age <= now and await _is_stale(store, runtime, root, info, checkpoint):
            others.append(info)
    runtime.reach("gc:chosen")
    await _delete_in_order(store, runtime, expired)
    if entries:
        boundary = await _boundary(root, checkpoints, checkpoint, chain[len(expired) :])
        entries = [info for info in entries if paths.classify(root, info.key).slot <= boundary]
    await store.delete([info.key for info in entries])
    runtime.reach("gc:log_deleted")
    await store.delete([info.key for info in others])
    return [*expired, *entries, *others]


async def _is_stale(
    store: ObjectStore, runtime: Runtime, root: str, opening: ObjectInfo, newest: Checkpoint
) -> bool:
    """Whether the opening is not of the newest checkpoint, or of one that nobody begins with."""
    opened = OpeningStore(store, runtime, root, paths.index_of(opening.key) or "")
    return newest.sealed or await opened.generation() not in (None, newest.generation)


async def _delete_in_order(store: ObjectStore, runtime: Runtime, expired: Sequence[ObjectInfo]) -> None:
    """Each is gone before the next goes."""
    for info in expired:
        await store.delete([info.key])
        runtime.reach("gc:checkpoint_deleted")


async def _boundary(
    root: str, checkpoints: CheckpointStore, newest: Checkpoint, remaining: Sequence[ObjectInfo]
) -> int:
    """The last slot that the newest and every other remaining checkpoint holds.

    One that is no part of the chain, but a draft that landed late, may hold less or more than those around it.
    """
    boundary = newest.slot
    for info in remaining:
        generation = paths.classify(root, info.key).generation
        if generation < newest.generation:
            with suppress(ObjectNotFoundError):  # another collector was quicker
                boundary = min(boundary, (await checkpoints.load(generation)).slot)
    return boundary


def _of_kind(root: str, listed: Sequence[ObjectInfo], kind: str) -> list[ObjectInfo]:
    """In the order of their keys: for checkpoints that of the chain, for log entries that of slots."""
    return sorted(info for info in listed if paths.classify(root, info.key).kind == kind)


def _supersedes(root: str, info: ObjectInfo, newest: Checkpoint) -> bool:
    name = paths.classify(root, info.key)
    return name.kind == "checkpoint" and name.generation > newest.generation


def _superseded(chain: Sequence[ObjectInfo]) -> dict[str, float]:
    """When each checkpoint but the newest got its successor; only then does its age begin.

    So a listing that takes less time than the age shows the newest checkpoint or the one before, in whatever
    order the store looks at its keys.
    """
    return {info.key: later.modified for info, later in pairwise(chain)}


def _is_garbage(root: str, info: ObjectInfo, newest: Checkpoint, named: Collection[str]) -> bool:
    name = paths.classify(root, info.key)
    if name.kind == "log":
        return name.slot <= newest.slot
    if name.kind == "checkpoint":
        return name.generation < newest.generation
    if name.kind == "segment":
        return name.segment not in named and name.generation <= newest.generation
    if name.kind == "published":
        return newest.sealed
    return name.kind == "mark"


async def store_time(store: ObjectStore, runtime: Runtime, root: str) -> float:
    """What the store's clock says now: the time it gives to an object created for the purpose."""
    key = paths.mark_key(root, runtime.new_id())
    with suppress(ObjectExistsError):  # the answer to an earlier attempt was lost
        await store.put_new(key, [b"now"])
    marks = [info for info in await store.list(key) if info.key == key]
    await store.delete([key])
    return marks[0].modified if marks else 0.0
