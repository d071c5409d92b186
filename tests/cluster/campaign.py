"""Three servers, four clients, one store and a nemesis, in periods that each end with a kill and a judgement."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Self

from cluster import sights, upkeep, workload
from cluster.history_judge import Period, judge
from cluster.nemesis_actions import Nemesis
from cluster.nemesis_clients import EVERY_KEY, GROUP, INDEXES, Client, Crowd, names
from cluster.nodes import Node
from cluster.processes import Doors
from cluster.requests import Client as PlainClient
from cluster.requests import Outcome
from simulation.checkers.history import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cluster.nemesis_actions import Pace

SERVERS, CLIENTS = 3, 4
LANES = 3
"""How many requests a client has under way at once."""
ROLES = (
    ("all", "all", "all"),
    ("all", "writer", "reader"),
    ("all", "all", "all"),
    ("writer", "reader", "maintainer"),
)
"""Of the servers, period by period."""
STORE_CLOCK = 3 * 86_400.0
"""Seconds by which the store's clock is ahead."""
REST_SECONDS = 60
GRACEFUL = 0.25
"""The part of periods that end with SIGTERM instead of SIGKILL."""


class Settings(NamedTuple):
    """How long and how hard.

    Attributes:
        operations, seconds: ends with the period in which one of them is reached.
        period: seconds of work between two moments of rest.
        pace: of the nemesis.
        seed: of the clients, the nemesis and the faults; what the servers make of them differs by run.
    """

    operations: int
    seconds: float
    period: float
    pace: Pace
    seed: int = 0


class Campaign:
    """One store through many periods. `totals` counts what was done and checked; a context that ends everything.

    Args:
        directory: an empty directory for logs and, after a violation, histories.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.totals: Counter[str] = Counter()
        self.requests = 0
        self.periods = 0
        self._directory = directory
        self._settings = settings
        self._chance = random.Random(f"campaign {settings.seed}")
        self._root = f"s3://nemesis/{directory.name.lower().replace('_', '-')}"
        self._doors = Doors(SERVERS + 1, settings.seed, STORE_CLOCK, log=directory / "store.log")
        self._nodes = [
            Node(number, self._doors, self._root, directory, random.Random(f"{settings.seed} {number}"))
            for number in range(1, SERVERS + 1)
        ]
        self._values = workload.unique_values()
        self._rest: dict[str, Mapping[str, int]] = {index: {} for index in INDEXES}
        self._crowd: Crowd | None = None

    def __enter__(self) -> Self:
        try:
            self._nodes[0].start("all")
            client = PlainClient([self._nodes[0].port])
            create(client, self._nodes[0])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._nodes:
            node.close()
        self._doors.kill()

    def run(self) -> None:
        """Periods until it is enough, then the last look. Raises Violation."""
        began = time.monotonic()
        while self.requests < self._settings.operations and time.monotonic() - began < self._settings.seconds:
            left = self._settings.seconds - (time.monotonic() - began)
            self._start(ROLES[self.periods % len(ROLES)])
            self._look()
            self._work(min(self._settings.period, left))
            self._end()
            told = (
                f"{self.requests:,} operations in {self.periods} periods, {time.monotonic() - began:.0f} seconds"
            )
            print(told, flush=True)
        self._start(("all",))
        self._look()

    # ---------------------------------------------------------------- a period

    def _start(self, roles: Sequence[str]) -> None:
        """The servers of a period, all at once. One that runs already, and has its role, stays."""
        errors: list[BaseException] = []

        def start(node: Node, role: str) -> None:
            try:
                if not node.running or node.role != role:
                    node.kill()
                    node.start(role)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=start, args=pair) for pair in zip(self._nodes, roles, strict=False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _work(self, seconds: float) -> None:
        """Clients and nemesis, for so long, or until enough was done."""
        seed = f"{self._settings.seed} {self.periods}"
        give_up, before = time.monotonic() + seconds, self.requests
        crowd = self._crowd = Crowd(self._nodes, self._values, CLIENTS * LANES, seed)
        nemesis = Nemesis(self._nodes, self._doors, self._settings.pace, seed)
        try:
            while time.monotonic() < give_up and self.requests < self._settings.operations and not crowd.failed:
                time.sleep(0.1)
                self.requests = before + crowd.requests
        finally:
            try:
                crowd.stop()
            finally:
                nemesis.stop()
        self.requests = before + crowd.requests
        self.totals += nemesis.done
        self.totals["seconds of work"] += round(seconds - max(0.0, give_up - time.monotonic()))
        self.periods += 1

    def _end(self) -> None:
        """Nothing runs any more, nothing is on its way to the store, and the root is sound."""
        graceful = self._chance.random() < GRACEFUL
        for node in self._nodes:
            if not graceful:
                node.kill()
            elif (code := node.stop()) != 0:
                raise Violation(f"server {node.number} did not stop gracefully: {code}")
        give_up = time.monotonic() + REST_SECONDS
        while self._doors.counts()["late"]:
            assert time.monotonic() < give_up, "requests to the store never arrive"
            time.sleep(0.05)
        wrong = findings(self._root, self._doors)
        if wrong:
            raise Violation(f"fsck found {wrong}")
        self.totals["clean checks"] += 1

    # ---------------------------------------------------------------- judgement

    def _look(self) -> None:
        """Read everything through every server that answers, and judge the last period."""
        for index in INDEXES:
            at_rest = list(self._read(index))
            if any(sight.values != at_rest[0].values for sight in at_rest):
                raise Violation(f"answers at rest differ: {at_rest}")
            done = self._crowd.clients if self._crowd else []
            writes = [write for client in done for write in client.writes[index]]
            under_way = [sight for client in done for sight in client.sights[index]]
            period = Period(self._rest[index], writes, under_way, at_rest)
            try:
                self.totals += judge(period, GROUP)
            except Violation:
                self._keep(index, period)
                raise
            self._rest[index] = at_rest[0].values
        self._crowd = None

    def _read(self, index: str) -> Iterator[sights.Sight]:
        for node in self._nodes:
            if node.port and node.reads:
                client = Client([node], self._values, "rest")
                for question in (sights.get(EVERY_KEY), sights.query_all(EVERY_KEY), sights.list_all(EVERY_KEY)):
                    patiently(client, index, question, node)
                yield from client.sights[index]

    def _keep(self, index: str, period: Period) -> None:
        """The history of a violation, for people."""
        lines = [{"start": dict(period.start)}]
        lines += [
            write._asdict() | {"kind": write.kind.value, "outcome": write.outcome.value} for write in period.writes
        ]
        lines += [sight._asdict() | {"hides": sight.hides is not None} for sight in period.under_way]
        lines += [sight._asdict() | {"hides": sight.hides is not None} for sight in period.at_rest]
        path = self._directory / f"history-{index}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def counts(self) -> Counter[str]:
        """What became of requests to the store behind the servers' doors, by fault, and by method."""
        seen: Counter[str] = Counter()
        for door in self._doors.counts()["doors"][1:]:
            for name, count in door.items():
                method, fault = name.split(" ")
                seen[f"store: {method}"] += count
                seen[f"store: fault {fault}"] += count if fault != "NONE" else 0
        return seen


def patiently(client: Client, index: str, question: sights.Question, node: Node) -> None:
    """Ask until there is an answer. Raises Violation when there is none for long."""
    give_up = time.monotonic() + REST_SECONDS
    while client.ask(index, question, node) is not Outcome.OK:
        if time.monotonic() > give_up:
            raise Violation(f"server {node.number} does not answer at rest")
        time.sleep(0.1)


def create(client: PlainClient, node: Node) -> None:
    """The bucket and the indexes."""
    node.clock.shift(0.0)
    kind = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
    wanted = [("CreateVectorBucket", {"vectorBucketName": workload.BUCKET})]
    wanted += [("CreateIndex", {**names(index), **kind}) for index in INDEXES]
    for operation, parameters in wanted:
        answer = client.call(operation, **parameters)
        assert answer.status == 200, answer
    client.close()


def findings(root: str, doors: Doors) -> list[str]:
    """What `quiver fsck` says, through the sound door."""
    before = os.environ.copy()
    os.environ.update(doors.variables(0))
    try:
        return upkeep.findings(root)
    finally:
        os.environ.clear()
        os.environ.update(before)
