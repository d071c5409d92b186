"""Tests of searching one segment: each way of doing it finds what it must."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pyroaring import BitMap

from quiver.ann.calibration import Calibration
from quiver.engine.native import segment_search
from quiver.engine.native.exact_search import gather, make_target
from quiver.engine.native.planner import Method, Plan, plan
from quiver.engine.native.probe import Probe
from quiver.engine.native.segment_search import search_segment
from quiver.engine.native.snapshot import OpenSegment
from quiver.format import paths
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.objectstore.memory import MemoryStore
from quiver.storage.row_source import BatchSource
from quiver.storage.segment_builder import BuildOptions, build_segment
from quiver.storage.segment_reader import SegmentReader
from storage.segments import index_bytes, read, write_segment
from storage.test_segment_reader_cached import CODED_SPEC, LARGE, LARGE_SEGMENTS, PLENTY, opened_remotely

ROWS, DIMENSION, CLUSTERS = 20_000, 16, 20
ROOT, OWNER, SEGMENT = paths.index_root("a" * 32), "a" * 32, paths.segment_id(1, 1, "b" * 32)


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Clustered rows, and the cluster of each."""
    rng = np.random.default_rng(5)
    centres = 4 * rng.normal(size=(CLUSTERS, DIMENSION))
    cluster = rng.integers(CLUSTERS, size=ROWS)
    return (centres[cluster] + rng.normal(size=(ROWS, DIMENSION))).astype(np.float32), cluster


VECTORS, CLUSTER = sample()


def open_segment(partitioner: str, codec: str, vectors: np.ndarray = VECTORS) -> SegmentReader:
    """A segment of the sample; `n` is the row's number, `cluster` its cluster."""
    spec = IndexSpec(vectors.shape[1], DistanceMetric.EUCLIDEAN, partitioner=partitioner, codec=codec)
    metadata = [
        b'{"cluster":%d,"n":%d}' % (cluster, n) for n, cluster in enumerate(CLUSTER[: len(vectors)].tolist())
    ]
    batch = VectorBatch([f"k{n}" for n in range(len(vectors))], vectors, metadata)
    built = build_segment(BatchSource(batch), spec, BuildOptions(exact_floats=0))
    runtime = SystemRuntime(threads=1)
    store = MemoryStore(runtime)

    async def write_and_open() -> SegmentReader:
        await write_segment(store, runtime, ROOT, OWNER, SEGMENT, built)
        return await SegmentReader.open(store, ROOT, OWNER, SEGMENT)

    return asyncio.run(write_and_open())


@pytest.fixture(scope="module", params=[("kmeans", "rabitq"), ("kmeans", "flat"), ("kdtree", "lsh")], ids="+".join)
def reader(request: pytest.FixtureRequest) -> SegmentReader:
    return open_segment(*request.param)


def look(reader, row, *, limit=10, recall=0.98, text=None, dead=()):
    """What a search near a row finds: the numbers of the best candidates, and the work."""
    spec = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN)
    query = VECTORS[row] + np.float32(0.01)
    target = make_target(query, spec, limit, recall, parse_filter(text) if text else None)
    found = search_segment(OpenSegment(reader, BitMap(dead)), target)
    keys = [int(reader.key(n)[1:]) for n in found.candidates.rows.tolist()]
    squares = np.square(VECTORS[keys].astype(np.float64) - query).sum(axis=1)
    assert len(set(keys)) == len(keys)
    assert (found.candidates.low <= squares * (1 + 1e-6)).all()
    assert (squares <= found.candidates.high * (1 + 1e-6)).all()
    return [keys[n] for n in np.argsort(squares)[:limit]], found.work


def true(row, allowed, limit=10):
    squares = np.square(VECTORS.astype(np.float64) - (VECTORS[row] + np.float32(0.01))).sum(axis=1)
    squares[~allowed] = np.inf
    return np.argsort(squares)[: min(limit, int(allowed.sum()))].tolist()


def recall_of(reader, rows, allowed, **asked) -> tuple[float, list]:
    shares, works = [], []
    for row in rows:
        found, work = look(reader, row, **asked)
        due = true(row, allowed, asked.get("limit", 10))
        assert len(found) == len(due)
        shares.append(len(set(found) & set(due)) / len(due))
        works.append(work)
    return float(np.mean(shares)), works


PROBES = range(0, ROWS, 997)


def test_unfiltered_probes_look_into_few_partitions_and_find_nearly_all(reader):
    share, works = recall_of(reader, PROBES, np.ones(ROWS, bool))
    assert share >= 0.95
    assert {work.plan for work in works} == {"probe"}
    assert np.mean([work.probed for work in works]) < 0.5 * works[0].partitions


def shares_found(reader, queries, allowed, text=None) -> tuple[np.ndarray, list]:
    """For each query, the share of the ten nearest allowed rows that is found; and the work."""
    spec = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN)
    keys = np.array([int(reader.key(n)[1:]) for n in range(ROWS)])
    shares, works = [], []
    for query in queries:
        squares = np.square(VECTORS.astype(np.float64) - query).sum(axis=1)
        squares[~allowed] = np.inf
        target = make_target(query, spec, 10, 0.98, parse_filter(text) if text else None)
        found = search_segment(OpenSegment(reader, BitMap()), target)
        shares.append(np.isin(np.argsort(squares)[:10], keys[found.candidates.rows]).mean())
        works.append(found.work)
    return np.array(shares), works


def far_queries(lengths: float) -> np.ndarray:
    """Queries that lie so many times as far from the rows as rows of one cluster from each other."""
    ways = np.random.default_rng(9).normal(size=(len(PROBES), DIMENSION))
    ways *= lengths * (2 * DIMENSION) ** 0.5 / np.linalg.norm(ways, axis=1, keepdims=True)
    return (VECTORS[list(PROBES)] + ways).astype(np.float32)


@pytest.mark.parametrize("lengths", [1, 3])
@pytest.mark.parametrize("text", [None, {"n": {"$lt": ROWS // 2}}], ids=["no filter", "half of the rows"])
def test_queries_far_from_all_rows_probe_more_partitions_to_find_what_they_were_asked_for(
    reader, monkeypatch, text, lengths
):
    queries, allowed = far_queries(lengths), np.arange(ROWS) < (ROWS // 2 if text else ROWS)
    shares, works = shares_found(reader, queries, allowed, text)
    assert shares.mean() >= 0.93
    assert np.mean([work.codes for work in works]) < ROWS / 4
    monkeypatch.setattr(Calibration, "usual", 0.0)
    without, before = shares_found(reader, queries, allowed, text)
    assert shares.mean() >= without.mean()
    if reader.structure_name.startswith("kmeans"):
        assert without.mean() < 0.95
        assert sum(work.codes for work in works) > sum(work.codes for work in before)


def test_queries_far_from_all_rows_look_at_more_codes_to_find_what_they_were_asked_for(monkeypatch):
    """Across the directions that rows differ in, all are about as distant, and their codes tell little."""
    rng, scale = np.random.default_rng(3), np.arange(1, 65) ** -0.8
    centres = rng.normal(size=(200, 64)) * scale
    rows = centres[rng.integers(200, size=12_000)] + 0.7 * rng.normal(size=(12_000, 64)) * scale
    rows = rows.astype(np.float32)
    reader = open_segment("kmeans", "rabitq", rows)
    queries = (0.3 * rng.normal(size=(40, 64))).astype(np.float32)

    def found() -> float:
        spec, shares = IndexSpec(64, DistanceMetric.EUCLIDEAN), []
        for query in queries:
            hits = search_segment(OpenSegment(reader, BitMap()), make_target(query, spec, 10, 0.98, None))
            near = np.argsort(np.square(rows.astype(np.float64) - query).sum(axis=1))[:10]
            keys = [int(reader.key(n)[1:]) for n in hits.candidates.rows.tolist()]
            shares.append(np.isin(near, keys).mean())
        return float(np.mean(shares))

    assert found() >= 0.97
    monkeypatch.setattr(segment_search, "plan", lambda *a, **k: plan(*a, **k)._replace(error=None))
    assert found() < 0.9


def test_queries_among_the_rows_scan_no_more_codes_for_the_sake_of_far_ones(reader, monkeypatch):
    queries, everything = far_queries(0.1), np.ones(ROWS, bool)
    shares, works = shares_found(reader, queries, everything)
    monkeypatch.setattr(segment_search, "plan", lambda *a, **k: plan(*a, **k)._replace(error=None))
    without, before = shares_found(reader, queries, everything)
    assert sum(work.codes for work in works) <= 1.05 * sum(work.codes for work in before)
    assert shares.mean() >= without.mean()


def test_a_filter_that_is_independent_of_the_query_costs_no_recall(reader):
    allowed = np.arange(ROWS) < ROWS // 2
    share, _ = recall_of(reader, PROBES, allowed, text={"n": {"$lt": ROWS // 2}})
    assert share >= 0.95


def test_a_filter_that_pushes_the_matches_away_finds_them_all_the_same(reader):
    """Everything but the query's own cluster: calibration tells nothing about where the matches are."""
    shares = []
    for row in PROBES:
        cluster = int(CLUSTER[row])
        allowed = cluster != CLUSTER
        share, (work,) = recall_of(reader, [row], allowed, text={"cluster": {"$ne": cluster}})
        shares.append(share)
        assert work.matches == allowed.sum()
    assert np.mean(shares) >= 0.95


def test_every_partition_that_holds_a_match_is_scanned_when_the_nearest_hold_too_few(reader, monkeypatch):
    """One far cluster matches: however few partitions are planned, all that hold some of it are looked into."""
    row = 0
    far = int(np.argmax([np.square(VECTORS[n == CLUSTER].mean(0) - VECTORS[row]).sum() for n in range(CLUSTERS)]))
    allowed = far == CLUSTER
    monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, 1, 400, None))
    keys = [int(reader.key(n)[1:]) for n in range(ROWS)]
    holding = sum(
        bool(allowed[keys[start:end]].any())
        for start, end in zip(reader.codes.starts.tolist(), reader.codes.ends.tolist(), strict=True)
    )
    share, (work,) = recall_of(reader, [row], allowed, text={"cluster": far})
    assert share >= 0.9
    assert work.probed == holding
    assert work.codes >= allowed.sum() if reader.codes.scanner is not None else True


def test_a_handful_of_matches_is_gathered(reader):
    chosen = list(range(3, ROWS, ROWS // 25))
    allowed = np.isin(np.arange(ROWS), chosen)
    share, works = recall_of(reader, [5, 500], allowed, text={"n": {"$in": chosen}})
    assert share == 1
    assert {(work.plan, work.matches, work.vectors) for work in works} == {("gather", len(chosen), len(chosen))}


def test_many_matches_are_bounded_and_the_nearest_are_among_those_that_remain(reader, monkeypatch):
    """Rows picked out are scored in float32 when they are many, and nothing that may be near is lost."""
    monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.GATHER))
    allowed = np.arange(ROWS) < ROWS // 2
    share, works = recall_of(reader, [5, 600], allowed, text={"n": {"$lt": ROWS // 2}})
    assert share == 1
    assert {(work.plan, work.vectors) for work in works} == {("gather", ROWS // 2)}
    target = make_target(VECTORS[5], IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN), 10, 0.98, None)
    many, few = (gather(reader, np.arange(count), target) for count in (ROWS // 2, 50))
    assert many.exact is None
    assert few.exact is not None


def test_nothing_matches(reader):
    found, work = look(reader, 0, text={"n": -1})
    assert (found, work.plan, work.matches, work.probed, work.vectors) == ([], "none", 0, 0, 0)


def test_dead_rows_are_never_found(reader):
    numbers = [int(reader.key(n)[1:]) for n in range(ROWS)]
    dead = [n for n in range(ROWS) if numbers[n] % 3]
    allowed = np.arange(ROWS) % 3 == 0
    share, works = recall_of(reader, list(PROBES)[:8], allowed, dead=dead)
    assert share >= 0.9
    assert all(work.matches == allowed.sum() for work in works)
    found, _ = look(reader, 4, dead=dead, text={"n": {"$lt": 3000}}, recall=1.0)
    assert found == true(4, allowed & (np.arange(ROWS) < 3000))


def test_a_recall_of_one_is_exact(reader):
    share, works = recall_of(reader, list(PROBES)[:6], np.ones(ROWS, bool), recall=1.0, limit=50)
    assert share == 1
    assert {work.plan for work in works} == {"scan"}


def test_there_are_never_fewer_than_match(reader, monkeypatch):
    monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, 1, 5000, None))
    row = 7
    for limit in (10, 3000):
        found, work = look(reader, row, limit=limit)
        assert len(found) == limit
        assert work.probed >= 1


def test_many_codes_are_sifted_by_int8_and_the_right_rows_kept(monkeypatch):
    reader = open_segment("kmeans", "rabitq")
    assert reader.codes.refiner is not None
    everything = np.ones(ROWS, bool)
    whole = len(reader.codes.ends)

    def with_keep(keep):
        monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, whole, 2000, keep))
        return recall_of(reader, PROBES, everything, limit=20)

    unrefined, works = with_keep(None)
    assert {work.vectors for work in works} == {2000}
    refined, works = with_keep(56)
    assert {work.vectors for work in works} == {56}
    assert refined >= unrefined - 0.01
    assert refined >= 0.98


def test_where_rows_have_to_be_fetched_those_are_left_out_that_int8_rows_show_to_be_farther(monkeypatch):
    reader = open_segment("kmeans", "rabitq")
    everything, whole = np.ones(ROWS, bool), len(reader.codes.ends)
    monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, whole, 2000, 35))
    at_hand, works = recall_of(reader, PROBES, everything, limit=20)
    assert {work.vectors for work in works} == {35}
    monkeypatch.setattr(reader, "stable", False)
    fetched, works = recall_of(reader, PROBES, everything, limit=20)
    assert fetched == at_hand
    counts = [work.vectors for work in works]
    assert min(counts) >= 20
    assert np.mean(counts) < 31


def test_the_reach_tells_which_partitions_may_hold_a_nearer_row():
    """Of those that hold a true neighbour nearly all are within the reach of its distance; most others are not."""
    reader = open_segment("kmeans", "flat")
    codes, calibration = reader.codes, reader.codes.calibration
    keys = np.array([int(reader.key(n)[1:]) for n in range(ROWS)])
    inside, excluded = [], []
    for row in PROBES:
        spec = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN)
        target = make_target(VECTORS[row], spec, 20, 0.98, None)
        plan = Plan(Method.PROBE, 1, 40, None)
        probe = Probe(reader, target, target.point, plan, calibration, None, ROWS, None)
        squares = np.square(VECTORS[keys].astype(np.float64) - VECTORS[row]).sum(axis=1)
        nearest = np.argsort(squares)[:20]
        gaps, _ = probe._rank()
        within = probe._can_hold(np.arange(len(codes.ends)), gaps, float(squares[nearest[-1]]))
        holders = np.searchsorted(codes.ends, nearest, "right")
        inside.append(within[holders].mean())
        excluded.append(1 - within.mean())
    assert np.mean(inside) >= 0.97
    assert np.mean(excluded) >= 0.5


@pytest.mark.parametrize("metadata", [False, True])
def test_few_rows_of_a_remote_segment_are_scored_exactly_when_they_are_here(monkeypatch, metadata):
    depth, keep = 100, 19
    monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, 4, depth, keep))
    segment, query = LARGE_SEGMENTS["coded"], LARGE.vectors[7] + np.float32(0.1)
    target = make_target(query, CODED_SPEC, 10, 0.95, None, metadata=metadata)

    def work(reader):
        found = search_segment(OpenSegment(reader, BitMap()), target)
        return found.work.vectors, sorted(
            zip(found.candidates.low.tolist(), found.candidates.rows.tolist(), strict=True)
        )

    async def run() -> None:
        index = index_bytes(segment)
        remote = await opened_remotely(index, segment.rows_file, PLENTY)
        await remote.call(work)
        await remote.call(lambda reader: reader.require_all())
        before = remote.cache.counts.requests
        whole = read(index, segment.rows_file)
        scored, found = await remote.call(work)
        assert scored == depth
        assert remote.cache.counts.requests == before
        monkeypatch.setattr(segment_search, "plan", lambda *_, **__: Plan(Method.PROBE, 4, depth, None))
        assert (scored, found) == work(whole)

    asyncio.run(run())
