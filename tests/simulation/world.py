"""A simulated world: one seed, one source of chance, one store, and the nodes that come and go in it."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from quiver.model.runtime import Runtime
from simulation.faults import NONE, Faults
from simulation.loop import PROCESS, Process, ProcessKilled, VirtualLoop
from simulation.store import EPOCH, Backing, EventHash, SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")


class NodeDownError(Exception):
    """The node died, or is not there, before it answered: the caller knows nothing."""


class World:
    """Everything of one run. Use as a context manager, so that thousands of runs leave no memory behind."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        drawn = Faults.draw(self.random)
        self.faults = drawn if faults is None else faults
        self.loop = VirtualLoop()
        self.events = EventHash()
        self.backing = Backing(self.loop, self.random, self.faults, self.events)
        self.backing.resident = faults is None and self.random.random() < 0.25
        self.nodes: list[Node] = []
        self.reached: Counter[str] = Counter()
        self.crashed_at: Counter[str] = Counter()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()
        self.nodes.clear()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine, part of no node, to its end in virtual time."""
        return self.loop.run_until_complete(main)

    def start_node(self) -> Node:
        """A new node with nothing in memory."""
        node = Node(self, f"n{len(self.nodes)}")
        self.nodes.append(node)
        self.events.note(self.loop.time(), "start", node.name)
        return node

    def heal(self) -> None:
        """No faults from now on; requests already under way still land when they land."""
        self.faults = self.backing.faults = NONE
        for node in self.nodes:
            node.store.unreachable_until = 0.0
            node.resume()

    def unhandled(self) -> list[BaseException]:
        """Exceptions of callbacks and tasks nobody asked for, except those of killed nodes."""
        found = self.loop.unhandled_exceptions()
        return [each for each in found if not isinstance(each, ProcessKilled)]


class Node:
    """One process: its runtime, its connection to the store, and whatever is started in it.

    Attributes:
        crash_at: the crash point at which it dies.
        pause_at: crash points at which it stalls, once each, for so many seconds, from its next await on.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(name)
        self.runtime = SimulatedRuntime(world, self)
        self.store = SimulatedStore(world.backing, self.process)
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self.process)
        self.crash_at: str | None = None
        self.pause_at: dict[str, float] = {}
        self._callers: dict[asyncio.Future[Any], None] = {}  # a dict, because sets have no fixed order

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def paused(self) -> bool:
        return self.process.held is not None

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` inside the node for a caller outside. Raises NodeDownError when the node dies meanwhile.

        A caller that is cancelled (a client's timeout) goes away; the work itself carries on in the node.
        """
        if not self.alive:
            work.close()
            raise NodeDownError(self.name)
        loop = self.world.loop
        answer: asyncio.Future[T] = loop.create_future()
        task = loop.create_task(work, context=self.context)
        task.add_done_callback(lambda done: relay(done, answer))
        self._callers[answer] = None
        try:
            return await answer
        finally:
            self._callers.pop(answer, None)

    def kill(self) -> None:
        """SIGKILL: nothing of the node runs again; its callers lose their connection."""
        if not self.alive:
            return
        self.world.events.note(self.world.loop.time(), "kill", self.name)
        self.world.loop.kill_process(self.process)
        for answer in list(self._callers):
            if not answer.done():
                answer.set_exception(NodeDownError(self.name))

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        if self.alive and not self.paused:
            self.world.events.note(self.world.loop.time(), "pause", self.name)
            self.world.loop.stop_process(self.process)
            self.world.backing.at(seconds, self.resume)

    def resume(self) -> None:
        if self.paused:
            self.world.loop.continue_process(self.process)

    def cut_off(self, seconds: float) -> None:
        """The store is out of reach for the node."""
        self.store.unreachable_until = self.world.loop.time() + seconds


def relay(task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
    """Hand a finished task's outcome to its caller, if that one still waits."""
    error = RuntimeError("cancelled from inside") if task.cancelled() else task.exception()
    if answer.done():
        return
    if isinstance(error, ProcessKilled):
        answer.set_exception(NodeDownError(str(error)))
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


class SimulatedRuntime(Runtime):
    """A node's door to virtual time and seeded chance. Its wall clock is wrong and may jump back."""

    def __init__(self, world: World, node: Node) -> None:
        self._world = world
        self._node = node
        self._monotonic_start = world.random.uniform(0, 1e6)
        self.clock_offset = world.random.uniform(-3600, 3600)

    def time(self) -> float:
        return EPOCH + self._world.loop.time() + self.clock_offset

    def monotonic(self) -> float:
        return self._monotonic_start + self._world.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return self._world.random.random()

    def new_id(self) -> str:
        return f"{self._world.random.getrandbits(128):032x}"

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        return self._world.loop.create_task(coroutine, name=name, context=self._node.context)

    async def offload(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Inline and in one go, but others run before the result is back, as with a real thread."""
        draw = self._world.random.random
        await asyncio.sleep(0.002 * draw())
        result = function(*args, **kwargs)
        await asyncio.sleep(0.002 * draw())
        return result

    def reach(self, point: str) -> None:
        world, node = self._world, self._node
        world.reached[point] += 1
        if not node.alive:
            raise ProcessKilled(node.name)
        if point in node.pause_at:
            node.pause(node.pause_at.pop(point))
        elif world.random.random() < self._stall_at(point):
            node.pause(world.random.uniform(1, 60))
        if node.crash_at == point or world.random.random() < world.faults.crash:
            world.crashed_at[point] += 1
            node.kill()
            raise ProcessKilled(node.name)

    def _stall_at(self, point: str) -> float:
        faults = self._world.faults
        return faults.stall if point.startswith("log:") else max(faults.stall, faults.stall_upkeep)
