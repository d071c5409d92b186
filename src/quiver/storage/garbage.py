"""Garbage collection: the only code that deletes.

In this order, each a reason to keep: the boundary (no log entry past the newest checkpoint), references (nothing
that it names), sequence (no segment of a generation yet to come), age last. Ages compare times of the
store's own clock only. A listing that fails ends the collection.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from quiver.format import paths
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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
    superseded = _superseded(root, listed)
    garbage = [
        info
        for info in listed
        if _is_garbage(root, info, checkpoint, named) and superseded.get(info.key, info.modified) + age <= now
    ]
    runtime.reach("gc:chosen")
    # Log entries go first and in slot order: what is left of the log never has a hole below its start.
    await store.delete([info.key for info in garbage if paths.classify(root, info.key).kind == "log"])
    runtime.reach("gc:log_deleted")
    await store.delete([info.key for info in garbage if paths.classify(root, info.key).kind != "log"])
    return garbage


def _supersedes(root: str, info: ObjectInfo, newest: Checkpoint) -> bool:
    name = paths.classify(root, info.key)
    return name.kind == "checkpoint" and name.generation > newest.generation


def _superseded(root: str, listed: list[ObjectInfo]) -> dict[str, float]:
    """When each checkpoint but the newest got its successor; only then does its age begin.

    So a listing that takes less time than the age shows the newest checkpoint or the one before, in whatever
    order the store looks at its keys.
    """
    chain = sorted(
        (name.generation, info) for info in listed if (name := paths.classify(root, info.key)).kind == "checkpoint"
    )
    return {info.key: later.modified for (_, info), (_, later) in pairwise(chain)}


def _is_garbage(root: str, info: ObjectInfo, newest: Checkpoint, named: Collection[str]) -> bool:
    name = paths.classify(root, info.key)
    if name.kind == "log":
        return name.slot <= newest.slot
    if name.kind == "checkpoint":
        return name.generation < newest.generation
    if name.kind == "segment":
        return name.segment not in named and name.generation <= newest.generation
    return name.kind == "mark"


async def store_time(store: ObjectStore, runtime: Runtime, root: str) -> float:
    """What the store's clock says now: the time it gives to an object created for the purpose."""
    key = paths.mark_key(root, runtime.new_id())
    with suppress(ObjectExistsError):  # the answer to an earlier attempt was lost
        await store.put_new(key, [b"now"])
    marks = [info for info in await store.list(key) if info.key == key]
    await store.delete([key])
    return marks[0].modified if marks else 0.0
