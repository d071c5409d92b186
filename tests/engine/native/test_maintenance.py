"""Tests of upkeep that runs by itself, and of refusing writes until it has caught up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from asynchronous import asynchronous
from engine.native.nodes import everything, fresh_nodes, names, put, segment_ids
from quiver.model.errors import BusyError, StoreUnavailableError


@asynchronous
async def test_the_node_that_crosses_a_threshold_flushes_merges_and_collects():
    async with fresh_nodes(1, background=True, flush_rows=4, tier_fanout=3, tail_limit=1000) as (index,):
        for number in range(40):
            await put(index, {f"k{number}": [number, 0]})
            await index.maintenance.wait()
        assert index.maintenance.failures == 0
        assert index.state.tail.rows < 8
        assert 1 <= len(segment_ids(index)) < 3
        assert len(await names(index, "checkpoint")) == 1
        assert len(await everything(index)) == 40


@pytest.mark.parametrize(
    "limits", [{"flush_rows": 2}, {"flush_slots": 2}, {"flush_bytes": 500}], ids=lambda limits: next(iter(limits))
)
@asynchronous
async def test_too_long_a_tail_refuses_writes_until_it_is_flushed(limits):
    async with fresh_nodes(2, tail_limit=3, **limits) as (index, other):
        written = 0
        with suppress(BusyError):
            for number in range(100):
                await put(index, {f"k{number}": [number, 0]})
                written += 1
        assert 5 <= written <= 10
        with pytest.raises(BusyError):
            await index.delete(["k0"])
        assert len(await everything(index)) == written
        await other.log.refresh()
        with pytest.raises(BusyError):  # another node that has seen the tail refuses too
            await put(other, {"x": [1, 1]})
        assert await other.maintenance.flush()
        await put(other, {"x": [1, 1]})
        await index.log.refresh()
        await put(index, {"y": [1, 1]})
        assert len(await everything(index)) == written + 2


@asynchronous
async def test_a_refused_write_starts_the_flush_that_lets_the_next_one_in():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=2) as (index,):
        refused = 0
        for number in range(30):
            while True:
                try:
                    await put(index, {f"k{number}": [number, 0]})
                except BusyError:
                    refused += 1
                    await index.maintenance.wait()
                else:
                    break
        await index.maintenance.wait()
        assert len(await everything(index)) == 30
        assert refused < 30


@asynchronous
async def test_failed_upkeep_is_counted_and_tried_again_by_a_later_write():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=1000) as (index,):
        real = index.store.list

        async def broken(prefix, after=""):
            if prefix == index.root:
                raise StoreUnavailableError("no answer")
            return await real(prefix, after)

        await put(index, {"a": [1, 0]})
        index.store.list = broken  # collection lists the whole root
        await put(index, {"b": [1, 0]})
        await index.maintenance.wait()
        assert index.maintenance.failures == 1
        index.store.list = real
        await put(index, {"c": [1, 0], "d": [1, 0]})
        await index.maintenance.wait()
        assert index.maintenance.failures == 1
        assert len(await names(index, "checkpoint")) == 1
        assert sorted(await everything(index)) == ["a", "b", "c", "d"]


@asynchronous
async def test_a_store_that_fails_during_a_flush_harms_nothing():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0]})
        real = index.store.put_new

        async def broken(key, parts):
            if "/segment/" in key:
                raise StoreUnavailableError("no answer")
            await real(key, parts)

        async def no_sleep(seconds):
            await asyncio.sleep(0)

        index.store.put_new, sleep, index.runtime.sleep = broken, index.runtime.sleep, no_sleep
        with pytest.raises(StoreUnavailableError):
            await index.maintenance.flush()
        index.store.put_new, index.runtime.sleep = real, sleep
        await put(other, {"b": [2, 0]})
        assert sorted(await everything(index)) == ["a", "b"]
        assert await index.maintenance.flush()
        assert sorted(await everything(other)) == ["a", "b"]
