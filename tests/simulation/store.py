"""A simulated object store: one shared truth, and one faulty connection to it per node.

It keeps exactly the promises of `quiver.objectstore.store` and no more: a request is judged at a moment
between call and answer, the answer may get lost, the request may land long after the client gave up, and the
pages of a listing are judged one after the other while others write.
"""

from __future__ import annotations

import re
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from random import Random

    from simulation.faults import Faults
    from simulation.loop import Process, VirtualLoop

EPOCH = 1_800_000_000.0
"""The store's clock when a run begins, in seconds since 1970."""

GIVES_UP_AFTER = 2.0
MOST_PAGES = 3
KEY = re.compile(r"[a-z0-9._-]+(/[a-z0-9._-]+)*")


class StoredObject(NamedTuple):
    """The bytes of an object and when it was created by the store's clock, which ticks in whole seconds."""

    body: bytes
    modified: float


class EventHash:
    """A running hash over everything that happened: equal hashes mean equal runs."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_64()
        self.count = 0

    def note(self, *what: object) -> None:
        self.count += 1
        self._hash.update(repr(what).encode())

    def digest(self) -> str:
        return f"{self.count}-{self._hash.hexdigest()}"


class Backing:
    """The truth all connections share. Nodes take it for local when it is `resident`.

    `log` keeps every log object ever created, for the replay checker, and `log_time` the virtual time at which
    each was created first; `first` keeps the first bytes and time of every other object.
    """

    def __init__(self, loop: VirtualLoop, random: Random, faults: Faults, events: EventHash) -> None:
        self.loop = loop
        self.random = random
        self.faults = faults
        self.events = events
        self.clock_offset = random.uniform(-3600, 3600)
        self.objects: dict[str, StoredObject] = {}
        self.log: dict[str, list[bytes]] = {}
        self.log_time: dict[str, float] = {}
        self.first: dict[str, tuple[bytes, float]] = {}
        self.requests = 0
        self.resident = False
        self._outside = Context()

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` later, as part of no node."""
        self.loop.call_later(delay, action, context=self._outside)

    def now(self) -> float:
        return float(int(EPOCH + self.loop.time() + self.clock_offset))

    def create(self, key: str, body: bytes) -> bool:
        """Put-if-absent; whether it created the object."""
        if key in self.objects and self.random.random() >= self.faults.ignore_condition:
            self.events.note(self.loop.time(), "exists", key)
            return False
        self.events.note(self.loop.time(), "create", key, len(body), xxhash.xxh3_64_intdigest(body))
        self.objects[key] = StoredObject(body, self.now())
        if "/log/" in key:
            self.log.setdefault(key, []).append(body)
            self.log_time.setdefault(key, self.loop.time())
        else:
            self.first.setdefault(key, (body, self.loop.time()))
        return True

    def remove(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.events.note(self.loop.time(), "delete", key)

    def matching(self, prefix: str, after: str) -> list[ObjectInfo]:
        return sorted(
            ObjectInfo(key, len(each.body), each.modified)
            for key, each in self.objects.items()
            if key.startswith(prefix) and key > after
        )


class SimulatedStore(ObjectStore):
    """One node's connection. `unreachable_until` is the virtual time at which a partition ends."""

    url = "simulated://"

    def __init__(self, backing: Backing, process: Process) -> None:
        self._backing = backing
        self._process = process
        self.resident = backing.resident
        self.unreachable_until = 0.0

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        assert KEY.fullmatch(key), key
        await self._put(key, b"".join(parts))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        assert start >= 0, start
        assert length is None or length >= 0, length

        def read() -> bytes:
            found = self._backing.objects.get(key)
            if found is None:
                raise ObjectNotFoundError(key)
            return found.body[start : None if length is None else start + length]

        return await self._read(read)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        """Up to three pages, each judged at its own moment, as S3, GCS and Azure list."""
        random = self._backing.random
        listed: list[ObjectInfo] = []
        for is_last in (False,) * random.randrange(MOST_PAGES) + (True,):
            start = listed[-1].key if listed else after
            page = await self._read(lambda start=start: self._backing.matching(prefix, start))
            listed += page if is_last else page[: random.randint(0, len(page))]
        return listed

    async def delete(self, keys: Sequence[str]) -> None:
        """Keys go one by one; after an error any part of them may be gone, or go later."""
        reply: asyncio.Future[None] = self._backing.loop.create_future()
        draw, faults = self._backing.random.random, self._backing.faults
        arrival = self._latency()
        if self._cut_off() or draw() < faults.fail_before:
            self._fail(reply, arrival, "delete failed")
        else:
            late = draw() < faults.zombie
            for key in keys:
                landing = arrival + draw() * (20 if late else 0.2)
                self._request(landing, lambda key=key: self._backing.remove(key))
            if late or draw() < faults.fail_after:
                self._fail(reply, arrival + GIVES_UP_AFTER, "delete timed out")
            else:
                self._answer(reply, arrival + 0.2 + self._latency(), lambda: None)
        await reply

    # -- puts

    async def _put(self, key: str, body: bytes) -> None:
        backing, faults = self._backing, self._backing.faults
        reply: asyncio.Future[None] = backing.loop.create_future()
        arrival = self._latency()
        answer = arrival + self._latency()
        fate = self._fate(faults)
        if fate in {"cut_off", "fail_before"}:
            self._fail(reply, answer, "503")
        elif fate == "refuse":
            self._fail(reply, answer, "disk full", StoreRefusedError)
        elif fate == "conflict":
            self._fail(reply, answer, "409")
        elif fate == "conflict_as_exists":
            self._fail(reply, answer, key, ObjectExistsError)
        elif fate == "zombie":
            self._request(backing.random.uniform(2, 20), lambda: backing.create(key, body))
            self._fail(reply, GIVES_UP_AFTER, "timed out")
        elif fate == "fail_after":
            self._request(arrival, lambda: backing.create(key, body))
            self._fail(reply, arrival + GIVES_UP_AFTER, "answer lost")
        else:
            created: list[bool] = []
            self._request(arrival, lambda: created.append(backing.create(key, body)))
            lost_once = fate == "exists_after_own"

            def outcome() -> None:
                if lost_once or not created[0]:
                    raise ObjectExistsError(key)

            self._answer(reply, answer, outcome)
        await reply

    def _fate(self, faults: Faults) -> str:
        if self._cut_off():
            return "cut_off"
        draw = self._backing.random.random()
        for fate in PUT_FATES:
            draw -= getattr(faults, fate)
            if draw < 0:
                return fate
        return "normal"

    # -- reads

    async def _read(self, judge: Callable[[], Any]) -> Any:
        """An answer judged at one moment between call and return."""
        backing = self._backing
        reply: asyncio.Future[Any] = backing.loop.create_future()
        arrival = self._latency()
        if self._cut_off() or backing.random.random() < backing.faults.fail_before:
            self._fail(reply, arrival, "503")
            return await reply
        judged: list[Any] = []

        def arrive() -> None:
            try:
                judged.append(judge())
            except ObjectNotFoundError as missing:
                judged.append(missing)

        def outcome() -> Any:
            if isinstance(judged[0], ObjectNotFoundError):
                raise judged[0]
            return judged[0]

        backing.at(arrival, arrive)
        self._answer(reply, arrival + self._latency(), outcome)
        return await reply

    # -- the network

    def _cut_off(self) -> bool:
        self._backing.requests += 1
        return self._backing.loop.time() < self.unreachable_until

    def _latency(self) -> float:
        random = self._backing.random
        if random.random() < self._backing.faults.slow:
            return random.uniform(0.5, 5.0)
        return random.expovariate(100.0)

    def _request(self, delay: float, apply: Callable[[], object]) -> None:
        """Apply a request on arrival, unless its sender died first and it never left the machine."""

        def land() -> None:
            if self._process.alive or self._backing.random.random() < 0.5:
                apply()

        self._backing.at(delay, land)

    def _answer(self, reply: asyncio.Future[Any], delay: float, outcome: Callable[[], Any]) -> None:
        def arrive() -> None:
            if reply.done() or not self._process.alive:
                return
            try:
                reply.set_result(outcome())
            except (ObjectExistsError, ObjectNotFoundError) as error:
                reply.set_exception(error)

        self._backing.at(delay, arrive)

    def _fail(
        self,
        reply: asyncio.Future[Any],
        delay: float,
        message: str,
        error: type[Exception] = StoreUnavailableError,
    ) -> None:
        def arrive() -> None:
            if not reply.done():
                reply.set_exception(error(message))

        self._backing.at(delay, arrive)


PUT_FATES = (
    "refuse",
    "fail_before",
    "conflict",
    "conflict_as_exists",
    "zombie",
    "fail_after",
    "exists_after_own",
)
