"""Clients that take snapshots and clone, beside those that create, fill, read and delete what they clone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from quiver.engine.native.pins import NO_SNAPSHOT
from quiver.format import paths
from quiver.model.errors import BusyError, ConflictError, NotFoundError, RetryError
from quiver.objectstore.store import StoreRefusedError
from quiver.service.catalog_state import INDEX_ABANDONED, NO_INDEX
from simulation.catalog_history import Asked
from simulation.catalog_workload import BUCKETS, CatalogWorkload
from simulation.checkers.history import Violation
from simulation.clone_history import Cloned, CloneHistory, Missed, Seen, Taken
from simulation.workload import ZOMBIES_HAVE_LANDED
from simulation.world import Node, NodeDownError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from quiver.service.snapshot_operations import SnapshotOperations
    from simulation.catalog_history import Name
    from simulation.catalog_node import CatalogNode

BUCKET = BUCKETS[0]
CLONE_NAMES: tuple[Name, ...] = tuple((BUCKET, f"index-{letter}") for letter in "abcd")
SNAPSHOTS = ("one", "two")


class CloneWorkload(CatalogWorkload):
    """Nodes, nemesis and maintainers as in any workload."""

    history: CloneHistory

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.history = CloneHistory()
        self._dimensions = dict.fromkeys(CLONE_NAMES, 2)
        self._has_bucket = False
        self._alive: dict[Name, None] = {}

    # -- requests

    async def _request(self, node: Node) -> None:
        if not self._has_bucket:
            asked = await self.ask(node, "CreateVectorBucket", vectorBucketName=BUCKET)
            self._has_bucket = asked.body is not None or isinstance(asked.error, ConflictError)
            return
        random = self.world.random
        alive = list(self._alive)
        name = random.choice(alive if alive and random.random() < 0.8 else CLONE_NAMES)
        choices: Sequence[tuple[int, Callable[[], Any]]] = (
            (0 if alive else 40, lambda: self.create_index(node, name)),
            (7, lambda: self.delete_index(node, name)),
            (30, lambda: self.put(node, name)),
            (8, lambda: self.delete_vectors(node, name)),
            (6, lambda: self.get(node, name)),
            (8, lambda: self.list(node, name)),
            (4, lambda: self.query(node, name)),
            (9, lambda: self.take(node, name)),
            (3, lambda: self.list_snapshots(node, name)),
            (4, lambda: self.drop(node, name)),
            (16, lambda: self.clone(node, name)),
        )
        ((_, request),) = random.choices(choices, [weight for weight, _ in choices])
        await request()

    async def ask(self, node: Node, operation: str, **params: Any) -> Asked:
        """The same, and remember which indexes there are, about."""
        asked = await super().ask(node, operation, **params)
        if "indexName" in params:
            self._remember(
                asked, (params["vectorBucketName"], params["indexName"]), there=operation != "DeleteIndex"
            )
        return asked

    def _remember(self, asked: Asked, name: Name, *, there: bool) -> None:
        if asked.body is not None and there:
            self._alive[name] = None
        elif asked.body is not None or isinstance(asked.error, NotFoundError):
            self._alive.pop(name, None)

    def _tell_missing(self, asked: Asked, name: Name) -> None:
        self.history.missed.append(Missed(asked.call, asked.end, name))

    def _snapshots(self, node: Node) -> SnapshotOperations:
        return self._nodes[node].administration.snapshots

    async def _attempt(self, node: Node, name: Name, what: str, work: Coroutine[Any, Any, Any]) -> Asked:
        """One request about an index, until it is answered, refused, or given up; `body` holds the answer."""
        asked = Asked(self.world.loop.time())
        self.history.requests += 1
        try:
            async with asyncio.timeout(self.plan.patience):
                asked.body = {"answer": await node.call(work)}
        except (NotFoundError, ConflictError, BusyError, StoreRefusedError) as error:
            asked.error = error
        except (RetryError, NodeDownError, TimeoutError) as error:
            self.history.unknown += 1
            self._note(what, "unknown", type(error).__name__)
            return asked
        asked.end = self.world.loop.time()
        self._note(what, node.name, repr(asked.body), repr(asked.error))
        if isinstance(asked.error, NotFoundError) and asked.error.message == NO_INDEX:
            self._tell_missing(asked, name)
        return asked

    def _see(self, asked: Asked, name: Name, snapshot: str, *, there: bool, gone_then: bool = False) -> None:
        self.history.seen.append(Seen(asked.call, asked.end, name, snapshot, there, gone_then))

    async def take(self, node: Node, name: Name) -> Asked:
        snapshot = self.world.random.choice(SNAPSHOTS)
        asked = await self._attempt(node, name, "snapshot", self._snapshots(node).create(*name, snapshot))
        if asked.body is not None:
            commit = asked.body["answer"].commit
            self.history.taken.append(Taken(asked.call, asked.end, name, snapshot, commit))
        elif isinstance(asked.error, ConflictError):
            self._see(asked, name, snapshot, there=True)
        return asked

    async def list_snapshots(self, node: Node, name: Name) -> None:
        asked = await self._attempt(node, name, "snapshots", self._snapshots(node).list(*name))
        if asked.body is not None:
            shown = [each.name for each in asked.body["answer"]]
            if len(set(shown)) != len(shown):
                raise Violation(f"snapshots of {name} are {shown}")
            for snapshot in SNAPSHOTS:
                self._see(asked, name, snapshot, there=snapshot in shown)

    async def drop(self, node: Node, name: Name) -> None:
        snapshot = self.world.random.choice(SNAPSHOTS)
        asked = await self._attempt(node, name, "delete snapshot", self._snapshots(node).delete(*name, snapshot))
        if asked.body is not None:
            self._see(asked, name, snapshot, there=True, gone_then=True)
        elif is_no_snapshot(asked.error):
            self._see(asked, name, snapshot, there=False)

    async def clone(
        self, node: Node, name: Name, snapshot: str | None = None, target: Name | None = None
    ) -> Asked:
        random = self.world.random
        if target is None:
            free = [each for each in CLONE_NAMES if each not in self._alive]
            target = random.choice(free or CLONE_NAMES)
            snapshot = random.choice([None, *SNAPSHOTS])
            self._disturb(node)
        asked = await self._attempt(node, name, "clone", self._snapshots(node).clone(*name, *target, snapshot))
        if asked.body is not None:
            commit = asked.body["answer"].commit
            self.history.clones.append(Cloned(asked.call, asked.end, name, snapshot, target, commit))
            self._dimensions[target] = self._dimensions[name]
            self._remember(asked, target, there=True)
        elif snapshot is not None and is_no_snapshot(asked.error):
            self._see(asked, name, snapshot, there=False)
        elif isinstance(asked.error, ConflictError) and asked.error.message == INDEX_ABANDONED:
            self.world.reached["clone:refused"] += 1
        return asked

    def _disturb(self, node: Node) -> None:
        """Have the node die or stall in the middle of cloning, where nodes do so at all."""
        random, faults = self.world.random, self.world.faults
        point = random.choice(("clone:pinned", "clone:created"))
        if faults.kill + faults.crash and random.random() < 0.15:
            node.crash_at = point
        elif faults.pause + faults.stall + faults.stall_upkeep and random.random() < 0.3:
            node.pause_at[point] = random.uniform(1, 60)

    # -- the end

    async def _settle(self) -> CatalogNode:
        """All that is left can be read, snapshots by their clones; when all is deleted, nothing is left."""
        node = await self._fresh()
        await self._read_everything(node)
        await asyncio.sleep(ZOMBIES_HAVE_LANDED)
        await self._check(node)
        await self._collect(node)
        await self._read_everything(node)
        await self._read_snapshots(node)
        await node.call(self._nodes[node].compact())
        await self._collect(node)
        fresh = await self._fresh()
        await self._read_everything(fresh)
        await self._check(fresh)
        for name in await self._named(fresh):
            await self._must(fresh, "a deletion", self._delete, name)
        await asyncio.sleep(ZOMBIES_HAVE_LANDED)  # maintenance that was under way has ended
        await self._collect(fresh)
        self._check_empty()
        return self._nodes[fresh]

    async def _delete(self, node: Node, name: Name) -> Asked:
        return await self.ask(node, "DeleteIndex", vectorBucketName=name[0], indexName=name[1])

    async def _collect(self, node: Node) -> None:
        """Twice, because clones whose makers went away are given up on the way."""
        for _ in range(2):
            await node.call(self._nodes[node].collect_garbage(0.0))

    async def _read_everything(self, node: Node) -> None:
        for name in await self._named(node):
            for request in (self.get, self.list, self.query):
                await self._must(node, request.__name__, request, name)

    async def _read_snapshots(self, node: Node) -> None:
        """Clone each snapshot there is, and read the clone."""
        for name in await self._named(node):
            for each in await node.call(self._snapshots(node).list(*name)):
                target = (BUCKET, f"{name[1]}-{each.name}-{self.history.new_value()}")
                self._dimensions[target] = self._dimensions[name]
                asked = await self.clone(node, name, each.name, target)
                if asked.body is None:
                    raise Violation(f"a snapshot cannot be cloned although everything has healed: {asked.error!r}")
                await self._must(node, "list", self.list, target)

    def _check_empty(self) -> None:
        """Of each index there is one checkpoint, and the word that there has been one."""
        kinds: dict[str, list[str]] = {}
        for key in self.world.backing.objects:
            index_id = paths.index_of(key)
            if index_id is not None:
                kinds.setdefault(index_id, []).append(paths.classify(paths.index_root(index_id), key).kind)
        left = {
            index_id: kind
            for index_id, kind in kinds.items()
            if sorted(kind) not in (["checkpoint"], ["checkpoint", "published"])
        }
        if left:
            raise Violation(f"all indexes are deleted, and this is left: {left}")


def is_no_snapshot(error: Exception | None) -> bool:
    """Whether it says that the snapshot is not there: the index is."""
    return isinstance(error, NotFoundError) and error.message == NO_SNAPSHOT
