"""The patrol of maintainers: what it does for indexes, what it asks for, and that several do no harm."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from asynchronous import asynchronous
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.reservation import release, reserve
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.errors import CorruptObjectError, UnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore
from quiver.service.administration import Administration
from quiver.service.arn import Home
from quiver.service.catalog import Catalog
from quiver.service.patrol import Patrol
from quiver.service.service import Service
from quiver.storage.store_format import open_store_format

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.engine.native.index import NativeIndex

SETTINGS = NativeSettings(flush_rows=4, tier_fanout=2, tail_limit=6, garbage_age=0.0)
WRITER = replace(SETTINGS, reluctant=True)


class Cast:
    """Nodes over one store in memory: a writer, and any number of maintainers."""

    def __init__(self) -> None:
        self.runtime = SystemRuntime(threads=2)
        self.store = MeteredStore(MemoryStore(self.runtime))
        self.catalog = Catalog(self.store, self.runtime)
        self.engine = NativeEngine(self.store, self.runtime, WRITER)

    async def start(self) -> Service:
        store_format = await open_store_format(self.store, self.runtime)
        self.service = Service(
            self.catalog, self.engine, store_format, self.runtime, Home("us-east-1", "000000000000")
        )
        await self.service.call("CreateVectorBucket", {"vectorBucketName": "bucket"})
        return self.service

    def maintainer(self, age: float = 0.0, tell: Callable[[str, Exception], None] = lambda _, __: None) -> Patrol:
        engine = NativeEngine(self.store, self.runtime, replace(SETTINGS, background=False, garbage_age=age))
        administration = Administration(self.store, self.runtime, Catalog(self.store, self.runtime), engine)
        return Patrol(self.store, self.runtime, administration, engine, age=age, period=1000.0, tell=tell)

    async def create(self, name: str) -> None:
        shape = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
        await self.service.call("CreateIndex", {"vectorBucketName": "bucket", "indexName": name, **shape})

    async def put(self, name: str, start: int, count: int) -> None:
        for number in range(start, start + count):
            vectors = [{"key": f"k{number}", "data": {"float32": np.array([number, 1], np.float32)}}]
            params = {"vectorBucketName": "bucket", "indexName": name, "vectors": vectors}
            await self.service.call("PutVectors", params)

    async def index(self, name: str) -> NativeIndex:
        (found,) = [one for one in await self.catalog.read(lambda s: list(s.indexes())) if one.name == name]
        return await self.engine.open(found.index_id, found.spec)

    async def kinds(self, index: NativeIndex, kind: str) -> int:
        listed = await self.store.list(index.root)
        return sum(paths.classify(index.root, info.key).kind == kind for info in listed)

    async def count(self, name: str) -> int:
        listed = await self.service.call("ListVectors", {"vectorBucketName": "bucket", "indexName": name})
        return len(listed.body["vectors"])


async def cast() -> Cast:
    made = Cast()
    await made.start()
    return made


@asynchronous
async def test_a_writer_leaves_its_tail_to_a_maintainer_that_flushes_merges_and_collects():
    made = await cast()
    await made.create("index")
    patrol = made.maintainer()
    for part in range(4):
        await made.put("index", 5 * part, 5)
        assert (await made.index("index")).log.base_slot == 5 * part
        await patrol.round()
        index = await made.index("index")
        await index.log.refresh()
        assert index.log.base_slot == 5 * part + 5
    assert len(index.state.segments) <= 2
    await asyncio.sleep(1.1)
    await patrol.round()
    assert await made.kinds(index, "checkpoint") == 1
    assert await made.kinds(index, "log") == 0
    assert await made.count("index") == 20
    assert patrol.failures == 0


@asynchronous
async def test_a_short_tail_is_left_alone():
    made = await cast()
    await made.create("index")
    await made.put("index", 0, 3)
    await made.maintainer().round()
    index = await made.index("index")
    await index.log.refresh()
    assert index.log.base == 0


@asynchronous
async def test_nothing_is_asked_of_indexes_that_did_not_change():
    made = await cast()
    for number in range(5):
        await made.create(f"index{number}")
        await made.put(f"index{number}", 0, 5)
    patrol = made.maintainer(age=1000.0)
    await patrol.round()
    await patrol.round()  # sees what the first one made
    patrol._next_walk = made.runtime.monotonic() + 1000
    before = made.store.snapshot()
    await patrol.round()
    after = made.store.snapshot()
    assert (after.put_new.requests, after.delete.requests) == (before.put_new.requests, before.delete.requests)
    assert after.list.requests - before.list.requests <= 2  # the catalog's end, and the indexes
    assert after.get.requests - before.get.requests <= 1


@asynchronous
async def test_a_deleted_index_is_cleared_away():
    made = await cast()
    await made.create("index")
    await made.put("index", 0, 9)
    patrol = made.maintainer()
    await patrol.round()
    index = await made.index("index")
    await made.service.call("DeleteIndex", {"vectorBucketName": "bucket", "indexName": "index"})
    await patrol.round()
    await asyncio.sleep(1.1)
    await patrol.round()
    assert [await made.kinds(index, kind) for kind in ("checkpoint", "log", "segment")] == [1, 0, 0]


@asynchronous
async def test_several_maintainers_at_once_do_no_harm_and_seldom_the_same_work():
    made = await cast()
    for number in range(6):
        await made.create(f"index{number}")
        await made.put(f"index{number}", 0, 5)
    patrols = [made.maintainer() for _ in range(3)]
    await asyncio.gather(*(patrol.round() for patrol in patrols))
    for number in range(6):
        index = await made.index(f"index{number}")
        await index.log.refresh()
        assert index.log.base_slot == 5
        assert await made.count(f"index{number}") == 5
    written = [info for info in await made.store.list(paths.INDEX_ROOT) if info.key.endswith(paths.ROWS)]
    assert 6 <= len(written) <= 12  # of 18 if everybody had done everything


@asynchronous
async def test_each_maintainer_goes_through_the_indexes_in_an_order_of_its_own():
    made = await cast()
    ids = [f"{number:032x}" for number in range(50)]
    orders = [tuple(sorted(ids, key=made.maintainer()._place)) for _ in range(3)]
    assert len(set(orders)) == 3


@asynchronous
async def test_an_index_that_fails_does_not_keep_the_others_waiting_and_is_tried_again():
    made = await cast()
    for number in range(3):
        await made.create(f"index{number}")
        await made.put(f"index{number}", 0, 5)
    patrol = made.maintainer()
    broken = await made.index("index1")
    real, failing = patrol._upkeep.tend, [True]

    async def tend(index_id, spec):
        if index_id == broken.index_id and failing:
            raise UnavailableError("no answer")
        return await real(index_id, spec)

    patrol._upkeep.tend = tend
    await patrol.round()
    assert patrol.failures == 1
    failing.clear()
    for name, due in (("index0", 5), ("index1", 0), ("index2", 5)):
        index = await made.index(name)
        await index.log.refresh()
        assert index.log.base_slot == due
    await patrol.round()
    await broken.log.refresh()
    assert broken.log.base_slot == 5


@asynchronous
async def test_a_failure_is_told_once_until_it_has_passed():
    made, told = await cast(), []
    await made.create("index")
    await made.put("index", 0, 5)
    patrol = made.maintainer(tell=lambda index_id, error: told.append((index_id, str(error))))
    (index_id,) = [index.index_id for index in await patrol._administration.indexes()]
    outcomes = iter([UnavailableError("one"), UnavailableError("two"), CorruptObjectError("three"), False, True])

    async def tend(*_):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    patrol._upkeep.tend = tend
    for count in (1, 1, 2, 3, 3):  # of another kind, it is told although another failure came before
        await patrol.round()
        assert len(told) == count
    assert told == [(index_id, "one"), (index_id, "three"), (index_id, "A flush or a merge failed")]
    assert patrol.failures == 4
    outcomes = iter([UnavailableError("again")])
    await made.put("index", 5, 1)
    await patrol.round()
    assert told[3:] == [(index_id, "again")]


@asynchronous
async def test_a_round_that_fails_as_a_whole_is_told_once_and_the_next_one_comes(monkeypatch):
    made, told = await cast(), []
    patrol = made.maintainer(tell=lambda index_id, error: told.append((index_id, str(error))))
    rests, passed = [], asyncio.Event()

    async def broken():
        raise OSError("out of order")

    async def sleep(_):
        rests.append(True)
        if len(rests) == 3:
            passed.set()
        await asyncio.sleep(0)

    monkeypatch.setattr(patrol._administration, "indexes", broken)
    monkeypatch.setattr(made.runtime, "sleep", sleep)
    running = asyncio.ensure_future(patrol.run())
    await passed.wait()
    running.cancel()
    assert told == [("", "out of order")]
    assert patrol.failures >= 3


@asynchronous
async def test_a_merge_that_somebody_announced_is_left_to_him():
    made = await cast()
    await made.create("index")
    quiet = replace(SETTINGS, background=False)
    other = NativeEngine(made.store, made.runtime, quiet)
    found = await made.index("index")
    mine = await other.open(found.index_id, found.spec)
    for part in range(2):
        await made.put("index", 5 * part, 5)
        await mine.maintenance.flush()
    segment = await reserve(mine)
    await made.maintainer().round()
    await mine.log.refresh()
    assert len(mine.state.segments) == 2
    await release(mine, segment)
    await made.maintainer().round()
    await mine.log.refresh()
    assert len(mine.state.segments) == 1


@asynchronous
async def test_a_writer_without_any_maintainer_flushes_before_it_would_have_to_refuse():
    made = await cast()
    await made.create("index")
    await made.put("index", 0, 11)
    index = await made.index("index")
    assert index.log.base == 0
    for start in range(11, 71, 12):  # more at once may come faster than a busy machine flushes
        await made.put("index", start, 12)
        await index.maintenance.wait()
    await index.log.refresh()
    assert index.log.base_slot >= 36
    assert await made.count("index") == 71
    assert await made.kinds(index, "log") == 71  # it collects nothing
    assert len(index.state.segments) >= 2  # and merges nothing
