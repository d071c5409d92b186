"""Tests of garbage collection: what goes, what stays, and that time is the store's."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.format.opening import Opening
from quiver.model.errors import CorruptObjectError, StoreUnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import StoreRefusedError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect
from quiver.storage.opening_store import OpeningStore
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


def note_deletions(store) -> list[list[str]]:
    """The keys of every call that deletes, marks apart."""
    deleted: list[list[str]] = []
    real = store.delete

    async def delete(keys):
        if not any("/mark/" in key for key in keys):
            deleted.append(list(keys))
        await real(keys)

    store.delete = delete
    return deleted


@asynchronous
async def test_checkpoints_go_one_by_one_and_oldest_first_then_the_log_then_the_rest(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    await store.delete([paths.mark_key(ROOT, "f" * 32)])
    deleted = note_deletions(store)
    await sound.collect()
    assert deleted == [
        [paths.checkpoint_key(ROOT, 1)],
        [paths.checkpoint_key(ROOT, 2)],
        [paths.log_key(ROOT, slot) for slot in range(1, 6)],
        sorted(parts_of(2) | parts_of(3)),
    ]


@asynchronous
async def test_a_checkpoint_that_cannot_be_deleted_keeps_everything_after_it(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    before = await sound.keys()
    real = store.delete

    async def delete(keys):
        if any("/checkpoint/" in key for key in keys):
            raise StoreUnavailableError("no answer")
        await real(keys)

    store.delete = delete
    with pytest.raises(StoreUnavailableError):
        await sound.collect()
    assert await sound.keys() == before


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


async def put_opening(store, runtime, generation: int) -> str:
    body = bytes(await store.get(paths.checkpoint_key(ROOT, generation)))
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    assert await opening.replace(Opening(generation, body, []), present=True)
    return paths.opening_key(ROOT)


@pytest.mark.parametrize("generation", [1, 2, 3])
@asynchronous
async def test_an_opening_stays_as_long_as_it_is_of_the_newest_checkpoint(store, runtime, generation):
    sound = Sound(store, runtime)
    await sound.build()
    key = await put_opening(store, runtime, generation)
    assert (key in await sound.collect()) == (generation < 3)
    assert (key in await sound.keys()) == (generation == 3)


@asynchronous
async def test_a_damaged_opening_goes(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    await store.put_new(paths.opening_key(ROOT), [b"noise"])
    assert paths.opening_key(ROOT) in await sound.collect()


@asynchronous
async def test_the_opening_of_a_sealed_log_goes(store, runtime):
    sound = Sound(store, runtime)
    await sound.build()
    await sound.checkpoints.create(Checkpoint(4, 8, True, {}, 0, b""), "w" * 32)
    assert await put_opening(store, runtime, 4) in await sound.collect()


@asynchronous
async def test_whoever_published_a_checkpoint_has_time_to_renew_the_opening():
    runtime = SystemRuntime(threads=1)
    store = Aged(runtime)
    checkpoints = CheckpointStore(store, runtime, ROOT, OWNER)
    for generation in (1, 2):
        await checkpoints.create(Checkpoint(generation, 0, False, {}, 0, b""), "w")
    key = await put_opening(store, runtime, 1)
    store.ages = {key: 100.0, paths.checkpoint_key(ROOT, 1): 100.0, paths.checkpoint_key(ROOT, 2): 1_000.0}
    for store.now, gone in ((1_009.0, False), (1_010.0, True)):
        removed = await collect(store, runtime, ROOT, checkpoints, 10, lambda _: ())
        assert (key in [info.key for info in removed]) == gone
    runtime.close()


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


@asynchronous
async def test_the_log_stays_from_the_least_of_the_remaining_checkpoints_on():
    """Also when one holds less than those before it, as a draft that landed late may."""
    runtime = SystemRuntime(threads=1)
    store = Aged(runtime)
    checkpoints = CheckpointStore(store, runtime, ROOT, OWNER)
    for generation, slot in ((1, 2), (2, 6), (3, 4), (4, 8)):
        await checkpoints.create(Checkpoint(generation, slot, False, {}, 0, b""), "w")
    for slot in range(1, 10):
        await store.put_new(paths.log_key(ROOT, slot), [b"entry"])
    young = [paths.checkpoint_key(ROOT, generation) for generation in (3, 4)]
    store.ages, store.now = {}, 100.0
    store.ages = {info.key: 100.0 for info in await store.list(ROOT)} | dict.fromkeys(young, 1_000.0)
    store.now = 1_005.0
    removed = [info.key for info in await collect(store, runtime, ROOT, checkpoints, 10, lambda _: ())]
    assert removed == [paths.checkpoint_key(ROOT, 1), *(paths.log_key(ROOT, slot) for slot in range(1, 5))]
    runtime.close()


@asynchronous
async def test_a_checkpoint_is_not_older_than_the_one_before_it_whatever_the_clock_said():
    """Of the second the store says that it is old enough, of the first that it is not."""
    runtime = SystemRuntime(threads=1)
    store = Aged(runtime)
    checkpoints = CheckpointStore(store, runtime, ROOT, OWNER)
    for generation in (1, 2, 3):
        await checkpoints.create(Checkpoint(generation, 0, False, {}, 0, b""), "w")
    store.ages = {
        paths.checkpoint_key(ROOT, generation): age for generation, age in ((1, 0), (2, 999.0), (3, 900.0))
    }
    store.now = 1_000.0
    assert await collect(store, runtime, ROOT, checkpoints, 10, lambda _: ()) == []
    runtime.close()
