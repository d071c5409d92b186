"""The opening of an index: who writes it, what is in it, what a fresh node makes of it, and who takes it away."""

from __future__ import annotations

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native import test_erasure
from engine.native.nodes import ROOT, SETTINGS, SPEC, everything, put
from engine.native.test_pins import CLONE
from quiver.engine.engine import Query
from quiver.engine.native import opening as opening_module
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.fsck import check_index
from quiver.engine.native.inspection import inspect_index
from quiver.engine.native.reservation import reserve
from quiver.format import paths
from quiver.format.opening import Head, Opening
from quiver.model.errors import StoreUnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import StoreRefusedError
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.opening_store import OpeningStore

KEY = paths.opening_key(ROOT)


class Remote(MemoryStore):
    """A store that is not at hand. Lists what is asked of it; fails as told, by operation and part of a key."""

    resident = False

    def __init__(self, runtime):
        super().__init__(runtime)
        self.asked: list[tuple[str, str]] = []
        self.failing: dict[tuple[str, str], Exception] = {}

    def _ask(self, operation, key):
        self.asked.append((operation, key))
        for (failing, part), error in self.failing.items():
            if failing == operation and part in key:
                raise error

    async def get(self, key, start=0, length=None):
        self._ask("get", key)
        return await super().get(key, start, length)

    async def put_new(self, key, parts):
        self._ask("put", key)
        await super().put_new(key, parts)

    async def delete(self, keys):
        for key in keys:
            self._ask("delete", key)
        await super().delete(keys)

    def reads_of(self, part: str) -> int:
        return sum(operation == "get" and part in key for operation, key in self.asked)


class Bench:
    """A remote store, and engines on nodes with empty caches."""

    def __init__(self):
        self.runtime = SystemRuntime(threads=2)
        self.store = Remote(self.runtime)

    def engine(self) -> NativeEngine:
        return NativeEngine(
            self.store, self.runtime, SETTINGS, cache=BlockCache(self.store, self.runtime, 1 << 26)
        )

    async def open(self, index_id=INDEX):
        return await self.engine().open(index_id, SPEC)

    async def stored(self, index_id=INDEX) -> Opening:
        return await OpeningStore(self.store, self.runtime, paths.index_root(index_id), index_id).load()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.runtime.close()


async def flushed(index, *keys: str) -> None:
    """Each key in a segment of its own, and the opening written."""
    for number, key in enumerate(keys):
        await put(index, {key: [number, 1]})
        await index.maintenance.flush()
    await index.maintenance.wait()


async def end_of(index, ref) -> bytes:
    return bytes(await index.store.get(paths.segment_key(index.root, ref.id, paths.SEGMENT_INDEX)))[
        -ref.head_bytes :
    ]


# ---------------------------------------------------------------- what is in it


@asynchronous
async def test_it_holds_the_newest_checkpoint_and_the_heads_of_its_segments(bench):
    index = await bench.open()
    await flushed(index, "a", "b", "c")
    stored = await bench.stored()
    assert stored.generation == index.log.base == 3
    assert bytes(stored.checkpoint) == bytes(await bench.store.get(paths.checkpoint_key(ROOT, 3)))
    assert [(head.home, head.segment) for head in stored.heads] == [("", ref.id) for ref in index.state.segments]
    for head, ref in zip(stored.heads, index.state.segments, strict=True):
        assert bytes(head.body) == await end_of(index, ref)


@asynchronous
async def test_whoever_wrote_a_segment_fetches_nothing_of_it_for_the_opening(bench):
    index = await bench.open()
    await flushed(index, "a", "b")
    assert bench.store.reads_of("/segment/") == 0


@asynchronous
async def test_merges_loads_and_snapshots_renew_it(bench):
    engine = bench.engine()
    index = await engine.open(INDEX, SPEC)
    await flushed(index, "a", "b")

    async def is_new() -> bool:
        await index.maintenance.wait()
        stored = await bench.stored()
        return stored.generation == index.log.base and len(stored.heads) == len(index.state.segments)

    await index.maintenance.compact_all()
    assert await is_new()
    await engine.snapshot(INDEX, SPEC, "one")
    assert await is_new()
    await engine.drop_snapshot(INDEX, SPEC, "one")
    assert await is_new()


@asynchronous
async def test_a_store_at_hand_gets_none(bench):
    bench.store.resident = True
    engine = NativeEngine(bench.store, bench.runtime, SETTINGS)
    index = await engine.open(INDEX, SPEC)
    await flushed(index, "a")
    await everything(index)
    assert not [key for _, key in bench.store.asked if key == KEY]


@asynchronous
async def test_an_index_without_a_checkpoint_and_a_deleted_one_get_none(bench):
    index = await bench.open()
    await put(index, {"a": [1, 0]})
    await opening_module.renew(index)
    await index.seal()
    await index.log.refresh()
    await opening_module.renew(index)
    assert KEY not in [info.key for info in await bench.store.list("")]


@asynchronous
async def test_heads_that_do_not_fit_all_stay_out(bench, monkeypatch):
    index = await bench.open()
    await flushed(index, "a")
    monkeypatch.setattr(opening_module, "LARGEST", 3 * opening_module.BLOCK)
    await flushed(index, "b")
    assert len((await bench.stored()).heads) == 2
    await flushed(index, "c")
    stored = await bench.stored()
    assert (stored.generation, stored.heads) == (3, [])
    assert sorted(await everything(await bench.open())) == ["a", "b", "c"]
    monkeypatch.setattr(opening_module, "LARGEST", 10)  # not even the checkpoint
    await flushed(index, "d")
    assert (await bench.stored()).generation == 3
    assert sorted(await everything(await bench.open())) == ["a", "b", "c", "d"]


@asynchronous
async def test_segments_of_a_clones_origin_are_in_its_opening(bench):
    engine = bench.engine()
    index = await engine.open(INDEX, SPEC)
    await flushed(index, "a")
    await engine.clone(INDEX, SPEC, CLONE, None)
    clone = await engine.open(CLONE, SPEC)
    await flushed(clone, "b")
    assert sorted(head.home for head in (await bench.stored(CLONE)).heads) == ["", INDEX]
    fresh = await bench.open(CLONE)
    bench.store.asked.clear()
    assert len((await fresh.query(Query(np.ones(2, np.float32), 5))).keys) == 2
    assert bench.store.reads_of(f"/{paths.SEGMENT_INDEX}") == 0


# ---------------------------------------------------------------- who writes it, and when not


@asynchronous
async def test_a_node_that_is_behind_leaves_a_newer_one_alone(bench):
    behind, index = await bench.open(), await bench.open()
    await flushed(index, "a")
    await behind.log.refresh()
    await flushed(index, "b")
    bench.store.asked.clear()
    await opening_module.renew(behind)
    assert {operation for operation, _ in bench.store.asked} == {"get"}
    assert (await bench.stored()).generation == 2


@asynchronous
async def test_one_that_came_in_between_is_replaced_when_it_is_older_and_kept_when_it_is_newer(bench):
    index = await bench.open()
    await flushed(index, "a")
    old = await bench.stored()
    await flushed(index, "b", "c")
    newest = await bench.stored()
    for between, generation in ((old, 3), (newest._replace(generation=9), 9)):
        await bench.store.delete([KEY])
        replace, once = OpeningStore.replace, [between]

        async def overtaken(self, opening, *, present, replace=replace, once=once):
            if once:
                assert await replace(self, once.pop(), present=False)
            return await replace(self, opening, present=present)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OpeningStore, "replace", overtaken)
            await opening_module.renew(index)
        assert OpeningStore.replace is replace
        present = await OpeningStore(bench.store, bench.runtime, ROOT, INDEX).generation()
        assert present == generation


@pytest.mark.parametrize(
    "failure",
    [("get", KEY), ("delete", KEY), ("put", KEY), ("get", "/checkpoint/")],
    ids=lambda failure: f"{failure[0]} {failure[1].rpartition('/')[2] or 'checkpoint'}",
)
@pytest.mark.parametrize("error", [StoreUnavailableError("no answer"), StoreRefusedError("not allowed")])
@asynchronous
async def test_whatever_fails_is_nobodys_error(bench, failure, error):
    index = await bench.open()
    await flushed(index, "a", "b")
    await put(index, {"c": [1, 1]})
    publish = index.maintenance.published

    def published() -> None:
        bench.store.failing = {failure: error}
        publish()

    index.maintenance.published = published
    assert await index.maintenance.flush()
    await index.maintenance.wait()
    assert (failure[0], KEY) in bench.store.asked or "checkpoint" in failure[1]
    bench.store.failing.clear()
    assert sorted(await everything(await bench.open())) == ["a", "b", "c"]


@asynchronous
async def test_who_dies_between_taking_the_old_one_away_and_putting_the_new_one_costs_nothing_but_time(bench):
    index = await bench.open()
    await flushed(index, "a", "b")
    bench.store.failing = {("put", KEY): StoreUnavailableError("the process is gone")}
    await flushed(index, "c")
    bench.store.failing.clear()
    assert KEY not in [info.key for info in await bench.store.list("")]
    assert sorted(await everything(await bench.open())) == ["a", "b", "c"]
    other = await bench.open()
    await other.maintenance.tend()  # as whoever is on patrol does
    await other.maintenance.wait()
    assert (await bench.stored()).generation == other.log.base >= 3


@asynchronous
async def test_compacting_everything_makes_one_for_a_root_that_was_copied(bench):
    engine = bench.engine()
    await flushed(await engine.open(INDEX, SPEC), "a")
    await engine.close()
    await bench.store.delete([KEY])
    other = bench.engine()
    await other.compact(INDEX, SPEC)
    await other.close()
    assert (await bench.stored()).generation == 1


@asynchronous
async def test_closing_the_engine_waits_for_it(bench):
    engine = bench.engine()
    index = await engine.open(INDEX, SPEC)
    await put(index, {"a": [1, 1]})
    await index.maintenance.flush()
    await engine.close()
    assert (await bench.stored()).generation == 1


# ---------------------------------------------------------------- what a fresh node makes of it


@asynchronous
async def test_a_fresh_node_fetches_no_head_and_no_whole_checkpoint(bench):
    index = await bench.open()
    await flushed(index, "a", "b")
    await put(index, {"tail": [2, 2]})
    fresh = await bench.open()
    bench.store.asked.clear()
    hits = await fresh.query(Query(np.ones(2, np.float32), 5))
    assert sorted(hits.keys) == ["a", "b", "tail"]
    assert bench.store.reads_of(f"/{paths.SEGMENT_INDEX}") == 0
    assert bench.store.reads_of("/checkpoint/") == 1
    assert fresh.opening.heads == {}


@asynchronous
async def test_heads_of_an_older_one_serve_for_segments_that_are_still_named(bench):
    index = await bench.open()
    await flushed(index, "a", "b")
    bench.store.failing = {("delete", KEY): StoreUnavailableError("no answer")}
    await flushed(index, "c")
    bench.store.failing.clear()
    assert (await bench.stored()).generation == 2
    fresh = await bench.open()
    bench.store.asked.clear()
    assert len((await fresh.query(Query(np.ones(2, np.float32), 5))).keys) == 3
    read = {key for operation, key in bench.store.asked if key.endswith(f"/{paths.SEGMENT_INDEX}")}
    assert read == {paths.segment_key(ROOT, index.state.segments[-1].id, paths.SEGMENT_INDEX)}
    assert fresh.opening.heads == {}


@asynchronous
async def test_a_damaged_one_is_ignored_and_named_by_fsck(bench):
    index = await bench.open()
    await flushed(index, "a", "b")
    assert await check_index(bench.store, bench.runtime, INDEX, SPEC) == []
    body = bytearray(await bench.store.get(KEY))
    body[-100] ^= 1
    await bench.store.delete([KEY])
    await bench.store.put_new(KEY, [body])
    assert sorted(await everything(await bench.open())) == ["a", "b"]
    (found,) = await check_index(bench.store, bench.runtime, INDEX, SPEC)
    assert "opening" in found.problem


@pytest.mark.parametrize("wrong", ["noise", "short", "long", "another"])
@asynchronous
async def test_heads_that_are_wrong_are_fetched_instead(bench, wrong):
    """Under checksums that hold."""
    index = await bench.open()
    await flushed(index, "a", "b")
    stored = await bench.stored()
    bodies = [bytes(head.body) for head in stored.heads]
    changed = {
        "noise": [bytes(len(body)) for body in bodies],
        "short": [body[-10:] for body in bodies],
        "long": [bytes(1 << 17) + body for body in bodies],
        "another": bodies[::-1],
    }[wrong]
    heads = [Head(head.home, head.segment, body) for head, body in zip(stored.heads, changed, strict=True)]
    lying = Opening(stored.generation, bytes(stored.checkpoint), heads)
    assert await index.opening.replace(lying, present=True)
    assert sorted(await everything(await bench.open())) == ["a", "b"]


# ---------------------------------------------------------------- who takes it away


@asynchronous
async def test_it_is_an_object_of_the_index_to_inspection_and_collection(bench):
    engine = bench.engine()
    index = await engine.open(INDEX, SPEC)
    await flushed(index, "a", "b")
    await index.maintenance.collect()
    summary = await inspect_index(bench.store, bench.runtime, INDEX)
    # A checkpoint and the word that there is one, two segments of two objects, an opening.
    assert (summary.objects, summary.garbage) == (7, 0)
    assert (await bench.stored()).generation == 2
    await index.seal()
    await engine.collect(INDEX, 0)
    left = [paths.classify(ROOT, info.key).kind for info in await bench.store.list(ROOT)]
    assert left == ["checkpoint"]


@asynchronous
async def test_an_old_one_goes_with_what_it_copied(bench):
    """It may have been put late, or its successor never."""
    index = await bench.open()
    await put(index, {"marked-key": [1, 1]}, text="marked-text")
    await flushed(index, "b")
    late = await bench.stored()
    await index.delete(["marked-key"])
    await index.maintenance.compact_all()
    await index.maintenance.wait()
    assert await index.opening.replace(late, present=True)
    assert KEY in await test_erasure.objects_holding(index, b"marked-text")
    await reserve(index)  # the newest checkpoint is not one that a collection came after
    await index.maintenance.collect()
    assert await test_erasure.objects_holding(index, b"marked-text") == []
    assert sorted(await everything(await bench.open())) == ["b"]
