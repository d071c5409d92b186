"""A whole store in memory with a model of what it held at every moment, and stores that interfere with a copy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.reference import make_batch
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.naming import names_of
from quiver.engine.native.settings import NativeSettings
from quiver.model.progress import no_progress
from quiver.objectstore.store import ObjectStore
from quiver.service.administration import Administration
from quiver.service.arn import Home
from quiver.service.catalog import Catalog, CatalogSettings
from quiver.service.catalog_commands import CreateIndex
from quiver.service.service import Service
from quiver.storage.copying.store_copy import CopyReport, copy_store
from quiver.storage.copying.transfer import CopySettings, Transfer
from quiver.storage.store_format import open_store_format

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectInfo
    from quiver.service.catalog_state import Index

BUCKET = "bucket"
HOME = Home("eu-central-1", "123456789012")
NATIVE = NativeSettings(flush_rows=10**6, garbage_age=0.0, background=False)
SMALL = CopySettings(at_once=2, piece_bytes=512)
Contents = dict[str, int]


async def open_root(store: ObjectStore, runtime: Runtime) -> tuple[NativeEngine, Catalog, Service]:
    """A node that has never seen the store."""
    store_format = await open_store_format(store, runtime)
    engine = NativeEngine(store, runtime, NATIVE)
    catalog = Catalog(store, runtime, CatalogSettings(checkpoint_slots=4))
    return engine, catalog, Service(catalog, engine, store_format, runtime, HOME)


async def rows_of(opened: Any) -> Contents:
    """Each key of an open index with its value."""
    rows: Contents = {}
    async for batch in opened.scan():
        assert not rows.keys() & set(batch.keys)
        rows.update(zip(batch.keys, batch.vectors[:, 0].astype(int).tolist(), strict=True))
    return rows


class Living:
    """A store that is worked with. `moments` has, for each index, what it held after each change, by time.

    Attributes:
        moments: by index name, (time, contents); contents are None before it is created and after it is deleted.
        now: counts the changes.
    """

    def __init__(self, store: ObjectStore, runtime: Runtime) -> None:
        self.store = store
        self.runtime = runtime
        self.moments: dict[str, list[tuple[int, Contents | None]]] = {}
        self.now = 0
        self._rows: dict[str, Contents] = {}

    async def open(self) -> None:
        self.engine, self.catalog, self.service = await open_root(self.store, self.runtime)
        await self.service.call("CreateVectorBucket", {"vectorBucketName": BUCKET})

    @property
    def indexes(self) -> list[str]:
        return sorted(self._rows)

    async def create(self, name: str) -> None:
        await self.service.call(
            "CreateIndex",
            {
                "vectorBucketName": BUCKET,
                "indexName": name,
                "dataType": "float32",
                "dimension": 2,
                "distanceMetric": "euclidean",
            },
        )
        self._changed(name, {})

    async def delete(self, name: str) -> None:
        await self.service.call("DeleteIndex", {"vectorBucketName": BUCKET, "indexName": name})
        self._changed(name, None)

    async def put(self, name: str, rows: Contents) -> None:
        index = await self.index(name)
        vectors = np.array([[value, 1.0] for value in rows.values()])
        await index.put(make_batch(list(rows), vectors, [{"v": value} for value in rows.values()]))
        self._changed(name, self._rows[name] | rows)

    async def remove(self, name: str, keys: Sequence[str]) -> None:
        await (await self.index(name)).delete(keys)
        self._changed(name, {key: value for key, value in self._rows[name].items() if key not in keys})

    async def clone(self, name: str, clone: str, clone_id: str = "") -> None:
        index, clone_id = await self.index(name), clone_id or self.runtime.new_id()
        await self.engine.clone(index.index_id, index.spec, clone_id, None)
        command = CreateIndex(BUCKET, clone, clone_id, index.spec, int(self.runtime.time()), {}, None, {})
        await self.catalog.execute(command)
        self._changed(clone, self._rows[name])

    async def flush(self, name: str) -> None:
        await (await self.index(name)).maintenance.flush()

    async def compact(self, name: str) -> None:
        await (await self.index(name)).maintenance.compact_all()

    async def collect(self) -> None:
        """Remove garbage at once, of the catalog, of all indexes and of those that were deleted."""
        administration = Administration(self.store, self.runtime, self.catalog, self.engine)
        async for _ in administration.collect(0):
            pass

    async def index(self, name: str) -> Any:
        found = await self.catalog.read(lambda state: state.index(BUCKET, name))
        return await self.engine.open(found.index_id, found.spec)

    def _changed(self, name: str, rows: Contents | None) -> None:
        self.now += 1
        self.moments.setdefault(name, []).append((self.now, rows))
        if rows is None:
            del self._rows[name]
        else:
            self._rows[name] = rows

    def may_hold(self, name: str, since: int) -> list[Contents | None]:
        """What an index held at some moment from `since` on."""
        moments = [(0, None), *self.moments.get(name, [])]
        before = [rows for time, rows in moments if time <= since]
        return [before[-1], *(rows for time, rows in moments if time > since)]


async def copied(
    source: ObjectStore,
    target: ObjectStore,
    runtime: Runtime,
    *,
    resume: bool = False,
    settings: CopySettings = SMALL,
    progress: Any = no_progress,
) -> CopyReport:
    """A copy by a process that has never seen either store."""
    return await copy_store(Transfer(source, target, runtime, settings, progress), names_of, resume=resume)


async def judge(living: Living, target: ObjectStore, since: int) -> None:
    """The copy is sound, opens, and each index has what it had at some moment from `since` on. So it stays."""
    engine, catalog, _ = await open_root(target, living.runtime)
    administration = Administration(target, living.runtime, catalog, engine)
    assert [finding async for _, found in administration.check() for finding in found] == []
    named = {index.name: index for index in await administration.indexes()}
    for name in living.moments.keys() | named.keys():
        allowed = living.may_hold(name, since)
        index = named.get(name)
        if index is None or await sealed(engine, index):
            assert None in allowed, name
        else:
            assert await rows_of(await engine.open(index.index_id, index.spec)) in allowed, name
    async for _ in administration.collect(0):  # nothing that is needed is garbage
        pass
    assert [finding async for _, found in administration.check() for finding in found] == []


async def sealed(engine: NativeEngine, index: Index) -> bool:
    opened = await engine.open(index.index_id, index.spec)
    return bool(await opened.log.observe(lambda: opened.log.sealed))


class Interfering(ObjectStore):
    """Calls `before`, one at a time, with a name and a key (or prefix) before it passes each request on."""

    url = "interfering://"

    def __init__(self, inner: ObjectStore, before: Callable[[str, str], Awaitable[None]]) -> None:
        self.inner = inner
        self._call = before
        self._busy = asyncio.Lock()

    async def _before(self, kind: str, key: str) -> None:
        async with self._busy:
            await self._call(kind, key)

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._before("put", key)
        await self.inner.put_new(key, parts)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        await self._before("get", key)
        return await self.inner.get(key, start, length)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        await self._before("list", prefix)
        return await self.inner.list(prefix, after)

    async def delete(self, keys: Sequence[str]) -> None:
        raise AssertionError("a copy deletes nothing")
