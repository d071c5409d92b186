"""Tests of the probe: stores that keep the contract pass, and each way of lying is caught by name."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.probe import probe
from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from objectstore.conftest import Moto
    from quiver.model.runtime import SystemRuntime

NAMES = [
    "absent keys are not found",
    "a taken key is refused",
    "a replayed put says the key exists",
    "one creator wins",
    "reads see the last change",
    "listings see the last change",
    "listings are complete, sorted and start after",
    "ranges are exact",
    "a large object comes back whole",
    "an object under way is invisible",
    "deleted objects are gone",
]


class Faulty(MemoryStore):
    """A store that would be right; each subclass breaks one thing."""

    async def overwrite(self, key, parts):
        await MemoryStore.delete(self, [key])
        await MemoryStore.put_new(self, key, parts)


class IgnoresTheCondition(Faulty):
    async def put_new(self, key, parts):
        await self.overwrite(key, parts)


class IgnoresTheConditionOnceIn200(Faulty):
    chance = random.Random(11)

    async def put_new(self, key, parts):
        if self.chance.random() < 0.005:
            await self.overwrite(key, parts)
        else:
            await super().put_new(key, parts)


class ChecksBeforeItWrites(Faulty):
    async def put_new(self, key, parts):
        try:
            await self.get(key, 0, 1)
        except ObjectNotFoundError:
            await asyncio.sleep(0)
            await self.overwrite(key, parts)
        else:
            raise ObjectExistsError(key)


class EachEndpointChecksForItself(Faulty):
    """Two endpoints over the same objects; only a creation by the same endpoint counts as taken at once."""

    def __init__(self, runtime, shared=None):
        super().__init__(runtime)
        if shared is not None:
            self._entries, self._keys = shared._entries, shared._keys
        self._pending = set()

    async def put_new(self, key, parts):
        if key in self._pending or key in self._entries:
            raise ObjectExistsError(key)
        self._pending.add(key)
        await asyncio.sleep(0.001)
        await self.overwrite(key, parts)
        self._pending.discard(key)


class AnswersConflictForever(Faulty):
    async def put_new(self, key, parts):
        try:
            await super().put_new(key, parts)
        except ObjectExistsError:
            raise StoreUnavailableError("409") from None


class AnswersSuccessOnReplay(Faulty):
    """Answers the creator's own bytes with success a second time."""

    async def put_new(self, key, parts):
        try:
            await super().put_new(key, parts)
        except ObjectExistsError:
            if await self.get(key) != b"".join(parts):
                raise


class ForgetsWhatItAcknowledged(Faulty):
    async def put_new(self, key, parts):
        if not key.endswith("/taken"):
            return
        await super().put_new(key, parts)


class RefusesWrites(Faulty):
    async def put_new(self, key, parts):
        raise StoreRefusedError("read-only")


class ListsTheStateBefore(Faulty):
    previous: dict[str, list[ObjectInfo]]

    def __init__(self, runtime):
        super().__init__(runtime)
        self.previous = {}

    async def list(self, prefix, after=""):
        now = await super().list(prefix, after)
        answer = self.previous.get(prefix, now)
        self.previous[prefix] = now
        return answer


class RemembersThatAKeyWasAbsent(Faulty):
    """A read that found nothing is answered from a cache a few times."""

    def __init__(self, runtime):
        super().__init__(runtime)
        self.absent = {}

    async def get(self, key, start=0, length=None):
        if self.absent.get(key, 0) > 0:
            self.absent[key] -= 1
            raise ObjectNotFoundError(key)
        try:
            return await super().get(key, start, length)
        except ObjectNotFoundError:
            self.absent[key] = 2
            raise


class ReadsDeletedObjects(Faulty):
    def __init__(self, runtime):
        super().__init__(runtime)
        self.cache = {}

    async def get(self, key, start=0, length=None):
        if key not in self.cache:
            self.cache[key] = await super().get(key)
        end = None if length is None else start + length
        return self.cache[key][start:end]


class ListsOnePageOnly(Faulty):
    async def list(self, prefix, after=""):
        return (await super().list(prefix, after))[:1000]


class ListsUnsorted(Faulty):
    async def list(self, prefix, after=""):
        return (await super().list(prefix, after))[::-1]


class ListsFromTheStart(Faulty):
    async def list(self, prefix, after=""):
        return await super().list(prefix)


class ListsTheKeyItStartsAfter(Faulty):
    async def list(self, prefix, after=""):
        return [info for info in await super().list(prefix) if info.key >= after]


class ListsWrongSizes(Faulty):
    async def list(self, prefix, after=""):
        return [info._replace(size=0) for info in await super().list(prefix, after)]


class CutsLargeObjectsShort(Faulty):
    async def get(self, key, start=0, length=None):
        return (await super().get(key, start, length))[: 5 * 2**20]


class IgnoresRanges(Faulty):
    async def get(self, key, start=0, length=None):
        return await super().get(key)


class FailsPastTheEnd(Faulty):
    async def get(self, key, start=0, length=None):
        data = await super().get(key, start, length)
        if length is not None and len(data) < length:
            raise StoreUnavailableError("416")
        return data


class ShowsPartsOfObjects(Faulty):
    async def put_new(self, key, parts):
        await super().put_new(key, parts[:1])
        await asyncio.sleep(0)
        await self.overwrite(key, parts)


class KeepsDeletedObjects(Faulty):
    async def delete(self, keys):
        pass


def one(kind: type[Faulty]) -> Callable[[SystemRuntime], list[ObjectStore]]:
    def make(runtime: SystemRuntime) -> list[ObjectStore]:
        return [kind(runtime)]

    make.__name__ = kind.__name__
    return make


def two_endpoints(runtime: SystemRuntime) -> list[ObjectStore]:
    first = EachEndpointChecksForItself(runtime)
    return [first, EachEndpointChecksForItself(runtime, first)]


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (one(IgnoresTheCondition), "a taken key is refused"),
        (one(IgnoresTheCondition), "one creator wins"),
        (one(IgnoresTheCondition), "a replayed put says the key exists"),
        (one(IgnoresTheConditionOnceIn200), "a taken key is refused"),
        (one(ChecksBeforeItWrites), "one creator wins"),
        (two_endpoints, "one creator wins"),
        (one(AnswersConflictForever), "a taken key is refused"),
        (one(AnswersConflictForever), "one creator wins"),
        (one(AnswersSuccessOnReplay), "a replayed put says the key exists"),
        (one(ForgetsWhatItAcknowledged), "reads see the last change"),
        (one(ForgetsWhatItAcknowledged), "listings see the last change"),
        (one(ForgetsWhatItAcknowledged), "one creator wins"),
        (one(RefusesWrites), "a taken key is refused"),
        (one(ListsTheStateBefore), "listings see the last change"),
        (one(RemembersThatAKeyWasAbsent), "reads see the last change"),
        (one(ReadsDeletedObjects), "reads see the last change"),
        (one(ListsOnePageOnly), "listings are complete, sorted and start after"),
        (one(ListsUnsorted), "listings are complete, sorted and start after"),
        (one(ListsFromTheStart), "listings are complete, sorted and start after"),
        (one(ListsTheKeyItStartsAfter), "listings are complete, sorted and start after"),
        (one(ListsWrongSizes), "listings are complete, sorted and start after"),
        (one(CutsLargeObjectsShort), "a large object comes back whole"),
        (one(IgnoresRanges), "ranges are exact"),
        (one(FailsPastTheEnd), "ranges are exact"),
        (one(ShowsPartsOfObjects), "an object under way is invisible"),
        (one(KeepsDeletedObjects), "deleted objects are gone"),
        (one(KeepsDeletedObjects), "reads see the last change"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_lying_store_is_caught(runtime: SystemRuntime, make, broken: str) -> None:
    store, *peers = make(runtime)
    report = run(probe(store, runtime, peers))
    assert not report.ok
    failed = {check.name: check.message for check in report.failed}
    assert broken in failed, failed
    assert failed[broken]


def test_two_endpoints_are_told_apart_from_one(runtime: SystemRuntime) -> None:
    report = run(probe(EachEndpointChecksForItself(runtime), runtime))
    assert report.ok, report.failed


def test_a_store_in_memory_passes(runtime: SystemRuntime) -> None:
    store = MemoryStore(runtime)
    report = run(probe(store, runtime))
    assert [(check.name, check.ok, check.message) for check in report.checks] == [
        (name, True, "") for name in NAMES
    ]
    assert report.ok
    assert run(store.list("")) == []


def test_a_store_that_loses_answers_passes(runtime: SystemRuntime) -> None:
    """An answer lost after the object was created is no lie: the probe asks again, as the engine does."""

    class LosesAnswers(MemoryStore):
        chance = random.Random(5)

        async def put_new(self, key, parts):
            await super().put_new(key, parts)
            if self.chance.random() < 0.02:
                raise StoreUnavailableError("timed out")

    report = run(probe(LosesAnswers(runtime), runtime, rounds=10))
    assert report.ok, report.failed


def test_a_local_store_passes(runtime: SystemRuntime, tmp_path: Path) -> None:
    store, peer = LocalStore(tmp_path, runtime), LocalStore(tmp_path, runtime)
    report = run(probe(store, runtime, [peer], rounds=20))
    assert report.ok, report.failed
    assert run(store.list("")) == []


def test_a_remote_store_passes(runtime: SystemRuntime, moto: Moto, fresh_path: Callable[[], str]) -> None:
    path = fresh_path()
    report = run(probe(moto.store(path), runtime, [moto.store(path)], rounds=8))
    assert report.ok, report.failed
    assert run(moto.store(path).list("")) == []


def test_an_unreachable_store_fails_every_check(runtime: SystemRuntime) -> None:
    class Unreachable(MemoryStore):
        async def get(self, key, start=0, length=None):
            raise StoreUnavailableError("no route")

        put_new = list = delete = get

    report = run(probe(Unreachable(runtime), runtime))
    assert [check.name for check in report.failed] == NAMES
    assert all("no route" in check.message for check in report.failed)


def test_other_objects_are_left_alone(runtime: SystemRuntime) -> None:
    store = MemoryStore(runtime)
    run(store.put_new("probe/mine", [b"1"]))
    run(store.put_new("index/x", [b"2"]))
    assert run(probe(store, runtime, rounds=2)).ok
    assert [info.key for info in run(store.list(""))] == ["index/x", "probe/mine"]
