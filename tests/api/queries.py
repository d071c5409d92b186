"""What QueryVectors does, through any client: ranking, pages and filters."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
import pytest

from api.workbench import Workbench, invalid, record, refusal

DOCUMENTS: dict[str, dict[str, Any]] = {
    "text": {"s": "abc", "tags": ["x", "y"]},
    "number": {"n": 1, "s": "ABC"},
    "float": {"n": 2.5, "tags": ["y"]},
    "flag": {"b": True, "n": -1},
    "digits": {"n": "1", "b": "true"},
    "list": {"n": [1, 10], "": "x"},
    "dots": {"a.b": 1, "s": "abcd"},
    "none": {},
}
EVERY = set(DOCUMENTS)

ACCEPTED: list[tuple[dict[str, Any], set[str]]] = [
    ({"s": "abc"}, {"text"}),
    ({"n": 1}, {"number", "list"}),
    ({"n": 1.0}, {"number", "list"}),
    ({"n": "1"}, {"digits"}),
    ({"b": True}, {"flag"}),
    ({"b": "true"}, {"digits"}),
    ({"n": {"$eq": 2.5}}, {"float"}),
    ({"tags": "y"}, {"text", "float"}),
    ({"tags": {"$eq": "z"}}, set()),
    ({"n": {"$ne": 1}}, EVERY - {"number", "list"}),
    ({"tags": {"$ne": "x"}}, EVERY - {"text"}),
    ({"n": {"$gt": 1}}, {"float", "list"}),
    ({"n": {"$gte": 1}}, {"number", "float", "list"}),
    ({"n": {"$lt": 0}}, {"flag"}),
    ({"n": {"$lte": -1.0}}, {"flag"}),
    ({"n": {"$gte": 0, "$lte": 2}}, {"number", "list"}),
    ({"n": {"$in": [1, "1", True, 2.5]}}, {"number", "digits", "float", "list"}),
    ({"tags": {"$in": ["x", "z"]}}, {"text"}),
    ({"n": {"$nin": [1, 2.5]}}, EVERY - {"number", "float", "list"}),
    ({"n": {"$exists": True}}, {"number", "float", "flag", "digits", "list"}),
    ({"n": {"$exists": False}}, {"text", "dots", "none"}),
    ({"s": {"$startsWith": "ab"}}, {"text", "dots"}),
    ({"tags": {"$startsWith": "y"}}, {"text", "float"}),
    ({"s": {"$startsWith": ""}}, {"text", "number", "dots"}),
    ({"": "x"}, {"list"}),
    ({"a.b": {"$gte": 1}}, {"dots"}),
    ({"unknown": 1}, set()),
    ({"$and": [{"n": 1}, {"s": {"$exists": True}}]}, {"number"}),
    ({"$or": [{"n": 1}, {"tags": "y"}]}, {"number", "list", "text", "float"}),
    ({"$and": [{"$or": [{"n": 1}, {"n": 2.5}]}, {"$or": [{"tags": "y"}, {"": "x"}]}]}, {"float", "list"}),
    ({"$and": [{"n": 1}]}, {"number", "list"}),
    ({"n": {"$in": list(range(100))}}, {"number", "list"}),
    ({"$or": [{"n": {"$in": list(range(50))}}, {"n": {"$in": list(range(50))}}]}, {"number", "list"}),
]

REFUSED: list[Any] = [
    {},
    {"a": 1, "b": 2},
    {"$and": [{"a": 1}], "$or": [{"b": 2}]},
    {"$and": [{"a": 1, "b": 2}]},
    {"$or": [{"a": 1, "b": 2}]},
    {"$and": [{"a": 1}], "b": 2},
    {"a": {}},
    {"a": {"x": 1}},
    {"a": {"$eq": 1, "x": 1}},
    {"a": {"$and": [{"b": 1}]}},
    {"a": {"$or": [{"$eq": 1}]}},
    {"$and": [{}]},
    {"$and": ["x"]},
    {"$and": []},
    {"$or": []},
    {"$and": {"a": 1}},
    {"$or": "x"},
    {"$not": {"a": 1}},
    {"$nor": [{"a": 1}]},
    {"a": {"$not": 1}},
    {"a": {"$regex": "x"}},
    {"a": {"$all": ["x"]}},
    {"a": {"$contains": "x"}},
    {"a": {"$In": [1]}},
    {"a": None},
    {"a": [1]},
    {"a": {"$eq": None}},
    {"a": {"$eq": [1]}},
    {"a": {"$eq": {}}},
    {"a": {"$ne": None}},
    {"a": {"$ne": [1]}},
    {"a": {"$in": []}},
    {"a": {"$in": "a"}},
    {"a": {"$in": [None]}},
    {"a": {"$in": [["a"]]}},
    {"a": {"$nin": []}},
    {"a": {"$nin": 1}},
    {"a": {"$nin": [{}]}},
    {"a": {"$gt": "1"}},
    {"a": {"$gte": True}},
    {"a": {"$lt": None}},
    {"a": {"$lte": [1]}},
    {"a": {"$exists": "true"}},
    {"a": {"$exists": 1}},
    {"a": {"$startsWith": 1}},
    {"a": {"$startsWith": ["x"]}},
    "a",
    1,
    True,
    [{"a": 1}],
    [],
]


class FilterContract:
    """The filter language: what it finds, and what it refuses. `documents` is an index of `DOCUMENTS`."""

    @pytest.mark.parametrize(("condition", "expected"), ACCEPTED, ids=[repr(tree)[:60] for tree, _ in ACCEPTED])
    def test_accepted(
        self, documents: tuple[Workbench, dict[str, str]], condition: dict[str, Any], expected: set[str]
    ) -> None:
        bench, names = documents
        assert bench.matching(names, condition) == expected

    @pytest.mark.parametrize("condition", REFUSED, ids=repr)
    def test_refused(self, documents: tuple[Workbench, dict[str, str]], condition: Any) -> None:
        bench, names = documents
        error = refusal(
            bench.client.query_vectors, **names, topK=1, queryVector={"float32": [1, 1]}, filter=condition
        )
        assert error == ("ValidationException", 400, "Invalid filter", [("filter", "Invalid filter")])

    @pytest.mark.parametrize(
        "condition",
        [
            {"n": {"$in": list(range(101))}},
            {"$or": [{"n": n} for n in range(101)]},
            {"$and": [{"n": {"$gt": n, "$lt": n + 5}} for n in range(51)]},
        ],
        ids=["in", "or", "ranges"],
    )
    def test_at_most_100_constraints(
        self, documents: tuple[Workbench, dict[str, str]], condition: dict[str, Any]
    ) -> None:
        bench, names = documents
        assert (
            invalid(bench.client.query_vectors, **names, topK=1, queryVector={"float32": [1, 1]}, filter=condition)
            == "Invalid filter: more than 100 constraints"
        )

    @pytest.mark.parametrize("leaf", [{"n": 1}, {"n": {"$gte": 1, "$lt": 2}}, {"n": {"$in": [1, 2]}}], ids=repr)
    def test_at_most_16_levels(self, documents: tuple[Workbench, dict[str, str]], leaf: dict[str, Any]) -> None:
        bench, names = documents
        condition = leaf
        for level in range(15):
            condition = {"$and" if level % 2 else "$or": [condition]}
        assert bench.matching(names, condition) == {"number", "list"}
        query = names | {"topK": 1, "queryVector": {"float32": [1, 1]}}
        error = refusal(bench.client.query_vectors, **query, filter={"$or": [condition]})
        assert error.status == 400
        assert error.code in ("ValidationException", "SerializationException")  # the latter where JSON is parsed

    @pytest.mark.parametrize(
        "condition", [{"hidden": "x"}, {"hidden": {"$exists": True}}, {"$or": [{"n": 1}, {"hidden": 1}]}]
    )
    def test_non_filterable_keys(
        self, documents: tuple[Workbench, dict[str, str]], condition: dict[str, Any]
    ) -> None:
        bench, names = documents
        error = refusal(
            bench.client.query_vectors, **names, topK=1, queryVector={"float32": [1, 1]}, filter=condition
        )
        text = "Invalid use of non-filterable metadata in filter"
        assert error == ("ValidationException", 400, text, [("filter", text)])


class QueryContract:
    """Ranking, distances and pages."""

    def test_the_nearest_come_first_with_what_was_asked_for(self, bench: Workbench) -> None:
        names = bench.filled(record("far", [9, 9], {"n": 2}), record("near", [1, 2], {"n": 1}))
        query = names | {"topK": 5, "queryVector": {"float32": [1, 1]}}
        answer = bench.client.query_vectors(**query, returnDistance=True, returnMetadata=True)
        assert answer["vectors"] == [
            {"key": "near", "distance": 1.0, "metadata": {"n": 1}},
            {"key": "far", "distance": pytest.approx(math.sqrt(128)), "metadata": {"n": 2}},
        ]
        assert answer["distanceMetric"] == "euclidean"
        assert "nextToken" not in answer
        assert bench.client.query_vectors(**query)["vectors"] == [{"key": "near"}, {"key": "far"}]
        assert bench.client.query_vectors(**query | {"topK": 1})["vectors"] == [{"key": "near"}]

    def test_euclidean_distance_is_the_root(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [2, 2, 2]), record("b", [1, 1, 2]), dimension=3)
        hits = bench.client.query_vectors(
            **names, topK=2, queryVector={"float32": [1, 1, 1]}, returnDistance=True
        )["vectors"]
        assert [(hit["key"], hit["distance"]) for hit in hits] == [("b", 1.0), ("a", 1.7320507764816284)]

    def test_cosine_distance_is_one_minus_the_cosine(self, bench: Workbench) -> None:
        vectors = {"same": [2, 2, 2], "close": [1, 1, 2], "across": [1, -1, 0], "opposite": [-1, -1, -1]}
        names = bench.filled(*(record(k, v) for k, v in vectors.items()), dimension=3, metric="cosine")
        answer = bench.client.query_vectors(
            **names, topK=4, queryVector={"float32": [1, 1, 1]}, returnDistance=True
        )
        assert answer["distanceMetric"] == "cosine"
        assert {hit["key"]: hit["distance"] for hit in answer["vectors"]} == {
            "same": pytest.approx(0, abs=1e-5),
            "close": pytest.approx(0.05719095841050148, abs=1e-5),
            "across": pytest.approx(1, abs=1e-5),
            "opposite": pytest.approx(2, abs=1e-5),
        }
        assert [hit["key"] for hit in answer["vectors"]] == list(vectors)

    def test_ties_rank_by_key(self, bench: Workbench) -> None:
        names = bench.filled(*(record(key, [1, 0]) for key in "dacb"))
        assert bench.nearest(names, [0, 0]) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(
        ("top_k", "ok"), [(1, True), (10_000, True), (0, False), (-1, False), (10_001, False)]
    )
    def test_top_k_is_1_to_10000(self, bench: Workbench, top_k: int, ok: bool) -> None:
        names = bench.filled(record("a", [1, 2]))
        if ok:
            assert bench.nearest(names, [1, 2], top_k) == ["a"]
            return
        message = invalid(bench.client.query_vectors, **names, topK=top_k, queryVector={"float32": [1, 2]})
        assert message.startswith("1 validation error detected. Value at '/topK' failed to satisfy constraint: ")

    def test_what_a_query_needs(self, bench: Workbench) -> None:
        names = bench.index()
        assert invalid(bench.client.query_vectors, **names, queryVector={"float32": [1, 2]}) == (
            "1 validation error detected. Value at '/topK' failed to satisfy constraint: Member must not be null"
        )
        assert refusal(bench.client.query_vectors, **names, topK=1).fields[0][0] == "queryVector"

    def test_a_query_goes_on_in_pages_of_100(self, bench: Workbench) -> None:
        names = bench.filled(*(record(f"k{n:03}", [n, 0], {"even": n % 2 == 0}) for n in range(450)))
        query = names | {"queryVector": {"float32": [0, 0]}}

        def pages(**more: Any) -> list[list[str]]:
            found = bench.client.get_paginator("query_vectors").paginate(**query, **more)
            return [[hit["key"] for hit in page["vectors"]] for page in found]

        assert [len(page) for page in pages(topK=100)] == [100]
        assert [len(page) for page in pages(topK=101)] == [100, 1]
        assert [len(page) for page in pages(topK=1000)] == [100, 100, 100, 100, 50]
        assert list(chain.from_iterable(pages(topK=449))) == [f"k{n:03}" for n in range(449)]
        assert list(chain.from_iterable(pages(topK=1000, filter={"even": True}))) == [
            f"k{n:03}" for n in range(0, 450, 2)
        ]

    def test_a_query_token_fits_its_query_only(self, bench: Workbench) -> None:
        names, other = (bench.filled(*(record(f"k{n}", [n, 0]) for n in range(150))) for _ in range(2))
        query = {"topK": 150, "queryVector": {"float32": [0, 0]}, "filter": {"n": {"$exists": False}}}
        token = bench.client.query_vectors(**names, **query)["nextToken"]
        rest = bench.client.query_vectors(**names, **query, nextToken=token, returnDistance=True)
        assert [hit["distance"] for hit in rest["vectors"]] == list(range(100, 150))
        assert "nextToken" not in rest
        swapped = ("A" if token[0] != "A" else "B") + token[1:]
        for change in (
            {"topK": 151},
            {"queryVector": {"float32": [0, 1]}},
            {"filter": {"n": {"$exists": True}}},
            {"filter": None},
            other,
            {"nextToken": swapped},
            {"nextToken": token + "A"},
        ):
            arguments = names | query | {"nextToken": token} | change
            assert invalid(bench.client.query_vectors, **arguments) == "Invalid page token"

    @pytest.mark.slow
    def test_the_nearest_10000_of_12000(self, bench: Workbench) -> None:
        rng = np.random.default_rng(1)
        matrix = rng.standard_normal((12_000, 4)).astype(np.float32)
        names = bench.index(4, "cosine")
        for start in range(0, 12_000, 500):
            vectors = [record(f"k{n}", matrix[n].tolist()) for n in range(start, start + 500)]
            bench.client.put_vectors(**names, vectors=vectors)
        query = np.float32([1, 2, 3, 4])
        pages = bench.client.get_paginator("query_vectors").paginate(
            **names, topK=10_000, queryVector={"float32": query.tolist()}, returnDistance=True
        )
        hits = [hit for page in pages for hit in page["vectors"]]
        exact = matrix.astype(np.float64)
        exact = 1 - exact @ query / (np.linalg.norm(exact, axis=1) * np.linalg.norm(query))
        assert len({hit["key"] for hit in hits}) == 10_000
        found = np.array([hit["distance"] for hit in hits])
        assert np.all(np.diff(found) >= 0)
        assert np.abs(found - np.sort(exact)[:10_000]).max() < 1e-6
        assert np.abs(found - exact[[int(hit["key"][1:]) for hit in hits]]).max() < 1e-6
