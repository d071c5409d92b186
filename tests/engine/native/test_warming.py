"""Warming: footers and centroids come when a segment is opened, all of the indexes on request, rows never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS
from engine.reference import make_batch
from quiver.engine.engine import IndexSealedError, Query
from quiver.engine.native import warming
from quiver.engine.native.engine import NativeEngine
from quiver.engine.upkeep import Warmed
from quiver.format import paths
from quiver.model.errors import MissingObjectError
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.memory import MemoryStore
from quiver.storage import segment_writer
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.gate import Gate, Urgency

if TYPE_CHECKING:
    from pathlib import Path

SPEC = IndexSpec(64, DistanceMetric.EUCLIDEAN)
ROWS = 20_000
PARTS = {paths.SEGMENT_INDEX: "index", paths.ROWS: "rows"}


class Counting(MemoryStore):
    """Counts the bytes that are read of segments' objects, by part."""

    resident = False

    def __init__(self, runtime):
        super().__init__(runtime)
        self.read = {"index": 0, "rows": 0}

    async def get(self, key, start=0, length=None):
        data = await super().get(key, start, length)
        for ending, part in PARTS.items():
            if key.endswith(ending):
                self.read[part] += len(data)
        return data


class Bench:
    """An index of two segments, one of them large, in a counting store."""

    def __init__(self) -> None:
        self.runtime = SystemRuntime(threads=2)
        self.store = Counting(self.runtime)

    async def fill(self) -> None:
        rng = np.random.default_rng(3)
        index = await NativeEngine(self.store, self.runtime, SETTINGS).open(INDEX, SPEC)

        async def batches():
            keys = [f"k{number}" for number in range(ROWS)]
            yield make_batch(keys, rng.normal(size=(ROWS, 64)), [{"n": "x" * 40}] * ROWS)

        await index.load(batches())
        await index.put(make_batch(["a", "b"], rng.normal(size=(2, 64))))
        await index.maintenance.flush()
        self.refs = list(index.state.segments)
        assert len(self.refs) == 2

    def node(self, *, budget: int = 1 << 28, disk: DiskTier | None = None) -> tuple[NativeEngine, BlockCache]:
        cache = BlockCache(self.store, self.runtime, budget, disk)
        self.store.read = {"index": 0, "rows": 0}
        return NativeEngine(self.store, self.runtime, SETTINGS, cache=cache), cache


@pytest.fixture(scope="module")
def bench():
    made = Bench()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_writer, "_READ_WHOLE", 0)  # as if it were a large index
        asynchronous(made.fill)()
    yield made
    made.runtime.close()


def heads(bench: Bench) -> int:
    return sum(ref.head_bytes for ref in bench.refs)


@asynchronous
async def test_footers_and_centroids_come_when_segments_are_opened(bench):
    engine, cache = bench.node()
    index = await engine.open(INDEX, SPEC)
    await index.snapshots.take()
    # in blocks of 64 KiB, of each object one that is cut
    assert heads(bench) <= bench.store.read["index"] <= heads(bench) + 2 * 65536
    assert bench.store.read["index"] < sum(ref.index_bytes for ref in bench.refs)
    before = cache.counts
    warmed = await engine.warm(INDEX, SPEC)
    assert warmed == Warmed(2, heads(bench))
    assert cache.counts.fetched == before.fetched


@asynchronous
async def test_warming_fetches_the_ends_of_the_indexes_and_no_rows(bench):
    engine, cache = bench.node()
    told = []
    warmed = await engine.warm(INDEX, SPEC, progress=lambda *what: told.append(what))
    assert warmed == Warmed(2, heads(bench))
    assert bench.store.read["rows"] == 0
    assert heads(bench) <= bench.store.read["index"] <= heads(bench) + 2 * 65536
    assert (told[0], told[-1]) == (("warm", 0, heads(bench)), ("warm", heads(bench), heads(bench)))
    assert cache.counts.missed == 0


@asynchronous
async def test_warming_all_fetches_every_byte_of_the_indexes_once_and_a_query_then_fetches_rows_only(bench):
    engine, _ = bench.node()
    whole = sum(ref.index_bytes for ref in bench.refs)
    assert await engine.warm(INDEX, SPEC, whole=True) == Warmed(2, whole)
    assert bench.store.read == {"index": whole, "rows": 0}
    await engine.warm(INDEX, SPEC, whole=True)
    index = await engine.open(INDEX, SPEC)
    assert len((await index.query(Query(np.ones(64, np.float32), 3))).keys) == 3
    assert bench.store.read["index"] == whole
    assert bench.store.read["rows"] > 0


@asynchronous
async def test_what_memory_dropped_is_warmed_again(bench):
    engine, cache = bench.node()
    await engine.warm(INDEX, SPEC)
    fetched = cache.counts.fetched
    cache.shrink(0)
    await engine.warm(INDEX, SPEC)
    assert cache.counts.fetched == 2 * fetched


@asynchronous
async def test_the_disk_is_warm_afterwards(bench, tmp_path: Path):
    disk = DiskTier.open(tmp_path, 1 << 28)
    engine, cache = bench.node(disk=disk)
    warmed = await engine.warm(INDEX, SPEC, whole=True)
    assert cache.nbytes == 0, "what is on the disk is seen there"
    assert disk.counters.nbytes > warmed.nbytes
    await cache.shut()
    engine, _ = bench.node(disk=DiskTier.open(tmp_path, 1 << 28))
    await engine.warm(INDEX, SPEC, whole=True)
    assert bench.store.read == {"index": 0, "rows": 0}


@asynchronous
async def test_more_than_memory_holds_reaches_the_disk(bench, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(warming, "_STEP", 1 << 17)
    disk = DiskTier.open(tmp_path, 1 << 28)
    engine, cache = bench.node(disk=disk, budget=1 << 18)
    warmed = await engine.warm(INDEX, SPEC, whole=True)
    assert cache.nbytes < warmed.nbytes
    assert disk.counters.nbytes > warmed.nbytes
    await cache.shut()


@asynchronous
async def test_queries_come_before_warming(bench, monkeypatch):
    asked = []
    real = Gate.entered
    monkeypatch.setattr(Gate, "entered", lambda gate, urgency: (asked.append(urgency), real(gate, urgency))[1])
    engine, _ = bench.node()
    await engine.warm(INDEX, SPEC, whole=True)
    assert set(asked) == {Urgency.WARMING}
    index = await engine.open(INDEX, SPEC)
    await index.query(Query(np.ones(64, np.float32), 3))
    assert asked[-1] is Urgency.QUERY


@asynchronous
async def test_where_the_store_is_at_hand_there_is_nothing_to_do():
    runtime = SystemRuntime(threads=2)
    engine = NativeEngine(MemoryStore(runtime), runtime, SETTINGS)
    assert await engine.warm(INDEX, SPEC, whole=True) is None
    assert engine.cache_counts() is None
    runtime.close()


async def _some_index(store, runtime):
    engine = NativeEngine(store, runtime, SETTINGS)
    index = await engine.open(INDEX, SPEC)
    for number in range(2):
        await index.put(make_batch([f"k{number}"], np.ones((1, 64))))
        await index.maintenance.flush()
    return engine


@asynchronous
async def test_segments_that_were_merged_and_removed_meanwhile_are_passed_over(monkeypatch):
    runtime = SystemRuntime(threads=2)
    store = Counting(runtime)
    writer = await _some_index(store, runtime)
    cache = BlockCache(store, runtime, 1 << 26)
    engine = NativeEngine(store, runtime, SETTINGS, cache=cache)
    seen = []
    real = warming._readers

    async def overtaken(index):
        readers = await real(index)
        seen.append(len(readers))
        if len(seen) == 1:
            await writer.compact(INDEX, SPEC)
            await writer.collect(INDEX, 0)
            cache.shrink(0)
        return readers

    monkeypatch.setattr(warming, "_readers", overtaken)
    assert (await engine.warm(INDEX, SPEC)).segments == 1
    assert seen == [2, 1]
    runtime.close()


@asynchronous
async def test_a_segment_that_is_gone_is_missing_and_a_deleted_index_cannot_be_warmed():
    runtime = SystemRuntime(threads=2)
    store = Counting(runtime)
    writer = await _some_index(store, runtime)
    cache = BlockCache(store, runtime, 1 << 26)
    engine = NativeEngine(store, runtime, SETTINGS, cache=cache)
    await engine.warm(INDEX, SPEC)
    cache.shrink(0)
    keys = [info.key for info in await store.list("") if info.key.endswith(paths.SEGMENT_INDEX)]
    await store.delete(keys)
    with pytest.raises(MissingObjectError):
        await engine.warm(INDEX, SPEC)
    await writer.seal(INDEX, SPEC)
    with pytest.raises(IndexSealedError):
        await engine.warm(INDEX, SPEC)
    runtime.close()
