"""Checks a log whole: every entry and checkpoint, and that none is missing between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quiver.format import log_entry, paths
from quiver.format.envelope import Kind, decode
from quiver.model.errors import DataError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog
from quiver.storage.opening_store import OpeningStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quiver.format.checkpoint import Checkpoint
    from quiver.format.paths import ObjectName
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.commit_log import Machine


class Flaw(NamedTuple):
    """One thing that is wrong: with which object, or under which prefix, and what."""

    key: str
    problem: str


async def audit_log(store: ObjectStore, runtime: Runtime, root: str, owner: str, machine: Machine) -> list[Flaw]:
    """Everything wrong with the log under `root`, [] when it is sound and `machine` can replay it.

    Not noticed is what leaves no trace elsewhere: that the last entry is missing, or a last checkpoint whose
    predecessor is there with the log past it.
    Raises StoreUnavailableError.
    """
    checkpoints = CheckpointStore(store, runtime, root, owner)
    flaws: list[Flaw] = []
    names: list[ObjectName] = []
    newest: Checkpoint | None = None
    for info in await store.list(root):
        name = paths.classify(root, info.key)
        names.append(name)
        try:
            if name.kind == "log":
                _, payload = decode(Kind.LOG_ENTRY, info.key, owner, await store.get(info.key))
                log_entry.decode(info.key, payload)
            elif name.kind == "checkpoint":
                newest = await checkpoints.load(name.generation)  # they are listed in order
            elif name.kind == "opening":
                await OpeningStore(store, runtime, root, owner).load()
            elif name.kind == "unknown":
                flaws.append(Flaw(info.key, "not an object of Quiver"))
        except ObjectNotFoundError:
            continue  # collected since it was listed
        except DataError as error:
            flaws.append(Flaw(info.key, error.message))
    if not flaws:
        flaws += _missing(root, names, newest)
    if not flaws:
        try:
            await CommitLog(store, runtime, root, owner, machine).refresh()
        except DataError as error:
            flaws.append(Flaw(root, error.message))
    return flaws


def _missing(root: str, names: Iterable[ObjectName], newest: Checkpoint | None) -> Iterator[Flaw]:
    """The checkpoint, or the first entry of each gap in the log past the newest.

    Without any checkpoint a log that does not begin at the beginning lacks entries or a checkpoint.
    """
    if newest is not None and newest.sealed:
        return
    if newest is None and any(name.kind == "published" for name in names):
        yield Flaw(paths.checkpoint_prefix(root), "none is there, though one was published")
        return
    following = base = 1 + (newest.slot if newest else 0)
    last = max((name.slot for name in names), default=0)
    held = {name.slot for name in names if name.kind == "log" and name.slot >= base}
    for slot in sorted(held | {last + 1}):
        if slot > following:
            yield Flaw(paths.log_key(root, following), f"missing, and slot {last} was used")
            if newest is None and following == base:
                yield Flaw(paths.checkpoint_prefix(root), f"none is there that holds slots up to {slot - 1}")
        following = slot + 1
