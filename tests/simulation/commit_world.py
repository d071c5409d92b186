"""A simulated world whose store is a commit store: a bucket without conditions, and a table that decides.

The judges look at `World.backing`: it holds what the table says exists, with the bodies. The bucket is a second
backing that overwrites. Both lose answers, delay requests and apply them late, as the seed's faults say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.commit_store import CommitStore, body_key
from quiver.objectstore.commit_table import OBJECTS, UPLOADS, CommitTable, Item
from quiver.objectstore.store import StoreRefusedError
from simulation.store import GIVES_UP_AFTER, Backing, SimulatedStore
from simulation.world import Node, World

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from simulation.faults import Faults


class Bucket(Backing):
    """The bodies. A put overwrites whatever is there."""

    def create(self, key: str, body: bytes) -> bool:
        assert self.objects.get(key, (body,))[0] == body, "two bodies under one token"
        self.objects.pop(key, None)
        return super().create(key, body)


class CommitWorld(World):
    """Nodes reach their data through commit stores over one bucket and one table."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        super().__init__(seed, faults)
        self.bucket = Bucket(self.loop, self.random, self.faults, self.events)
        self.items: dict[tuple[str, str], Item] = {}

    def start_node(self) -> Node:
        node = super().start_node()
        node.store = SimulatedCommitStore(self, node)  # type: ignore[assignment]
        return node

    def heal(self) -> None:
        super().heal()
        self.bucket.faults = self.faults


class SimulatedCommitStore(CommitStore):
    """One node's connections to the bucket and to the table."""

    def __init__(self, world: CommitWorld, node: Node) -> None:
        self._wires = (SimulatedStore(world.bucket, node.process), SimulatedTable(world, node))
        super().__init__(self._wires[0], self._wires[1], node.runtime)

    @property
    def unreachable_until(self) -> float:
        return self._wires[0].unreachable_until

    @unreachable_until.setter
    def unreachable_until(self, time: float) -> None:
        self._wires[0].unreachable_until = self._wires[1].wire.unreachable_until = time


class SimulatedTable(CommitTable):
    """One node's connection to the table. `wire` draws latencies and fates as a connection to a store does."""

    def __init__(self, world: CommitWorld, node: Node) -> None:
        self._world = world
        self._backing = world.backing
        self.wire = SimulatedStore(world.backing, node.process)

    async def now(self) -> float:
        return self._backing.now()

    async def create(self, item: Item) -> Item | None:
        return await self._change(lambda: self._create(item, item.body or b""))

    def _create(self, item: Item, body: bytes) -> Item | None:
        holder = self._world.items.get((OBJECTS, item.name))
        if holder is None:
            assert self._backing.create(item.name, body)
            self._world.items[OBJECTS, item.name] = item
        return holder

    async def announce(self, upload: Item) -> None:
        await self._change(lambda: self._world.items.update({(UPLOADS, upload.name): upload}))

    async def renew(self, upload: Item) -> bool:
        return await self._change(lambda: self._renew(upload))

    def _renew(self, upload: Item) -> bool:
        found = self._world.items.get((UPLOADS, upload.name))
        if found is None or found.leaving:
            return False
        self._world.items[UPLOADS, upload.name] = upload
        return True

    async def publish(self, item: Item) -> Item | None:
        found = await self._change(lambda: self._publish(item))
        if found == "gone":
            raise StoreUnavailableError("the upload took too long")
        return found

    def _publish(self, item: Item) -> Item | str | None:
        holder = self._world.items.get((OBJECTS, item.name))
        if holder is not None:
            return holder
        upload = self._world.items.get((UPLOADS, item.token))
        if upload is None or upload.leaving:
            return "gone"
        # What makes the whole safe: an object comes to exist with its body in place.
        body = self._world.bucket.objects[body_key(item.token)].body
        del self._world.items[UPLOADS, item.token]
        return self._create(item, body)

    async def read(self, name: str) -> Item | None:
        return await self.wire._read(lambda: self._world.items.get((OBJECTS, name)))

    async def list(self, space: str, prefix: str, after: str = "") -> list[Item]:
        return await self.wire._read(lambda: self._matching(space, prefix, after))

    def _matching(self, space: str, prefix: str, after: str) -> list[Item]:
        items = self._world.items
        names = sorted(n for s, n in items if s == space and n.startswith(prefix) and n > after)
        return [replace(items[space, name], body=None) for name in names]

    async def begin_removal(self, space: str, name: str) -> Item | None:
        return await self._change(lambda: self._begin(space, name))

    def _begin(self, space: str, name: str) -> Item | None:
        item = self._world.items.get((space, name))
        if item is None:
            return None
        if item.body is not None:
            self._forget(space, name)
            return None
        self._world.items[space, name] = replace(item, leaving=True)
        return self._world.items[space, name]

    async def finish_removal(self, space: str, item: Item) -> None:
        await self._change(lambda: self._finish(space, item))

    def _finish(self, space: str, item: Item) -> None:
        found = self._world.items.get((space, item.name))
        if found is not None and found.token == item.token:
            self._forget(space, item.name)

    def _forget(self, space: str, name: str) -> None:
        del self._world.items[space, name]
        if space == OBJECTS:
            self._backing.remove(name)

    async def _change(self, apply: Callable[[], Any]) -> Any:
        """One request that changes something, with what a put to a store may meet."""
        wire, faults = self.wire, self._backing.faults
        reply: asyncio.Future[Any] = self._backing.loop.create_future()
        arrival = wire._latency()
        fate = wire._fate(faults)
        if fate in {"cut_off", "fail_before", "conflict", "conflict_as_exists"}:
            wire._fail(reply, arrival, "503")
        elif fate == "refuse":
            wire._fail(reply, arrival, "no permission", StoreRefusedError)
        elif fate == "zombie":
            wire._request(self._backing.random.uniform(2, 20), apply)
            wire._fail(reply, GIVES_UP_AFTER, "timed out")
        elif fate in {"fail_after", "exists_after_own"}:
            wire._request(arrival, apply)
            wire._fail(reply, arrival + GIVES_UP_AFTER, "answer lost")
        else:
            answers: list[Any] = []
            wire._request(arrival, lambda: answers.append(apply()))
            wire._answer(reply, arrival + wire._latency(), lambda: answers[0])
        return await reply
