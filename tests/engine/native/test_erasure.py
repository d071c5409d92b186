"""Deleted means gone (I10): after delete, compaction and collection no object holds the bytes."""

from __future__ import annotations

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS, everything, fresh_nodes
from engine.native.test_pins import CLONE, OTHER
from engine.reference import make_batch
from quiver.engine.native.engine import NativeEngine
from quiver.model.types import DistanceMetric, IndexSpec

SPEC = IndexSpec(16, DistanceMetric.EUCLIDEAN)


async def objects_holding(index, marker: bytes) -> list[str]:
    listed = await index.store.list("")
    return [info.key for info in listed if marker in bytes(await index.store.get(info.key))]


@pytest.mark.parametrize("seed", range(6))
@asynchronous
async def test_deleted_and_overwritten_bytes_are_in_no_object(seed):
    rng = np.random.default_rng(seed)
    async with fresh_nodes(2, SPEC) as (index, other):
        vectors = rng.normal(size=(12, 16)).astype(np.float32)
        texts = [rng.bytes(16).hex() for _ in range(12)]
        keys = [rng.bytes(8).hex() for _ in range(12)]
        for start in range(0, 12, 3):
            part = slice(start, start + 3)
            await index.put(make_batch(keys[part], vectors[part], [{"text": text} for text in texts[part]]))
            if rng.random() < 0.6:
                await index.maintenance.flush()
        doomed = set(rng.choice(12, 5, replace=False).tolist())
        replaced = doomed & set(range(3))
        await other.delete([keys[row] for row in doomed - replaced])
        for row in replaced:
            await other.put(make_batch([keys[row]], np.ones((1, 16)), [{"text": "new"}]))
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        for row in range(12):
            gone = row in doomed
            assert bool(await objects_holding(index, vectors[row].tobytes())) != gone
            assert bool(await objects_holding(index, texts[row].encode())) != gone
            assert bool(await objects_holding(index, keys[row].encode())) != (row in doomed - replaced)
        assert len(await everything(other)) == 12 - len(doomed - replaced)


@asynchronous
async def test_a_sealed_index_leaves_no_rows_behind():
    async with fresh_nodes(1, SPEC) as (index,):
        await index.put(make_batch(["secret-key"], np.full((1, 16), 7.25)))
        await index.maintenance.flush()
        await index.put(make_batch(["other-key"], np.full((1, 16), 7.25)))
        await index.seal()
        await index.maintenance.collect()
        for marker in (b"secret-key", b"other-key", np.full(16, 7.25, np.float32).tobytes()):
            assert await objects_holding(index, marker) == []
        assert len(await index.store.list("")) == 1  # the checkpoint that says so


MARKER = np.full((1, 16), -3.14159265, np.float32)
MARKS = (b"marked-key", b"marked-text", MARKER.tobytes())


async def marked(index) -> list[bool]:
    """Whether key, metadata and floats of the marked vector are anywhere in the bucket."""
    return [bool(await objects_holding(index, mark)) for mark in MARKS]


async def collect_everything(engine: NativeEngine) -> None:
    """As `quiver gc --age 0` does it."""
    while any([await engine.release(index_id, 0) for index_id in (INDEX, CLONE, OTHER)]):
        pass
    for index_id in (INDEX, CLONE, OTHER):
        await engine.discard(index_id, 0)


@pytest.mark.parametrize("flushed", [True, False])
@asynchronous
async def test_deleted_bytes_stay_as_long_as_a_snapshot_or_a_clone_has_them_and_go_with_the_last(flushed):
    async with fresh_nodes(1, SPEC) as (index,):
        engine = NativeEngine(index.store, index.runtime, SETTINGS)
        await index.put(make_batch(["marked-key"], MARKER, [{"text": "marked-text"}]))
        await index.put(make_batch(["other"], np.ones((1, 16))))
        if flushed:
            await index.maintenance.flush()
        await engine.snapshot(INDEX, SPEC, "one")
        await engine.clone(INDEX, SPEC, CLONE, "one")
        await engine.clone(CLONE, SPEC, OTHER, None)
        first, second = [await engine.open(index_id, SPEC) for index_id in (CLONE, OTHER)]

        async def forget(each) -> None:
            await each.delete(["marked-key"])
            await each.maintenance.compact_all()
            await collect_everything(engine)

        await forget(index)
        assert await marked(index) == [True] * 3
        await engine.drop_snapshot(INDEX, SPEC, "one")
        await forget(first)
        assert await marked(index) == [True] * 3
        assert [row.key for row in (await second.get(["marked-key"], vectors=False, metadata=False)).rows]
        await forget(second)
        assert await marked(index) == [False] * 3
        for each in (index, first, second):
            assert list(await everything(each)) == ["other"]


@asynchronous
async def test_deleting_source_and_clones_leaves_no_byte_of_theirs():
    async with fresh_nodes(1, SPEC) as (index,):
        engine = NativeEngine(index.store, index.runtime, SETTINGS)
        await index.put(make_batch(["marked-key"], MARKER, [{"text": "marked-text"}]))
        await engine.snapshot(INDEX, SPEC, "one")
        await engine.clone(INDEX, SPEC, CLONE, "one")
        await engine.seal(INDEX, SPEC)
        await collect_everything(engine)
        assert await marked(index) == [True] * 3
        await engine.seal(CLONE, SPEC)
        await collect_everything(engine)
        assert await marked(index) == [False] * 3
