"""Tests of flushing: tail and segments together never show a row twice, or one that is gone."""

from __future__ import annotations

import asyncio

from asynchronous import asynchronous
from engine.native.nodes import SPEC, dump, everything, fresh_nodes, names, open_index, put, segment_ids


@asynchronous
async def test_an_index_without_writes_is_not_flushed():
    async with fresh_nodes(1) as (index,):
        assert not await index.maintenance.flush()
        await put(index, {"a": [1, 1]})
        assert await index.maintenance.flush()
        assert not await index.maintenance.flush()
        assert await names(index, "checkpoint") == ["checkpoint/0000000000000001"]


@asynchronous
async def test_overwrites_and_deletes_across_tail_and_segments_show_each_key_once():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0], "b": [2, 0], "c": [3, 0]}, step=1)
        await put(index, {"a": [1, 1]}, step=2)  # in the tail
        assert (await everything(index))["a"] == ([1, 1], b'{"step":2}')
        await index.maintenance.flush()
        await put(index, {"b": [2, 1], "d": [4, 0]}, step=3)  # over a segment
        await index.delete(["c"])
        expected = {
            "a": ([1, 1], b'{"step":2}'),
            "b": ([2, 1], b'{"step":3}'),
            "d": ([4, 0], b'{"step":3}'),
        }
        assert await everything(index) == expected
        await index.maintenance.flush()
        assert await everything(index) == await everything(other) == expected
        assert [(ref.rows, list(ref.dead())) for ref in index.state.segments] == [
            (3, [0, 1]),
            (2, []),
        ]  # written as b, c, a
        await put(index, {"c": [9, 9]}, step=4)  # back again
        await index.maintenance.flush()
        assert (await everything(other))["c"] == ([9, 9], b'{"step":4}')


@asynchronous
async def test_rows_that_die_before_the_flush_are_never_written():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await put(index, {"a": [3, 0]})
        await index.delete(["b"])
        await index.maintenance.flush()
        assert [ref.rows for ref in index.state.segments] == [1]
        await index.delete(["a"])
        await index.maintenance.flush()
        assert segment_ids(index) == []
        assert await everything(index) == {}


@asynchronous
async def test_writes_during_a_flush_stay_in_the_tail():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await asyncio.gather(
            index.maintenance.flush(), put(other, {"a": [7, 7], "c": [3, 0]}), other.delete(["b"])
        )
        held = await everything(index)
        assert {key: vector for key, (vector, _) in held.items()} == {"a": [7, 7], "c": [3, 0]}
        assert await everything(other) == held


@asynchronous
async def test_of_two_nodes_that_flush_at_once_one_publishes_and_both_agree():
    async with fresh_nodes(2) as (one, other):
        for step in range(6):
            await put(one, {f"k{step}": [step, 0]})
            won = await asyncio.gather(one.maintenance.flush(), other.maintenance.flush())
            assert sum(won) <= 1
            assert await everything(one) == await everything(other)
        assert len(await dump(one)) == 6
        assert segment_ids(one) == segment_ids(other)


@asynchronous
async def test_a_new_node_reads_what_was_flushed():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        await put(index, {"b": [2, 0]})
        await index.maintenance.collect()
        assert await names(index, "log") == ["log/0000000000000002"]
        fresh = await open_index(index.store, index.runtime, SPEC)
        assert sorted(await everything(fresh)) == ["a", "b"]
