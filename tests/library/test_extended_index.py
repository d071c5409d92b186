"""Extensions on the index object: arrays in and out, batches, sync and async alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import quiver
from quiver.library.extended_index import DeleteOutcome, PutOutcome, UpdateOutcome
from quiver.model.errors import ConflictError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 1_234


@pytest.fixture
def index() -> Iterator[Any]:
    with quiver.connect("memory:") as db:
        index = db.create_bucket("demo").create_index("words", dimension=4, metric="euclidean")
        index.put(keys(COUNT), vectors(COUNT), [{"n": n, "odd": n % 2 == 1} for n in range(COUNT)])
        yield index


def keys(count: int, first: int = 0) -> list[str]:
    return [f"k{n}" for n in range(first, first + count)]


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((count, 4)).astype(np.float32)


def test_vectors_are_counted_listed_and_deleted_by_filter(index: Any) -> None:
    assert index.count() == COUNT
    assert index.count({"odd": True}) == COUNT // 2
    rows = list(index.rows(filter={"odd": True}, vectors=True, metadata=True))
    assert {row.key for row in rows} == set(keys(COUNT)[1::2])
    assert all(row.vector.tolist() == vectors(COUNT)[row.metadata["n"]].tolist() for row in rows)
    commit = index.put(["z"], [[1, 1, 1, 1]])
    assert index.delete_matching({"odd": True}, dry_run=True) == DeleteOutcome(COUNT // 2, 0, commit)
    assert index.delete_matching({"odd": True}) == DeleteOutcome(COUNT // 2, COUNT // 2, commit + 1)
    assert index.count() == COUNT // 2 + 1
    assert index.count(at_least=commit + 1, consistency="eventual") == COUNT // 2 + 1


def test_metadata_of_more_vectors_than_a_request_holds_are_updated(index: Any) -> None:
    outcome = index.update_metadata({key: {"new": True, "odd": None} for key in [*keys(COUNT), "none"]})
    assert (outcome.updated, outcome.missing) == (COUNT, ["none"])
    assert index.count({"new": True}) == COUNT
    assert index.count({"odd": {"$exists": True}}) == 0
    found = index.get(["k3"])
    assert (found.metadata, found.vectors.tolist()) == ([{"n": 3, "new": True}], [vectors(COUNT)[3].tolist()])
    index.update_metadata({"k3": {"only": 1}}, mode="replace")
    assert index.get(["k3"]).metadata == [{"only": 1}]
    assert index.update_metadata({}) == UpdateOutcome(0, [], 0)
    with pytest.raises(ConflictError, match="'none'"):
        index.update_metadata({"none": {}, "k3": {}}, all_or_nothing=True)
    with pytest.raises(ValidationError, match="single batch"):
        index.update_metadata({key: {} for key in keys(501)}, all_or_nothing=True)


def test_only_what_is_absent_is_put_in_batches(index: Any) -> None:
    outcome = index.put_absent(keys(1_000, COUNT - 100), vectors(1_000), [{"new": True}] * 1_000)
    assert outcome.existing == keys(100, COUNT - 100)
    assert outcome.written == keys(900, COUNT)
    assert index.count({"new": True}) == 900
    assert index.put_absent(["k1"], vectors(1)) == PutOutcome([], ["k1"], outcome.commit)
    with pytest.raises(ConflictError, match="'k1'"):
        index.put_absent(["fresh", "k1"], vectors(2), all_or_nothing=True)
    with pytest.raises(ValidationError, match="single batch"):
        index.put_absent(keys(501), vectors(501), all_or_nothing=True)
    assert index.get(["fresh"]).keys == []


def test_hits_come_with_their_vectors_page_by_page(index: Any) -> None:
    result = index.query(vectors(COUNT)[17], k=250, vectors=True, recall=1)
    assert result.keys[0] == "k17"
    assert result.vectors.shape == (250, 4)
    assert result.vectors.dtype == np.float32
    assert result.vectors.tolist() == index.get(result.keys).vectors.tolist()
    assert index.query(vectors(COUNT)[17]).vectors is None
    assert index.query(vectors(COUNT)[17], recall=0.5).vectors is None
    with pytest.raises(ValidationError, match=r"between 0\.5 and 1"):
        index.query(vectors(COUNT)[17], recall=0.1)


def test_many_queries_are_answered_as_each_alone(index: Any) -> None:
    asked = vectors(COUNT)[:230]
    results = index.query_many(asked, k=3, recall=1)
    assert len(results) == 230
    for query, result in zip(asked[::50], results[::50], strict=True):
        alone = index.query(query, k=3)
        assert (result.keys, result.metadata) == (alone.keys, alone.metadata)
        assert result.distances.tolist() == alone.distances.tolist()
        assert result.vectors is None
    filters = [{"n": n} if n % 2 else None for n in range(4)]
    some = index.query_many(asked[:4], k=5_000, filters=filters, data=True, metadata=False)
    assert [len(result.keys) for result in some] == [COUNT, 1, COUNT, 1]
    assert some[1].vectors.tolist() == [vectors(COUNT)[1].tolist()]
    assert some[1].metadata is None
    assert index.query_many(asked[:0]) == []
    for bad in (asked[0], [asked]):
        with pytest.raises(ValidationError, match="shape"):
            index.query_many(bad)
    with pytest.raises(ValidationError, match="as many filters"):
        index.query_many(asked[:2], filters=[None])


def test_many_queries_ask_with_texts_as_each_alone() -> None:
    with quiver.connect("memory:") as db:
        index = db.create_bucket("demo").create_index("notes", dimension=4, texts={"note": "en"})
        words = ["an arrow", "a bow", "arrows and bows", ""]
        index.put(keys(40), vectors(40), [{"note": words[n % 4], "n": n} for n in range(40)])
        texts = [{"note": "bow"}, {"note": "arrow quiver"}, {"note": "arrow"}]
        for result, text in zip(index.query_many(texts=texts, k=30), texts, strict=True):
            alone = index.query(texts=text, k=30)
            assert (result.keys, result.metadata, result.scores) == (alone.keys, alone.metadata, alone.scores)
            assert len(result.keys) == 20
        asked, mixed = vectors(40)[:3], [texts[0], None, texts[2]]
        filters = [None, {"n": {"$lt": 20}}, {"n": {"$lt": 20}}]
        found = index.query_many(asked, k=5, texts=mixed, filters=filters, data=True)
        for result, vector, text, condition in zip(found, asked, mixed, filters, strict=True):
            alone = index.query(vector, k=5, texts=text, filter=condition, vectors=True)
            assert (result.keys, result.scores) == (alone.keys, alone.scores)
            assert result.vectors.tolist() == alone.vectors.tolist()
        assert [result.scores is None for result in found] == [False, True, False]
        assert index.query_many(texts=[]) == []
        for arguments, message in (
            ({}, "vectors, texts, or both"),
            ({"vectors": 1.0}, "shape"),
            ({"vectors": asked, "texts": texts[:2]}, "as many texts"),
            ({"texts": texts, "filters": [None]}, "as many filters"),
            ({"texts": [texts[0], None]}, "At least one of queryVector and queryTexts"),
        ):
            with pytest.raises(ValidationError, match=message):
                index.query_many(**arguments)


def test_the_asynchronous_index_has_them_too() -> None:
    async def scenario() -> None:
        async with await quiver.async_connect("memory:") as db:
            index = await (await db.create_bucket("demo")).create_index("words", dimension=4)
            await index.put_absent(keys(3), vectors(3))
            assert await index.count() == 3
            assert [row.key async for row in index.rows(filter={"n": 1})] == []
            assert len((await index.query_many(vectors(2), k=2))[1]) == 2

    asyncio.run(scenario())


def test_the_client_has_extensions_as_methods_and_pages() -> None:
    with quiver.client("memory:") as client:
        client.create_vector_bucket(vectorBucketName="demo")
        names = {"vectorBucketName": "demo", "indexName": "words"}
        client.create_index(**names, dataType="float32", dimension=1, distanceMetric="euclidean")
        rows = [{"key": f"k{n}", "data": {"float32": np.ones(1, np.float32)}} for n in range(5)]
        assert client.put_vectors_if_absent(**names, vectors=rows)["writtenKeys"] == keys(5)
        paginator = client.get_paginator("list_vectors_by_filter")
        pages = paginator.paginate(**names, filter={"n": {"$exists": False}}, PaginationConfig={"PageSize": 2})
        assert [len(page["vectors"]) for page in pages] == [2, 2, 1]
        with pytest.raises(client.exceptions.ConflictException):
            client.put_vectors_if_absent(**names, vectors=rows[:1], allOrNothing=True)
        with pytest.raises(TypeError, match="unexpected argument 'recall'"):
            client.query_vectors(**names, topK=1, recall=1)
