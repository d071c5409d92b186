"""A small bucket with something of everything, as bytes by key, and questions that tell whether it is whole."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import xxhash

from quiver.engine.engine import Query, TextQuery
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.errors import QuiverError
from quiver.model.runtime import SystemRuntime
from quiver.model.types import TextField
from quiver.objectstore.memory import MemoryStore
from quiver.service.administration import Administration
from quiver.service.arn import Home
from quiver.service.catalog import Catalog, CatalogSettings
from quiver.service.service import Service
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect
from quiver.storage.store_format import open_store_format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from quiver.engine.upkeep import Finding
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.cache.disk_tier import DiskTier

DIMENSION = 8
SETTINGS = NativeSettings(background=False, garbage_age=0, exact_floats=160)  # 20 rows have a structure
CATALOG = CatalogSettings(checkpoint_slots=4)
KEYS = [f"k{number}" for number in range(24)] + ["foreign", "tail", "newest", "absent"]
TARGET = [0.5, 1.0, 2.0, -1.0, 0.25, 3.0, -2.0, 1.5]
CACHE_BYTES = 64 << 20


class NumberingRuntime(SystemRuntime):
    """Gives ids in the same order each time, so that the bucket has the same names and sizes."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._ids = itertools.count()

    def new_id(self) -> str:
        return xxhash.xxh3_128_hexdigest(b"%d" % next(self._ids))


class RemoteStore(MemoryStore):
    """Objects that are not at hand, as in a remote store."""

    resident = False


class Question(NamedTuple):
    """One read, of the index with this name; "" for the catalog."""

    index: str
    operation: str
    params: dict[str, Any]


class Node:
    """A process that has seen nothing of a store yet."""

    def __init__(self, store: ObjectStore, runtime: Runtime, disk: DiskTier | None = None) -> None:
        self.store = store
        self.runtime = runtime
        self.catalog = Catalog(store, runtime, CATALOG)
        self.cache = None if store.resident else BlockCache(store, runtime, CACHE_BYTES, disk)
        self.engine = NativeEngine(store, runtime, SETTINGS, cache=self.cache)
        self.administration = Administration(store, runtime, self.catalog, self.engine)
        self._service: Service | None = None

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        if self._service is None:
            store_format = await open_store_format(self.store, self.runtime)
            home = Home("us-east-1", "000000000000")
            self._service = Service(self.catalog, self.engine, store_format, self.runtime, home)
        return (await self._service.call(operation, {"vectorBucketName": "bucket"} | params)).body

    async def ask(self, question: Question) -> bytes | int:
        """The answer in JSON, or the status of the error; what was not raised on purpose is not caught."""
        try:
            work = self.search if question.operation == "search" else partial(self.call, question.operation)
            body = await work(**question.params)
        except QuiverError as error:
            return error.status
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)

    async def search(self, indexName: str, text: str) -> dict[str, Any]:  # noqa: N803
        """A hybrid query, past the service."""
        found = await self.administration.index("bucket", indexName)
        index = await self.engine.open(found.index_id, found.spec)
        target, texts = np.array(TARGET, np.float32), (TextQuery("words", text),)
        hits = await index.query(Query(target, 100, metadata=True, texts=texts))
        metadata = [text.decode() for text in hits.metadata]
        return {"keys": hits.keys, "scores": list(map(tuple, hits.scores)), "metadata": metadata}

    async def check(self, names: Collection[str]) -> list[Finding]:
        """What fsck finds in the catalog and in the indexes with these names, which it is spared to look for."""
        found = []
        async for title, findings in self.administration.check():
            if title == "catalog" or title.removeprefix("bucket/") in names:
                found += findings
        return found


def questions(names: Iterable[str]) -> list[Question]:
    """The fixed list for the catalog and the indexes with these names."""
    asked = [Question("", "ListVectorBuckets", {}), Question("", "ListIndexes", {})]
    query = {"queryVector": {"float32": TARGET}, "returnDistance": True, "returnMetadata": True}
    whole = {"returnData": True, "returnMetadata": True}
    for name in names:
        asked += [
            Question(name, operation, {"indexName": name} | params)
            for operation, params in (
                ("GetIndex", {}),
                ("QueryVectors", query | {"topK": 100}),
                ("QueryVectors", query | {"topK": 50, "filter": {"colour": "red"}}),
                ("GetVectors", whole | {"keys": KEYS}),
                ("ListVectors", whole),
            )
        ]
        if name in ("old", "young", "clone"):
            asked.append(Question(name, "search", {"indexName": name, "text": "red sky at night"}))
    return asked


def root_of(key: str) -> str:
    """The prefix of the log that an object belongs to."""
    index_id = paths.index_of(key)
    return paths.CATALOG_ROOT if index_id is None else paths.index_root(index_id)


class SmallBucket(NamedTuple):
    """What the service left in a store.

    Attributes:
        objects: bytes by key.
        ids: index ids by name.
        bases: by root, the newest checkpoint's generation and slot.
    """

    objects: dict[str, bytes]
    ids: dict[str, str]
    bases: dict[str, tuple[int, int]]

    def touched(self, keys: Iterable[str]) -> list[str]:
        """The indexes for which objects with these keys can make a difference."""
        owners = {paths.index_of(key) for key in keys}
        if None in owners:
            return sorted(self.ids)
        if self.ids["young"] in owners:
            owners.add(self.ids["clone"])
        return sorted(name for name, id_ in self.ids.items() if id_ in owners)

    def role(self, key: str) -> str:
        """What an object is there for.

        format; segment; entry, last entry, or old entry, which the newest checkpoint holds; old checkpoint; the
        newest is the only one, a clone's, or the later one when its predecessor is there.
        """
        if key == paths.STORE_FORMAT:
            return "format"
        root = root_of(key)
        name, (generation, slot) = paths.classify(root, key), self.bases[root]
        if name.kind == "segment":
            return "segment"
        if name.kind == "log":
            last = max(other for other in self.objects if other.startswith(paths.log_prefix(root)))
            return "old entry" if name.slot <= slot else "last entry" if key == last else "entry"
        if name.generation < generation:
            return "old checkpoint"
        if paths.index_of(key) == self.ids["clone"]:
            return "clone's checkpoint"
        follows = paths.checkpoint_key(root, generation - 1) in self.objects
        return "later checkpoint" if follows else "only checkpoint"


async def make(runtime: Runtime) -> SmallBucket:
    """Four indexes, through the service; all but `fresh` with a text field.

    `old`: collected; a segment of partitions and a flat one, with tombstones; a tail. `young`: the same, not
    collected, with a snapshot. `clone`: of that, with a tail. `fresh`: never flushed. The catalog is collected.
    """
    store = MemoryStore(runtime)
    node = Node(store, runtime)
    rng = np.random.default_rng(7)
    await node.call("CreateVectorBucket")
    for name in ("old", "young", "fresh"):
        shape = {"dimension": DIMENSION, "distanceMetric": "euclidean", "dataType": "float32"}
        await node.call("CreateIndex", indexName=name, **shape)
    for name in ("old", "young"):
        await _fill(node, name, rng)
    await _collect_catalog(node)
    await node.administration.snapshots.create("bucket", "young", "monday")
    await node.administration.snapshots.clone("bucket", "young", "bucket", "clone", "monday")
    ids = {index.name: index.index_id for index in await node.administration.indexes()}
    for name in ids:
        await _put(node, name, ["k1", "tail"], rng)
        await node.call("DeleteVectors", indexName=name, keys=["k2"])
        await _put(node, name, ["newest"], rng)
    await node.engine.collect(ids["old"], 0)
    objects = {info.key: bytes(await store.get(info.key)) for info in await store.list("")}
    owners = {paths.index_root(id_): id_ for id_ in ids.values()} | {paths.CATALOG_ROOT: paths.CATALOG_OWNER}
    newest = {root: await CheckpointStore(store, runtime, root, owner).settled() for root, owner in owners.items()}
    bases = {root: (found.generation, found.slot) if found else (0, 0) for root, found in newest.items()}
    return SmallBucket(objects, ids, bases)


async def _fill(node: Node, name: str, rng: np.random.Generator) -> None:
    """Two segments, the first of partitions."""
    found = await node.administration.index("bucket", name)
    index = await node.engine.open(found.index_id, found.spec)
    await index.configure_texts([TextField("words")])
    await _put(node, name, KEYS[:22], rng)
    await index.maintenance.flush()
    await node.call("DeleteVectors", indexName=name, keys=["k3", "k4"])
    await _put(node, name, ["k5", "k23", "foreign"], rng)
    await index.maintenance.flush()
    structures = [segment.reader.structure[1] for segment in (await index.snapshots.take()).segments]
    assert structures == ["rabitq", "flat"]


async def _collect_catalog(node: Node) -> None:
    """Wait for the checkpoint that the fourth change began, and remove the log that it holds."""
    checkpoints = CheckpointStore(node.store, node.runtime, paths.CATALOG_ROOT, paths.CATALOG_OWNER)
    while await checkpoints.newest(0) is None:
        await node.runtime.sleep(0.01)
    await collect(node.store, node.runtime, paths.CATALOG_ROOT, checkpoints, 0, lambda _: frozenset())


async def _put(node: Node, name: str, keys: Sequence[str], rng: np.random.Generator) -> None:
    rows = rng.normal(size=(len(keys), DIMENSION)).astype(np.float32)
    vectors = [
        {
            "key": key,
            "data": {"float32": row.tolist()},
            "metadata": {
                "colour": "red" if number % 2 else "blue",
                "n": number,
                "words": f"sky {'night ' * (number % 3)}{'red' if number % 2 else 'seen'} {key}",
            },
        }
        for number, (key, row) in enumerate(zip(keys, rows, strict=True))
    ]
    await node.call("PutVectors", indexName=name, vectors=vectors)
