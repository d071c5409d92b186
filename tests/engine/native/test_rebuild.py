"""Tests of rebuilding: rows alone make a segment again, and nothing else is touched (Upkeep.rebuild)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS, everything, names, open_index, put, segment_ids
from engine.native.test_pins import CLONE, OTHER
from engine.reference import make_batch
from format.test_golden import with_segment_version
from quiver.engine.engine import IndexSealedError
from quiver.engine.native import pins
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.flush import store_segment
from quiver.engine.native.rebuild import rebuild
from quiver.engine.upkeep import Finding
from quiver.format import paths
from quiver.model.errors import CorruptObjectError, DataError
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.memory import MemoryStore
from quiver.storage.segment_reader import SegmentReader

SPEC = IndexSpec(8, DistanceMetric.EUCLIDEAN, ("secret",), "kmeans", "rabitq", 0.95)


@pytest.fixture
def runtime():
    runtime = SystemRuntime(threads=2)
    yield runtime
    runtime.close()


async def filled(runtime, exact_floats: int = 0):
    """Two segments with tombstones, and a tail."""
    index = await open_index(MemoryStore(runtime), runtime, SPEC, exact_floats=exact_floats)
    rng = np.random.default_rng(0)
    for step in range(2):
        keys = [f"k{n}" for n in range(50 * step, 50 * step + 150)]
        metadata = [{"step": step, "n": n, "secret": "s"} for n in range(150)]
        await index.put(make_batch(keys, rng.normal(size=(150, 8)), metadata))
        await index.delete([f"k{n}" for n in range(60 * step, 60 * step + 9)])
        await index.maintenance.flush()
    await index.put(make_batch(["k70", "tail"], rng.normal(size=(2, 8)), [{"step": 9}] * 2))
    await index.delete(["k80"])
    return index


async def damage(index, segment: str, part: str, place: int | None = None) -> None:
    """Flip a bit, or remove the object."""
    key = paths.segment_key(index.root, segment, part)
    body = bytearray(await index.store.get(key))
    await index.store.delete([key])
    if place is not None:
        body[place] ^= 1
        await index.store.put_new(key, [bytes(body)])


async def fresh(index):
    """The same index on another node."""
    return await open_index(index.store, index.runtime, SPEC, exact_floats=index.settings.exact_floats)


def engine_of(index) -> NativeEngine:
    return NativeEngine(index.store, index.runtime, SETTINGS)


async def is_sound(index) -> bool:
    return await engine_of(index).check(INDEX, SPEC) == []


@pytest.mark.parametrize("place", [None, 3, 70, -3, -60], ids=["missing", "magic", "codes", "tail", "footer"])
@pytest.mark.parametrize("exact_floats", [0, 1 << 21], ids=["coded", "plain"])
@asynchronous
async def test_a_segment_without_a_sound_index_is_rebuilt_from_its_rows(runtime, place, exact_floats):
    index = await filled(runtime, exact_floats)
    before, old = await everything(index), segment_ids(index)
    assert await is_sound(index)
    for number in (0, 1):
        await damage(index, old[number], paths.SEGMENT_INDEX, place)
    assert not await is_sound(index)
    node = await fresh(index)
    assert await rebuild(node) == old
    assert await is_sound(index)
    assert await everything(node) == await everything(await fresh(index)) == before
    assert not set(segment_ids(node)) & set(old)
    assert await rebuild(node) == []
    await node.maintenance.collect()
    assert len(await names(node, "segment")) == 4
    assert await everything(await fresh(index)) == before


@asynchronous
async def test_a_node_that_had_the_index_open_goes_on(runtime):
    index = await filled(runtime)
    before = await everything(index)
    (damaged, _) = segment_ids(index)
    await damage(index, damaged, paths.SEGMENT_INDEX)
    assert await rebuild(await fresh(index)) == [damaged]
    assert await everything(index) == before
    await put(index, {"later": [1.0] * 8})
    await index.maintenance.compact_all()
    assert (await everything(await fresh(index))).keys() == before.keys() | {"later"}
    assert await is_sound(index)


@asynchronous
async def test_sound_segments_and_the_log_stay_as_they_are(runtime):
    index = await filled(runtime)
    kept, damaged = segment_ids(index)
    await damage(index, damaged, paths.SEGMENT_INDEX)
    entries = await names(index, "log")
    node = await fresh(index)
    assert await rebuild(node) == [damaged]
    assert segment_ids(node)[0] == kept
    assert await names(node, "log") == entries
    assert node.state.tail.rows > 0
    assert node.state.reserved == []


DAMAGED_ROWS = {
    "missing": (None, 70),
    "a vector": (1000, 70),
    "the gap before the rows": (4, 70),
    "the end": (-3, 70),
    "missing, and the index too": (None, None),
    "the end, and the index missing": (-3, None),
}


@pytest.mark.parametrize(("place", "index_place"), DAMAGED_ROWS.values(), ids=DAMAGED_ROWS)
@asynchronous
async def test_damaged_rows_are_reported_and_nothing_is_rebuilt(runtime, place, index_place):
    index = await filled(runtime)
    (damaged, _) = segment_ids(index)
    await damage(index, damaged, paths.ROWS, place)
    await damage(index, damaged, paths.SEGMENT_INDEX, index_place)
    before = [info.key for info in await index.store.list("")]
    node = await fresh(index)
    assert await rebuild(node) == []
    assert [info.key for info in await index.store.list("")] == before
    findings = await engine_of(index).check(INDEX, SPEC)
    assert paths.segment_key(index.root, damaged, paths.ROWS) in {finding.key for finding in findings}


@asynchronous
async def test_a_damaged_index_alone_is_not_reported_as_damage_to_the_rows(runtime):
    index = await filled(runtime)
    (damaged, _) = segment_ids(index)
    await damage(index, damaged, paths.SEGMENT_INDEX, 70)
    findings = await engine_of(index).check(INDEX, SPEC)
    assert [finding.key for finding in findings] == [paths.segment_key(index.root, damaged, paths.SEGMENT_INDEX)]


@asynchronous
async def test_rows_of_another_index_are_not_taken(runtime):
    """Another number of rows, or another dimension."""
    index = await filled(runtime)
    first, second = segment_ids(index)
    other = bytes(await index.store.get(paths.segment_key(index.root, second, paths.ROWS)))
    stranger = await open_index(index.store, runtime, IndexSpec(3, DistanceMetric.COSINE), "e" * 32)
    await put(stranger, {f"k{n}": [n + 1.0, 1, 1] for n in range(150)})
    await stranger.maintenance.flush()
    (foreign,) = segment_ids(stranger)
    wider = bytes(await index.store.get(paths.segment_key(stranger.root, foreign, paths.ROWS)))
    await damage(index, first, paths.SEGMENT_INDEX)
    for body in (wider, other[:-9], other + b"\0"):
        key = paths.segment_key(index.root, first, paths.ROWS)
        await index.store.delete([key])
        await index.store.put_new(key, [body])
        assert await rebuild(await fresh(index)) == []


@asynchronous
async def test_deletions_while_it_is_rebuilt_are_kept(runtime):
    """Another node flushes, which buries more rows of the segment, before the rebuilt one is published."""
    index = await filled(runtime)
    before = await everything(index)
    damaged = segment_ids(index)[0]
    key = paths.segment_key(index.root, damaged, paths.SEGMENT_INDEX)
    other = await fresh(index)
    await everything(other)  # has the segment open
    await index.store.delete([key])
    node = await fresh(index)
    reached, go = asyncio.Event(), asyncio.Event()
    real = node.log.publish_checkpoint

    async def held(checkpoint):
        if node.state.reserved:  # not the one that reserves
            reached.set()
            await go.wait()
        return await real(checkpoint)

    node.log.publish_checkpoint = held
    rebuilding = asyncio.ensure_future(rebuild(node))
    await reached.wait()
    gone = [name for name in list(before) if name != "tail"][:20]
    await other.delete(gone)
    await other.maintenance.flush()
    go.set()
    assert await rebuilding == [damaged]
    after = await everything(await fresh(index))
    assert after == {name: row for name, row in before.items() if name not in gone}
    assert await is_sound(index)


@asynchronous
async def test_a_segment_that_was_merged_away_meanwhile_is_left_alone(runtime, monkeypatch):
    index = await filled(runtime)
    before = await everything(index)
    damaged = segment_ids(index)[0]
    other = await fresh(index)
    await everything(other)
    await damage(index, damaged, paths.SEGMENT_INDEX)
    node = await fresh(index)
    merged = []

    async def store_then_merge(*args):
        ref = await store_segment(*args)
        merged.append(await other.maintenance.compact_all())
        return ref

    monkeypatch.setattr("quiver.engine.native.rebuild.store_segment", store_then_merge)
    assert await rebuild(node) == []
    assert len(merged) == 1
    assert node.state.reserved == []
    assert await everything(await fresh(index)) == before


class Crash(Exception):
    """The node is gone."""


@pytest.mark.parametrize(
    "point", ["segment:reserved", "segment:rows_written", "segment:written", "checkpoint:published"]
)
@pytest.mark.parametrize("times", [1, 2])
@asynchronous
async def test_after_a_crash_it_is_done_again(runtime, monkeypatch, point, times):
    index = await filled(runtime)
    before, old = await everything(index), segment_ids(index)
    for segment in old:
        await damage(index, segment, paths.SEGMENT_INDEX)
    reached = []

    def reach(name: str) -> None:
        reached.append(name)
        if reached.count(point) == times:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "reach", reach)
        with pytest.raises(Crash):
            await rebuild(await fresh(index))
    node = await fresh(index)
    assert set(await rebuild(node)) <= set(old)
    assert not set(old) & set(segment_ids(node))
    assert await is_sound(index)
    assert await everything(await fresh(index)) == before


@asynchronous
async def test_a_deleted_index_is_refused(runtime):
    index = await filled(runtime)
    await index.seal()
    with pytest.raises(IndexSealedError):
        await rebuild(await fresh(index))


@asynchronous
async def test_a_segment_of_a_newer_quiver_stays(runtime):
    index = await filled(runtime)
    (newer, _) = segment_ids(index)
    key = paths.segment_key(index.root, newer, paths.SEGMENT_INDEX)
    body = bytes(await index.store.get(key))
    await index.store.delete([key])
    await index.store.put_new(key, [with_segment_version(body, 99)])
    with pytest.raises(DataError):
        await rebuild(await fresh(index))
    with pytest.raises(DataError):
        await SegmentReader.open(index.store, index.root, INDEX, newer)


@asynchronous
async def test_damage_to_the_log_is_a_data_error(runtime):
    index = await filled(runtime)
    key = paths.log_key(index.root, index.log.slot)
    await index.store.delete([key])
    await index.store.put_new(key, [b"nonsense"])
    with pytest.raises(CorruptObjectError):
        await rebuild(await fresh(index))


# ---------------------------------------------------------------- snapshots and clones


async def clone_and_snapshot(index):
    """A snapshot of the first two segments, which the index names no more, and a clone of the snapshot."""
    engine = engine_of(index)
    await engine.snapshot(INDEX, SPEC, "one")
    old = [ref.id for ref in (await pins.read(index)).pins[0].segments]
    await index.maintenance.compact_all()
    await engine.clone(INDEX, SPEC, CLONE, "one")
    return old, await open_index(index.store, index.runtime, SPEC, CLONE, exact_floats=0)


@asynchronous
async def test_segments_of_snapshots_and_of_other_indexes_are_checked_where_they_are(runtime):
    index = await filled(runtime)
    (first, *_), _ = await clone_and_snapshot(index)
    engine = engine_of(index)
    assert await engine.check(INDEX, SPEC) == await engine.check(CLONE, SPEC) == []
    await damage(index, first, paths.ROWS, 1000)
    key = paths.segment_key(index.root, first, paths.ROWS)
    for index_id in (INDEX, CLONE):
        assert key in {finding.key for finding in await engine.check(index_id, SPEC)}


@asynchronous
async def test_a_segment_of_another_index_that_this_one_does_not_keep_is_found(runtime):
    index = await filled(runtime)
    old, _ = await clone_and_snapshot(index)
    await pins._amend(index.store, runtime, INDEX, SPEC, lambda newest, contents: [])
    findings = await engine_of(index).check(CLONE, SPEC)
    expected = [paths.segment_key(index.root, segment, paths.SEGMENT_INDEX) for segment in old]
    assert findings == [Finding(key, f"index {INDEX} does not keep it") for key in expected]


@asynchronous
async def test_a_snapshot_is_rebuilt_and_a_clone_of_it_rebuilds_its_own(runtime):
    index = await filled(runtime)
    old, clone = await clone_and_snapshot(index)
    before = await everything(clone)
    await damage(index, old[0], paths.SEGMENT_INDEX)
    engine = engine_of(index)
    assert await engine.rebuild(INDEX, SPEC) == [old[0]]
    assert await engine.check(INDEX, SPEC) != []  # the clone's pin has the damaged one still
    assert await engine.rebuild(CLONE, SPEC) == [old[0]]
    assert await engine.check(CLONE, SPEC) == []
    assert await engine.release(INDEX, 0)
    await engine.collect(INDEX, 0)
    assert await engine.check(INDEX, SPEC) == await engine.check(CLONE, SPEC) == []
    await engine.clone(INDEX, SPEC, OTHER, "one")
    for index_id in (CLONE, OTHER):
        node = await open_index(index.store, runtime, SPEC, index_id, exact_floats=0)
        assert await everything(node) == before
    homes = [ref.home for ref in (await pins.read(await engine.open(CLONE, SPEC))).segments]
    assert sorted(homes) == ["", *[INDEX] * (len(old) - 1)]
