"""Tests of deleting an index: its objects go, its seal stays, whoever stalled before it."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS, fresh_nodes, open_index, put, stalled_flush
from quiver.engine.engine import IndexSealedError
from quiver.engine.native.engine import NativeEngine
from quiver.format.log_entry import Part, PartKind


async def assert_nothing_is_left_but_the_seal(index) -> None:
    left = [info.key.removeprefix(index.root) for info in await index.store.list(index.root)]
    assert [key.partition("/")[0] for key in left] == ["checkpoint"]
    with pytest.raises(IndexSealedError):
        await put(await open_index(index.store, index.runtime), {"z": [9, 9]})


@asynchronous
async def test_a_deleted_index_leaves_its_seal_alone():
    async with fresh_nodes(2) as (index, stale):
        await put(index, {"a": [1, 0]})
        await stale.log.refresh()
        await index.maintenance.flush()
        await put(index, {"b": [1, 0]})
        await index.seal()
        await index.maintenance.collect()
        await assert_nothing_is_left_but_the_seal(index)
        with pytest.raises(IndexSealedError):
            await put(stale, {"c": [3, 0]})
        await index.maintenance.collect()
        await assert_nothing_is_left_but_the_seal(index)


@asynchronous
async def test_a_deletion_cut_short_after_the_seal_is_finished():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        await index.log.append(Part(PartKind.SEAL, b""))
        engine = NativeEngine(index.store, index.runtime, SETTINGS)
        assert (await engine.discard(INDEX, 0)).objects > 0
        await assert_nothing_is_left_but_the_seal(index)
        assert (await engine.discard(INDEX, 0)).objects == 0


@asynchronous
async def test_a_flush_drafted_before_the_seal_does_not_keep_the_index_alive():
    async with fresh_nodes(2) as (index, flusher):
        await put(index, {"a": [1, 0]})
        async with stalled_flush(flusher) as flushing:
            await index.log.append(Part(PartKind.SEAL, b""))
        await flushing
        await index.seal()
        await index.maintenance.collect()
        await assert_nothing_is_left_but_the_seal(index)


@asynchronous
async def test_discarding_an_index_that_was_not_sealed_removes_nothing_it_needs():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await NativeEngine(index.store, index.runtime, SETTINGS).discard(INDEX, 0)
        assert [row.key for row in (await index.get(["a"], vectors=False, metadata=False)).rows] == ["a"]
