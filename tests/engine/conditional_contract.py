"""What every engine does by filter, depending on what is there, and with several queries at once.

Inherit `ConditionalContract` beside `EngineContract`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from engine.contract import (
    COSINE,
    EUCLIDEAN,
    METRICS,
    assert_holds,
    assert_ranks,
    asynchronous,
    filled,
    in_turn,
    list_all,
    query_vector,
    random_batch,
)
from engine.reference import make_batch
from quiver.engine.engine import IndexSealedError, ListPosition, Query, TextQuery
from quiver.model.filter import matches
from quiver.model.filter_parser import parse_filter
from quiver.model.types import IndexSpec, TextField, VectorBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.reference import Model
    from quiver.engine.engine import Index, Row
    from quiver.model.filter import Filter

FILTERS = [{"group": 1}, {"tags": "x"}, {"score": {"$gt": 0.9}}, {"group": 7}, {"group": {"$ne": 1}}]
SPEC = IndexSpec(3, EUCLIDEAN)


def chosen(model: Model, condition: Filter) -> set[str]:
    return {key for key, row in model.rows.items() if matches(condition, orjson.loads(row.metadata))}


async def list_matching(index: Index, condition: Filter, limit: int) -> list[Row]:
    rows: list[Row] = []
    after: ListPosition | None = None
    while True:
        page = await index.list(limit=limit, max_bytes=1 << 20, after=after, metadata=True, condition=condition)
        assert len(page.rows) == limit or page.position is None
        rows += page.rows
        after = page.position
        if after is None:
            return rows


def absent(batch: VectorBatch) -> Callable[[Sequence[Row]], VectorBatch]:
    """Decides to put what is not there."""

    def decide(rows: Sequence[Row]) -> VectorBatch:
        there = {row.key for row in rows}
        kept = [number for number, key in enumerate(batch.keys) if key not in there]
        return VectorBatch([batch.keys[n] for n in kept], batch.vectors[kept], [batch.metadata[n] for n in kept])

    return decide


def counted(rows: Sequence[Row]) -> VectorBatch:
    """Decides to count in the metadata of what is there."""
    documents = [orjson.dumps({"count": orjson.loads(row.metadata).get("count", 0) + 1}) for row in rows]
    vectors = np.stack([row.vector for row in rows]) if rows else np.zeros((0, 1), np.float32)
    return VectorBatch([row.key for row in rows], vectors, documents)


class ConditionalContract:
    """`nodes` is the fixture of EngineContract."""

    # ------------------------------------------------------------ by filter

    @asynchronous
    async def test_rows_are_counted_and_listed_by_filter(self, nodes):
        index = await nodes.open(IndexSpec(3, EUCLIDEAN, ("score",)))
        empty = await index.count()
        assert empty.rows == 0
        model, _ = await filled(index, 31)
        assert (await index.count()).rows == len(model.rows)
        everything = [row.key for row in await list_all(index)]
        for document in [*FILTERS[:2], *FILTERS[3:]]:
            condition = parse_filter(document)
            wanted = chosen(model, condition)
            assert (await index.count(condition)).rows == len(wanted)
            for limit in (1, 7, 1000):
                rows = await list_matching(index, condition, limit)
                assert [row.key for row in rows] == [key for key in everything if key in wanted]
                assert all(row.metadata == model.rows[row.key].metadata for row in rows)

    @asynchronous
    async def test_counts_answer_at_the_newest_commit_on_every_node(self, nodes):
        one, other = await nodes.open(SPEC), await nodes.open(SPEC)
        for number in range(6):
            commit = await one.put(make_batch([f"k{number}"], [[number, 0, 0]], [{"group": number % 2}]))
            assert await other.count() >= (number + 1, commit)
            assert (await other.count(parse_filter({"group": 1}))).rows == (number + 1) // 2

    @asynchronous
    async def test_what_matches_is_deleted_page_by_page(self, nodes):
        index, other = await nodes.open(SPEC), await nodes.open(SPEC)
        model, _ = await filled(index, 32)
        condition = parse_filter({"group": {"$ne": 1}})
        wanted = chosen(model, condition)
        after, rows = None, 0
        while True:
            deleted = await other.delete_matching(condition, limit=9, after=after)
            assert deleted.rows == 9 or deleted.position is None
            rows, after = rows + deleted.rows, deleted.position
            if after is None:
                break
        assert rows == len(wanted) > 9
        model.delete(wanted)
        await assert_holds(index, model)
        none = await index.delete_matching(condition, limit=5)
        assert (none.rows, none.position) == (0, None)
        assert none.commit == (await index.count()).commit

    @asynchronous
    async def test_a_deletion_by_filter_spares_what_no_longer_matches(self, nodes):
        """Rows are moved out of the filter while others delete by it: none of them may be lost."""
        one, other = await nodes.open(SPEC), await nodes.open(SPEC)
        names = [f"k{number}" for number in range(20)]
        await one.put(make_batch(names, np.ones((20, 3)), [{"group": 1}] * 20))
        saved: list[str] = []

        async def save() -> None:
            for name in names:
                await one.put(make_batch([name], [[2, 2, 2]], [{"group": 2}]))
                saved.append(name)
                await asyncio.sleep(0)

        async def purge() -> None:
            for _ in range(4):
                await other.delete_matching(parse_filter({"group": 1}), limit=7)

        await asyncio.gather(save(), purge())
        assert (await other.count(parse_filter({"group": 2}))).rows == len(saved) == 20
        assert (await one.count(parse_filter({"group": 1}))).rows == 0

    # ------------------------------------------------------------ depending on what is there

    @asynchronous
    async def test_only_what_is_absent_is_put(self, nodes):
        index = await nodes.open(SPEC)
        model, rng = await filled(index, 33)
        for _ in range(6):
            names = [f"k{number}" for number in rng.choice(120, 25, replace=False)]
            batch = random_batch(rng, names, 3)
            before = (await index.count()).commit
            commit = await index.amend(names, absent(batch))
            missing = [n for n, name in enumerate(names) if name not in model.rows]
            assert (commit > before) == bool(missing)
            model.put(
                VectorBatch(
                    [names[n] for n in missing], batch.vectors[missing], [batch.metadata[n] for n in missing]
                )
            )
            await index.delete(names[:4])
            model.delete(names[:4])
        await assert_holds(index, model)

    @asynchronous
    async def test_a_decision_is_given_what_it_asked_for(self, nodes):
        index = await nodes.open(SPEC)
        await index.put(make_batch(["a", "b"], [[1, 2, 3], [4, 5, 6]], [{"n": 1}, {}]))
        seen: list[Row] = []

        def look(rows: Sequence[Row]) -> VectorBatch:
            seen[:] = sorted(rows)
            return VectorBatch([], np.zeros((0, 3), np.float32), [])

        commit = (await index.count()).commit
        assert await index.amend(["b", "x", "a"], look) == commit
        assert seen == [("a", None, None), ("b", None, None)]
        await index.amend(["b"], look, vectors=True, metadata=True)
        assert [(row.key, row.vector.tolist(), row.metadata) for row in seen] == [("b", [4, 5, 6], b"{}")]

    @asynchronous
    async def test_a_decision_that_fails_writes_nothing(self, nodes):
        index = await nodes.open(SPEC)
        await index.put(make_batch(["a"], [[1, 2, 3]]))

        def refuse(rows: Sequence[Row]) -> VectorBatch:
            raise ValueError(f"{len(rows)} rows")

        with pytest.raises(ValueError, match="1 rows"):
            await index.amend(["a", "b"], refuse)
        assert [row.key for row in await list_all(index)] == ["a"]

    @asynchronous
    async def test_of_many_who_put_an_absent_key_one_does(self, nodes):
        """On two nodes, several at a time, between writes that come without a condition."""
        spec = IndexSpec(1, EUCLIDEAN)
        indexes = [await nodes.open(spec), await nodes.open(spec)]
        for attempt in range(6):
            won: list[int] = []

            async def put(number: int, attempt: int = attempt, won: list[int] = won) -> None:
                batch = make_batch([f"k{attempt}"], [[number]], [{"by": number}])
                written: list[int] = []

                def decide(rows: Sequence[Row]) -> VectorBatch:
                    decided = absent(batch)(rows)
                    written[:] = [number] * len(decided.keys)
                    return decided

                await indexes[number % 2].amend(batch.keys, decide)
                won.extend(written)

            others = [index.put(make_batch(["other"], [[attempt]])) for index in indexes]
            await asyncio.gather(*(put(number) for number in range(5)), *others)
            assert len(won) == 1
            (row,) = (await indexes[attempt % 2].get([f"k{attempt}"], vectors=False, metadata=True)).rows
            assert orjson.loads(row.metadata) == {"by": won[0]}

    @asynchronous
    async def test_no_update_is_lost(self, nodes):
        """Counters in metadata, counted up on two nodes at once."""
        indexes = [await nodes.open(SPEC), await nodes.open(SPEC)]
        await indexes[0].put(make_batch(["a", "b"], [[1, 2, 3], [4, 5, 6]]))

        async def count(index: Index) -> None:
            for _ in range(8):
                await index.amend(["a", "b", "missing"], counted, vectors=True, metadata=True)

        await asyncio.gather(*map(count, [*indexes, *indexes]))
        found = await indexes[0].get(["a", "b", "missing"], vectors=True, metadata=True)
        assert sorted((row.key, row.vector.tolist(), row.metadata) for row in found.rows) == [
            ("a", [1, 2, 3], b'{"count":32}'),
            ("b", [4, 5, 6], b'{"count":32}'),
        ]

    @asynchronous
    async def test_what_is_deleted_does_not_come_back(self, nodes):
        indexes = [await nodes.open(SPEC), await nodes.open(SPEC)]
        names = [f"k{number}" for number in range(12)]
        await indexes[0].put(make_batch(names, np.ones((12, 3))))

        async def update() -> None:
            for _ in range(6):
                await indexes[0].amend(names, counted, vectors=True, metadata=True)

        async def delete() -> None:
            for name in names:
                await indexes[1].delete([name])
                await asyncio.sleep(0)

        await asyncio.gather(update(), delete())
        assert await list_all(indexes[0]) == []

    @asynchronous
    async def test_a_load_is_seen_by_conditional_writes_that_come_after(self, nodes):
        one, other = await nodes.open(SPEC), await nodes.open(SPEC)
        await one.put(make_batch(["a"], [[1, 2, 3]]))
        await one.load(in_turn(make_batch(["a", "b"], [[7, 7, 7], [8, 8, 8]], [{"loaded": 1}] * 2)))
        await other.amend(["b", "c"], absent(make_batch(["b", "c"], [[0, 0, 1], [9, 9, 9]])))
        await other.amend(["a"], counted, vectors=True, metadata=True)
        rows = sorted((row.key, row.vector.tolist(), row.metadata) for row in await list_all(one, full=True))
        assert rows == [
            ("a", [7, 7, 7], b'{"count":1}'),
            ("b", [8, 8, 8], b'{"loaded":1}'),
            ("c", [9, 9, 9], b"{}"),
        ]

    @asynchronous
    async def test_a_sealed_index_takes_no_conditional_write(self, nodes):
        engine = nodes.start()
        index = await engine.open("a" * 32, SPEC)
        await index.put(make_batch(["a"], [[1, 2, 3]]))
        await engine.seal("a" * 32, SPEC)
        for call in (
            index.amend(["b"], absent(make_batch(["b"], [[1, 2, 3]]))),
            index.delete_matching(parse_filter({"group": {"$exists": False}}), limit=5),
            index.count(),
            index.query_many([Query(np.ones(3, np.float32), 1)]),
        ):
            with pytest.raises(IndexSealedError):
                await call

    # ------------------------------------------------------------ queries

    @asynchronous
    @METRICS
    async def test_hits_come_with_their_vectors(self, nodes, metric):
        index = await nodes.open(IndexSpec(5, metric))
        model, rng = await filled(index, 34)
        for limit in (1, 10, 1000):
            hits = await index.query(Query(query_vector(rng, 5), limit, vectors=True))
            assert hits.vectors.shape == (len(hits.keys), 5)
            assert hits.vectors.dtype == np.float32
            due = [model.rows[key].vector.tobytes() for key in hits.keys]
            assert [vector.tobytes() for vector in hits.vectors] == due
        nothing = await index.query(Query(query_vector(rng, 5), 3, parse_filter({"group": 9}), vectors=True))
        assert nothing.vectors.shape == (0, 5)
        assert (await index.query(Query(query_vector(rng, 5), 3))).vectors is None

    @asynchronous
    async def test_several_queries_are_answered_as_each_alone_and_at_one_commit(self, nodes):
        index, other = await nodes.open(IndexSpec(4, COSINE)), await nodes.open(IndexSpec(4, COSINE))
        model, rng = await filled(index, 35)
        conditions = [None, *map(parse_filter, FILTERS)]
        queries = [
            Query(query_vector(rng, 4), 1 + 3 * n, condition, recall=1, metadata=n % 2 == 1)
            for n, condition in enumerate(conditions)
        ]
        answers = await other.query_many(queries)
        assert len({hits.commit for hits in answers}) == 1
        for query, hits in zip(queries, answers, strict=True):
            assert_ranks(hits, model.ranking(query.vector, query.filter)[: query.limit])
            assert (hits.metadata is not None) == query.metadata

    @asynchronous
    async def test_hits_of_texts_come_with_their_vectors_too(self, nodes):
        index = await nodes.open(IndexSpec(2, EUCLIDEAN, texts=(TextField("t"),)))
        texts = [{"t": "red bird"}, {"t": "blue bird"}, {}]
        await index.put(make_batch(["a", "b", "c"], [[1, 0], [2, 0], [3, 0]], texts))
        words = (TextQuery("t", "bird"),)
        found = await index.query(Query(None, 5, texts=words, vectors=True))
        assert dict(zip(found.keys, found.vectors.tolist(), strict=True)) == {"a": [1, 0], "b": [2, 0]}
        both = await index.query(Query(np.zeros(2, np.float32), 5, texts=words, vectors=True))
        rows = {"a": [1, 0], "b": [2, 0], "c": [3, 0]}
        assert dict(zip(both.keys, both.vectors.tolist(), strict=True)) == rows
