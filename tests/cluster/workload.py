"""Clients that write and read vectors of one index at random, each value unique, and keep every answer."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cluster import ledger
from cluster.requests import Client, Outcome
from simulation.checkers.history import Kind, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cluster.ledger import Ledger
    from cluster.requests import Answer

BUCKET, INDEX = "cluster", "registers"
NAMES = {"vectorBucketName": BUCKET, "indexName": INDEX}
GROUP = tuple(f"group-{n}" for n in range(5))
"""Keys that are only ever written, or deleted, all in one batch."""
SINGLES = tuple(f"key-{n}" for n in range(16))
EVERY_KEY = (*GROUP, *SINGLES)
RADIX = 4096


class Read(NamedTuple):
    """What one answer showed of `keys`: the value of each that was there."""

    call: float
    end: float
    keys: Sequence[str]
    values: Mapping[str, int]
    commit: int | None
    source: str


def create_index(client: Client) -> None:
    """The bucket and the index that the clients share."""
    assert client.call("CreateVectorBucket", vectorBucketName=BUCKET).status == 200
    create_another(client, NAMES)


def create_another(client: Client, names: Mapping[str, str]) -> None:
    """An index in the same bucket, for the same vectors."""
    created = client.call("CreateIndex", **names, dataType="float32", dimension=2, distanceMetric="euclidean")
    assert created.status == 200, created


def record(key: str, value: int) -> dict[str, Any]:
    """A vector that carries its value twice: in its numbers and in its metadata."""
    high, low = divmod(value, RADIX)
    return {"key": key, "data": {"float32": [high, low]}, "metadata": {"value": value}}


def value_of(shown: Mapping[str, Any]) -> int:
    """The value a returned vector carries. Raises Violation when its parts are not of one write."""
    value = shown["metadata"]["value"]
    if "data" in shown and shown["data"]["float32"] != list(divmod(value, RADIX)):
        raise Violation(f"numbers of one write with the metadata of another: {shown}")
    return int(value)


def read_keys(client: Client, keys: Sequence[str]) -> Read | None:
    """GetVectors; None when there was no answer."""
    return _read(client, "GetVectors", keys, keys=list(keys), returnData=True, returnMetadata=True)


def read_all(client: Client, source: str) -> Read | None:
    """Every key, by QueryVectors or ListVectors; None when there was no answer."""
    if source == "ListVectors":
        return _read(client, source, EVERY_KEY, returnData=True, returnMetadata=True)
    near = {"float32": [0, 0]}
    return _read(client, "QueryVectors", EVERY_KEY, topK=100, queryVector=near, returnMetadata=True)


def _read(client: Client, operation: str, scope: Sequence[str], **parameters: object) -> Read | None:
    call = time.monotonic()
    answer = client.call(operation, **NAMES, **parameters)
    end = time.monotonic()
    if answer.outcome is Outcome.REFUSED or answer.status == 500:
        raise Violation(f"{operation} was answered {answer}")
    if answer.outcome is not Outcome.OK:
        return None
    shown = answer.body["vectors"]
    values = {each["key"]: value_of(each) for each in shown}
    if len(values) != len(shown) or not values.keys() <= set(scope):
        raise Violation(f"{operation} shows keys twice, or others than it was asked for: {answer.body}")
    return Read(call, end, scope, values, answer.commit, operation)


class Clients:
    """Threads that run the workload until `stop`; then `writes` and `reads` are complete."""

    name = "client"

    def __init__(
        self, ports: Sequence[int], directory: Path, count: int, seed: int, values: Iterable[int]
    ) -> None:
        self.writes: list[ledger.Write] = []
        self.reads: list[Read] = []
        self.errors: list[BaseException] = []
        self._values = iter(values)
        self._stopping = threading.Event()
        self._ledgers = [directory / f"{self.name}-{n}.jsonl" for n in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(Client(ports, f"{seed}/{n}"), path, f"{seed}:{n}"))
            for n, path in enumerate(self._ledgers)
        ]
        for path in self._ledgers:
            path.unlink(missing_ok=True)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let requests under way end and read the ledgers. Raises what a client found wrong."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        for path in self._ledgers:
            self.writes += ledger.read(path)

    def _run(self, client: Client, path: Path, seed: str) -> None:
        chance = random.Random(seed)
        try:
            with ledger.Ledger(path) as pages:
                while not self._stopping.is_set():
                    if self._step(client, pages, chance) is Outcome.NOT_SENT:
                        self._stopping.wait(0.02)
        except BaseException as error:
            self.errors.append(error)
        finally:
            client.close()

    def _step(self, client: Client, pages: Ledger, chance: random.Random) -> Outcome:
        keys = GROUP if chance.random() < 0.3 else chance.sample(SINGLES, chance.randint(1, 5))
        dice = chance.random()
        if dice < 0.45:
            return self._put(client, pages, keys, broken=dice < 0.02)
        if dice < 0.6:
            items = dict.fromkeys(keys)
            send = lambda: client.call("DeleteVectors", **NAMES, keys=list(keys))  # noqa: E731
            return checked(pages.record(Kind.DELETE, items, send), broken=False)
        if dice < 0.9:
            found = read_keys(client, keys)
        else:
            found = read_all(client, "QueryVectors" if dice < 0.96 else "ListVectors")
        if found is None:
            return Outcome.UNKNOWN
        self.reads.append(found)
        return Outcome.OK

    def _put(self, client: Client, pages: Ledger, keys: Sequence[str], *, broken: bool) -> Outcome:
        """Put a batch; a `broken` one has a last vector that must get the whole batch refused."""
        value = next(self._values)
        items = dict.fromkeys(keys, value)
        vectors = [record(key, value) for key in keys]
        if broken:
            vectors[-1]["data"] = {"float32": [1, 2, 3]}
        send = lambda: client.call("PutVectors", **NAMES, vectors=vectors)  # noqa: E731
        return checked(pages.record(Kind.PUT, items, send), broken=broken)


def checked(answer: Answer, *, broken: bool) -> Outcome:
    """The outcome of a write. Raises Violation when a sound request is refused, or a broken one is not."""
    refusals = (400,) if broken else (429,)
    if answer.status == 500 or (answer.outcome is Outcome.REFUSED and answer.status not in refusals):
        raise Violation(f"a write was answered {answer}")
    if broken and answer.outcome is Outcome.OK:
        raise Violation("a batch with a vector of another dimension was accepted")
    return answer.outcome


def unique_values() -> Iterable[int]:
    """Values from 1 on; `next` is safe from several threads."""
    return itertools.count(1)
