"""What the nemesis does: to each server, and to each way to the store, in threads of their own and at random."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.nodes import Node
    from cluster.processes import Doors

FAIR = 0.01
"""The part of requests to the store that meet a fault at all times."""
STORM = (0.1, 0.5)
STORM_SECONDS = (0.5, 4.0)


class Pace(NamedTuple):
    """How often something happens to a server or a door, and how long at most a server stands still; seconds."""

    server: float
    door: float
    pause: float


class Nemesis:
    """Runs until `stop`. `done` counts what it did.

    Args:
        doors: the store; door n is that of node n.
        seed: of what happens when.
    """

    def __init__(self, nodes: Sequence[Node], doors: Doors, pace: Pace, seed: str) -> None:
        self.done: Counter[str] = Counter()
        self._doors = doors
        self._pace = pace
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._run, args=(work, node, random.Random(f"{seed} {work.__name__} {node.number}"))
            )
            for node in nodes
            for work in (self._harm, self._weather)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End what is under way: no server stands still any more, and no request meets a fault."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, work: Callable[[Node, random.Random], None], node: Node, chance: random.Random) -> None:
        try:
            work(node, chance)
        except BaseException as error:
            self._errors.append(error)

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.done[what] += number

    # ---------------------------------------------------------------- servers

    def _harm(self, node: Node, chance: random.Random) -> None:
        """One thing after the other; the first is another one for each server, so that a short run has several."""
        actions = (self._kill, self._pause, self._shift_clock, self._pause_briefly)
        actions += (self._kill, self._pause, self._kill_maintainers, self._restart)
        chosen = actions[(node.number - 1) % len(actions)]
        while not self._stopping.wait(chance.uniform(0.2, 2) * self._pace.server):
            chosen(node, chance)
            chosen = chance.choice(actions)

    def _kill(self, node: Node, chance: random.Random) -> None:
        node.kill()
        self._count("kills of a server")
        self._stopping.wait(chance.uniform(0, 1))
        node.start()

    def _pause(self, node: Node, chance: random.Random) -> None:
        self._stand_still(node, self._pace.pause * chance.random() ** 2)

    def _pause_briefly(self, node: Node, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 8)):
            self._stand_still(node, chance.uniform(0, 0.3))
            self._stopping.wait(chance.uniform(0, 0.3))

    def _stand_still(self, node: Node, seconds: float) -> None:
        node.pause()
        try:
            self._count("stops of a server")
            self._stopping.wait(seconds)
        finally:
            node.proceed()

    def _kill_maintainers(self, node: Node, chance: random.Random) -> None:
        self._count("kills of a maintenance process", node.kill_maintainers())

    def _shift_clock(self, node: Node, chance: random.Random) -> None:
        node.shift_clock()
        self._count("jumps of a clock")

    def _restart(self, node: Node, chance: random.Random) -> None:
        node.stop()
        self._count("restarts of a server")
        node.start()

    # ---------------------------------------------------------------- ways to the store

    def _weather(self, node: Node, chance: random.Random) -> None:
        self._doors.rule(node.number, rate=FAIR)
        try:
            while not self._stopping.wait(chance.uniform(0.2, 2) * self._pace.door):
                closed = chance.random() < 0.3
                self._doors.rule(node.number, rate=chance.uniform(*STORM), closed=closed)
                self._count("closed ways to the store" if closed else "storms on the way to the store")
                self._stopping.wait(chance.uniform(*STORM_SECONDS))
                self._doors.rule(node.number, rate=FAIR)
        finally:
            self._doors.rule(node.number)
