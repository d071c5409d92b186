"""Tests of upkeep that runs by itself, and of refusing writes until it has caught up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from asynchronous import asynchronous
from engine.native.nodes import everything, fresh_nodes, names, put, segment_ids
from quiver.model.errors import BusyError, StoreUnavailableError
from quiver.objectstore.store import StoreRefusedError


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


@asynchronous
async def test_a_failed_flush_is_tried_again_without_another_write_while_the_tail_is_too_long():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=1000) as (index,):
        real, attempts = index.store.put_new, []

        async def broken(key, parts):
            if "/segment/" in key:
                attempts.append(key)
                raise StoreRefusedError("no space left")
            await real(key, parts)

        slept = []

        async def no_sleep(seconds):
            slept.append(seconds)
            if len(slept) == 4:
                index.store.put_new = real
            await asyncio.sleep(0)

        index.store.put_new, index.runtime.sleep = broken, no_sleep
        await put(index, {"a": [1, 0], "b": [2, 0]})
        while index.state.tail.rows:
            await asyncio.sleep(0.001)
        await index.maintenance.wait()
        assert slept == [1, 2, 4, 8]
        assert len(attempts) == index.maintenance.failures == 4
        assert sorted(await everything(index)) == ["a", "b"]


@asynchronous
async def test_nothing_is_started_after_stopping():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=1000) as (index,):
        index.maintenance.stop()
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await index.maintenance.wait()
        assert index.state.tail.rows == 2


@asynchronous
async def test_batches_as_large_as_the_threshold_are_flushed_one_by_one():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=1000) as (index,):
        for number in range(4):
            await put(index, {f"a{number}": [1, 0], f"b{number}": [2, 0]})
            await index.maintenance.wait()
            assert index.state.tail.rows == 0


@asynchronous
async def test_a_flush_goes_on_while_segments_are_being_merged():
    async with fresh_nodes(1, background=True, flush_rows=2, tail_limit=1000, tier_fanout=2) as (index,):
        merging, go, real = asyncio.Event(), asyncio.Event(), index.runtime.offload

        async def slow(function, *args, **kwargs):
            if getattr(function, "__name__", "") == "_merge":
                merging.set()
                await go.wait()
            return await real(function, *args, **kwargs)

        index.runtime.offload = slow
        number = 0
        while not merging.is_set():
            await put(index, {f"k{number}": [number, 0]})
            number += 1
            await asyncio.sleep(0.01)
        for _ in range(4):
            await put(index, {f"k{number}": [number, 0]})
            number += 1
        while index.state.tail.rows >= 2:
            await asyncio.sleep(0.001)
        go.set()
        await index.maintenance.wait()
        assert index.maintenance.failures == 0
        assert len(segment_ids(index)) == 1
        assert len(await everything(index)) == number
