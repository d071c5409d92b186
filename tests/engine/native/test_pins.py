"""Tests of snapshots: what they hold, who keeps them, what goes when they go."""

from __future__ import annotations

import asyncio

import pytest

from asynchronous import asynchronous
from engine.contract import INDEX, in_turn
from engine.native.nodes import (
    SETTINGS,
    SPEC,
    dump,
    everything,
    fresh_nodes,
    names,
    open_index,
    put,
    segment_ids,
    stalled_flush,
)
from engine.reference import make_batch
from quiver.engine.engine import IndexSealedError
from quiver.engine.native import pins
from quiver.engine.native.compaction import compact
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.inspection import inspect_index
from quiver.engine.native.reservation import reserve
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.model.errors import ConflictError, NotFoundError, QuotaExceededError
from quiver.storage.checkpoint_store import CheckpointStore

CLONE, OTHER = "c" * 32, "d" * 32


def engine_of(index) -> NativeEngine:
    return NativeEngine(index.store, index.runtime, SETTINGS)


async def contents(index):
    """What the newest checkpoint holds."""
    return await pins.read(index)


async def clone_of(index, clone_id: str = CLONE, snapshot: str | None = None):
    """A clone, open on a node of its own."""
    await engine_of(index).clone(INDEX, SPEC, clone_id, snapshot)
    return await open_index(index.store, index.runtime, index_id=clone_id)


async def stored_segments(index) -> set[str]:
    return {name.split("/")[1] for name in await names(index, "segment")}


# ---------------------------------------------------------------- what a snapshot holds


@asynchronous
async def test_a_snapshot_holds_what_was_acknowledged_before_also_by_other_nodes():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await other.delete(["b"])
        made = await engine_of(index).snapshot(INDEX, SPEC, "first")
        assert (made.name, made.holder, made.commit, made.rows) == ("first", "", 2, 1)
        assert made.nbytes > 0
        assert made.created > 1e9
        await put(other, {"c": [3, 0]})
        await other.maintenance.compact_all()
        assert sorted(await dump(await clone_of(index, snapshot="first"))) == ["a"]
        assert sorted(await dump(index)) == ["a", "c"]


@asynchronous
async def test_snapshots_are_listed_by_name_and_clones_are_not_among_them():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        assert await engine.snapshots(INDEX, SPEC) == []
        made = [await engine.snapshot(INDEX, SPEC, name) for name in ("b", "a")]
        await put(index, {"a": [1, 0]})
        await clone_of(index)
        assert await engine.snapshots(INDEX, SPEC) == made[::-1]
        shown = (await inspect_index(index.store, index.runtime, INDEX)).pins
        assert [(each.name, each.holder, each.rows) for each in shown] == [
            ("b", "", 0),
            ("a", "", 0),
            ("", CLONE, 1),
        ]


@asynchronous
async def test_a_name_is_taken_once_and_free_again_after_its_deletion():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await engine.snapshot(INDEX, SPEC, "one")
        with pytest.raises(ConflictError):
            await engine.snapshot(INDEX, SPEC, "one")
        for name in ("two", ""):
            with pytest.raises(NotFoundError):
                await engine.drop_snapshot(INDEX, SPEC, name)
        await put(index, {"a": [1, 0]})
        await engine.drop_snapshot(INDEX, SPEC, "one")
        with pytest.raises(NotFoundError):
            await engine.drop_snapshot(INDEX, SPEC, "one")
        assert (await engine.snapshot(INDEX, SPEC, "one")).rows == 1


@asynchronous
async def test_an_index_has_only_so_many(monkeypatch):
    monkeypatch.setattr(pins, "MAX_PINS", 2)
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await engine.snapshot(INDEX, SPEC, "one")
        await clone_of(index)
        with pytest.raises(QuotaExceededError):
            await engine.snapshot(INDEX, SPEC, "two")
        with pytest.raises(QuotaExceededError):
            await engine.clone(INDEX, SPEC, OTHER, None)


@asynchronous
async def test_of_a_deleted_index_nothing_is_pinned_or_shown():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await engine.snapshot(INDEX, SPEC, "one")
        await index.seal()
        for asked in (
            engine.snapshots(INDEX, SPEC),
            engine.snapshot(INDEX, SPEC, "two"),
            engine.drop_snapshot(INDEX, SPEC, "one"),
            engine.clone(INDEX, SPEC, CLONE, None),
            engine.clone(INDEX, SPEC, CLONE, "one"),
        ):
            with pytest.raises(IndexSealedError):
                await asked


@asynchronous
async def test_many_nodes_pin_at_the_same_time_and_none_is_lost():
    async with fresh_nodes(4) as nodes:
        await put(nodes[0], {"a": [1, 0]})
        made = await asyncio.gather(
            *(engine_of(each).snapshot(INDEX, SPEC, f"s{n}") for n, each in enumerate(nodes))
        )
        assert await engine_of(nodes[0]).snapshots(INDEX, SPEC) == made


# ---------------------------------------------------------------- who keeps it


@asynchronous
async def test_collection_keeps_what_a_snapshot_names_until_it_is_deleted():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await engine_of(index).snapshot(INDEX, SPEC, "one")
        await index.delete(["a"])
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert len(await stored_segments(index)) == 2
        assert sorted(await dump(await clone_of(index, snapshot="one"))) == ["a", "b"]
        await engine_of(index).seal(CLONE, SPEC)
        await engine_of(index).drop_snapshot(INDEX, SPEC, "one")
        await index.maintenance.collect()
        assert await stored_segments(index) == set(segment_ids(index))
        assert sorted(await everything(index)) == ["b"]


@asynchronous
async def test_flushes_merges_loads_and_reservations_carry_pins_along():
    async with fresh_nodes(2) as (index, other):
        for key in "ab":
            await put(index, {key: [1, 0]})
            await index.maintenance.flush()
        await engine_of(index).snapshot(INDEX, SPEC, "one")
        clone = await clone_of(index)
        before = (await contents(index)).pins
        assert [len(pin.segments) for pin in before] == [2, 2]
        await put(other, {"c": [3, 0]})
        await other.maintenance.flush()
        await compact(index, segment_ids(index))
        await other.load(in_turn(make_batch(["d"], [[4, 0]])))
        await reserve(index)
        assert (await contents(other)).pins == before
        await put(clone, {"e": [5, 0]})
        await clone.maintenance.compact_all()
        assert (await contents(clone)).origin == INDEX


@asynchronous
async def test_a_flush_drafted_before_a_pin_does_not_take_it_away():
    async with fresh_nodes(2) as (index, flusher):
        await put(index, {"a": [1, 0]})
        async with stalled_flush(flusher) as flushing:
            await engine_of(index).snapshot(INDEX, SPEC, "one")
        assert not await flushing
        assert [each.name for each in await engine_of(flusher).snapshots(INDEX, SPEC)] == ["one"]


# ---------------------------------------------------------------- letting go


@asynchronous
async def test_a_pin_shrinks_to_what_its_clone_still_names():
    async with fresh_nodes(1) as (index,):
        for key in "abc":
            await put(index, {key: [1, 0]})
            await index.maintenance.flush()
        first, second, third = segment_ids(index)
        clone = await clone_of(index)
        engine = engine_of(index)
        assert not await engine.release(INDEX, 0)
        await compact(clone, [first, second])
        assert await engine.release(INDEX, 0)
        (pin,) = (await contents(index)).pins
        assert [ref.id for ref in pin.segments] == [third]
        await clone.delete(["c"])
        await clone.maintenance.flush()
        assert await engine.release(INDEX, 0)
        assert (await contents(index)).pins == []


@asynchronous
async def test_a_pin_whose_clone_is_in_the_making_is_left_alone_even_if_it_is_empty():
    """Its maker may not know that it is published, and would make it anew with other segments."""
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await pins.add(index, "", CLONE)
        await put(index, {"a": [1, 0]})
        await pins.add(index, "", OTHER)
        before = (await contents(index)).pins
        assert [len(pin.segments) for pin in before] == [0, 1]
        assert not await engine.release(INDEX, 3600)
        assert (await contents(index)).pins == before


@asynchronous
async def test_a_clone_that_is_overdue_never_comes_to_be():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await pins.add(index, "", CLONE)
        assert await engine_of(index).release(INDEX, 0)
        assert (await contents(index)).pins == []
        checkpoints = CheckpointStore(index.store, index.runtime, paths.index_root(CLONE), CLONE)
        assert not await checkpoints.create(Checkpoint(1, 0, False, {}, 0, b""), "1" * 32)
        with pytest.raises(IndexSealedError):
            await put(await open_index(index.store, index.runtime, index_id=CLONE), {"z": [9, 9]})


@asynchronous
async def test_deleting_an_index_ends_its_snapshots_and_keeps_what_its_clones_read():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        clone = await clone_of(index)
        await put(index, {"b": [2, 0]})
        await engine.snapshot(INDEX, SPEC, "one")
        await index.seal()
        await engine.discard(INDEX, 0)
        assert len(await names(index, "segment")) == 2
        assert sorted(await everything(clone)) == ["a"]
        await clone.seal()
        assert await engine.release(INDEX, 0)
        await engine.discard(INDEX, 0)
        await engine.discard(CLONE, 0)
        left = [info.key.split("/")[2] for info in await index.store.list("")]
        assert left == ["checkpoint", "checkpoint"]
        newest = await CheckpointStore(index.store, index.runtime, index.root, INDEX).settled()
        assert (newest.sealed, newest.state) == (True, b"")
