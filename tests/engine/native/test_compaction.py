"""Tests of compaction: nothing visible changes, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pyroaring import BitMap

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS, SPEC, everything, fresh_nodes, names, open_index, put, segment_ids
from quiver.engine.native import compaction
from quiver.engine.native.compaction import choose, compact, groups
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.engine.native.state import SegmentRef
from quiver.model.errors import MissingObjectError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.storage.cache.block_cache import BlockCache


def ref(name: str, nbytes: int, rows: int = 10, dead: int = 0) -> SegmentRef:
    return SegmentRef(name, rows, nbytes, BitMap(range(dead)).serialize() if dead else b"")


def chosen(*refs: SegmentRef, fanout: int = 3, merge_bytes: int = 1 << 30) -> list[str]:
    return [each.id for each in choose(refs, NativeSettings(tier_fanout=fanout, merge_bytes=merge_bytes))]


# ---------------------------------------------------------------- what to merge


def test_a_tier_is_merged_when_it_has_enough_segments():
    small = [ref(f"s{n}", 1000) for n in range(3)]
    large = [ref(f"l{n}", 100 << 20) for n in range(3)]
    assert chosen(*small[:2], *large[:2]) == []
    assert chosen(*small, *large[:2]) == ["s0", "s1", "s2"]
    assert chosen(*small[:2], *large) == ["l0", "l1", "l2"]
    assert chosen(*small, *large) == ["s0", "s1", "s2"]


def test_a_mostly_dead_segment_is_rewritten_alone():
    assert chosen(ref("a", 1000), ref("b", 1000, rows=10, dead=5)) == []
    assert chosen(ref("a", 1000), ref("b", 1000, rows=10, dead=6)) == ["b"]
    assert chosen(ref("full", 2 << 30), ref("dying", 2 << 30, rows=10, dead=9)) == ["dying"]


def test_nothing_is_merged_beyond_the_largest_size():
    full = [ref(f"f{n}", 1 << 30) for n in range(5)]
    assert chosen(*full) == []
    halves = [ref(f"h{n}", 600 << 20) for n in range(5)]
    assert chosen(*halves) == []
    quarters = [ref(f"q{n}", 300 << 20) for n in range(5)]
    assert chosen(*quarters) == ["q0", "q1", "q2"]


def test_groups_hold_every_segment_once_and_stay_within_the_size():
    rng = np.random.default_rng(0)
    refs = [ref(str(n), int(rng.integers(1, 150))) for n in range(60)]
    found = groups(refs, 100)
    assert [each for group in found for each in group] == refs
    assert all(len(group) == 1 or sum(each.nbytes for each in group) <= 100 for group in found)
    assert groups([], 100) == []


# ---------------------------------------------------------------- what is visible


async def write_some(index, rng, steps: int) -> None:
    for _ in range(steps):
        keys = rng.choice(40, 6, replace=False)
        await put(index, {f"k{key}": rng.integers(-5, 6, 2).tolist() for key in keys}, step=int(rng.integers(99)))
        await index.delete([f"k{key}" for key in rng.choice(40, 2, replace=False)])


@pytest.mark.parametrize("seed", range(4))
@asynchronous
async def test_compaction_changes_nothing_visible(seed):
    async with fresh_nodes(2) as (index, other):
        rng = np.random.default_rng(seed)
        for _ in range(6):
            await write_some(index, rng, 3)
            before = await everything(index)
            await index.maintenance.flush()
            assert await everything(index) == before
            await index.maintenance.compact_tier()
            assert await everything(index) == await everything(other) == before
        await index.maintenance.compact_all()
        assert await everything(index) == await everything(other) == before
        assert [(each.rows, each.tombstones) for each in index.state.segments] == [(len(before), b"")]
        await other.maintenance.collect()
        fresh = await open_index(index.store, index.runtime)
        assert await everything(fresh) == before


@asynchronous
async def test_writes_go_on_during_compaction():
    async with fresh_nodes(3) as (index, writer, witness):
        rng = np.random.default_rng(9)
        for _ in range(3):
            await write_some(index, rng, 3)
            await index.maintenance.flush()

        async def write() -> None:
            for _ in range(4):
                await write_some(writer, rng, 1)
                held = await everything(writer)
                assert await everything(witness) == held

        await asyncio.gather(index.maintenance.compact_all(), write(), index.maintenance.compact_all())
        assert await everything(index) == await everything(writer)


async def merged_but_not_published(index, monkeypatch):
    """Start a compaction of every segment and hold it between merge and publication."""
    reached, go = asyncio.Event(), asyncio.Event()
    real = compaction._publish

    async def held(index, merge, merged):
        reached.set()
        await go.wait()
        return await real(index, merge, merged)

    monkeypatch.setattr(compaction, "_publish", held)
    task = asyncio.ensure_future(compact(index, segment_ids(index)))
    await reached.wait()
    return task, go


@asynchronous
async def test_what_died_since_the_merge_began_stays_dead(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0], "b": [2, 0], "e": [5, 0]}, v=1)
        await index.maintenance.flush()
        await put(index, {"c": [3, 0], "d": [4, 0]}, v=1)
        await index.maintenance.flush()
        task, go = await merged_but_not_published(index, monkeypatch)
        await put(other, {"a": [9, 9]}, v=2)  # buried by another flush
        await other.delete(["c"])
        assert await other.maintenance.flush()
        await put(other, {"b": [8, 8]}, v=3)  # still in the tail
        await other.delete(["d"])
        before = await everything(other)
        go.set()
        assert await task
        assert await everything(index) == await everything(other) == before
        assert sorted(before) == ["a", "b", "e"]
        # The inputs are gone; the other flush's segment and the tail were kept.
        assert sorted((each.rows, len(each.dead())) for each in index.state.segments) == [(1, 0), (1, 0), (5, 4)]
        await index.maintenance.compact_all()
        assert await everything(other) == before


@asynchronous
async def test_a_merge_whose_inputs_another_merged_first_is_dropped(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        for key in "abc":
            await put(index, {key: [1, 0]})
            await index.maintenance.flush()
        task, go = await merged_but_not_published(index, monkeypatch)
        monkeypatch.undo()
        await other.log.refresh()
        assert await other.maintenance.compact_tier()
        before = segment_ids(other)
        go.set()
        assert not await task
        await index.log.refresh()
        assert segment_ids(index) == before
        assert sorted(await everything(index)) == ["a", "b", "c"]


@asynchronous
async def test_whoever_loses_the_generation_tries_again_and_its_orphan_is_collected(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        for key in "abc":
            await put(index, {key: [1, 0], key * 2: [2, 0]})
            await index.maintenance.flush()
        await put(index, {"d": [1, 0]})
        real = index.log.publish_checkpoint
        attempts = []

        async def overtaken(checkpoint):
            attempts.append(checkpoint.generation)
            if len(attempts) == 2:  # the first reserves the segment
                await put(other, {"b": [7, 7]}, late=True)
                assert await other.maintenance.flush()
            return await real(checkpoint)

        index.log.publish_checkpoint = overtaken
        assert await index.maintenance.compact_tier()
        assert attempts == [4, 5, 6]
        before = await everything(index)
        assert await everything(other) == before
        assert before["b"] == ([7, 7], b'{"late":true}')
        stored = {name.split("/")[1] for name in await names(index, "segment")}
        assert len(stored - set(segment_ids(index))) >= 2
        await other.maintenance.collect()
        stored = {name.split("/")[1] for name in await names(index, "segment")}
        assert stored == set(segment_ids(index))
        assert await everything(await open_index(index.store, index.runtime)) == before


@pytest.mark.parametrize("merged", [True, False])
@asynchronous
async def test_inputs_that_are_gone_were_merged_by_another_or_are_missing(merged):
    """On a remote store, where a merge reads its inputs some time after it chose them."""
    runtime = SystemRuntime(threads=2)
    store = MemoryStore(runtime)
    store.resident = False
    index, other = [
        await NativeEngine(store, runtime, SETTINGS, cache=BlockCache(store, runtime, 1 << 24)).open(INDEX, SPEC)
        for _ in range(2)
    ]
    for key in "ab":
        await put(index, {key: [1, 0]})
        await index.maintenance.flush()
    chosen_ids, whole = segment_ids(index), index.snapshots.whole

    async def whole_late(segments):
        if merged:
            await other.maintenance.compact_all()
            await other.maintenance.collect()
        else:
            await store.delete([info.key for info in await store.list(f"{index.root}segment/")])
        return await whole(segments)

    index.snapshots.whole = whole_late
    if merged:
        assert not await compact(index, chosen_ids)
        assert sorted(await everything(index)) == ["a", "b"]
    else:
        with pytest.raises(MissingObjectError):
            await compact(index, chosen_ids)
    for each in (index, other):
        await each.maintenance.wait()
    runtime.close()


@asynchronous
async def test_segments_whose_rows_all_died_disappear():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        await index.maintenance.flush()
        await put(index, {"c": [3, 0]})
        await index.maintenance.flush()
        await index.delete(["a", "b", "c"])
        await index.maintenance.compact_all()
        assert segment_ids(index) == []
        assert await everything(index) == {}
        await index.maintenance.collect()
        assert await names(index, "segment") == []


@asynchronous
async def test_compaction_merges_in_groups_that_fit():
    async with fresh_nodes(1, merge_bytes=2000) as (index,):
        for number in range(6):
            await put(index, {f"k{number}": [number, 0]})
            await index.maintenance.flush()
            assert 700 < index.state.segments[-1].nbytes < 1000
        before = await everything(index)
        await index.maintenance.compact_all()
        assert len(segment_ids(index)) == 3
        assert await everything(index) == before
