"""The native engine: opens indexes and keeps those in use under one memory budget."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.engine.engine import Engine
from quiver.engine.native import pins
from quiver.engine.native.burial import bury
from quiver.engine.native.cloning import abandon, clone, is_unborn
from quiver.engine.native.fsck import check_index
from quiver.engine.native.index import NativeIndex
from quiver.engine.native.inspection import inspect_index, origin_of, shown
from quiver.engine.native.maintenance import collect_index
from quiver.engine.native.rebuild import rebuild
from quiver.engine.native.recall import measure_recall
from quiver.engine.native.segment_pool import SegmentPool
from quiver.engine.native.settings import NativeSettings
from quiver.engine.native.warming import warm
from quiver.engine.native.workshop import OwnWorkshop, Watcher
from quiver.engine.upkeep import Upkeep
from quiver.model.errors import QuiverError
from quiver.model.progress import no_progress

if TYPE_CHECKING:
    from quiver.engine.native.workshop import Workshop
    from quiver.engine.pinning import Pinned
    from quiver.engine.upkeep import Collected, Finding, IndexSummary, RecallReport, Warmed
    from quiver.model.filter import Filter
    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.model.types import Float32Matrix, IndexSpec
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.cache.block_cache import BlockCache
    from quiver.storage.cache.counts import CacheCounts


class NativeEngine(Engine, Upkeep):
    """See Engine. Half of the budget is for tails, half for segments that are not memory-mapped.

    An index that is closed loses only caches. A request that still holds it goes on; the next one opens it anew,
    under another writer id, which the commit protocol allows.
    """

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        settings: NativeSettings | None = None,
        workshop: Workshop | None = None,
        watcher: Watcher | None = None,
        cache: BlockCache | None = None,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._settings = settings or NativeSettings()
        self._workshop = workshop or OwnWorkshop()
        self._watcher = watcher or Watcher()
        self._pool = SegmentPool(
            store,
            runtime,
            budget=self._settings.memory_bytes // 2,
            limit=self._settings.open_segments,
            spool=self._settings.spool,
            cache=cache,
        )
        self._open: OrderedDict[str, NativeIndex] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._used = 0

    async def open(self, index_id: str, spec: IndexSpec) -> NativeIndex:
        index = self._open.get(index_id)
        if index is None:
            index = NativeIndex(
                self._store,
                self._runtime,
                self._pool,
                index_id,
                spec,
                self._settings,
                self._workshop,
                self._watcher,
            )
            self._open[index_id] = index
        self._open.move_to_end(index_id)
        nbytes = index.resident
        if nbytes != self._sizes.get(index_id):
            self._count(index_id, nbytes)
        return index

    async def seal(self, index_id: str, spec: IndexSpec) -> None:
        index = await self.open(index_id, spec)
        origin = await index.log.observe(lambda: index.state.contents.origin)
        await index.seal()
        self._forget(index_id)
        if self._settings.background and not self._settings.reluctant:
            self._runtime.spawn(self._collect_later(index_id, origin), "collect deleted index")

    async def _collect_later(self, index_id: str, origin: str) -> None:
        """Give the space of a deleted index back, and of those that kept segments for it.

        `quiver gc` does it when this node does not live to see it.
        """
        age = self._settings.garbage_age
        await self._runtime.sleep(age + 1)
        with suppress(QuiverError):
            await self.collect(index_id, age)
            while origin:
                further = await origin_of(
                    self._store, self._runtime, origin
                )  # a deleted one forgets it with its pins
                await self.release(origin, age)
                await self.collect(origin, age)
                origin = further

    async def inspect(self, index_id: str) -> IndexSummary:
        return await inspect_index(self._store, self._runtime, index_id)

    async def check(self, index_id: str, spec: IndexSpec) -> list[Finding]:
        return await check_index(self._store, self._runtime, index_id, spec)

    async def rebuild(self, index_id: str, spec: IndexSpec) -> list[str]:
        return await rebuild(await self.open(index_id, spec))

    async def compact(self, index_id: str, spec: IndexSpec) -> None:
        index = await self.open(index_id, spec)
        await index.maintenance.compact_all()

    async def tend(self, index_id: str, spec: IndexSpec) -> bool:
        index = await self.open(index_id, spec)
        return await index.maintenance.tend()

    async def recall(
        self,
        index_id: str,
        spec: IndexSpec,
        *,
        queries: int | Float32Matrix,
        limit: int,
        condition: Filter | None,
        seed: int,
    ) -> RecallReport:
        index = await self.open(index_id, spec)
        return await measure_recall(index, queries=queries, limit=limit, condition=condition, seed=seed)

    async def warm(
        self, index_id: str, spec: IndexSpec, *, whole: bool = False, progress: Progress = no_progress
    ) -> Warmed | None:
        index = await self.open(index_id, spec)
        return None if self.cache_counts() is None else await warm(index, progress, whole=whole)

    def cache_counts(self) -> CacheCounts | None:
        """What the caches did and hold; None where the store is at hand and nothing is cached."""
        return self._pool.cache_counts

    async def collect(self, index_id: str, age: float) -> Collected:
        return await collect_index(self._store, self._runtime, index_id, age)

    async def discard(self, index_id: str, age: float) -> Collected:
        await bury(self._store, self._runtime, index_id)
        return await self.collect(index_id, age)

    async def snapshot(self, index_id: str, spec: IndexSpec, name: str) -> Pinned:
        return shown(await pins.add(await self.open(index_id, spec), name))

    async def snapshots(self, index_id: str, spec: IndexSpec) -> list[Pinned]:
        contents = await pins.read(await self.open(index_id, spec))
        found = [shown(pin) for pin in contents.pins if not pin.holder]
        return sorted(found, key=lambda snapshot: snapshot.name)

    async def drop_snapshot(self, index_id: str, spec: IndexSpec, name: str) -> None:
        await pins.remove(await self.open(index_id, spec), name)

    async def clone(self, index_id: str, spec: IndexSpec, clone_id: str, snapshot: str | None) -> Pinned:
        return shown(await clone(await self.open(index_id, spec), clone_id, snapshot))

    async def release(self, index_id: str, age: float) -> bool:
        return await pins.release(self._store, self._runtime, index_id, age)

    async def unborn(self, index_id: str, age: float) -> bool:
        return await is_unborn(self._store, self._runtime, index_id, age)

    async def abandon(self, index_id: str) -> None:
        await abandon(self._store, self._runtime, index_id)

    async def close(self) -> None:
        for index in self._open.values():
            index.maintenance.stop()
        await self._workshop.close()
        for index in list(self._open.values()):
            await index.maintenance.wait()
        self._open.clear()

    def _count(self, index_id: str, nbytes: int) -> None:
        """Count an index with its present size, then close the least recently used beyond the budget."""
        self._used += nbytes - self._sizes.get(index_id, 0)
        self._sizes[index_id] = nbytes
        while self._used > self._settings.memory_bytes // 2 and len(self._open) > 1:
            self._forget(next(iter(self._open)))

    def _forget(self, index_id: str) -> None:
        if self._open.pop(index_id, None) is not None:
            self._used -= self._sizes.pop(index_id)
