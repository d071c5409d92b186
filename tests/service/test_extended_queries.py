"""QueryVectorsWithData and BatchQueryVectors through the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import ValidationError
from service.deployment import NAMES, Node, on_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.engine.engine import Query

ORIGIN = {"queryVector": {"float32": [0, 0]}}


def with_rows(scenario: Callable[[Node], Awaitable[None]], count: int = 10) -> None:
    """Run a scenario on an index of vectors k000, k001, ... at the distances 0, 1, ... of the origin."""

    async def run(node: Node) -> None:
        await node.create_index()
        await node.put(*((f"k{n:03}", [n, 0], {"n": n}) for n in range(count)))
        await scenario(node)

    on_node(run)


def hit(n: int, **more: Any) -> dict[str, Any]:
    return {"key": f"k{n:03}", **more}


def test_hits_come_with_their_vectors() -> None:
    async def scenario(node: Node) -> None:
        given = NAMES | ORIGIN | {"topK": 2}
        body = await node.call("QueryVectorsWithData", **given)
        data = [{"float32": [0.0, 0.0]}, {"float32": [1.0, 0.0]}]
        assert body == {
            "vectors": [hit(0, data=data[0]), hit(1, data=data[1])],
            "distanceMetric": "euclidean",
        }
        whole = await node.call("QueryVectorsWithData", **given, returnDistance=True, returnMetadata=True)
        assert whole["vectors"][1] == hit(1, data=data[1], distance=1.0, metadata={"n": 1})
        bare = await node.call("QueryVectorsWithData", **given, returnData=False, filter={"n": {"$gt": 3}})
        assert bare["vectors"] == [hit(4), hit(5)]
        none = await node.call("QueryVectorsWithData", **given, filter={"n": -1})
        assert none["vectors"] == []

    with_rows(scenario)


def test_its_pages_are_those_of_a_query() -> None:
    async def scenario(node: Node) -> None:
        pages = await node.pages("QueryVectorsWithData", "vectors", **NAMES, **ORIGIN, topK=230)
        assert [len(page) for page in pages] == [100, 100, 30]
        assert [row["data"]["float32"][0] for page in pages for row in page] == list(range(230))

    with_rows(scenario, 240)


def test_a_token_fits_its_operation_and_recall() -> None:
    async def scenario(node: Node) -> None:
        given = NAMES | ORIGIN | {"topK": 200}
        plain = (await node.call("QueryVectors", **given))["nextToken"]
        ours = (await node.call("QueryVectorsWithData", **given, recall=0.8))["nextToken"]
        for operation, more in (
            ("QueryVectors", {"nextToken": ours}),
            ("QueryVectorsWithData", {"nextToken": plain}),
            ("QueryVectorsWithData", {"nextToken": ours}),
            ("QueryVectorsWithData", {"nextToken": ours, "recall": 0.9}),
        ):
            await node.fails(operation, ValidationError, "Invalid page token", **given, **more)
        page = await node.call("QueryVectorsWithData", **given, recall=0.8, nextToken=ours)
        assert page["vectors"][0]["key"] == "k100"

    with_rows(scenario, 210)


def test_the_engine_is_told_the_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(node: Node) -> None:
        (content,) = node.deployment.shelf.items()
        index = await node.engine.open(content[0], None)
        asked: list[Query] = []
        real = type(index).query

        async def query(self: Any, query: Query, *others: Any) -> Any:
            asked.append(query)
            return await real(self, query, *others)

        monkeypatch.setattr(type(index), "query", query)
        one = ORIGIN | {"topK": 1}
        await node.call("QueryVectorsWithData", **NAMES, **one, recall=0.75)
        await node.call("QueryVectorsWithData", **NAMES, **one)
        await node.call("BatchQueryVectors", **NAMES, queries=[one | {"recall": 1}, one])
        assert [query.recall for query in asked] == [0.75, None, 1, None]
        # An operation of S3 Vectors stays as it is: members of an extension mean nothing to it.
        body = await node.call("QueryVectors", **NAMES, **one, recall=0.75, returnData=True)
        assert body["vectors"] == [hit(0)]
        assert asked[-1].recall is None

    with_rows(scenario)


@pytest.mark.parametrize("recall", [0.49, 1.01, -1, 0, 2])
def test_a_recall_out_of_range_is_refused(recall: float) -> None:
    async def scenario(node: Node) -> None:
        constraint = "failed to satisfy constraint: Member must be between 0.5 and 1, inclusive"
        one = ORIGIN | {"topK": 1, "recall": recall}
        await node.fails(
            "QueryVectorsWithData",
            ValidationError,
            f"1 validation error detected. Value at '/recall' {constraint}",
            **NAMES,
            **one,
        )
        await node.fails(
            "BatchQueryVectors",
            ValidationError,
            f"1 validation error detected. Value at '/queries/0/recall' {constraint}",
            **NAMES,
            queries=[one],
        )

    with_rows(scenario, 1)


def test_many_queries_are_answered_in_order_each_in_its_own_way() -> None:
    async def scenario(node: Node) -> None:
        queries = [
            {"topK": 1, "queryVector": {"float32": [0, 0]}},
            {"topK": 3, "queryVector": {"float32": [9, 0]}},
            {"topK": 5, "queryVector": {"float32": [0, 0]}, "filter": {"n": {"$in": [4, 7]}}},
            {"topK": 5, "queryVector": {"float32": [0, 0]}, "filter": {"n": 99}},
        ]
        body = await node.call("BatchQueryVectors", **NAMES, queries=queries)
        assert body == {
            "results": [
                {"vectors": [hit(0)]},
                {"vectors": [hit(9), hit(8), hit(7)]},
                {"vectors": [hit(4), hit(7)]},
                {"vectors": []},
            ],
            "distanceMetric": "euclidean",
        }
        shown = {"returnData": True, "returnDistance": True, "returnMetadata": True}
        whole = await node.call("BatchQueryVectors", **NAMES, queries=queries[:1], **shown)
        assert whole["results"] == [
            {"vectors": [hit(0, data={"float32": [0.0, 0.0]}, distance=0.0, metadata={"n": 0})]}
        ]

    with_rows(scenario)


def test_a_batch_has_up_to_a_hundred_queries_and_ten_thousand_results() -> None:
    async def scenario(node: Node) -> None:
        many = [ORIGIN | {"topK": 100}] * 100
        assert len((await node.call("BatchQueryVectors", **NAMES, queries=many))["results"]) == 100
        too_much = "The topK of all queries together must be at most 10000"
        await node.fails(
            "BatchQueryVectors", ValidationError, too_much, **NAMES, queries=[*many[1:], ORIGIN | {"topK": 101}]
        )
        length = (
            "1 validation error detected. Value with length {} at '/queries' failed to satisfy constraint: "
            "Member must have length between 1 and 100, inclusive"
        )
        for count in (0, 101):
            await node.fails(
                "BatchQueryVectors", ValidationError, length.format(count), **NAMES, queries=many[:1] * count
            )

    with_rows(scenario, 3)


def test_one_bad_query_refuses_the_batch() -> None:
    async def scenario(node: Node) -> None:
        good = ORIGIN | {"topK": 1}
        await node.fails(
            "BatchQueryVectors", ValidationError, "Invalid filter", **NAMES, queries=[good, good | {"filter": {}}]
        )
        bad = {"topK": 1, "queryVector": {"float32": [1]}}
        text = "Query vector contains invalid values or is invalid for this index"
        await node.fails("BatchQueryVectors", ValidationError, text, **NAMES, queries=[good, bad])

    with_rows(scenario, 3)


def test_texts_find_hits_with_their_vectors() -> None:
    async def scenario(node: Node) -> None:
        config = {"textSearchConfigurations": [{"metadataKey": "t"}]}
        await node.create_index(metadataConfiguration=config)
        await node.put(("a", [1, 0], {"t": "red bird"}), ("b", [2, 0], {"t": "blue bird"}), ("c", [3, 0]))
        asked = {"queryTexts": [{"metadataKey": "t", "text": "red"}], "topK": 3}
        body = await node.call("QueryVectorsWithData", **NAMES, **asked)
        assert body["vectors"] == [{"key": "a", "data": {"float32": [1.0, 0.0]}}]
        both = await node.call("QueryVectorsWithData", **NAMES, **asked, **ORIGIN, returnScores=True)
        assert {row["key"]: row["data"]["float32"][0] for row in both["vectors"]} == {"a": 1.0, "b": 2.0, "c": 3.0}
        assert all("fused" in row["scores"] for row in both["vectors"])
        message = "At least one of queryVector and queryTexts must be specified"
        await node.fails("QueryVectorsWithData", ValidationError, message, **NAMES, topK=1)

    on_node(scenario)


def asked(**words: str) -> list[dict[str, str]]:
    return [{"metadataKey": key, "text": text} for key, text in words.items()]


def with_texts(scenario: Callable[[Node], Awaitable[None]]) -> None:
    """Run a scenario on an index whose field `t` is searched, with three vectors of which two have a text."""

    async def run(node: Node) -> None:
        fields = [{"metadataKey": "t"}, {"metadataKey": "u"}]
        await node.create_index(metadataConfiguration={"textSearchConfigurations": fields})
        await node.put(("a", [1, 0], {"t": "red bird"}), ("b", [2, 0], {"t": "blue bird"}), ("c", [3, 0]))
        await scenario(node)

    on_node(run)


def test_each_query_of_a_batch_is_answered_as_alone_by_vector_by_texts_or_by_both() -> None:
    async def scenario(node: Node) -> None:
        queries = [
            ORIGIN | {"topK": 2},
            {"queryTexts": asked(t="red"), "topK": 3},
            ORIGIN | {"queryTexts": asked(t="blue", u="bird"), "topK": 3},
            {"queryTexts": asked(t="bird"), "topK": 1, "filter": {"t": {"$ne": "red bird"}}},
        ]
        shown = {"returnDistance": True, "returnMetadata": True, "returnScores": True}
        body = await node.call("BatchQueryVectors", **NAMES, queries=queries, **shown, returnData=True)
        alone = [await node.call("QueryVectorsWithData", **NAMES, **query, **shown) for query in queries]
        assert [one["vectors"] for one in body["results"]] == [one["vectors"] for one in alone]
        found = [[row["key"] for row in one["vectors"]] for one in body["results"]]
        assert found == [["a", "b"], ["a"], ["b", "a", "c"], ["b"]]
        assert ["scores" in row for one in body["results"] for row in one["vectors"]] == [False] * 2 + [True] * 5
        bare = await node.call("BatchQueryVectors", **NAMES, queries=queries[1:2])
        assert bare["results"] == [{"vectors": [{"key": "a"}]}]

    with_texts(scenario)


def test_what_is_wrong_with_a_query_of_a_batch_is_named_by_its_place() -> None:
    async def scenario(node: Node) -> None:
        good = {"queryTexts": asked(t="red"), "topK": 1}
        for query, message, path in (
            (
                {"topK": 1},
                "At least one of queryVector and queryTexts must be specified",
                "queries[1].queryVector",
            ),
            (
                good | {"queryTexts": asked(t="red") * 2},
                "Each entry of queryTexts must have a distinct metadataKey",
                "queries[1].queryTexts[1].metadataKey",
            ),
            (
                good | {"queryTexts": asked(t="red", no="red")},
                "The metadata key 'no' is not configured for text search",
                "queries[1].queryTexts[1].metadataKey",
            ),
            (
                good | {"queryTexts": []},
                "1 validation error detected. Value with length 0 at '/queries/1/queryTexts' failed to satisfy "
                "constraint: Member must have length between 1 and 10, inclusive",
                "/queries/1/queryTexts",
            ),
        ):
            error = await node.fails("BatchQueryVectors", ValidationError, message, **NAMES, queries=[good, query])
            assert [field.path for field in error.fields] == [path]

    with_texts(scenario)
