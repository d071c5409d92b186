"""The contract on the native engine: in memory, in a directory, and with thresholds so small that maintenance
runs all the time."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

from asynchronous import asynchronous
from engine.conditional_contract import ConditionalContract
from engine.contract import EngineContract, Nodes
from engine.native.nodes import open_index, put
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.cache.disk_tier import DiskTier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quiver.engine.engine import Engine
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
MAINTAINING = NativeSettings(
    flush_rows=5, flush_slots=2, tail_limit=10_000, tier_fanout=2, garbage_age=0, memory_bytes=1 << 16
)


class NativeNodes(Nodes):
    """Nodes of the native engine over one store."""

    def __init__(
        self,
        new_store: Callable[[Runtime], ObjectStore],
        settings: NativeSettings,
        cache_bytes: int | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.runtime = SystemRuntime(threads=3)
        self.store = new_store(self.runtime)
        self._settings = settings
        self._cache_bytes = cache_bytes
        self._cache_folder = cache_folder
        self._disks: list[DiskTier] = []

    def new_engine(self) -> Engine:
        cache = None
        if self._cache_bytes is not None:
            self.store.resident = False
            disk = None
            if self._cache_folder is not None:
                self._disks.append(disk := DiskTier.open(self._cache_folder, 1 << 26))
            cache = BlockCache(self.store, self.runtime, self._cache_bytes, disk)
        return NativeEngine(self.store, self.runtime, self._settings, cache=cache)

    async def close(self) -> None:
        await super().close()
        for disk in self._disks:
            disk.close()
        await self.store.close()
        self.runtime.close()


class TestNativeEngineInMemory(EngineContract, ConditionalContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(MemoryStore, NativeSettings())


class TestNativeEngineInADirectory(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(lambda runtime: LocalStore(tmp_path / "root", runtime), NativeSettings())


class TestNativeEngineThroughACache(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(MemoryStore, MAINTAINING, cache_bytes=1 << 20)


class TestNativeEngineOverADiskTier(EngineContract, ConditionalContract):
    """What came is searched in the files of the tier; memory is for what these do not take."""

    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(MemoryStore, MAINTAINING, cache_bytes=0, cache_folder=tmp_path / "cache")


class TestNativeEngineThroughACacheOfNothing(EngineContract, ConditionalContract):
    """Every block is dropped as soon as no query uses it."""

    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(MemoryStore, MAINTAINING, cache_bytes=0)


class TestNativeEngineAlwaysMaintaining(EngineContract, ConditionalContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return NativeNodes(MemoryStore, MAINTAINING)


@asynchronous
async def test_idle_indexes_are_closed_beyond_the_budget_and_lose_nothing():
    runtime = SystemRuntime(threads=2)
    store = MemoryStore(runtime)
    engine = NativeEngine(store, runtime, NativeSettings(memory_bytes=256 << 10, background=False))
    ids = [f"{number:032x}" for number in range(48)]
    first = await engine.open(ids[0], SPEC)
    for number, index_id in enumerate(ids):
        await put(await engine.open(index_id, SPEC), {"a": [number, 0]})
    assert await engine.open(ids[0], SPEC) is not first
    for number, index_id in enumerate(ids):
        (row,) = (await (await engine.open(index_id, SPEC)).get(["a"], vectors=True, metadata=False)).rows
        assert row.vector.tolist() == [number, 0]
    await put(first, {"b": [9, 9]})  # a request that still holds the closed index goes on
    assert (await (await open_index(store, runtime, SPEC, ids[0])).get(["b"], vectors=False, metadata=False)).rows
    runtime.close()


@asynchronous
async def test_the_rows_of_a_closed_index_leave_memory_without_the_garbage_collector():
    runtime = SystemRuntime(threads=2)
    engine = NativeEngine(MemoryStore(runtime), runtime, NativeSettings(memory_bytes=256 << 10))
    index = await engine.open("0" * 32, SPEC)
    await put(index, {"a": [1, 0]})
    rows = weakref.ref(index.state.tail.blocks[0])
    del index
    gc.disable()
    try:
        for number in range(1, 4):
            await engine.open(f"{number:032x}", SPEC)
        assert rows() is None
    finally:
        gc.enable()
        runtime.close()


@asynchronous
async def test_writes_to_open_indexes_count_for_the_budget():
    runtime = SystemRuntime(threads=2)
    engine = NativeEngine(MemoryStore(runtime), runtime, NativeSettings(memory_bytes=1 << 20, background=False))
    ids = ["0" * 32, "1" * 32]
    first, _ = [await engine.open(index_id, SPEC) for index_id in ids]
    await put(first, {f"key-{number}": [number, 0] for number in range(3000)})
    assert await engine.open(ids[0], SPEC) is first
    assert await engine.open(ids[1], SPEC)
    assert await engine.open(ids[0], SPEC) is not first
    runtime.close()
