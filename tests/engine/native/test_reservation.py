"""Tests of reservations: what is being written is left alone, written once, and published only if it is there."""

from __future__ import annotations

import asyncio

import pytest

from asynchronous import asynchronous
from engine.contract import INDEX, in_turn
from engine.native.nodes import everything, fresh_nodes, names, open_index, put, segment_ids
from engine.reference import make_batch
from quiver.engine.engine import IndexSealedError
from quiver.engine.native import compaction, load
from quiver.engine.native.compaction import compact
from quiver.engine.native.inspection import inspect_index
from quiver.engine.native.reservation import AGE, ReservationLostError, drop_forgotten, reserve
from quiver.objectstore.metered_store import MeteredStore


async def two_segments(index) -> None:
    for key in "ab":
        await put(index, {key: [1, 0], key * 2: [2, 0]})
        await index.maintenance.flush()


async def stored_segments(index) -> set[str]:
    return {name.split("/")[1] for name in await names(index, "segment")}


async def held_before_publication(index, monkeypatch, module, work):
    """Start a merge or a load, and hold it when its segment is written."""
    reached, go = asyncio.Event(), asyncio.Event()
    real = module._publish

    async def held(*arguments):
        reached.set()
        await go.wait()
        return await real(*arguments)

    monkeypatch.setattr(module, "_publish", held)
    task = asyncio.ensure_future(work)
    await reached.wait()
    (reserved,) = [one.segment for one in index.state.reserved if not one.published]
    return task, go, reserved


def a_merge(index):
    return compaction, compact(index, segment_ids(index))


def a_load(index):
    return load, index.load(in_turn(make_batch(["a", "new"], [[7, 7], [8, 8]])))


WORK = pytest.mark.parametrize("work", [a_merge, a_load])


def later(index, seconds: float) -> None:
    """From now on the store's clock is so much ahead, for new objects."""
    real = index.store.list

    async def listed(prefix, after=""):
        return [info._replace(modified=info.modified + seconds) for info in await real(prefix, after)]

    index.store.list = listed


@WORK
@asynchronous
async def test_collection_leaves_alone_what_is_being_written(monkeypatch, work):
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        task, go, reserved = await held_before_publication(index, monkeypatch, *work(index))
        for step in range(3):
            await put(other, {f"k{step}": [step, 5]})
            await other.maintenance.flush()
            await other.maintenance.collect()
            assert reserved in await stored_segments(other)
        go.set()
        assert await task
        assert reserved in segment_ids(index)
        held = await everything(index)
        assert held == await everything(other) == await everything(await open_index(index.store, index.runtime))
        assert {"aa", "b", "bb", "k0", "k1", "k2"} < set(held)
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert await stored_segments(index) == set(segment_ids(index))


@WORK
@asynchronous
async def test_whoever_loses_races_writes_its_segment_once(monkeypatch, work):
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        metered = index.store = MeteredStore(index.store)
        await put(index, {"tail": [3, 3]})
        written = []
        real_put = metered.put_new

        async def put_new(key, parts):
            written.append(key)
            await real_put(key, parts)

        metered.put_new = put_new
        real, attempts = index.log.publish_checkpoint, []
        before = 2 if work is a_load else 1  # a reservation; a load is announced, too

        async def overtaken(checkpoint):
            attempts.append(checkpoint.generation)
            if before < len(attempts) < before + 4:
                await put(other, {f"k{len(attempts)}": [9, 9]})
                assert await other.maintenance.flush()
            return await real(checkpoint)

        index.log.publish_checkpoint = overtaken
        _, working = work(index)
        assert await working
        assert len(attempts) == before + 4
        reserved = {name for name in segment_ids(index) if sum(f"/{name}/" in key for key in written) == 2}
        first = {key.split("/")[3] for key in written if "/segment/" in key}
        assert len([key for key in written if "/segment/" in key]) == 2 * len(first)
        assert len(reserved) >= 1
        assert await everything(index) == await everything(other)


@WORK
@asynchronous
async def test_a_reservation_that_was_dropped_makes_publication_fail(monkeypatch, work):
    async with fresh_nodes(3) as (index, other, patient):
        await two_segments(index)
        before = await everything(index)
        task, go, reserved = await held_before_publication(index, monkeypatch, *work(index))
        later(patient, AGE - 60)
        await drop_forgotten(patient)
        await patient.log.refresh()
        assert reserved in {one.segment for one in patient.state.reserved}
        later(other, AGE + 60)
        await drop_forgotten(other)
        await other.log.refresh()
        assert other.state.reserved == []
        await other.maintenance.collect()
        assert reserved not in await stored_segments(other)
        go.set()
        with pytest.raises(ReservationLostError):
            await task
        for node in (index, other, await open_index(index.store, index.runtime)):
            assert await everything(node) == before
            assert reserved not in segment_ids(node)


@asynchronous
async def test_collection_drops_the_reservations_of_the_dead_and_takes_their_segments(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        task, _, reserved = await held_before_publication(index, monkeypatch, *a_load(index))
        task.cancel()
        await other.maintenance.collect()
        assert reserved in await stored_segments(other)
        later(other, AGE + 60)
        await other.maintenance.collect()
        assert await stored_segments(other) == set(segment_ids(other))
        await other.log.refresh()
        assert other.state.reserved == []


@asynchronous
async def test_the_next_reservation_drops_those_of_the_dead():
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        forgotten = await reserve(index)
        later(other, AGE + 60)
        kept = await reserve(other)
        await index.log.refresh()
        assert [one.segment for one in index.state.reserved] == [kept]
        assert kept != forgotten


@WORK
@asynchronous
async def test_what_is_being_written_is_no_garbage_to_inspection(monkeypatch, work):
    async with fresh_nodes(1) as (index,):
        await two_segments(index)
        await index.maintenance.collect()
        assert (await inspect_index(index.store, index.runtime, INDEX)).garbage == 0
        task, go, reserved = await held_before_publication(index, monkeypatch, *work(index))
        summary = await inspect_index(index.store, index.runtime, INDEX)
        # The checkpoints that are no longer the newest are all the garbage there is.
        assert summary.garbage == len(await names(index, "checkpoint")) - 1
        assert reserved in await stored_segments(index)
        go.set()
        await task


@WORK
@asynchronous
async def test_an_index_deleted_meanwhile_is_not_brought_back(monkeypatch, work):
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        task, go, _ = await held_before_publication(index, monkeypatch, *work(index))
        await other.seal()
        await other.maintenance.collect()
        go.set()
        with pytest.raises(IndexSealedError):
            await task
        await other.maintenance.collect()
        left = [info.key.removeprefix(index.root) for info in await index.store.list(index.root)]
        assert [key.partition("/")[0] for key in left] == ["checkpoint"]
        with pytest.raises(IndexSealedError):
            await reserve(index)


@asynchronous
async def test_a_merge_that_came_too_late_gives_its_segment_up(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        await two_segments(index)
        task, go, reserved = await held_before_publication(index, monkeypatch, *a_merge(index))
        monkeypatch.undo()
        assert await compact(other, segment_ids(index))
        go.set()
        assert not await task
        await index.maintenance.collect()
        assert index.state.reserved == []
        assert reserved not in await stored_segments(index)
        assert sorted(await everything(other)) == ["a", "aa", "b", "bb"]


@asynchronous
async def test_reservations_of_several_nodes_at_once_are_all_kept():
    async with fresh_nodes(3) as nodes:
        await two_segments(nodes[0])
        reserved = await asyncio.gather(*(reserve(node) for node in nodes for _ in range(3)))
        await nodes[0].log.refresh()
        assert len(set(reserved)) == 9
        assert {one.segment for one in nodes[0].state.reserved} == set(reserved)


@asynchronous
async def test_a_published_load_is_remembered_and_its_segment_collected_like_any_other():
    async with fresh_nodes(1) as (index,):
        await index.load(in_turn(make_batch(["a"], [[1, 1]])))
        (mark,) = index.state.reserved
        assert mark.published
        assert segment_ids(index) == [mark.segment]
        await put(index, {"b": [2, 2]})
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert mark.segment not in await stored_segments(index)
        assert sorted(await everything(index)) == ["a", "b"]
