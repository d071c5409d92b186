"""How many requests a read makes one after the other: each takes one unit of virtual time."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from engine.reference import make_batch
from quiver.engine.engine import Freshness, Query, TextQuery
from quiver.engine.native import segment_search
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.planner import Method, Plan
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.types import DistanceMetric, IndexSpec, TextField
from quiver.storage import segment_writer
from quiver.storage.cache import block_cache, pace
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.opening_store import _PIECES as PIECES
from simulation.eager import probing
from simulation.faults import NONE
from simulation.store import SimulatedStore
from simulation.world import World

INDEX = "a" * 32
SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
SETTINGS = NativeSettings(background=False, garbage_age=0.0, staleness=5.0)


class UnitStore(SimulatedStore):
    """Every request is judged half a unit after it was made, and answered after another half. Lists them all."""

    def __init__(self, backing, process):
        super().__init__(backing, process)
        self.asked = []

    def _latency(self):
        return 0.5

    async def put_new(self, key, parts):
        self.asked.append(("put", key))
        await super().put_new(key, parts)

    async def get(self, key, start=0, length=None):
        self.asked.append(("get", key))
        return await super().get(key, start, length)

    async def list(self, prefix, after=""):
        self.asked.append(("list", prefix))
        return await self._read(lambda: self._backing.matching(prefix, after))


class Meter:
    """What a piece of work on a node asks, and how long it takes."""

    def __init__(self, world):
        self.world = world

    def open(self, **changes):
        """An engine on a fresh node whose caches are empty."""
        node = self.world.start_node()
        node.store = UnitStore(self.world.backing, node.process)
        cache = BlockCache(node.store, node.runtime, 64 << 20)
        self.engine = NativeEngine(node.store, node.runtime, replace(SETTINGS, **changes), cache=cache)
        return node, self.engine

    async def spent(self, node, work):
        """The answer, rounds, and kinds of requests."""
        node.store.asked.clear()
        began = self.world.loop.time()
        answer = await node.call(work)
        rounds = self.world.loop.time() - began
        kinds = [kind for kind, _ in node.store.asked]
        return answer, rounds, {kind: kinds.count(kind) for kind in set(kinds)}


async def fill(index, flushes, entries):
    """So many flushes, and so many log entries after them."""
    number = 0
    for _ in range(flushes):
        number += 1
        await index.put(make_batch([f"k{number}"], [[number, 1.0]]))
        await index.maintenance.flush()
    for _ in range(entries):
        number += 1
        await index.put(make_batch([f"k{number}"], [[number, 1.0]]))


def query(index, **freshness):
    return index.query(Query(np.ones(2, np.float32), 100), Freshness(**freshness))


def run(scenario):
    with World(1, NONE) as world:
        return world.run(scenario(Meter(world)))


async def prepared(meter, flushes, entries):
    node, engine = meter.open()
    index = await node.call(engine.open(INDEX, SPEC))
    await node.call(fill(index, flushes, entries))
    await node.call(index.maintenance.wait())
    return node, index


def test_a_warm_strong_read_makes_three_small_requests_in_two_rounds_and_lists_nothing():
    async def scenario(meter):
        node, index = await prepared(meter, 2, 3)
        await node.call(query(index))
        return await meter.spent(node, query(index))

    hits, rounds, kinds = run(scenario)
    assert (len(hits.keys), rounds, kinds) == (5, 2, {"get": 3})


def test_a_warm_strong_read_costs_what_its_check_costs_and_not_that_of_the_search_on_top():
    async def scenario(meter):
        node, index = await prepared(meter, 2, 3)
        await node.call(query(index))
        index.snapshots._pool.drop(INDEX, index.state.segments[0].id)  # its bytes have to be fetched again
        return await meter.spent(node, query(index))

    hits, rounds, kinds = run(scenario)
    assert len(hits.keys) == 5
    assert kinds["get"] > 3
    assert rounds <= 3  # of the search; the two of the check go beside


def test_an_eventual_read_within_the_bound_makes_no_request():
    async def scenario(meter):
        node, index = await prepared(meter, 1, 1)
        await node.call(query(index))
        return await meter.spent(node, query(index, eventual=True))

    hits, rounds, kinds = run(scenario)
    assert (len(hits.keys), rounds, kinds) == (2, 0, {})


@pytest.mark.parametrize(("entries", "rounds"), [(0, 2), (1, 3), (3, 4), (7, 5), (15, 6)])
def test_entries_of_others_are_read_in_waves_that_double(entries, rounds):
    async def scenario(meter):
        node, index = await prepared(meter, 1, 0)
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        await reader.call(query(other))
        await node.call(fill(index, 0, entries))
        return await meter.spent(reader, other.log.refresh())

    slot, spent, kinds = run(scenario)
    assert (slot, spent) == (1 + entries, rounds)
    assert kinds.keys() == {"get"}


def test_a_fresh_node_knows_the_end_of_the_log_after_three_rounds():
    async def scenario(meter):
        await prepared(meter, 2, 40)
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        return await meter.spent(reader, other.log.refresh())

    slot, rounds, kinds = run(scenario)
    assert (slot, rounds) == (42, 3)
    assert kinds == {"list": 2, "get": 42}  # a checkpoint, forty entries, and the slot after them


def test_without_an_opening_a_fresh_nodes_first_search_does_not_wait_for_its_last_round():
    async def scenario(meter):
        node, index = await prepared(meter, 2, 3)
        await node.call(node.store.delete([paths.opening_key(index.root)]))
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        return await meter.spent(reader, query(other))

    hits, rounds, _ = run(scenario)
    assert len(hits.keys) == 5
    assert rounds <= 5  # listing, checkpoint and log, then up to three of the search


@pytest.mark.parametrize("entries", [0, 3])
def test_a_fresh_node_with_an_opening_answers_in_three_rounds(entries):
    """Listing and opening; first bytes of the checkpoint, log, rows; the other listing."""

    async def scenario(meter):
        await prepared(meter, 2, entries)
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        return await meter.spent(reader, query(other))

    hits, rounds, kinds = run(scenario)
    assert len(hits.keys) == 2 + entries
    assert rounds == 3
    assert kinds == {"list": 2, "get": PIECES + 2 + entries + 2}  # a checkpoint, log and its end, rows of two


@pytest.mark.parametrize("entries", [0, 2])
def test_a_fresh_node_searches_partitions_in_three_rounds(entries, monkeypatch):
    """Listing and opening; partitions and the log; rows and the other listing."""
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)  # as if the index object were large
    spec = IndexSpec(64, DistanceMetric.EUCLIDEAN)
    rows = np.random.default_rng(5).normal(size=(2_500, 64)).astype(np.float32)
    seen = set()

    async def scenario(meter):
        node, engine = meter.open(exact_floats=0)
        index = await node.call(engine.open(INDEX, spec))
        await node.call(index.put(make_batch([f"k{number}" for number in range(len(rows))], rows)))
        await node.call(index.maintenance.flush())
        for number in range(entries):
            await node.call(index.put(make_batch([f"new{number}"], rows[:1] + 1 + number)))
        await node.call(index.maintenance.wait())
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, spec))
        answer = await meter.spent(reader, other.query(Query(rows[7], 3)))
        seen.update(key.rpartition("/")[2] for _, key in reader.store.asked)
        return answer

    with probing():
        hits, rounds, _ = run(scenario)
    assert hits.keys[0] == "k7"
    assert hits.work[0].plan == "probe"
    assert {"opening", paths.SEGMENT_INDEX, paths.ROWS} <= seen
    assert rounds == 3


def test_a_fresh_node_answers_a_query_between_clusters_with_thirty_requests_in_three_rounds(monkeypatch):
    """Its partitions and rows lie all over the segment. Without a bound more are made, for the same answer."""
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)
    monkeypatch.setattr(pace, "_WIDEST_GAP", 0)  # as if there were many rows in a partition
    spec = IndexSpec(1024, DistanceMetric.EUCLIDEAN)
    rows = np.random.default_rng(11).normal(size=(8_000, 1024)).astype(np.float32)
    queries = np.random.default_rng(12).normal(size=(4, 1024)).astype(np.float32) / 4
    probe = Plan(Method.PROBE, partitions=60, depth=120, keep=60)

    async def asked(meter, query):
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, spec))
        hits, rounds, kinds = await meter.spent(reader, other.query(Query(query, 40)))
        assert (len(hits.keys), hits.work[0].probed) == (40, 60)
        return hits.keys, round(rounds), sum(kinds.values())

    async def scenario(meter):
        node, engine = meter.open(exact_floats=0)
        index = await node.call(engine.open(INDEX, spec))
        await node.call(index.put(make_batch([f"k{number}" for number in range(len(rows))], rows)))
        await node.call(index.maintenance.flush())
        await node.call(index.maintenance.wait())
        bounded = [await asked(meter, query) for query in queries]
        monkeypatch.setattr(block_cache, "FIRST_WAVE", 1 << 20)
        return bounded, [await asked(meter, query) for query in queries]

    with probing(), patch.object(segment_search, "plan", lambda *_, **__: probe):
        bounded, unbounded = run(scenario)
    assert {rounds for _, rounds, _ in bounded} == {3}
    assert max(requests for *_, requests in bounded) <= 30
    assert min(requests for *_, requests in unbounded) > 30
    assert [keys for keys, *_ in bounded] == [keys for keys, *_ in unbounded]


def test_a_commit_makes_two_small_requests_in_one_round_beside_its_put():
    async def scenario(meter):
        node, index = await prepared(meter, 1, 1)
        return await meter.spent(node, index.put(make_batch(["x"], [[1.0, 1.0]])))

    commit, rounds, kinds = run(scenario)
    assert (commit, rounds, kinds) == (3, 2, {"put": 1, "get": 2})


def test_without_a_checkpoint_reads_list():
    async def scenario(meter):
        node, index = await prepared(meter, 0, 2)
        await node.call(query(index))
        return await meter.spent(node, query(index))

    _, rounds, kinds = run(scenario)
    assert (rounds, kinds) == (2, {"get": 1, "list": 1})


def test_a_log_past_what_is_read_at_once_is_read_whole(monkeypatch):
    monkeypatch.setattr("quiver.storage.commit_log._AHEAD_SLOTS", 8)

    async def scenario(meter):
        await prepared(meter, 1, 30)
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        return await meter.spent(reader, query(other))

    hits, _, kinds = run(scenario)
    assert len(hits.keys) == 31
    assert kinds["list"] == 2


def test_a_checkpoint_that_holds_less_than_its_segments_names_say_is_no_obstacle():
    """An orphan of a flush that lost, drafted later than the checkpoint that won."""

    async def scenario(meter):
        node, index = await prepared(meter, 1, 5)
        orphan = paths.segment_id(1, 4, "f" * 32)
        await node.store.put_new(paths.segment_key(index.root, orphan, paths.ROWS), [b"orphan"])
        reader, engine = meter.open()
        other = await reader.call(engine.open(INDEX, SPEC))
        return await meter.spent(reader, other.log.refresh())

    slot, rounds, _ = run(scenario)
    assert (slot, rounds) == (6, 4)


TEXTS = IndexSpec(64, DistanceMetric.EUCLIDEAN, texts=(TextField("title"), TextField("body")))


async def with_texts(meter, entries=0):
    """Two segments of partitions with text fields, on a store whose objects are large, and a fresh node."""
    node, engine = meter.open(exact_floats=0)
    index = await node.call(engine.open(INDEX, TEXTS))
    rng = np.random.default_rng(5)
    for start in (0, 1_000):
        rows = rng.normal(size=(1_000, 64)).astype(np.float32)
        documents = [
            {
                "title": f"row {start + number}",
                "body": " ".join(f"w{word}" for word in rng.integers(0, 20_000, 90)),
            }
            for number in range(len(rows))
        ]
        names = [f"k{start + number}" for number in range(len(rows))]
        await node.call(index.put(make_batch(names, rows, documents)))
        await node.call(index.maintenance.flush())
    for number in range(entries):
        await node.call(index.put(make_batch([f"k{number}"], rng.normal(size=(1, 64)), [{"title": "row"}])))
    await node.call(index.maintenance.wait())
    reader, engine = meter.open()
    return reader, await reader.call(engine.open(INDEX, TEXTS))


@pytest.mark.parametrize(("vector", "texts", "entries", "expected"), [(False, 2, 3, 4), (True, 1, 0, 3)])
def test_a_fresh_node_searches_texts_in_few_rounds(vector, texts, entries, expected, monkeypatch):
    """Listing and opening; dictionaries; posting lists; rows. A round before the last, for where the keys of rows
    are, is spared by segments as small as these: blocks that came before tell.

    A field as small as the title has its dictionary and its lists in one block, and with a vector the partitions
    come meanwhile, which tell where keys are.
    """
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)  # as if the index object were large

    async def scenario(meter):
        reader, index = await with_texts(meter, entries)
        words = (TextQuery("title", "77 1077"), TextQuery("body", "w17 w2905"))[:texts]
        target = np.ones(64, np.float32) if vector else None
        return await meter.spent(reader, index.query(Query(target, 5, metadata=True, texts=words)))

    with probing():
        hits, rounds, kinds = run(scenario)
    assert {"k77", "k1077"} <= set(hits.keys)
    assert int(rounds) == expected  # beside changes of threads
    assert kinds["get"] < 40


def test_a_warm_text_query_makes_no_more_requests_than_a_vector_query(monkeypatch):
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)

    async def scenario(meter):
        reader, index = await with_texts(meter)
        texts = (TextQuery("body", "w17 w2905"),)
        await reader.call(index.query(Query(None, 5, texts=texts)))
        return await meter.spent(reader, index.query(Query(None, 5, texts=texts)))

    _, rounds, kinds = run(scenario)
    assert (rounds, kinds) == (2, {"get": 3})


@pytest.mark.parametrize("full", [False, True])
def test_a_fresh_node_lists_a_page_of_several_segments_in_few_rounds_and_requests(full, monkeypatch):
    """Listing and opening; key hashes and where texts are; rows and the other listing."""
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)  # as if the index object were large

    async def scenario(meter):
        reader, index = await with_texts(meter)
        return await meter.spent(reader, index.list(limit=400, max_bytes=1 << 22, vectors=full, metadata=full))

    page, rounds, kinds = run(scenario)
    assert len({row.key for row in page.rows}) == 400
    assert all((row.vector is not None) == full for row in page.rows)
    assert (int(rounds), kinds["list"]) == (3, 2)
    assert kinds["get"] < 30


@pytest.mark.parametrize("full", [False, True])
def test_a_fresh_node_looks_keys_up_in_few_rounds_and_requests(full, monkeypatch):
    """The same, by keys."""
    monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)

    async def scenario(meter):
        reader, index = await with_texts(meter)
        keys = [f"k{number}" for number in range(0, 2_000, 20)]
        return await meter.spent(reader, index.get(keys, vectors=full, metadata=full))

    found, rounds, kinds = run(scenario)
    assert len(found.rows) == 100
    assert (int(rounds), kinds["list"]) == (3, 2)
    assert kinds["get"] < 30
