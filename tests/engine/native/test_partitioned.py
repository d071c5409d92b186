"""The native engine over partitioned segments: the whole contract when exact answers are asked for, and what holds
of approximate ones: nothing that is not there, nothing twice, never too few, nearly always the nearest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from asynchronous import asynchronous
from engine.contract import (
    EngineContract,
    Nodes,
    all_pages,
    as_ranking,
    assert_holds,
    assert_ranks,
    in_turn,
    query_vector,
    random_batch,
)
from engine.native.nodes import fresh_nodes, segment_ids
from engine.native.test_engine import NativeNodes
from engine.reference import Model, make_batch
from quiver.engine.engine import Query
from quiver.engine.native import segment_search
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.memory import MemoryStore
from simulation.eager import eager_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.engine.engine import Engine, Hits
    from quiver.engine.native.index import NativeIndex

STRUCTURES = [
    ("kmeans", "rabitq"),
    ("kdtree", "lsh"),
    ("kmeans", "flat"),
    ("kmeans", "pq"),
    ("single", "sq8"),
]
EVERY_STRUCTURE = pytest.mark.parametrize("structure", STRUCTURES, ids="+".join)
METRICS = pytest.mark.parametrize("metric", list(DistanceMetric), ids=str)
FILTERS = [None, {"group": 1}, {"group": {"$ne": 0}}, {"tags": "y"}, {"score": {"$lt": 0.1}}, {"absent": "x"}]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """To wake others takes longer than to train on a handful of rows."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe segments so small that the planner would scan them."""
    monkeypatch.setattr(segment_search, "plan", eager_plan)


# ---------------------------------------------------------------- the contract, exact answers asked for


class ExactEngine(NativeEngine):
    """Every index has one structure, and every query asks for a recall of one."""

    structure: tuple[str, str]

    async def open(self, index_id: str, spec: IndexSpec) -> NativeIndex:
        partitioner, codec = self.structure
        index = await super().open(index_id, replace(spec, partitioner=partitioner, codec=codec))
        query = type(index).query

        async def exactly(asked: Query) -> Hits:
            return await query(index, structs.replace(asked, recall=1.0))

        index.query = exactly
        return index


class PartitionedNodes(NativeNodes):
    def __init__(self, structure: tuple[str, str]) -> None:
        super().__init__(
            MemoryStore,
            NativeSettings(
                exact_floats=0, flush_rows=12, flush_slots=4, tail_limit=10_000, tier_fanout=2, garbage_age=0
            ),
        )
        self._structure = structure

    def new_engine(self) -> Engine:
        engine = ExactEngine(self.store, self.runtime, self._settings)
        engine.structure = self._structure
        return engine


class TestKMeansRaBitQ(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return PartitionedNodes(("kmeans", "rabitq"))


class TestKDTreeLSH(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return PartitionedNodes(("kdtree", "lsh"))


# Each partitioner, and three codecs, are in `make test`: the contract is about segments and merges, which treat
# all codecs alike, and tests/ann/ and the answers below go through every structure.
@pytest.mark.soak
class TestKMeansFlat(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return PartitionedNodes(("kmeans", "flat"))


@pytest.mark.soak
class TestKMeansPQ(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return PartitionedNodes(("kmeans", "pq"))


class TestSingleSQ8(EngineContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return PartitionedNodes(("single", "sq8"))


# ---------------------------------------------------------------- approximate answers


def assert_sound(hits: Hits, model: Model, target: np.ndarray, limit: int, condition: object = None) -> None:
    """Rows that are due, with their own distances, in order, once, and as many as were asked for."""
    due = {key: distance for distance, key in model.ranking(target, condition)}
    assert len(set(hits.keys)) == len(hits.keys) == min(limit, len(due))
    assert set(hits.keys) <= due.keys()
    wanted = np.array([due[key] for key in hits.keys], np.float32)
    np.testing.assert_array_max_ulp(hits.distances, wanted, 1)
    assert as_ranking(hits) == sorted(as_ranking(hits))
    if hits.metadata is not None:
        assert hits.metadata == [model.rows[key].metadata for key in hits.keys]


async def changed_at_random(index: NativeIndex, rng: np.random.Generator) -> Model:
    """Segments of all ages, with tombstones, a loaded one, and a tail."""
    model = Model(index.spec.metric)
    for step in range(8):
        batch = random_batch(rng, [f"k{n}" for n in rng.choice(160, 40, replace=False)], index.spec.dimension)
        if step == 4:
            await index.load(in_turn(batch))
        else:
            await index.put(batch)
        model.put(batch)
        gone = [f"k{n}" for n in rng.choice(160, 10, replace=False)]
        await index.delete(gone)
        model.delete(gone)
        if step in {2, 3, 5, 6}:
            await index.maintenance.flush()
        if step == 3:
            await index.maintenance.compact_tier()
    return model


@pytest.mark.usefixtures("eager")
@EVERY_STRUCTURE
@METRICS
@asynchronous
async def test_approximate_answers_are_sound(structure, metric):
    spec = IndexSpec(6, metric, partitioner=structure[0], codec=structure[1])
    async with fresh_nodes(2, spec, exact_floats=0) as (index, other):
        rng = np.random.default_rng(1)
        model = await changed_at_random(index, rng)
        probed = 0
        for text in FILTERS:
            condition = parse_filter(text) if text else None
            for limit in (1, 7, 60, 1000):
                target = query_vector(rng, 6)
                query = Query(target, limit, condition, metadata=True)
                for node in (index, other):
                    hits = await node.query(query)
                    assert_sound(hits, model, target, limit, condition)
                    probed += any(each.plan == "probe" for each in hits.work)
                exact = await index.query(structs.replace(query, recall=1.0))
                assert_ranks(exact, model.ranking(target, condition)[:limit])
                assert all(each.plan != "probe" for each in exact.work)
        assert probed > 20
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert_sound(await other.query(Query(target, 30)), model, target, 30)
        await assert_holds(other, model)


@pytest.mark.usefixtures("eager")
@EVERY_STRUCTURE
@asynchronous
async def test_pages_of_approximate_answers_hold_no_row_twice_and_reach_the_last(structure):
    spec = IndexSpec(6, DistanceMetric.EUCLIDEAN, partitioner=structure[0], codec=structure[1])
    async with fresh_nodes(1, spec, exact_floats=0) as (index,):
        rng = np.random.default_rng(2)
        model = await changed_at_random(index, rng)
        for text in FILTERS:
            condition = parse_filter(text) if text else None
            target = query_vector(rng, 6)
            for limit in (3, 10, 64):
                found = await all_pages(index, Query(target, limit, condition, total=1000))
                keys = [key for _, key in found]
                due = [key for _, key in model.ranking(target, condition)]
                assert len(set(keys)) == len(keys)
                assert set(keys) <= set(due)
                assert found == sorted(found)
                assert len(keys) == len(due)  # every page looked as far as the last


@EVERY_STRUCTURE
@METRICS
@asynchronous
async def test_most_of_the_nearest_are_found_in_clustered_rows(structure, metric):
    spec = IndexSpec(24, metric, partitioner=structure[0], codec=structure[1])
    async with fresh_nodes(1, spec, exact_floats=0) as (index,):
        rng = np.random.default_rng(3)
        centres = rng.normal(size=(30, 24))
        vectors = (centres[rng.integers(30, size=6000)] + 0.3 * rng.normal(size=(6000, 24))).astype(np.float32)
        keys = [f"k{n:04}" for n in range(6000)]
        shares = rng.random(6000)
        await index.load(in_turn(make_batch(keys, vectors, [{"share": float(share)} for share in shares])))
        assert len(segment_ids(index)) == 1
        recalls, probes = [], 0
        for row in rng.choice(6000, 40, replace=False).tolist():
            target = vectors[row] + (0.1 * rng.normal(size=24)).astype(np.float32)
            for text in (None, {"share": {"$lt": 0.5}}, {"share": {"$lt": 0.05}}):
                query = Query(target, 10, parse_filter(text) if text else None)
                hits, exact = await index.query(query), await index.query(structs.replace(query, recall=1.0))
                assert len(hits.keys) == len(exact.keys) == 10
                recalls.append(len(set(hits.keys) & set(exact.keys)) / 10)
                probes += hits.work[0].plan == "probe"
        assert np.mean(recalls) >= 0.9
        assert probes > 0


ROWS = st.lists(
    st.tuples(st.integers(0, 15), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


@EVERY_STRUCTURE
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    puts=st.lists(ROWS, min_size=1, max_size=4), deleted=st.sets(st.integers(0, 15), max_size=10), data=st.data()
)
def test_whatever_is_written_answers_are_sound(structure, puts, deleted, data, eager):
    _check(structure, puts, deleted, data)


@asynchronous
async def _check(structure, puts, deleted, data) -> None:
    spec = IndexSpec(2, DistanceMetric.EUCLIDEAN, partitioner=structure[0], codec=structure[1])
    async with fresh_nodes(1, spec, exact_floats=0) as (index,):
        model = Model(spec.metric)
        for rows in puts:
            last = {f"k{key}": (x, y, group) for key, x, y, group in rows}
            batch = make_batch(
                last, [[x, y] for x, y, _ in last.values()], [{"group": group} for _, _, group in last.values()]
            )
            await index.put(batch)
            model.put(batch)
            if data.draw(st.booleans()):
                await index.maintenance.flush()
        await index.delete([f"k{key}" for key in deleted])
        model.delete([f"k{key}" for key in deleted])
        if data.draw(st.booleans()):
            await index.maintenance.compact_all()
        for text in (None, {"group": 0}, {"group": {"$ne": 1}}):
            condition = parse_filter(text) if text else None
            target = np.array(data.draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3))), np.float32)
            limit = data.draw(st.integers(1, 20))
            assert_sound(await index.query(Query(target, limit, condition)), model, target, limit, condition)
            exact = await index.query(Query(target, limit, condition, recall=1.0))
            assert_ranks(exact, model.ranking(target, condition)[:limit])
