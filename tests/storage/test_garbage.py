"""Tests of garbage collection: what goes, what stays, and that time is the store's."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.model.errors import CorruptObjectError, StoreUnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import StoreRefusedError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect
from storage.scripted_store import refuse
from storage.tape import OWNER, ROOT

SEGMENTS = {generation: paths.segment_id(generation, 5, f"{generation:032x}") for generation in (1, 2, 3, 4)}


class Sound:
    """A log whose newest checkpoint, of generation 3, is as of slot 5 and names the segments `named`."""

    def __init__(self, store, runtime, named=(SEGMENTS[1],)) -> None:
        self.store, self.runtime, self.named = store, runtime, set(named)
        self.checkpoints = CheckpointStore(store, runtime, ROOT, OWNER)

    async def build(self) -> None:
        for generation, slot in ((1, 2), (2, 5), (3, 5)):
            await self.checkpoints.create(Checkpoint(generation, slot, False, {}, 0, b""), "w" * 32)
        for slot in range(1, 8):
            await self.store.put_new(paths.log_key(ROOT, slot), [b"entry"])
        for segment in SEGMENTS.values():
            for part in (paths.ROWS, paths.SEGMENT_INDEX):
                await self.store.put_new(paths.segment_key(ROOT, segment, part), [b"part"])
        await self.store.put_new(paths.mark_key(ROOT, "f" * 32), [b"left behind"])
        await self.store.put_new(ROOT + "stranger", [b"?"])
        await self.store.put_new("index/" + "b" * 32 + "/log/0000000000000001", [b"another's"])

    async def collect(self, age: float = 0) -> set[str]:
        removed = await collect(self.store, self.runtime, ROOT, self.checkpoints, age, lambda _: self.named)
        return {info.key for info in removed}

    async def keys(self) -> set[str]:
        return {info.key for info in await self.store.list("")}


def parts_of(generation: int) -> set[str]:
    return {paths.segment_key(ROOT, SEGMENTS[generation], part) for part in (paths.ROWS, paths.SEGMENT_INDEX)}


@asynchronous
async def test_exactly_what_nothing_needs_goes(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    before = await sound.keys()
    removed = await sound.collect()
    assert removed == {
        *(paths.log_key(ROOT, slot) for slot in range(1, 6)),
        *(paths.checkpoint_key(ROOT, generation) for generation in (1, 2)),
        *parts_of(2),
        *parts_of(3),  # unnamed: whoever wrote it lost; a checkpoint to come may name that of generation 4
        paths.mark_key(ROOT, "f" * 32),
    }
    assert await sound.keys() == before - removed
    assert await sound.collect() == set()


@asynchronous
async def test_named_segments_stay_however_old(store, runtime):
    sound = Sound(store, runtime, SEGMENTS.values())
    await sound.build()
    await sound.collect()
    assert set().union(*map(parts_of, SEGMENTS)) <= await sound.keys()


@asynchronous
async def test_without_a_checkpoint_nothing_goes(store, runtime):
    sound = Sound(store, runtime)
    for slot in (1, 2):
        await store.put_new(paths.log_key(ROOT, slot), [b"entry"])
    assert await sound.collect() == set()
    assert len(await sound.keys()) == 2


@asynchronous
async def test_what_is_too_young_stays_and_the_machines_clock_does_not_matter(store, runtime, monkeypatch):
    sound = Sound(store, runtime)
    await sound.build()
    before = await sound.keys()
    assert await sound.collect(age=60) == set()
    assert await sound.keys() == before
    real = runtime.time
    monkeypatch.setattr(runtime, "time", lambda: real() + 1000)
    # The store's clock is the runtime's here; what a caller may not do is compare its own with the store's.
    assert len(await sound.collect(age=60)) == 12


@asynchronous
async def test_log_entries_go_before_everything_else_and_in_order(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    deleted = []
    real = store.delete

    async def delete(keys):
        deleted.append(list(keys))
        await real(keys)

    store.delete = delete
    await sound.collect()
    kinds = [{paths.classify(ROOT, key).kind for key in keys} for keys in deleted]
    assert kinds[0] == {"mark"}
    assert kinds[1] == {"log"}
    assert deleted[1] == sorted(deleted[1])
    assert "log" not in kinds[2]


@asynchronous
async def test_a_failed_listing_ends_the_collection(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    before = await sound.keys()
    real = store.list

    async def broken(prefix, after=""):
        if prefix == ROOT:
            raise StoreUnavailableError("no answer")
        return await real(prefix, after)

    store.list = broken
    with pytest.raises(StoreUnavailableError):
        await sound.collect()
    store.list = real
    assert await sound.keys() == before


@asynchronous
async def test_a_store_that_takes_no_mark_loses_nothing(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    before = await sound.keys()
    store.next_put("/mark/", refuse)
    with pytest.raises(StoreRefusedError):
        await sound.collect()
    assert await sound.keys() == before


@asynchronous
async def test_an_unreadable_checkpoint_ends_the_collection(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    await store.put_new(paths.checkpoint_key(ROOT, 4), [b"damaged"])
    before = await sound.keys()
    with pytest.raises(CorruptObjectError):
        await sound.collect()
    assert await sound.keys() == before


class Aged(MemoryStore):
    """Creation times as told: `ages` by key, everything else `now`."""

    ages: dict[str, float]
    now: float

    async def list(self, prefix, after=""):
        listed = await super().list(prefix, after)
        return [info._replace(modified=self.ages.get(info.key, self.now)) for info in listed]


@asynchronous
async def test_the_age_of_a_checkpoint_begins_when_it_is_superseded():
    runtime = SystemRuntime(threads=1)
    store = Aged(runtime)
    checkpoints = CheckpointStore(store, runtime, ROOT, OWNER)
    first, second = (paths.checkpoint_key(ROOT, generation) for generation in (1, 2))
    for generation in (1, 2):
        await checkpoints.create(Checkpoint(generation, 0, False, {}, 0, b""), "w")
    store.ages, store.now = {first: 100.0, second: 1_000.0}, 1_009.0
    assert await collect(store, runtime, ROOT, checkpoints, 10, lambda _: ()) == []
    store.now = 1_010.0
    removed = await collect(store, runtime, ROOT, checkpoints, 10, lambda _: ())
    assert [info.key for info in removed] == [first]
    runtime.close()
