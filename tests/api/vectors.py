"""What PutVectors, GetVectors, ListVectors and DeleteVectors do, through any client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
import pytest

from api.workbench import Workbench, invalid, record, refusal

FLT_MAX = 3.4028234663852886e38
KEYS = [
    "a", "A", " ", "\x00", "a\x00b", "\n", "/", "../../etc/passwd", "%2e%2e", "\u00e9", "e\u0301", "\ufeff",
    "\uffff", "\u202eabc", "\U0001f3f9", "\U0010ffff", "k" * 1024, "\u4e2d" * 341, "'; --", '"', "\\", "$and",
]  # fmt: skip
NESTED = "Metadata values must be strings, numbers, booleans, or arrays"
ELEMENT = "Metadata array values must be strings or numbers"
EMPTY = "Empty arrays are not allowed in metadata"


def commit_of(answer: dict[str, Any]) -> int:
    return int(answer["ResponseMetadata"]["HTTPHeaders"]["x-quiver-commit"])


def by_key(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {vector["key"]: vector for vector in answer["vectors"]}


class VectorContract:
    """Writing and reading vectors by key."""

    def test_what_is_put_can_be_got_at_once(self, bench: Workbench) -> None:
        client = bench.client
        names = bench.filled(record("a", [0.5, -2], {"s": "x", "n": 1, "f": 1.5, "b": True, "l": ["x", "x"]}))
        client.put_vectors(**names, vectors=[record("b", [3, 4])])
        everything = client.get_vectors(**names, keys=["b", "a", "c", "a"], returnData=True, returnMetadata=True)
        assert by_key(everything) == {
            "a": record("a", [0.5, -2], {"s": "x", "n": 1, "f": 1.5, "b": True, "l": ["x", "x"]}),
            "b": record("b", [3, 4], {}),
        }
        assert len(everything["vectors"]) == 2
        assert client.get_vectors(**names, keys=["b"])["vectors"] == [{"key": "b"}]
        assert client.get_vectors(**names, keys=["b"], returnData=True)["vectors"] == [record("b", [3, 4])]
        assert client.get_vectors(**names, keys=["b"], returnMetadata=True)["vectors"] == [
            {"key": "b", "metadata": {}}
        ]

    def test_a_put_replaces_vector_and_metadata(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2], {"old": 1}), record("b", [5, 5]))
        bench.client.put_vectors(**names, vectors=[record("a", [3, 4])])
        found = bench.client.get_vectors(**names, keys=["a"], returnData=True, returnMetadata=True)["vectors"]
        assert found == [record("a", [3, 4], {})]
        assert bench.nearest(names, [1, 2]) == ["a", "b"]
        assert bench.matching(names, {"old": 1}) == set()

    def test_of_one_key_twice_in_a_request_the_last_counts(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2], {"n": 1}), record("b", [0, 0]), record("a", [3, 4], {"n": 2}))
        found = bench.client.get_vectors(**names, keys=["a"], returnData=True, returnMetadata=True)["vectors"]
        assert found == [record("a", [3, 4], {"n": 2})]
        assert bench.keys(names) == {"a", "b"}

    def test_deleting(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2], {"n": 1}), record("b", [3, 4]))
        bench.client.delete_vectors(**names, keys=["a", "a", "unknown"])
        bench.client.delete_vectors(**names, keys=["a"])
        assert bench.client.get_vectors(**names, keys=["a", "b"])["vectors"] == [{"key": "b"}]
        assert bench.keys(names) == {"b"}
        assert bench.nearest(names, [1, 2]) == ["b"]
        assert bench.matching(names, {"n": 1}) == set()
        bench.client.put_vectors(**names, vectors=[record("a", [1, 2])])
        assert bench.nearest(names, [1, 2]) == ["a", "b"]

    def test_keys_of_any_unicode_stay_as_they_are(self, bench: Workbench) -> None:
        names = bench.filled(*(record(key, [n, 1], {"n": n}) for n, key in enumerate(KEYS)))
        assert bench.keys(names) == set(KEYS)
        found = by_key(bench.client.get_vectors(**names, keys=KEYS, returnMetadata=True))
        assert {key: vector["metadata"]["n"] for key, vector in found.items()} == {
            k: n for n, k in enumerate(KEYS)
        }
        assert bench.nearest(names, [0, 1], 100) == KEYS
        bench.client.delete_vectors(**names, keys=KEYS[1:])
        assert bench.keys(names) == {KEYS[0]}

    def test_keys_have_1_to_1024_characters_and_at_most_1024_bytes(self, bench: Workbench) -> None:
        names = bench.index()
        for key in ("", "k" * 1025):
            error = refusal(bench.client.put_vectors, **names, vectors=[record("a", [1, 2]), record(key, [1, 2])])
            assert error.fields[0][0] == "/vectors/1/key"
            assert error.message == (
                f"1 validation error detected. Value with length {len(key)} at '/vectors/1/key' failed to satisfy "
                "constraint: Member must have length between 1 and 1024, inclusive"
            )
        long = "\u4e2d" * 342
        for call, arguments in (
            (bench.client.put_vectors, {"vectors": [record(long, [1, 2])]}),
            (bench.client.get_vectors, {"keys": [long]}),
            (bench.client.delete_vectors, {"keys": [long]}),
        ):
            assert invalid(call, **names, **arguments) == "Record key length exceeds the maximum allowed"
        assert bench.keys(names) == set()

    @pytest.mark.parametrize(
        ("operation", "most"), [("put_vectors", 500), ("get_vectors", 100), ("delete_vectors", 500)]
    )
    def test_how_many_a_request_may_name(self, bench: Workbench, operation: str, most: int) -> None:
        names, call = bench.index(), getattr(bench.client, operation)
        member = "vectors" if operation == "put_vectors" else "keys"

        def some(count: int) -> dict[str, Any]:
            keys = [f"k{n}" for n in range(count)]
            return {member: [record(key, [1, 2]) for key in keys] if member == "vectors" else keys}

        call(**names, **some(most))
        for count in (0, most + 1):
            error = refusal(call, **names, **some(count))
            assert error.fields[0][0] == f"/{member}"
            assert error.message.endswith(f"Member must have length between 1 and {most}, inclusive")

    def test_one_bad_record_refuses_the_whole_request(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2]))
        good = [record("a", [9, 9]), record("b", [1, 2])]
        for bad in (record("K", [1, 2, 3]), record("K", [1, float("nan")]), record("K", [1, 2], {"n": None})):
            error = refusal(bench.client.put_vectors, **names, vectors=[*good, bad])
            assert error.message.startswith("Invalid record for key 'K': ")
            assert error.fields[0][0].startswith("vectors[2]")
        assert bench.client.get_vectors(**names, keys=["a", "b", "K"], returnData=True)["vectors"] == [
            record("a", [1, 2])
        ]

    def test_commits_increase(self, bench: Workbench) -> None:
        client, names = bench.client, bench.index()
        first = commit_of(client.put_vectors(**names, vectors=[record("a", [1, 2])]))
        second = commit_of(client.delete_vectors(**names, keys=["a"]))
        third = commit_of(client.put_vectors(**names, vectors=[record("b", [1, 2])]))
        assert 0 < first < second < third
        for answer in (
            client.get_vectors(**names, keys=["b"]),
            client.list_vectors(**names),
            client.query_vectors(**names, topK=1, queryVector={"float32": [1, 2]}),
        ):
            assert commit_of(answer) >= third


class NumberContract:
    """Which components a vector may have."""

    def test_components_are_rounded_to_float32(self, bench: Workbench) -> None:
        sent = [0.1, 1 / 3, -0.0, FLT_MAX, -FLT_MAX, 1.4e-45, 5e-324, 16777217, 1, -1e-50]
        names = bench.filled(record("a", sent), dimension=len(sent))
        found = bench.client.get_vectors(**names, keys=["a"], returnData=True)["vectors"][0]["data"]["float32"]
        assert np.array_equal(np.float32(found).view(np.uint32), np.float32(sent).view(np.uint32))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e39, -1e39, 3.40282357e38])
    def test_components_that_are_not_finite_in_float32(self, bench: Workbench, bad: float) -> None:
        names = bench.index()
        error = refusal(bench.client.put_vectors, **names, vectors=[record("K", [1, bad])])
        text = "Invalid record for key 'K': vector contains NaNs or Infs"
        assert error == ("ValidationException", 400, text, [("vectors[0]", text)])
        error = refusal(bench.client.query_vectors, **names, topK=1, queryVector={"float32": [1, bad]})
        assert error.message == "Query vector contains invalid values or is invalid for this index"
        assert [path for path, _ in error.fields] == ["vector"]

    @pytest.mark.parametrize("data", [[], [1], [1, 2, 3]])
    def test_wrong_dimensions(self, bench: Workbench, data: list[float]) -> None:
        names = bench.index()
        text = f"Invalid record for key 'K': vector must have length 2, but has length {len(data)}"
        error = refusal(bench.client.put_vectors, **names, vectors=[record("K", data)])
        assert error == ("ValidationException", 400, text, [("vectors[0]", text)])
        error = refusal(bench.client.query_vectors, **names, topK=1, queryVector={"float32": data})
        assert error.message == "Query vector contains invalid values or is invalid for this index"

    @pytest.mark.parametrize("zero", [[0, 0], [0.0, -0.0], [1e-50, -1e-50]])
    def test_cosine_has_no_place_for_zero_vectors(self, bench: Workbench, zero: list[float]) -> None:
        names = bench.index(metric="cosine")
        fault = "cosine distance does not support vectors with zero norm"
        error = refusal(bench.client.put_vectors, **names, vectors=[record("K", zero)])
        assert error.message == f"Invalid record for key 'K': {fault}"
        assert error.fields[0][0] == "vectors[0]"
        error = refusal(bench.client.query_vectors, **names, topK=1, queryVector={"float32": zero})
        assert error.message == "Query vector contains invalid values or is invalid for this index"
        assert error.fields == [("vector", f"Invalid input: {fault}")]

    def test_euclidean_has(self, bench: Workbench) -> None:
        names = bench.filled(record("zero", [0, 0]), record("one", [1, 0]))
        assert bench.nearest(names, [0, 0]) == ["zero", "one"]

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_distances_of_extreme_vectors_are_numbers(self, bench: Workbench, metric: str) -> None:
        vectors = {"max": [FLT_MAX, FLT_MAX], "min": [-FLT_MAX, -FLT_MAX], "tiny": [1.4e-45, 1.4e-45]}
        names = bench.filled(*(record(key, vector) for key, vector in vectors.items()), metric=metric)
        for vector in vectors.values():
            hits = bench.client.query_vectors(
                **names, topK=3, queryVector={"float32": vector}, returnDistance=True
            )["vectors"]
            assert len(hits) == 3
            distances = [hit["distance"] for hit in hits]
            assert np.isfinite(distances).all()
            assert distances == sorted(distances)
            assert distances[0] == pytest.approx(0, abs=1e-5)


class MetadataContract:
    """Which metadata a vector may have."""

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"": "empty key", "$and": 1, "a.b": 2, "_private": 3, "k" * 1024: 4},
            {"s": "", "n": 0, "f": -1.5, "t": True, "i": 2**63 - 1, "j": -(2**63), "e": 1e300},
            {"l": ["a", "a", ""], "m": [1, 2.5, -3]},
            {"unicode": "\u00e9\U0001f600\x00\u202e", "\U0001f600": "key"},
            {f"k{n}": n for n in range(50)},
        ],
    )
    def test_metadata_come_back_as_they_were_put(self, bench: Workbench, metadata: dict[str, Any]) -> None:
        names = bench.filled(record("a", [1, 2], metadata))
        found = bench.client.get_vectors(**names, keys=["a"], returnMetadata=True)["vectors"][0]["metadata"]
        assert found == metadata
        assert {key: type(value) for key, value in found.items()} == {k: type(v) for k, v in metadata.items()}

    @pytest.mark.parametrize("key", ["f", "hidden"], ids=["filterable", "non-filterable"])
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, NESTED),
            ({}, NESTED),
            ({"a": 1}, NESTED),
            ([], EMPTY),
            ([1, "a"], ELEMENT),
            ([True], ELEMENT),
            ([None], ELEMENT),
            ([[1]], ELEMENT),
            ([{}], ELEMENT),
        ],
    )
    def test_values_that_are_refused(self, bench: Workbench, key: str, value: Any, text: str) -> None:
        names = bench.index(metadataConfiguration={"nonFilterableMetadataKeys": ["hidden"]})
        error = refusal(bench.client.put_vectors, **names, vectors=[record("K", [1, 2], {key: value})])
        message = f"Invalid record for key 'K': {text}"
        assert error == ("ValidationException", 400, message, [("vectors[0].metadata", message)])

    @pytest.mark.parametrize("metadata", ["text", 1, True, ["a"], []])
    def test_metadata_are_an_object(self, bench: Workbench, metadata: Any) -> None:
        assert "Metadata must be a JSON object" in invalid(
            bench.client.put_vectors, **bench.index(), vectors=[record("K", [1, 2], metadata)]
        )

    @pytest.mark.parametrize(
        ("key", "value", "excess"),
        [
            ("f", "x" * 2035, "x"),
            ("0123456789", "x" * 2026, "x"),
            ("f", "\u00e9" * 1017, "\u00e9"),
        ],
    )
    def test_filterable_metadata_have_2048_bytes(
        self, bench: Workbench, key: str, value: str, excess: str
    ) -> None:
        names = bench.filled(record("a", [1, 2], {key: value}))
        error = refusal(bench.client.put_vectors, **names, vectors=[record("K", [1, 2], {key: value + excess})])
        message = "Invalid record for key 'K': Filterable metadata must have at most 2048 bytes"
        assert error == ("ValidationException", 400, message, [("vectors[0].metadata", message)])

    def test_all_metadata_have_40960_bytes(self, bench: Workbench) -> None:
        names = bench.index(metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
        bench.client.put_vectors(**names, vectors=[record("a", [1, 2], {"text": "x" * 40_944})])
        message = invalid(bench.client.put_vectors, **names, vectors=[record("K", [1, 2], {"text": "x" * 40_945})])
        assert message == "Invalid record for key 'K': Metadata object must have at most 40960 bytes"
        found = bench.client.get_vectors(**names, keys=["a"], returnMetadata=True)["vectors"][0]["metadata"]
        assert len(found["text"]) == 40_944

    def test_at_most_50_keys(self, bench: Workbench) -> None:
        metadata = {f"k{n}": 1 for n in range(51)}
        assert invalid(bench.client.put_vectors, **bench.index(), vectors=[record("K", [1, 2], metadata)]) == (
            "Invalid record for key 'K': Metadata object must have at most 50 keys"
        )

    def test_half_a_surrogate_pair_is_no_text(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2]))
        for bad in (
            record("\ud800", [1, 2]),
            record("a", [3, 4], {"k": "\udc00"}),
            record("a", [3, 4], {"\ud800": 1}),
        ):
            error = refusal(bench.client.put_vectors, **names, vectors=[record("b", [1, 2]), bad])
            assert error[:2] == ("SerializationException", 400)
        assert bench.keys(names) == {"a"}


class ListingContract:
    """ListVectors: pages, segments, sizes."""

    def test_pages_hold_everything_once(self, bench: Workbench) -> None:
        names, keys = bench.index(), {f"k{n}" for n in range(1200)}
        for start in range(0, 1200, 400):
            vectors = [record(f"k{n}", [n, 1], {"n": n}) for n in range(start, start + 400)]
            bench.client.put_vectors(**names, vectors=vectors)
        assert [len(p["vectors"]) for p in self._pages(bench, names)] == [500, 500, 200]
        pages = self._pages(bench, names, returnData=True, returnMetadata=True, PaginationConfig={"PageSize": 350})
        assert [len(page["vectors"]) for page in pages] == [350, 350, 350, 150]
        listed = [vector for page in pages for vector in page["vectors"]]
        assert {vector["key"] for vector in listed} == keys
        assert all(v == record(v["key"], [int(v["key"][1:]), 1], {"n": int(v["key"][1:])}) for v in listed)
        assert len(self._pages(bench, names, PaginationConfig={"PageSize": 1000})) == 2

    def _pages(self, bench: Workbench, names: dict[str, str], **more: Any) -> list[dict[str, Any]]:
        return list(bench.client.get_paginator("list_vectors").paginate(**names, **more))

    @pytest.mark.parametrize("count", [1, 2, 7, 16])
    def test_segments_in_parallel_hold_everything_once(self, bench: Workbench, count: int) -> None:
        names = bench.filled(*(record(f"k{n}", [n, 1]) for n in range(500)))

        def walk(segment: int) -> list[str]:
            arguments = {"segmentCount": count, "segmentIndex": segment, "PaginationConfig": {"PageSize": 20}}
            return [vector["key"] for page in self._pages(bench, names, **arguments) for vector in page["vectors"]]

        with ThreadPoolExecutor(4) as threads:
            segments = list(threads.map(walk, range(count)))
        assert sorted(chain.from_iterable(segments)) == sorted(f"k{n}" for n in range(500))
        assert all(segments)

    @pytest.mark.parametrize(
        ("arguments", "path"),
        [
            ({"segmentCount": 2}, None),
            ({"segmentIndex": 0}, None),
            ({"segmentCount": 2, "segmentIndex": 2}, "segmentIndex"),
            ({"segmentCount": 17, "segmentIndex": 0}, "/segmentCount"),
            ({"segmentCount": 0, "segmentIndex": 0}, "/segmentCount"),
            ({"segmentCount": 16, "segmentIndex": 16}, "/segmentIndex"),
            ({"maxResults": 0}, "/maxResults"),
            ({"maxResults": 1001}, "/maxResults"),
            ({"nextToken": ""}, "/nextToken"),
            ({"nextToken": "x" * 2049}, "/nextToken"),
            ({"nextToken": "x"}, "nextToken"),
        ],
    )
    def test_arguments_out_of_range(self, bench: Workbench, arguments: dict[str, Any], path: str | None) -> None:
        error = refusal(bench.client.list_vectors, **bench.index(), **arguments)
        assert error[:2] == ("ValidationException", 400)
        assert [field for field, _ in error.fields] == ([] if path is None else [path])

    def test_a_page_ends_at_a_megabyte(self, bench: Workbench) -> None:
        names = bench.index(metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
        vectors = [record(f"k{n}", [n, 1], {"text": "x" * 40_000}) for n in range(60)]
        bench.client.put_vectors(**names, vectors=vectors)
        pages = self._pages(bench, names, returnMetadata=True)
        sizes = [len(page["vectors"]) for page in pages]
        assert sum(sizes) == 60
        assert len(pages) >= 3
        assert all(20 <= size <= 30 for size in sizes[:-1])

    def test_a_token_fits_its_index_and_segment_only(self, bench: Workbench) -> None:
        names, other = (bench.filled(*(record(f"k{n}", [n, 1]) for n in range(20))) for _ in range(2))
        first = {"segmentCount": 2, "segmentIndex": 0}
        token = bench.client.list_vectors(**names, **first, maxResults=2)["nextToken"]
        assert bench.client.list_vectors(**names, **first, nextToken=token)["vectors"]
        swapped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
        for arguments in (
            names | first | {"nextToken": swapped},
            names | {"segmentCount": 2, "segmentIndex": 1, "nextToken": token},
            names | {"segmentCount": 4, "segmentIndex": 0, "nextToken": token},
            names | {"nextToken": token},
            other | first | {"nextToken": token},
        ):
            assert invalid(bench.client.list_vectors, **arguments) == "Invalid page token"
