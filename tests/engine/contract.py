"""What every engine does, whatever it is made of. Inherit `EngineContract` and say how to open nodes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec import structs

from engine.contract_nodes import INDEX, Nodes, asynchronous
from engine.reference import Model, make_batch
from engine.text_contract import TextContract
from quiver.engine.engine import (
    Cursor,
    Index,
    IndexSealedError,
    ListPosition,
    Loaded,
    Query,
    Row,
)
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quiver.engine.engine import Hits

COSINE, EUCLIDEAN = DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN
METRICS = pytest.mark.parametrize("metric", list(DistanceMetric), ids=str)
AWKWARD_KEYS = [
    "a",
    " ",
    "\x00",
    "a\x00b",
    "a\nb",
    "/",
    "a/b",
    "../../format",
    "%2e",
    "\u00e9",  # one key composed,
    "e\u0301",  # and another decomposed
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "\U0001f3f9",
    "k" * 1024,
    "\u4e2d" * 341,
]


def random_batch(rng: np.random.Generator, names: list[str], dimension: int) -> VectorBatch:
    """Rows that share directions, distances and metadata often enough to tie."""
    vectors = rng.integers(-6, 7, (len(names), dimension)).astype(np.float32)
    vectors[:, 0] += 0.5
    metadata = [
        {"group": int(rng.integers(3)), "tags": ["x", "y", "z"][: rng.integers(4)], "score": float(rng.random())}
        for _ in names
    ]
    return make_batch(names, vectors, metadata)


async def filled(
    index: Index, seed: int, steps: int = 12, names: int = 120, dimension: int | None = None
) -> tuple[Model, np.random.Generator]:
    """Put, overwrite and delete at random; the model says what is left."""
    rng = np.random.default_rng(seed)
    model = Model(index.spec.metric)
    for _ in range(steps):
        chosen = [f"k{number}" for number in rng.choice(names, rng.integers(1, 30), replace=False)]
        batch = random_batch(rng, chosen, dimension or index.spec.dimension)
        await index.put(batch)
        model.put(batch)
        gone = [f"k{number}" for number in rng.choice(names, 6, replace=False)]
        await index.delete(gone)
        model.delete(gone)
    return model, rng


def query_vector(rng: np.random.Generator, dimension: int) -> np.ndarray:
    vector = rng.integers(-6, 7, dimension).astype(np.float32)
    vector[0] += 0.25
    return vector


def as_ranking(hits: Hits) -> list[tuple[float, str]]:
    return list(zip(hits.distances.tolist(), hits.keys, strict=True))


def assert_ranks(hits: Hits, expected: list[tuple[float, str]]) -> None:
    """The same keys in the same order, distances within one unit in the last place of a float32."""
    assert hits.keys == [key for _, key in expected]
    assert hits.distances.dtype == np.float32
    wanted = np.array([distance for distance, _ in expected], np.float32)
    np.testing.assert_array_max_ulp(hits.distances, wanted, 1)
    assert as_ranking(hits) == sorted(as_ranking(hits))


async def all_pages(index: Index, query: Query) -> list[tuple[float, str]]:
    """Page through a ranking by cursor, `query.limit` at a time."""
    found: list[tuple[float, str]] = []
    after = query.after
    while True:
        hits = await index.query(structs.replace(query, after=after))
        found += as_ranking(hits)
        if len(hits.keys) < query.limit:
            return found
        after = Cursor(float(hits.distances[-1]), hits.keys[-1], len(found))


async def list_all(
    index: Index,
    *,
    limit: int = 1000,
    max_bytes: int = 1 << 20,
    segment: int = 0,
    segment_count: int = 1,
    full: bool = False,
) -> list[Row]:
    """Every row of a part, page by page."""
    rows: list[Row] = []
    after: ListPosition | None = None
    while True:
        page = await index.list(
            limit=limit,
            max_bytes=max_bytes,
            after=after,
            segment=segment,
            segment_count=segment_count,
            vectors=full,
            metadata=full,
        )
        assert len(page.rows) <= limit
        assert page.rows or page.position is None
        rows += page.rows
        if page.position is None:
            return rows
        after = page.position


async def scan_all(index: Index, rows: int = 4096) -> list[Row]:
    """Every row of a scan in batches of at most `rows`."""
    found: list[Row] = []
    async for batch in index.scan(rows):
        assert 0 < len(batch.keys) <= rows
        assert batch.vectors.shape == (len(batch.keys), index.spec.dimension)
        found += map(Row, batch.keys, batch.vectors, batch.metadata)
    return found


async def in_turn(*batches: VectorBatch) -> AsyncIterator[VectorBatch]:
    """Batches as a load takes them."""
    for batch in batches:
        yield batch


async def load_all(index: Index, model: Model, *batches: VectorBatch) -> Loaded:
    """Load batches, and put them into the model."""
    loaded = await index.load(in_turn(*batches))
    for batch in batches:
        model.put(batch)
    return loaded


async def assert_holds(index: Index, model: Model) -> None:
    """Listing, looking up and scanning give the model, no more and no less."""
    listed = await list_all(index, full=True)
    assert sorted(row.key for row in listed) == sorted(model.rows)
    found = await index.get([*model.rows, "no such key"], vectors=True, metadata=True)
    assert sorted(row.key for row in found.rows) == sorted(model.rows)
    scanned = await scan_all(index, 7)
    assert sorted(row.key for row in scanned) == sorted(model.rows)
    for row in [*listed, *found.rows, *scanned]:
        assert row.vector is not None
        assert row.vector.dtype == np.float32
        assert row.vector.tobytes() == model.rows[row.key].vector.tobytes()
        assert row.metadata == model.rows[row.key].metadata


class EngineContract(TextContract):
    """Inherit, and define `new_nodes`."""

    @abstractmethod
    def new_nodes(self, tmp_path: Path) -> Nodes:
        """An empty store."""

    @pytest.fixture
    def nodes(self, tmp_path: Path) -> Nodes:
        return self.new_nodes(tmp_path)

    # ------------------------------------------------------------ single rows

    @asynchronous
    async def test_an_index_nobody_wrote_to_is_empty(self, nodes):
        index = await nodes.open(IndexSpec(3, EUCLIDEAN))
        assert (await index.query(Query(np.ones(3, np.float32), 5))).keys == []
        assert (await index.get(["a"], vectors=True, metadata=True)).rows == []
        assert await list_all(index) == []
        await index.delete(["a"])
        assert await list_all(index) == []

    @asynchronous
    async def test_an_emptied_index_is_empty(self, nodes):
        index = await nodes.open(IndexSpec(2, COSINE))
        await index.put(make_batch(["a", "b"], [[1, 0], [0, 1]]))
        await index.delete(["a", "b", "c"])
        hits = await index.query(Query(np.ones(2, np.float32), 5, metadata=True))
        assert (hits.keys, hits.metadata, len(hits.distances)) == ([], [], 0)
        assert await list_all(index) == []

    @asynchronous
    async def test_a_put_replaces_vector_and_metadata_whole(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN))
        await index.put(make_batch(["a"], [[1, 2]], [{"old": 1, "both": 1}]))
        await index.put(make_batch(["a"], [[3, 4]], [{"both": 2}]))
        (row,) = (await index.get(["a"], vectors=True, metadata=True)).rows
        assert row.vector.tolist() == [3, 4]
        assert row.metadata == b'{"both":2}'
        old = await index.query(Query(np.ones(2, np.float32), 5, parse_filter({"old": 1})))
        assert old.keys == []

    @asynchronous
    async def test_a_deleted_key_is_gone_until_it_is_put_again(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        await index.put(make_batch(["a", "b"], [[1], [2]], [{"n": 1}, {"n": 2}]))
        await index.delete(["a", "unknown"])
        assert [row.key for row in await list_all(index)] == ["b"]
        assert (await index.get(["a"], vectors=True, metadata=True)).rows == []
        await index.put(make_batch(["a"], [[7]]))
        (row,) = (await index.get(["a"], vectors=True, metadata=True)).rows
        assert (row.vector.tolist(), row.metadata) == ([7], b"{}")

    @asynchronous
    async def test_get_returns_what_exists_and_only_what_is_asked_for(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        await index.put(make_batch(["a", "b"], [[1], [2]], [{"n": 1}, {"n": 2}]))
        bare = await index.get(["b", "x", "a"], vectors=False, metadata=False)
        assert sorted(bare.rows) == [Row("a", None, None), Row("b", None, None)]
        (row,) = (await index.get(["b"], vectors=False, metadata=True)).rows
        assert row == Row("b", None, b'{"n":2}')
        (row,) = (await index.get(["b"], vectors=True, metadata=False)).rows
        assert (row.vector.tolist(), row.metadata) == ([2], None)

    @asynchronous
    async def test_any_unicode_is_a_key_and_stays_distinct(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        model = Model(EUCLIDEAN)
        for start in range(0, len(AWKWARD_KEYS), 5):
            names = AWKWARD_KEYS[start : start + 5]
            batch = make_batch(names, [[start + n] for n in range(len(names))], [{"key": name} for name in names])
            await index.put(batch)
            model.put(batch)
        await assert_holds(index, model)
        zero = np.zeros(1, np.float32)
        assert_ranks(await index.query(Query(zero, 100)), model.ranking(zero))
        await index.delete(["e\u0301", "\x00"])
        model.delete(["e\u0301", "\x00"])
        await assert_holds(index, model)

    # ------------------------------------------------------------ commits

    @asynchronous
    async def test_commit_numbers_rise_and_reads_answer_at_the_newest(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        first = await index.put(make_batch(["a"], [[1]]))
        second = await index.delete(["a"])
        third = await index.put(make_batch(["a"], [[2]]))
        assert first < second < third
        assert (await index.query(Query(np.ones(1, np.float32), 1))).commit >= third
        assert (await index.get(["a"], vectors=False, metadata=False)).commit >= third
        assert (await index.list(limit=1, max_bytes=1)).commit >= third

    @asynchronous
    async def test_a_write_on_one_node_is_seen_by_the_other_at_once(self, nodes):
        spec = IndexSpec(2, EUCLIDEAN)
        one, other = await nodes.open(spec), await nodes.open(spec)
        model = Model(EUCLIDEAN)
        for step in range(12):
            writer, reader = (one, other) if step % 2 else (other, one)
            batch = make_batch([f"k{step % 5}"], [[step, 1]], [{"step": step}])
            commit = await writer.put(batch)
            model.put(batch)
            if step % 4 == 3:
                commit = await writer.delete([f"k{(step + 2) % 5}"])
                model.delete([f"k{(step + 2) % 5}"])
            target = np.zeros(2, np.float32)
            hits = await reader.query(Query(target, 10))
            assert hits.commit >= commit
            assert_ranks(hits, model.ranking(target))
            await assert_holds(reader, model)

    @asynchronous
    async def test_a_sealed_index_is_not_found_on_any_node(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        engine = nodes.start()
        here, there, never_used = await engine.open(INDEX, spec), await nodes.open(spec), await nodes.open(spec)
        await here.put(make_batch(["a"], [[1]]))
        assert len(await list_all(there)) == 1
        await engine.seal(INDEX, spec)
        await engine.seal(INDEX, spec)
        for index in (here, there, never_used, await nodes.open(spec), await engine.open(INDEX, spec)):
            for attempt in (
                index.put(make_batch(["b"], [[1]])),
                index.delete(["a"]),
                index.get(["a"], vectors=False, metadata=False),
                index.list(limit=1, max_bytes=1),
                index.query(Query(np.ones(1, np.float32), 1)),
                index.load(in_turn(make_batch(["b"], [[1]]))),
                index.load(in_turn()),
                scan_all(index),
            ):
                with pytest.raises(IndexSealedError):
                    await attempt

    @asynchronous
    async def test_sealing_from_several_nodes_at_once_succeeds_on_each(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        engines = [nodes.start() for _ in range(3)]
        await (await engines[0].open(INDEX, spec)).put(make_batch(["a"], [[1]]))
        await asyncio.gather(*(engine.seal(INDEX, spec) for engine in engines for _ in range(2)))
        with pytest.raises(IndexSealedError):
            await list_all(await engines[1].open(INDEX, spec))

    @asynchronous
    async def test_indexes_do_not_see_each_other(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        engine = nodes.start()
        one, other = await engine.open("1" * 32, spec), await engine.open("2" * 32, spec)
        await one.put(make_batch(["a"], [[1]]))
        await other.put(make_batch(["b"], [[1]]))
        await engine.seal("2" * 32, spec)
        assert [row.key for row in await list_all(one)] == ["a"]
        assert (await one.query(Query(np.ones(1, np.float32), 9))).keys == ["a"]

    # ------------------------------------------------------------ listing

    @asynchronous
    async def test_pages_and_parts_partition_the_keys(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN))
        model, _ = await filled(index, seed=1)
        whole = [row.key for row in await list_all(index)]
        assert sorted(whole) == sorted(model.rows)
        for limit in (1, 7, len(whole), len(whole) + 1):
            assert [row.key for row in await list_all(index, limit=limit)] == whole
        for count in (1, 2, 3, 16):
            parts = [await list_all(index, limit=5, segment=n, segment_count=count) for n in range(count)]
            assert [row.key for part in parts for row in part] == whole

    @asynchronous
    async def test_a_page_ends_by_bytes_but_always_holds_a_row(self, nodes):
        index = await nodes.open(IndexSpec(64, EUCLIDEAN))
        await index.put(make_batch([f"k{n}" for n in range(12)], np.ones((12, 64))))
        page = await index.list(limit=1000, max_bytes=1, vectors=True)
        assert len(page.rows) == 1
        page = await index.list(limit=1000, max_bytes=1000, vectors=True)
        assert 1 < len(page.rows) < 6
        assert len(await list_all(index, max_bytes=1, full=True)) == 12

    @asynchronous
    async def test_keys_that_stay_are_listed_once_while_others_come_and_go(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        stay = [f"stay{n}" for n in range(40)]
        await index.put(make_batch(stay, [[1]] * 40))
        seen, after, step = [], None, 0
        while True:
            page = await index.list(limit=3, max_bytes=1 << 20, after=after)
            seen += [row.key for row in page.rows]
            await index.put(make_batch([f"come{step}", stay[step % 40]], [[2], [3]]))
            await index.delete([f"come{step - 2}"])
            after, step = page.position, step + 1
            if after is None:
                break
        assert sorted(key for key in seen if key.startswith("stay")) == sorted(stay)
        assert len(set(seen)) == len(seen)

    # ------------------------------------------------------------ queries

    @METRICS
    @asynchronous
    async def test_queries_are_exact(self, nodes, metric):
        index = await nodes.open(IndexSpec(5, metric))
        model, rng = await filled(index, seed=2)
        for limit in (1, 10, 1000):
            target = query_vector(rng, 5)
            hits = await index.query(Query(target, limit, metadata=True))
            assert_ranks(hits, model.ranking(target)[:limit])
            assert hits.metadata == [model.rows[key].metadata for key in hits.keys]
        assert (await index.query(Query(target, 3))).metadata is None
        await assert_holds(index, model)

    @METRICS
    @asynchronous
    async def test_queries_over_real_valued_vectors_are_exact(self, nodes, metric):
        index = await nodes.open(IndexSpec(24, metric))
        rng, model = np.random.default_rng(3), Model(metric)
        for start in range(0, 150, 30):
            batch = make_batch([f"k{n}" for n in range(start, start + 30)], rng.normal(size=(30, 24)))
            await index.put(batch)
            model.put(batch)
        for _ in range(5):
            target = rng.normal(size=24).astype(np.float32)
            assert_ranks(await index.query(Query(target, 12)), model.ranking(target)[:12])

    @METRICS
    @asynchronous
    async def test_paging_by_cursor_gives_the_whole_ranking(self, nodes, metric):
        index = await nodes.open(IndexSpec(3, metric))
        model, rng = await filled(index, seed=4)
        target = query_vector(rng, 3)
        whole = as_ranking(await index.query(Query(target, 10_000)))
        assert [key for _, key in whole] == [key for _, key in model.ranking(target)]
        for limit in (1, 7, len(whole)):
            assert await all_pages(index, Query(target, limit)) == whole
        condition = parse_filter({"group": {"$ne": 1}})
        filtered = as_ranking(await index.query(Query(target, 10_000, condition)))
        assert await all_pages(index, Query(target, 4, condition)) == filtered

    @asynchronous
    async def test_a_cursor_need_not_be_a_row_of_the_index(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN))
        model, _ = await filled(index, seed=5)
        target = np.array([0.5, 0], np.float32)
        for after in (
            Cursor(-1.0, "", 0),
            Cursor(0.0, "", 0),
            Cursor(3.0, "", 0),
            Cursor(3.0, "\U0010ffff", 5),
            Cursor(1e9, "", 9),
        ):
            expected = model.ranking(target, after=after)
            assert_ranks(await index.query(Query(target, 1000, after=after)), expected)
            assert_ranks(await index.query(Query(target, 3, after=after)), expected[:3])

    @METRICS
    @asynchronous
    async def test_filters_never_shorten_an_answer(self, nodes, metric):
        index = await nodes.open(IndexSpec(3, metric))
        model, rng = await filled(index, seed=6, steps=16)
        for text in (
            {"group": 1},
            {"group": {"$in": [0, 2]}},
            {"group": {"$nin": [0, 1, 2]}},
            {"tags": "y"},
            {"tags": {"$ne": "y"}},
            {"tags": {"$exists": True}},
            {"absent": {"$exists": False}},
            {"absent": "x"},
            {"score": {"$gte": 0.25, "$lt": 0.5}},
            {"$or": [{"score": {"$lt": 0.02}}, {"$and": [{"group": 2}, {"tags": "z"}]}]},
        ):
            target, condition = query_vector(rng, 3), parse_filter(text)
            expected = model.ranking(target, condition)
            for limit in (1, 9, 1000):
                assert_ranks(await index.query(Query(target, limit, condition)), expected[:limit])

    @METRICS
    @asynchronous
    async def test_hundreds_of_copies_tie_and_order_by_key(self, nodes, metric):
        index = await nodes.open(IndexSpec(3, metric))
        names = [f"k{number:03}" for number in range(300)]
        shuffled = list(np.random.default_rng(7).permutation(names))
        for start in range(0, 300, 60):
            await index.put(make_batch(shuffled[start : start + 60], [[1, 2, 3.3]] * 60))
        await index.put(make_batch(["near"], [[1, 2, 3]]))
        target = np.array([1, 2, 3], np.float32)
        hits = await index.query(Query(target, 25))
        assert hits.keys == ["near", *names[:24]]
        assert len(set(hits.distances[1:].tolist())) == 1
        paged = await all_pages(index, Query(target, 50))
        assert [key for _, key in paged] == ["near", *names]

    @asynchronous
    async def test_scaled_copies_are_at_equal_cosine_distance(self, nodes):
        index = await nodes.open(IndexSpec(3, COSINE))
        base = np.array([3, -2, 5], np.float32)
        scales = [1000, 1, 7, 1024, 3, 1 << 20, 11, 2.0**-40]
        await index.put(make_batch("hgfedcba", np.stack([base * np.float32(scale) for scale in scales])))
        hits = await index.query(Query(np.array([1, 4, 2], np.float32), 8))
        assert hits.keys == list("abcdefgh")
        assert len(set(hits.distances.tolist())) == 1

    @METRICS
    @asynchronous
    async def test_a_recall_of_one_is_an_exact_answer(self, nodes, metric):
        index = await nodes.open(IndexSpec(5, metric))
        model, rng = await filled(index, seed=21)
        for condition in (None, parse_filter({"group": {"$ne": 2}})):
            target = query_vector(rng, 5)
            expected = model.ranking(target, condition)
            for limit in (1, 10, 1000):
                query = Query(target, limit, condition, recall=1.0)
                assert_ranks(await index.query(query), expected[:limit])
            pages = await all_pages(index, structs.replace(query, limit=6))
            assert [key for _, key in pages] == [k for _, k in expected]

    @asynchronous
    async def test_the_work_of_a_query_adds_up(self, nodes):
        index = await nodes.open(IndexSpec(3, EUCLIDEAN))
        assert sum(each.rows for each in (await index.query(Query(np.ones(3, np.float32), 5))).work) == 0
        model, rng = await filled(index, seed=22)
        for text in (None, {"group": 1}, {"absent": "x"}):
            condition = parse_filter(text) if text else None
            target = query_vector(rng, 3)
            work = (await index.query(Query(target, 4, condition))).work
            assert sum(each.matches for each in work) == len(model.ranking(target, condition))
            sources = [each.source for each in work if each.source != "tail"]
            assert len(set(sources)) == len(sources)
            for each in work:
                assert each.plan in {"gather", "scan", "probe", "none"}
                assert each.structure
                assert 0 <= each.matches <= each.rows
                assert 0 <= each.probed <= each.partitions
                assert min(each.codes, each.vectors, each.nbytes) >= 0
                assert (each.plan == "none") <= (each.vectors == 0)

    # ------------------------------------------------------------ loads and scans

    @asynchronous
    async def test_a_load_is_seen_whole_by_every_node_as_soon_as_it_answers(self, nodes):
        spec = IndexSpec(2, EUCLIDEAN)
        one, other, late = await nodes.open(spec), await nodes.open(spec), await nodes.open(spec)
        model, rng = await filled(one, seed=31, steps=4)
        await assert_holds(other, model)
        batches = [random_batch(rng, [f"k{n}" for n in range(s, s + 30)], 2) for s in (0, 20, 200)]
        loaded = await load_all(one, model, *batches)
        assert loaded.rows == len({key for batch in batches for key in batch.keys})
        target = query_vector(rng, 2)
        for index in (other, one, late):
            hits = await index.query(Query(target, 1000))
            assert hits.commit >= loaded.commit
            assert_ranks(hits, model.ranking(target))
            await assert_holds(index, model)

    @asynchronous
    async def test_a_load_replaces_vector_and_metadata_whole(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN))
        model = Model(EUCLIDEAN)
        old = make_batch("abcd", np.ones((4, 2)), [{"old": 1, "both": 1}] * 4)
        await index.put(old)
        await load_all(index, model, make_batch("cdef", np.full((4, 2), 2.0), [{"both": 2}] * 4))
        await index.put(make_batch("abcd", np.full((4, 2), 3.0), [{"old": 3}] * 4))
        await index.delete(["b", "e"])
        loaded = await load_all(index, model, make_batch("abcef", np.full((5, 2), 4.0), [{"both": 4}] * 5))
        assert loaded.rows == 5
        model.put(make_batch("d", np.full((1, 2), 3.0), [{"old": 3}]))
        await assert_holds(index, model)
        found = await index.query(Query(np.ones(2, np.float32), 9, parse_filter({"old": {"$exists": True}})))
        assert found.keys == ["d"]
        found = await index.query(Query(np.ones(2, np.float32), 9, parse_filter({"both": 4})))
        assert found.keys == list("abcef")

    @asynchronous
    async def test_of_keys_that_repeat_in_a_load_the_last_wins(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        model = Model(EUCLIDEAN)
        batches = [
            make_batch(["a", "b", "a"], [[1], [2], [3]], [{"n": 1}, {"n": 2}, {"n": 3}]),
            make_batch(["c"], [[4]]),
            make_batch(["b", "d", "b"], [[5], [6], [7]], [{"n": 5}, {"n": 6}, {"n": 7}]),
        ]
        assert (await load_all(index, model, *batches)).rows == 4
        await assert_holds(index, model)
        assert [row.vector.tolist() for row in sorted(await scan_all(index))] == [[3], [7], [4], [6]]

    @asynchronous
    async def test_a_load_of_nothing_changes_nothing(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN))
        empty = VectorBatch([], np.zeros((0, 2), np.float32), [])
        assert (await index.load(in_turn())).rows == 0
        model, _ = await filled(index, seed=33, steps=3)
        assert (await index.load(in_turn(empty, empty))).rows == 0
        await assert_holds(index, model)
        batch = make_batch(["x"], [[1, 2]])
        assert (await load_all(index, model, empty, batch, empty)).rows == 1
        await assert_holds(index, model)

    @asynchronous
    async def test_a_load_that_breaks_off_leaves_nothing(self, nodes):
        spec = IndexSpec(2, EUCLIDEAN)
        index, other = await nodes.open(spec), await nodes.open(spec)
        model, rng = await filled(index, seed=34, steps=3)

        async def broken() -> AsyncIterator[VectorBatch]:
            yield random_batch(rng, [f"k{n}" for n in range(30)], 2)
            yield random_batch(rng, [f"new{n}" for n in range(30)], 2)
            raise OSError("the other end went away")

        with pytest.raises(OSError, match="went away"):
            await index.load(broken())
        await assert_holds(index, model)
        await assert_holds(other, model)
        await load_all(index, model, random_batch(rng, [f"k{n}" for n in range(40)], 2))
        await assert_holds(other, model)

    @asynchronous
    async def test_writes_after_a_load_change_what_it_brought(self, nodes):
        spec = IndexSpec(2, EUCLIDEAN)
        index, other = await nodes.open(spec), await nodes.open(spec)
        rng, model = np.random.default_rng(35), Model(EUCLIDEAN)
        loaded = await load_all(index, model, random_batch(rng, [f"k{n}" for n in range(60)], 2))
        for step in range(6):
            batch = random_batch(rng, [f"k{n}" for n in rng.choice(80, 9, replace=False)], 2)
            assert await other.put(batch) > loaded.commit
            model.put(batch)
            gone = [f"k{n}" for n in rng.choice(60, 4, replace=False)]
            await index.delete(gone)
            model.delete(gone)
            await assert_holds(index if step % 2 else other, model)
        target = query_vector(rng, 2)
        assert_ranks(await other.query(Query(target, 1000)), model.ranking(target))

    @asynchronous
    async def test_writes_during_a_load_stand_before_or_after_it_as_their_commits_say(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        index, other = await nodes.open(spec), await nodes.open(spec)
        names = [f"k{n}" for n in range(24)]
        await index.put(make_batch(names, [[1]] * 24, [{"from": "before"}] * 24))
        commits: dict[str, int] = {}

        async def batches() -> AsyncIterator[VectorBatch]:
            for start in range(0, 24, 6):
                part = names[start : start + 6]
                yield make_batch(part, [[2]] * 6, [{"from": "load"}] * 6)
                key = names[start + 1]
                commits[key] = await other.put(make_batch([key], [[3]], [{"from": "put"}]))

        async def write() -> None:
            for number in range(0, 24, 3):
                key = names[number]
                commits[key] = await other.put(make_batch([key], [[4]], [{"from": "put"}]))
                await asyncio.sleep(0)

        loaded, _ = await asyncio.gather(index.load(batches()), write())
        for node in (index, other):
            rows = {row.key: row.metadata for row in await scan_all(node)}
            assert sorted(rows) == sorted(names)
            for key in names:
                after = commits.get(key, 0) > loaded.commit
                assert rows[key] == (b'{"from":"put"}' if after else b'{"from":"load"}')

    @asynchronous
    async def test_readers_see_a_load_whole_or_not_at_all(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        index, other = await nodes.open(spec), await nodes.open(spec)
        names = [f"k{n}" for n in range(8)]
        await index.put(make_batch(names, [[0]] * 8, [{"load": -1}] * 8))
        done = False

        async def batches(number: int) -> AsyncIterator[VectorBatch]:
            for name in names:
                yield make_batch([name], [[number]], [{"load": number}])
                await asyncio.sleep(0)

        async def read(node: Index) -> list[bytes]:
            seen = []
            while not done:
                hits = await node.query(Query(np.zeros(1, np.float32), 10, metadata=True))
                assert len(hits.keys) == 8
                assert len(set(hits.metadata)) == 1
                assert len({row.metadata for row in await scan_all(node, 3)}) == 1
                seen.append(hits.metadata[0])
                await asyncio.sleep(0)
            return seen

        readers = [asyncio.ensure_future(read(node)) for node in (index, other)]
        for number in range(4):
            await index.load(batches(number))
            hits = await other.query(Query(np.zeros(1, np.float32), 1, metadata=True))
            assert hits.metadata == [b'{"load":%d}' % number]
        done = True
        assert all(await asyncio.gather(*readers))

    @asynchronous
    async def test_an_index_deleted_while_it_is_loaded_is_not_found(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        engine, index = nodes.start(), await nodes.open(spec)
        await index.put(make_batch(["a"], [[1]]))

        async def batches() -> AsyncIterator[VectorBatch]:
            yield make_batch(["b"], [[2]])
            await engine.seal(INDEX, spec)
            yield make_batch(["c"], [[3]])

        with pytest.raises(IndexSealedError):
            await index.load(batches())
        with pytest.raises(IndexSealedError):
            await scan_all(index)

    @asynchronous
    async def test_loaded_rows_keep_their_bytes(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN, ("text",)))
        model = Model(EUCLIDEAN)
        documents = [b'{"text":"\xc3\xa9\\u0000"}', b'{"n":1.0,"big":9007199254740993}']
        documents += [b'{"text":"' + b"x" * 40_000 + b'"}'] + [b"{}"] * (len(AWKWARD_KEYS) - 3)
        vectors = np.arange(1, len(AWKWARD_KEYS) + 1, dtype=np.float32).reshape(-1, 1)
        await load_all(index, model, VectorBatch(AWKWARD_KEYS, vectors, documents))
        await assert_holds(index, model)

    @asynchronous
    async def test_a_load_tells_how_far_it_is(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN))
        told: list[tuple[str, int, int]] = []
        batches = [make_batch([f"k{n}"], [[n]]) for n in range(3)]
        await index.load(in_turn(*batches), lambda *progress: told.append(progress))
        assert told
        for stage in {stage for stage, _, _ in told}:
            done = [done for name, done, _ in told if name == stage]
            assert stage
            assert done == sorted(done)
            assert 0 <= done[0] <= done[-1] <= 3

    @asynchronous
    async def test_a_scan_is_of_one_commit_whatever_is_written_meanwhile(self, nodes):
        spec = IndexSpec(2, EUCLIDEAN)
        index, other = await nodes.open(spec), await nodes.open(spec)
        model, rng = await filled(index, seed=36)
        before = sorted(model.rows)
        scan = index.scan(5)
        seen = [await anext(scan)]
        await other.delete(before[::2])
        await other.put(random_batch(rng, before[1::2], 2))
        await other.load(in_turn(random_batch(rng, ["new1", "new2"], 2)))
        seen += [batch async for batch in scan]
        rows = [row for batch in seen for row in zip(batch.keys, batch.vectors, batch.metadata, strict=True)]
        assert sorted(key for key, _, _ in rows) == before
        for key, vector, metadata in rows:
            assert (vector.tobytes(), metadata) == (model.rows[key].vector.tobytes(), model.rows[key].metadata)

    # ------------------------------------------------------------ extremes

    @METRICS
    @asynchronous
    async def test_extreme_magnitudes_keep_their_order(self, nodes, metric):
        index = await nodes.open(IndexSpec(3, metric))
        largest = np.float32(3.4e38)
        rows = {
            "tiny": [1e-30, 2e-30, 0],
            "tinier": [1e-38, 0, 1e-38],
            "denormal": [0, 1e-45, 0],
            "one": [1, 1, 1],
            "large": [1e20, -1e20, 0],
            "huge": [largest, largest, largest],
            "opposite": [-largest, largest, -largest],
            "mixed": [largest, 1e-45, 1],
        }
        model = Model(metric)
        for name, row in rows.items():
            batch = make_batch([name], [row])
            await index.put(batch)
            model.put(batch)
        targets = [[1e-30, 1e-30, 1e-30], [1, 0, 0], [largest, largest, -largest], [-3e38, 0, 0], [1e-45, 0, 0]]
        for target in targets:
            vector = np.array(target, np.float32)
            expected = model.ranking(vector)
            for limit in (1, 3, 8):
                assert_ranks(await index.query(Query(vector, limit)), expected[:limit])
            paged = await all_pages(index, Query(vector, 3))
            assert [key for _, key in paged] == [key for _, key in expected]
        await assert_holds(index, model)

    @METRICS
    @pytest.mark.parametrize("dimension", [1, 2, 4096])
    @asynchronous
    async def test_the_smallest_and_largest_dimensions(self, nodes, metric, dimension):
        index = await nodes.open(IndexSpec(dimension, metric))
        rng, model = np.random.default_rng(8), Model(metric)
        for start in range(0, 24, 8):
            batch = make_batch([f"k{n}" for n in range(start, start + 8)], rng.normal(size=(8, dimension)))
            await index.put(batch)
            model.put(batch)
        target = rng.normal(size=dimension).astype(np.float32)
        assert_ranks(await index.query(Query(target, 10)), model.ranking(target)[:10])
        await assert_holds(index, model)

    @asynchronous
    async def test_metadata_come_back_byte_for_byte(self, nodes):
        index = await nodes.open(IndexSpec(1, EUCLIDEAN, ("text",)))
        documents = [
            b"{}",
            '{"text":"\u00e9\\u0000\U0001f3f9"}'.encode(),
            b'{"n":1.0,"m":-0.0,"big":9007199254740993,"list":["a","",1,2.5]}',
            b'{"text":"' + b"x" * 40_000 + b'"}',
        ]
        names = [f"k{n}" for n in range(len(documents))]
        await index.put(VectorBatch(names, np.ones((len(names), 1), np.float32), documents))
        hits = await index.query(Query(np.ones(1, np.float32), 10, metadata=True))
        assert dict(zip(hits.keys, hits.metadata, strict=True)) == dict(zip(names, documents, strict=True))

    # ------------------------------------------------------------ concurrency

    @asynchronous
    async def test_concurrent_batches_are_seen_whole(self, nodes):
        spec = IndexSpec(1, EUCLIDEAN)
        one, other = await nodes.open(spec), await nodes.open(spec)
        names = [f"k{n}" for n in range(6)]
        await one.put(make_batch(names, [[0]] * 6, [{"batch": -1}] * 6))
        done = False

        async def write(index: Index, offset: int) -> None:
            for number in range(offset, offset + 8):
                await index.put(make_batch(names, [[number]] * 6, [{"batch": number}] * 6))

        async def read(index: Index) -> int:
            rounds = 0
            while not done:
                hits = await index.query(Query(np.zeros(1, np.float32), 10, metadata=True))
                assert len(hits.keys) == 6
                assert len(set(hits.metadata)) == 1
                listing = await index.list(limit=10, max_bytes=1 << 20, metadata=True)
                assert len({row.metadata for row in listing.rows}) == 1
                assert len(listing.rows) == 6
                rounds += 1
                await asyncio.sleep(0)
            return rounds

        readers = [asyncio.ensure_future(read(index)) for index in (one, other)]
        await asyncio.gather(write(one, 0), write(other, 100))
        done = True
        assert all(rounds > 0 for rounds in await asyncio.gather(*readers))
        first = await one.query(Query(np.zeros(1, np.float32), 10, metadata=True))
        second = await other.query(Query(np.zeros(1, np.float32), 10, metadata=True))
        assert first.metadata == second.metadata
