"""Tests of collection on a live index: what readers, writers and a checkpoint to come need is kept."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from engine.native.nodes import everything, fresh_nodes, names, open_index, put, segment_ids, stalled_flush
from quiver.engine.native.compaction import compact
from quiver.model.errors import MissingObjectError
from quiver.objectstore.store import ObjectNotFoundError


@asynchronous
async def test_after_collection_only_the_newest_checkpoint_and_what_it_names_are_left():
    async with fresh_nodes(1) as (index,):
        for number in range(5):
            await put(index, {f"k{number}": [number, 0]})
            await index.maintenance.flush()
        await index.maintenance.compact_all()
        await put(index, {"tail": [1, 1]})
        removed = await index.maintenance.collect()
        assert removed.objects > 0
        assert await names(index, "log") == ["log/0000000000000006"]
        assert len(await names(index, "checkpoint")) == 1
        assert {name.split("/")[1] for name in await names(index, "segment")} == set(segment_ids(index))
        assert await names(index, "mark") == []
        assert (await index.maintenance.collect()).objects == 0
        assert len(await everything(await open_index(index.store, index.runtime))) == 6


@asynchronous
async def test_a_segment_that_a_checkpoint_to_come_will_name_is_kept():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        await put(index, {"b": [2, 0]})
        async with stalled_flush(index) as flushing:
            await other.maintenance.collect()
        assert await flushing
        assert sorted(await everything(other)) == ["a", "b"]
        assert sorted(await everything(await open_index(index.store, index.runtime))) == ["a", "b"]


@asynchronous
async def test_a_stalled_flush_cannot_bring_back_segments_that_were_merged_and_collected():
    async with fresh_nodes(3) as (index, merger, other):
        for key in "ab":
            await put(index, {key: [1, 0]})
            await index.maintenance.flush()
        await put(index, {"c": [1, 0]})
        async with stalled_flush(index) as flushing:
            await merger.log.refresh()
            assert await compact(merger, segment_ids(merger))
            await put(other, {"d": [1, 0]})
            await other.maintenance.collect()
        await flushing  # it may land where a collected checkpoint was, behind the newest one
        for node in (index, merger, other, await open_index(index.store, index.runtime)):
            assert sorted(await everything(node)) == ["a", "b", "c", "d"]


@asynchronous
async def test_a_reader_whose_segments_go_while_it_opens_them_answers_from_the_newer_checkpoint():
    async with fresh_nodes(1) as (index,):
        for key in "ab":
            await put(index, {key: [1, 0]})
            await index.maintenance.flush()
        real = index.store.get
        overtaken = False

        async def get(key, start=0, length=None):
            nonlocal overtaken
            if "/segment/" in key and not overtaken:
                overtaken = True
                await index.maintenance.compact_all()
                await index.maintenance.collect()
            return await real(key, start, length)

        reader = await open_index(index.store, index.runtime)
        index.store.get = get
        assert sorted(await everything(reader)) == ["a", "b"]
        assert overtaken


@asynchronous
async def test_a_segment_that_is_gone_for_good_is_an_error_and_not_a_shorter_answer():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        await put(index, {"b": [1, 0]})
        await index.store.delete([info.key for info in await index.store.list(index.root + "segment/")])
        reader = await open_index(index.store, index.runtime)
        with pytest.raises(MissingObjectError):
            await everything(reader)
        with pytest.raises(MissingObjectError):
            await reader.maintenance.flush()
        with pytest.raises(ObjectNotFoundError):
            await index.store.get("index/none")
