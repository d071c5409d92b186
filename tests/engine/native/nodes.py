"""What the native engine's tests share: nodes without background work, and short ways to write and look."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from engine.contract import INDEX, list_all
from engine.reference import make_batch
from quiver.engine.engine import Query
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from quiver.engine.native.index import NativeIndex
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

ROOT = paths.index_root(INDEX)
SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
SETTINGS = NativeSettings(background=False, garbage_age=0, tier_fanout=2)


async def open_index(
    store: ObjectStore, runtime: Runtime, spec: IndexSpec = SPEC, index_id: str = INDEX, **changes: object
) -> NativeIndex:
    """The index on a fresh node."""
    return await NativeEngine(store, runtime, replace(SETTINGS, **changes)).open(index_id, spec)


@asynccontextmanager
async def fresh_nodes(count: int, spec: IndexSpec = SPEC, **changes: object) -> AsyncIterator[list[NativeIndex]]:
    """`count` nodes that have the same index open, over a store in memory."""
    runtime = SystemRuntime(threads=4)
    store = MemoryStore(runtime)
    yield [await open_index(store, runtime, spec, **changes) for _ in range(count)]
    runtime.close()


@asynccontextmanager
async def stalled_flush(index: NativeIndex) -> AsyncIterator[asyncio.Task[bool]]:
    """A flush that has drafted its checkpoint and publishes it when the block ends."""
    reached, go = asyncio.Event(), asyncio.Event()
    real = index.log.publish_checkpoint

    async def held(checkpoint: Checkpoint) -> bool:
        reached.set()
        await go.wait()
        return await real(checkpoint)

    index.log.publish_checkpoint = held
    flushing = asyncio.ensure_future(index.maintenance.flush())
    await reached.wait()
    try:
        yield flushing
    finally:
        go.set()


async def put(index: NativeIndex, rows: Mapping[str, Sequence[float]], **metadata: object) -> int:
    """Put vectors by key, all with the same metadata."""
    return await index.put(make_batch(rows, list(rows.values()), [metadata] * len(rows)))


async def dump(index: NativeIndex) -> dict[str, tuple[list[float], bytes]]:
    """Everything in it, by listing."""
    rows = await list_all(index, full=True)
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: (row.vector.tolist(), row.metadata) for row in rows}


async def everything(index: NativeIndex) -> dict[str, tuple[list[float], bytes]]:
    """Everything in it, by listing, looking up and searching, which must agree."""
    held = await dump(index)
    found = await index.get([*held, "unknown"], vectors=True, metadata=True)
    assert {row.key: (row.vector.tolist(), row.metadata) for row in found.rows} == held
    hits = await index.query(Query(np.ones(index.spec.dimension, np.float32), len(held) + 10, metadata=True))
    assert len(hits.keys) == len(held)
    found_metadata = dict(zip(hits.keys, hits.metadata, strict=True))
    assert found_metadata == {key: metadata for key, (_, metadata) in held.items()}
    return held


async def names(index: NativeIndex, kind: str) -> list[str]:
    """Keys of the objects of one kind under the index's root, shortened to what follows the root."""
    listed = await index.store.list(index.root)
    return [info.key[len(index.root) :] for info in listed if paths.classify(index.root, info.key).kind == kind]


def segment_ids(index: NativeIndex) -> list[str]:
    return [ref.id for ref in index.state.segments]
