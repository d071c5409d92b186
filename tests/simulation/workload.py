"""Clients, maintainers and a nemesis over replicas, and the recorded history the checkers judge."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quiver.model.errors import BusyError, RequestError, RetryError
from quiver.objectstore.store import StoreRefusedError
from simulation.checkers.history import UNKNOWN, Kind, Operation, Violation
from simulation.replica import CLASSES, Answer, Replica
from simulation.world import Node, NodeDownError, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

REGISTERS = ("d0", "d1", "d2")
"""Keys put and deleted in any combination."""
UNIQUE = ("u0", "u1")
"""Keys only ever put."""
GROUP = ("g0", "g1", "g2")
"""Keys only ever put or deleted all together."""
KEYS = REGISTERS + UNIQUE + GROUP

ZOMBIES_HAVE_LANDED = 30.0
"""Seconds after which no request of a client that gave up is still under way."""


@dataclass(frozen=True)
class Snapshot:
    """One answer of many keys, asked for at `call` and given at `end`.

    Attributes:
        scope: the keys it would have shown, of class `value_class` if not None.
        limit: how many of them were asked for, None for all.
    """

    answer: Answer
    scope: tuple[str, ...]
    value_class: int | None
    limit: int | None
    source: str
    call: float
    end: float


@dataclass
class History:
    """What clients asked and were told. Writes that were refused leave no trace in it: they must never show."""

    operations: list[Operation] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)
    values: int = 0
    requests: int = 0
    unknown: int = 0

    def new_value(self) -> int:
        self.values += 1
        return self.values

    def wrote(
        self, kind: Kind, keys: Sequence[str], value: int | None, call: float, end: float, commit: int | None
    ) -> None:
        self.unknown += end == UNKNOWN
        self.operations += [Operation(call, end, kind, value, key, commit) for key in keys]

    def read(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        values, commit = snapshot.answer
        whole = snapshot.value_class is None and snapshot.limit is None
        for key in snapshot.scope:
            if whole or key in values:
                self.operations.append(
                    Operation(snapshot.call, snapshot.end, Kind.GET, values.get(key), key, commit)
                )


@dataclass(frozen=True)
class Plan:
    """The size and temper of one run, drawn from its seed.

    Attributes:
        duration: virtual seconds of work before everything heals.
        think: mean seconds between a client's requests.
        patience: seconds after which a client gives an answer up.
        maintenance: mean seconds between a node's flushes, compactions and collections.
        loads: the part of all requests that are loads, where the system has them.
    """

    nodes: int
    clients: int
    duration: float
    think: float
    patience: float
    maintenance: float
    loads: float

    @classmethod
    def draw(cls, world: World) -> Plan:
        random = world.random
        return cls(
            nodes=random.randint(2, 4),
            clients=random.randint(2, 5),
            duration=random.uniform(30, 60),
            think=random.choice([0.3, 1.0, 2.0]),
            patience=random.uniform(5, 45),
            maintenance=random.choice([0.5, 2.0, 6.0]),
            loads=0.04,
        )


class Workload:
    """Runs one plan against replicas made by `open_replica`, one per node."""

    def __init__(
        self, world: World, plan: Plan, open_replica: Callable[[Node], Coroutine[None, None, Replica]]
    ) -> None:
        self.world = world
        self.plan = plan
        self.history = History()
        self._open_replica = open_replica
        self._replicas: dict[Node, Replica] = {}
        self._finished = False
        self._newest_commit = 0

    async def run(self) -> Replica:
        """Work, heal, settle, and read everything from a fresh node; that node's replica."""
        for _ in range(self.plan.nodes):
            self._start_node()
        tasks = [asyncio.ensure_future(self._client()) for _ in range(self.plan.clients)]
        tasks.append(asyncio.ensure_future(self._nemesis()))
        work = asyncio.gather(*tasks)
        await work
        self._finished = True
        self.world.heal()
        return await self._settle()

    # -- nodes

    def _start_node(self) -> None:
        node = self.world.start_node()
        self._background(self._serve(node))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        self.world.loop.create_task(guarded(work, self.world))

    async def _serve(self, node: Node) -> None:
        """Open the node's replica and maintain it until the node dies."""
        while node.alive:
            try:
                self._replicas[node] = await node.call(self._open_replica(node))
                break
            except RetryError:
                await asyncio.sleep(1)
            except NodeDownError:
                return
        random = self.world.random
        while node.alive and not self._finished:
            await asyncio.sleep(random.expovariate(1 / self.plan.maintenance))
            replica = self._replicas[node]
            work = random.choice([replica.flush, replica.flush, replica.compact, replica.collect_garbage])
            try:
                await node.call(work())
            except (RetryError, NodeDownError):
                continue

    async def _nemesis(self) -> None:
        """Kill, pause, cut off and confuse nodes at the rates of the run's faults."""
        random, faults = self.world.random, self.world.faults
        while self.world.loop.time() < self.plan.duration:
            await asyncio.sleep(1)
            alive = [node for node in self.world.nodes if node.alive]
            for node in alive:
                if random.random() < faults.kill / 60:
                    node.kill()
                if random.random() < faults.pause / 60:
                    node.pause(random.uniform(5, 90))
                if random.random() < faults.partition / 60:
                    node.cut_off(random.uniform(1, 30))
                if random.random() < faults.clock_jump / 60:
                    node.runtime.clock_offset += random.uniform(-3600, 600)
            if len([node for node in alive if node.alive]) < self.plan.nodes and random.random() < 0.5:
                self._start_node()

    # -- clients

    async def _client(self) -> None:
        random = self.world.random
        while self.world.loop.time() < self.plan.duration:
            await asyncio.sleep(random.expovariate(1 / self.plan.think))
            serving = [node for node in self.world.nodes if node.alive and node in self._replicas]
            awake = [node for node in serving if not node.paused]
            if awake and random.random() < 0.9:  # as a load balancer with health checks would
                serving = awake
            if serving:
                await self._request(random.choice(serving))

    async def _request(self, node: Node) -> None:
        random, replica = self.world.random, self._replicas[node]
        draw = random.random()
        if draw < 0.55:
            keys, deletable = self._draw_keys()
            if deletable and draw < 0.12:
                await self.write(node, Kind.DELETE, keys, None)
            elif replica.loads and draw < 0.12 + self.plan.loads:
                await self.write(node, Kind.PUT, keys, self.history.new_value(), load=True)
            else:
                await self.write(node, Kind.PUT, keys, self.history.new_value())
        elif draw < 0.75:
            keys = random.choice([GROUP, UNIQUE, (random.choice(REGISTERS),), KEYS])
            if replica.lag is not None and random.random() < 0.4:
                await self._glance(node, keys)
            else:
                await self.read(node, lambda: replica.get(keys), keys, None, "get")
        elif draw < 0.85:
            await self.read(node, replica.list, KEYS, None, "list")
        else:
            value_class = random.choice([None, random.randrange(CLASSES)])
            limit = random.choice([None, None, 1, 2, 4])
            await self.read(node, lambda: replica.query(value_class, limit), KEYS, value_class, "query", limit)

    async def _glance(self, node: Node, keys: tuple[str, ...]) -> None:
        """An eventual read, half of the time of no less than the latest commit that any client knows of."""
        replica = self._replicas[node]
        at_least = self._newest_commit if self.world.random.random() < 0.5 else 0

        async def ask() -> Answer:
            answer = await replica.glance(keys, at_least)
            if answer.commit < at_least:
                raise Violation(f"a read of at least {at_least} is answered at {answer.commit}")
            return answer

        await self.read(node, ask, keys, None, "glance", lag=replica.lag or 0.0)

    def _draw_keys(self) -> tuple[tuple[str, ...], bool]:
        random = self.world.random
        draw = random.random()
        if draw < 0.4:
            return GROUP, True
        if draw < 0.7:
            return tuple(random.sample(REGISTERS, random.randint(1, len(REGISTERS)))), True
        return tuple(random.sample(REGISTERS + UNIQUE, random.randint(1, 4))), False

    async def write(
        self, node: Node, kind: Kind, keys: Sequence[str], value: int | None, *, load: bool = False
    ) -> bool | None:
        """One write, recorded; True when it was acknowledged, False when refused, None when unknown."""
        replica, history, loop = self._replicas[node], self.history, self.world.loop
        call = loop.time()
        history.requests += 1
        if load:
            history.loaded.update(keys)
            work: Coroutine[None, None, int | None] = replica.load(keys, value)
        else:
            work = replica.delete(keys) if value is None else replica.put(keys, value)
        try:
            async with asyncio.timeout(self.plan.patience):
                commit = await node.call(work)
        except (RequestError, BusyError, StoreRefusedError) as error:
            self._note("refused", kind, keys, value, type(error).__name__)
            return False
        except (RetryError, NodeDownError, TimeoutError) as error:
            self._note("unknown", kind, keys, value, type(error).__name__)
            history.wrote(kind, keys, value, call, UNKNOWN, None)
            return None
        self._note("wrote", kind, keys, value, commit)
        self._newest_commit = max(self._newest_commit, commit or 0)
        history.wrote(kind, keys, value, call, loop.time(), commit)
        return True

    async def read(
        self,
        node: Node,
        ask: Callable[[], Coroutine[None, None, Answer]],
        scope: tuple[str, ...],
        value_class: int | None,
        source: str,
        limit: int | None = None,
        lag: float = 0.0,
    ) -> bool:
        """One read, recorded when answered; whether it was. One that may lag behind counts as called earlier."""
        call = self.world.loop.time() - lag
        self.history.requests += 1
        try:
            async with asyncio.timeout(self.plan.patience):
                answer = await node.call(ask())
        except (RetryError, NodeDownError, TimeoutError) as error:
            self._note("no answer", source, type(error).__name__)
            return False
        self._note(source, scope, value_class, sorted(answer.values.items()), answer.commit)
        self.history.read(Snapshot(answer, scope, value_class, limit, source, call, self.world.loop.time()))
        return True

    def _note(self, *what: object) -> None:
        self.world.events.note(self.world.loop.time(), *what)

    # -- the end

    async def _settle(self) -> Replica:
        """A healed system must take writes and answer reads, before and after late requests land and after GC."""
        node = self.world.start_node()
        self._replicas[node] = replica = await node.call(self._open_replica(node))
        await self._read_everything(node)
        await asyncio.sleep(ZOMBIES_HAVE_LANDED)
        await self._read_everything(node)
        await node.call(replica.flush())  # else the write may find the index busy
        await self._must(self.write(node, Kind.PUT, GROUP, self.history.new_value()), "a write")
        for work in (replica.flush, replica.compact, replica.collect_garbage):
            await node.call(work())
            await self._read_everything(node)
        fresh = self.world.start_node()
        self._replicas[fresh] = await fresh.call(self._open_replica(fresh))
        await self._read_everything(fresh)
        return self._replicas[fresh]

    async def _read_everything(self, node: Node) -> None:
        replica = self._replicas[node]
        await self._must(self.read(node, lambda: replica.get(KEYS), KEYS, None, "get"), "a get")
        await self._must(self.read(node, replica.list, KEYS, None, "list"), "a listing")
        await self._must(self.read(node, lambda: replica.query(None), KEYS, None, "query"), "a query")

    async def _must(self, request: Awaitable[bool | None], what: str) -> None:
        if not await request:
            raise Violation(f"{what} fails although everything has healed")


async def guarded(work: Coroutine[None, None, None], world: World) -> None:
    """Note an exception of background work where the end of the run finds it."""
    try:
        await work
    except Exception as error:
        world.loop.call_exception_handler({"message": "background work failed", "exception": error})
