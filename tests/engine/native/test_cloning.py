"""Tests of clones: nothing is copied, nothing is lost, and the two go their own ways."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SETTINGS, SPEC, dump, everything, fresh_nodes, names, open_index, put
from engine.native.test_pins import CLONE, OTHER, clone_of, engine_of
from quiver.engine.native import cloning, pins
from quiver.engine.native.engine import NativeEngine
from quiver.model.errors import MissingObjectError, NotFoundError, UnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore


@asynchronous
async def test_a_clone_is_one_checkpoint_and_reads_the_segments_of_its_source():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]}, colour="red")
        await index.maintenance.flush()
        await index.delete(["b"])
        clone = await clone_of(index)
        assert [info.key for info in await index.store.list(clone.root)] == [
            f"{clone.root}checkpoint/{1:016x}",
            f"{clone.root}published",
        ]
        assert await everything(clone) == await everything(index)
        assert [ref.home for ref in clone.state.segments] == [INDEX]


@asynchronous
async def test_source_and_clone_go_their_own_ways():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        clone = await clone_of(index)
        assert await put(clone, {"c": [3, 0]}) == 1
        await clone.delete(["a"])
        await put(index, {"d": [4, 0]})
        await index.delete(["b"])
        for each in (index, clone):
            await each.maintenance.compact_all()
            await each.maintenance.collect()
        assert sorted(await everything(index)) == ["a", "d"]
        assert sorted(await everything(clone)) == ["b", "c"]


@asynchronous
async def test_merging_moves_a_clone_under_its_own_root():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [2, 0]})
        clone = await clone_of(index)
        await put(clone, {"c": [3, 0]})
        await clone.maintenance.compact_all()
        await clone.maintenance.collect()
        assert [ref.home for ref in clone.state.segments] == [""]
        assert len(await names(clone, "segment")) == 2
        await index.delete(["a", "b"])
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert await names(index, "segment") == []
        assert sorted(await everything(clone)) == ["a", "b", "c"]


@asynchronous
async def test_an_empty_index_and_a_snapshot_of_one_can_be_cloned():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        assert await dump(await clone_of(index)) == {}
        await engine.snapshot(INDEX, SPEC, "empty")
        await put(index, {"a": [1, 0]})
        assert await dump(await clone_of(index, OTHER, "empty")) == {}


@asynchronous
async def test_an_unknown_snapshot_is_not_cloned():
    async with fresh_nodes(1) as (index,):
        with pytest.raises(NotFoundError):
            await engine_of(index).clone(INDEX, SPEC, CLONE, "unknown")
        assert (await pins.read(index)).pins == []


@asynchronous
async def test_a_clone_of_a_clone_outlives_both_and_then_all_goes():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await put(index, {"a": [1, 0]})
        clone = await clone_of(index)
        await put(clone, {"b": [2, 0]})
        await engine.clone(CLONE, SPEC, OTHER, None)
        second = await open_index(index.store, index.runtime, index_id=OTHER)
        assert [ref.home for ref in (await pins.read(second)).segments] == [INDEX, CLONE]
        for sealed in (clone, index):
            await sealed.seal()
        for _ in range(3):
            for index_id in (OTHER, CLONE, INDEX):
                await engine.release(index_id, 0)
                await engine.discard(index_id, 0)
        assert sorted(await everything(second)) == ["a", "b"]
        await second.seal()
        for index_id in (OTHER, CLONE, INDEX):
            await engine.release(index_id, 0)
            await engine.discard(index_id, 0)
        assert [info.key.split("/")[2] for info in await index.store.list("")] == ["checkpoint"] * 3


@asynchronous
async def test_a_reader_of_a_clone_that_stalled_goes_on_with_what_replaced_the_shared_segments(monkeypatch):
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        clone = await clone_of(index)
        slow = await open_index(index.store, index.runtime, index_id=CLONE)
        real, moved = slow.snapshots._open, []

        async def stalled(view):
            if not moved:
                moved.append(True)
                await put(clone, {"b": [2, 0]})
                await clone.maintenance.compact_all()
                await index.seal()
                await engine_of(index).release(INDEX, 0)
                await engine_of(index).discard(INDEX, 0)
            return await real(view)

        monkeypatch.setattr(slow.snapshots, "_open", stalled)
        assert sorted(await dump(slow)) == ["a", "b"]
        assert await names(index, "segment") == []


@asynchronous
async def test_a_shared_segment_that_is_gone_is_an_error_never_a_shorter_answer():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        clone = await clone_of(index)
        await index.store.delete([f"{index.root}{name}" for name in await names(index, "segment")])
        with pytest.raises(MissingObjectError):
            await dump(clone)


@asynchronous
async def test_a_clone_given_up_while_its_maker_stalled_is_refused(monkeypatch):
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        engine = engine_of(index)
        real = pins.add

        async def stalled(*arguments):
            pin = await real(*arguments)
            await engine.release(INDEX, 0)
            return pin

        monkeypatch.setattr(pins, "add", stalled)
        with pytest.raises(UnavailableError, match="given up"):
            await engine.clone(INDEX, SPEC, CLONE, None)


@asynchronous
async def test_only_a_clone_without_a_name_that_is_old_enough_is_unborn_and_can_be_abandoned():
    async with fresh_nodes(1) as (index,):
        engine = engine_of(index)
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        assert not await engine.unborn(INDEX, 0)  # not a clone
        assert not await engine.unborn(CLONE, 0)  # not there
        await clone_of(index)
        assert not await engine.unborn(CLONE, 3600)
        assert await engine.unborn(CLONE, 0)
        for _ in range(2):
            await engine.abandon(CLONE)
            assert not await engine.unborn(CLONE, 0)
        assert await engine.release(INDEX, 0)
        assert (await pins.read(index)).pins == []


@asynchronous
async def test_a_clone_whose_deletion_was_cut_short_is_not_unborn_but_deleted():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        clone = await clone_of(index)
        await clone.log.append(cloning.Part(cloning.PartKind.SEAL, b""))
        assert not await engine_of(index).unborn(CLONE, 0)
        assert await engine_of(index).release(INDEX, 0)


@asynchronous
async def test_deleting_a_clone_gives_the_space_of_its_origins_back_unasked():
    runtime = SystemRuntime(threads=2)
    store = MemoryStore(runtime)
    engine = NativeEngine(store, runtime, SETTINGS)
    index = await engine.open(INDEX, SPEC)
    await put(index, {"a": [1, 0]})
    await engine.clone(INDEX, SPEC, CLONE, None)
    await engine.clone(CLONE, SPEC, OTHER, None)
    await engine.seal(INDEX, SPEC)
    await engine.seal(CLONE, SPEC)
    await engine._collect_later(CLONE, INDEX)
    assert len(await names(index, "segment")) == 2
    origin = (await pins.read(await engine.open(OTHER, SPEC))).origin
    await engine.seal(OTHER, SPEC)
    await engine._collect_later(OTHER, origin)
    assert [info.key.split("/")[2] for info in await store.list("")] == ["checkpoint"] * 3
    await engine.close()
    runtime.close()


# ---------------------------------------------------------------- against a model

KEYS = ("a", "b", "c", "d")
IDS = [f"{number:032x}" for number in range(1, 40)]


class AgainstDictionaries(RuleBasedStateMachine):
    """Any number of indexes and snapshots beside dictionaries, with collection at every turn."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.runtime = SystemRuntime(threads=1)
        self.store = MemoryStore(self.runtime)
        self.engine = NativeEngine(self.store, self.runtime, SETTINGS)
        self.fresh = iter(IDS)
        first = next(self.fresh)
        self.deleted: list[str] = []
        self.held: dict[str, dict[str, float]] = {first: {}}
        self.snapshots: dict[tuple[str, str], dict[str, float]] = {}
        self.value = 0.0

    def run(self, work):
        return self.loop.run_until_complete(work)

    def pick(self, number: int) -> str:
        return sorted(self.held)[number % len(self.held)]

    def index(self, index_id: str):
        return self.run(self.engine.open(index_id, SPEC))

    @rule(number=st.integers(0, 9), keys=st.sets(st.sampled_from(KEYS), min_size=1))
    def put(self, number: int, keys: set[str]) -> None:
        chosen = self.pick(number)
        self.value += 1
        rows = dict.fromkeys(sorted(keys), self.value)
        self.run(put(self.index(chosen), {key: [value, 0] for key, value in rows.items()}))
        self.held[chosen].update(rows)

    @rule(number=st.integers(0, 9), key=st.sampled_from(KEYS))
    def delete(self, number: int, key: str) -> None:
        chosen = self.pick(number)
        self.run(self.index(chosen).delete([key]))
        self.held[chosen].pop(key, None)

    @rule(number=st.integers(0, 9), name=st.sampled_from("xy"))
    def snapshot(self, number: int, name: str) -> None:
        chosen = self.pick(number)
        if (chosen, name) in self.snapshots:
            self.run(self.engine.drop_snapshot(chosen, SPEC, name))
            del self.snapshots[chosen, name]
        else:
            self.run(self.engine.snapshot(chosen, SPEC, name))
            self.snapshots[chosen, name] = dict(self.held[chosen])

    @precondition(lambda self: len(self.held) < 4)
    @rule(number=st.integers(0, 9), name=st.sampled_from(["", "x", "y"]))
    def clone(self, number: int, name: str) -> None:
        chosen, clone_id = self.pick(number), next(self.fresh)
        if name and (chosen, name) not in self.snapshots:
            with pytest.raises(NotFoundError):
                self.run(self.engine.clone(chosen, SPEC, clone_id, name))
            return
        self.run(self.engine.clone(chosen, SPEC, clone_id, name or None))
        self.held[clone_id] = dict(self.snapshots[chosen, name] if name else self.held[chosen])

    @precondition(lambda self: len(self.held) > 1)
    @rule(number=st.integers(0, 9))
    def delete_index(self, number: int) -> None:
        chosen = self.pick(number)
        self.run(self.engine.seal(chosen, SPEC))
        del self.held[chosen]
        self.deleted.append(chosen)
        self.snapshots = {key: rows for key, rows in self.snapshots.items() if key[0] != chosen}

    @rule(number=st.integers(0, 9), whole=st.booleans())
    def tidy(self, number: int, *, whole: bool) -> None:
        maintenance = self.index(self.pick(number)).maintenance
        self.run(maintenance.compact_all() if whole else maintenance.compact_tier())

    @rule()
    def collect(self) -> None:
        for index_id in [*self.held, *self.deleted]:
            self.run(self.engine.release(index_id, 0))
            self.run(self.engine.discard(index_id, 0))

    @invariant()
    def every_index_holds_what_it_should(self) -> None:
        other = NativeEngine(self.store, self.runtime, SETTINGS)
        for index_id, rows in self.held.items():
            found = self.run(dump(self.run(other.open(index_id, SPEC))))
            assert {key: vector[0] for key, (vector, _) in found.items()} == rows

    def teardown(self) -> None:
        for (index_id, name), rows in self.snapshots.items():
            clone_id = next(self.fresh)
            self.run(self.engine.clone(index_id, SPEC, clone_id, name))
            found = self.run(dump(self.index(clone_id)))
            assert {key: vector[0] for key, (vector, _) in found.items()} == rows
            self.held[clone_id] = rows
        for index_id in self.held:
            assert self.run(self.engine.check(index_id, SPEC)) == []
        for index_id in [*self.held]:
            self.run(self.engine.seal(index_id, SPEC))
        self.deleted += self.held
        self.held.clear()
        for _ in self.deleted:
            self.collect()
        assert {info.key.split("/")[2] for info in self.run(self.store.list(""))} <= {"checkpoint", "published"}
        self.run(self.engine.close())
        self.runtime.close()
        self.loop.close()


TestAgainstDictionaries = AgainstDictionaries.TestCase
TestAgainstDictionaries.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
