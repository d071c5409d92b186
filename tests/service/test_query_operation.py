"""QueryVectors through the service: answers, filters, pages, and every error that concerns it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.engine.engine import Query
from quiver.model.errors import ValidationError
from quiver.service.arn import IndexRef
from service.deployment import NAMES, Deployment, moved_clock, on_node

if TYPE_CHECKING:
    from service.deployment import Node

INVALID_TOKEN = "Invalid page token"
INVALID_QUERY = "Query vector contains invalid values or is invalid for this index"
ORIGIN = {"topK": 3, "queryVector": {"float32": [0, 0]}}


def with_index(scenario: Any, **index: Any) -> None:
    """Run a scenario on a node with the index of `NAMES`."""

    async def run(node: Node) -> None:
        await node.create_index(**index)
        await scenario(node)

    on_node(run)


async def query(node: Node, **params: Any) -> dict[str, Any]:
    return await node.call("QueryVectors", **{**NAMES, **ORIGIN, **params})


async def keys(node: Node, **params: Any) -> list[str]:
    return [vector["key"] for vector in (await query(node, **params))["vectors"]]


async def fill(node: Node, count: int, prefix: str = "base", offset: float = 0.0) -> None:
    """Vectors at distances 0, 1, 2, ... of the origin, shuffled; every distance twice."""
    for start in range(0, count, 500):
        rows = range(start, min(start + 500, count))
        await node.put(*((f"{prefix}-{n * 7919 % count:05}", [n // 2 + offset, 0], {"n": n}) for n in rows))


def test_the_nearest_vectors_come_first_with_the_true_distance() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("far", [9, 9]), ("near", [1, 1], {"a": 1}), ("middle", [2, 2]))
        body = await query(node, topK=2, returnDistance=True, returnMetadata=True)
        assert body == {
            "distanceMetric": "euclidean",
            "vectors": [
                {"key": "near", "distance": float(np.float32(math.sqrt(2))), "metadata": {"a": 1}},
                {"key": "middle", "distance": float(np.float32(math.sqrt(8))), "metadata": {}},
            ],
        }

    with_index(scenario)


def test_distance_and_metadata_are_returned_only_when_asked_for() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [3, 4], {"a": 1}))
        assert (await query(node))["vectors"] == [{"key": "k"}]
        assert (await query(node, returnDistance=True))["vectors"] == [{"key": "k", "distance": 5.0}]
        assert (await query(node, returnMetadata=True))["vectors"] == [{"key": "k", "metadata": {"a": 1}}]
        assert (await query(node, returnScores=True))["vectors"] == [{"key": "k"}]

    with_index(scenario)


def test_cosine_distance_is_one_minus_cosine() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("same", [2, 0]), ("orthogonal", [0, 3]), ("opposite", [-1, 0]))
        body = await query(node, queryVector={"float32": np.array([1, 0], np.float32)}, returnDistance=True)
        assert body["distanceMetric"] == "cosine"
        assert [vector["distance"] for vector in body["vectors"]] == [0, 1, 2]

    with_index(scenario, metric="cosine")


def test_an_empty_index_answers_nothing() -> None:
    async def scenario(node: Node) -> None:
        assert await query(node) == {"vectors": [], "distanceMetric": "euclidean"}

    with_index(scenario)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"genre": "drama"}, ["a"]),
        ({"genre": {"$startsWith": "d"}}, ["a", "b"]),
        ({"year": {"$gte": 2000, "$lt": 2020}}, ["b"]),
        ({"$or": [{"genre": "drama"}, {"year": {"$exists": False}}]}, ["a", "c"]),
        (None, ["a", "b", "c"]),
    ],
)
def test_filters_restrict_the_answer(document: Any, found: list[str]) -> None:
    async def scenario(node: Node) -> None:
        await node.put(
            ("a", [1, 0], {"genre": ["drama", "war"], "year": 1990}),
            ("b", [2, 0], {"genre": "documentary", "year": 2010}),
            ("c", [3, 0], {"genre": "war"}),
        )
        assert await keys(node, filter=document) == found

    with_index(scenario)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"queryVector": {"float32": [1]}}, INVALID_QUERY),
        ({"queryVector": {"float32": [1, "NaN"]}}, INVALID_QUERY),
        ({"queryVector": {"float32": [1, 1e39]}}, INVALID_QUERY),
        ({"queryVector": {"float32": [0, 0]}}, INVALID_QUERY),
        ({"filter": {}}, "Invalid filter"),
        ({"filter": {"a": 1, "b": 2}}, "Invalid filter"),
        ({"filter": {"a": {"$regex": "x"}}}, "Invalid filter"),
        ({"filter": {"text": "x"}}, "Invalid use of non-filterable metadata in filter"),
        ({"queryMode": "CLASSIC"}, "queryMode cannot be CLASSIC when indexMode is ENHANCED"),
        ({"queryVector": None}, "At least one of queryVector and queryTexts must be specified"),
        (
            {"topK": None},
            "1 validation error detected. Value at '/topK' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"topK": 10_001},
            "1 validation error detected. Value at '/topK' failed to satisfy constraint: "
            "Member must be between 1 and 10000, inclusive",
        ),
        ({"nextToken": "nonsense"}, INVALID_TOKEN),
    ],
)
def test_a_bad_query_is_refused(params: dict[str, Any], message: str) -> None:
    good = {"topK": 1, "queryVector": {"float32": [1, 1]}}
    configuration = {"nonFilterableMetadataKeys": ["text"]}
    with_index(
        lambda node: node.fails("QueryVectors", ValidationError, message, **NAMES, **good | params),
        metric="cosine",
        metadataConfiguration=configuration,
    )


def test_the_field_at_fault_is_named() -> None:
    async def scenario(node: Node) -> None:
        error = await node.fails(
            "QueryVectors", ValidationError, INVALID_QUERY, **NAMES, topK=1, queryVector={"float32": [0, 0]}
        )
        inner = "Invalid input: cosine distance does not support vectors with zero norm"
        assert error.fields == (("vector", inner),)

    with_index(scenario, metric="cosine")


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize(
    ("top_k", "sizes"),
    [(99, [99]), (100, [100]), (101, [100, 1]), (200, [100, 100]), (250, [100, 100, 50]), (10_000, [100] * 3)],
)
def test_pages_hold_a_hundred_and_a_token_only_when_more_follow(top_k: int, sizes: list[int]) -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 300)
        pages = await node.pages("QueryVectors", "vectors", **NAMES, **ORIGIN | {"topK": top_k})
        assert [len(page) for page in pages] == sizes

    with_index(scenario)


async def one_shot(node: Node, limit: int) -> list[tuple[str, float]]:
    index = await node.catalog.index(IndexRef("bucket", "index"))
    opened = await node.engine.open(index.index_id, index.spec)
    hits = await opened.query(Query(np.zeros(2, np.float32), limit))
    return list(zip(hits.keys, hits.distances.tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 400), st.floats(0, 0.875, width=32))
def test_all_pages_together_are_the_one_shot_answer(top_k: int, offset: float) -> None:
    async def run() -> None:
        node = await Deployment().node()
        await node.create_index()
        await fill(node, 330, offset=offset)
        params = {**NAMES, **ORIGIN, "topK": top_k, "returnDistance": True}
        pages = await node.pages("QueryVectors", "vectors", **params)
        found = [(vector["key"], vector["distance"]) for page in pages for vector in page]
        assert found == await one_shot(node, top_k)

    asyncio.run(run())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 150, width=32)), min_size=4, max_size=4))
def test_inserts_between_pages_neither_hide_nor_repeat_the_others(inserts: list[tuple[int, float]]) -> None:
    async def run() -> None:
        node = await Deployment().node()
        await node.create_index()
        await fill(node, 330)
        expected = [key for key, _ in await one_shot(node, 1_000)]
        found: list[str] = []
        token: dict[str, Any] = {}
        more = iter(inserts)
        while True:
            body = await query(node, topK=1_000, **token)
            found += [vector["key"] for vector in body["vectors"]]
            if "nextToken" not in body:
                break
            token = {"nextToken": body["nextToken"]}
            count, place = next(more, (0, 0.0))
            await node.put(*((f"other-{len(found)}-{n}", [place, 0]) for n in range(count)), ("base-x", [-1e9, 0]))
        assert [key for key in found if key.startswith("base-0")] == expected
        assert len(found) == len(set(found))

    asyncio.run(run())


async def first_token(node: Node, **params: Any) -> str:
    return (await query(node, topK=150, **params))["nextToken"]


@pytest.mark.parametrize(
    "change",
    [
        {"topK": 151},
        {"queryVector": {"float32": [0, 1e-30]}},
        {"filter": {"n": {"$gte": 0}}},
        {"filter": {"n": {"$gte": -2}}},
        {"filter": None},
    ],
)
def test_a_token_fits_only_the_same_question(change: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 200)
        same = {"topK": 150, "filter": {"n": {"$gte": -1}}}
        token = await first_token(node, filter=same["filter"])
        await node.fails(
            "QueryVectors", ValidationError, INVALID_TOKEN, **NAMES, **ORIGIN | same | change, nextToken=token
        )
        assert len(await keys(node, **same, nextToken=token)) == 50

    with_index(scenario)


def test_what_is_shown_may_change_from_page_to_page() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 200)
        token = await first_token(node)
        body = await query(
            node, topK=150, nextToken=token, returnDistance=True, returnMetadata=True, queryMode="ENHANCED"
        )
        assert body["vectors"][0].keys() == {"key", "distance", "metadata"}

    with_index(scenario)


def test_a_token_lives_a_quarter_of_an_hour() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 200)
        token = await first_token(node)
        with moved_clock(node, 14 * 60):
            assert len(await keys(node, topK=150, nextToken=token)) == 50
        with moved_clock(node, 16 * 60):
            await node.fails(
                "QueryVectors", ValidationError, INVALID_TOKEN, **NAMES, **ORIGIN | {"topK": 150}, nextToken=token
            )

    with_index(scenario)


def test_a_token_does_not_fit_another_operation_index_or_deployment() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 200)
        token = await first_token(node)
        await node.fails("ListVectors", ValidationError, INVALID_TOKEN, **NAMES, nextToken=token)
        other = NAMES | {"indexName": "other"}
        await node.call("CreateIndex", **other, dataType="float32", dimension=2, distanceMetric="euclidean")
        stranger = await Deployment().node()
        await stranger.create_index()
        for who, names in ((node, other), (stranger, NAMES)):
            await who.fails(
                "QueryVectors", ValidationError, INVALID_TOKEN, **names, **ORIGIN | {"topK": 150}, nextToken=token
            )

    with_index(scenario)


def test_the_longest_keys_fit_in_a_token() -> None:
    async def scenario(node: Node) -> None:
        await node.put(*((f"{n:04}" + "\u00e9" * 510, [n, 0]) for n in range(102)))
        pages = await node.pages("QueryVectors", "vectors", **NAMES, **ORIGIN | {"topK": 102})
        assert [len(page) for page in pages] == [100, 2]
        pages = await node.pages("ListVectors", "vectors", **NAMES, maxResults=51)
        assert [len(page) for page in pages] == [51, 51]

    with_index(scenario)
