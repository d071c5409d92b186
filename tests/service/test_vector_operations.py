"""Writing, reading and listing vectors through the service: answers, pages, and every error that concerns them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.model.errors import SerializationError, ValidationError
from service.deployment import NAMES, Deployment, on_node, record

if TYPE_CHECKING:
    from service.deployment import Node

INVALID_TOKEN = "Invalid page token"


def with_index(scenario: Any, **index: Any) -> None:
    """Run a scenario on a node with the index of `NAMES`."""

    async def run(node: Node) -> None:
        await node.create_index(**index)
        await scenario(node)

    on_node(run)


async def get(node: Node, *keys: str, data: bool = True, metadata: bool = True) -> dict[str, Any]:
    """Vectors by key, each without its key."""
    body = await node.call("GetVectors", **NAMES, keys=list(keys), returnData=data, returnMetadata=metadata)
    found = {vector.pop("key"): vector for vector in body["vectors"]}
    assert len(found) == len(body["vectors"])
    return found


def test_what_was_put_is_got() -> None:
    async def scenario(node: Node) -> None:
        metadata = {"s": "é", "n": 1, "f": 1.5, "b": True, "l": ["x", "y"], "": 0, "$a.b": -1}
        await node.put(("one", [1, 0.1], metadata), ("two", np.array([3, 4], np.float32)), ("three", [5, 6], {}))
        tenth = float(np.float32(0.1))
        found = await get(node, "three", "two", "one")
        assert np.float32(found["one"]["data"]["float32"][1]) == np.float32(tenth)
        assert found["one"]["metadata"] == metadata
        assert found["two"] == {"data": {"float32": [3, 4]}, "metadata": {}}
        assert found["three"]["metadata"] == {}

    with_index(scenario)


def test_members_are_returned_only_when_asked_for() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [1, 2], {"a": 1}))
        assert await get(node, "k", data=False, metadata=False) == {"k": {}}
        assert await get(node, "k", metadata=False) == {"k": {"data": {"float32": [1, 2]}}}
        assert await get(node, "k", data=False) == {"k": {"metadata": {"a": 1}}}
        assert (await node.call("ListVectors", **NAMES))["vectors"] == [{"key": "k"}]
        assert (await node.call("ListVectors", **NAMES, returnData=True, returnMetadata=True))["vectors"] == [
            {"key": "k", "data": {"float32": [1, 2]}, "metadata": {"a": 1}}
        ]

    with_index(scenario)


def test_a_put_replaces_vector_and_metadata_whole() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [1, 2], {"a": 1, "b": 2}))
        await node.put(("k", [3, 4]))
        assert await get(node, "k") == {"k": {"data": {"float32": [3, 4]}, "metadata": {}}}

    with_index(scenario)


def test_of_one_key_in_a_batch_the_last_record_counts() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [1, 1], {"n": 1}), ("l", [5, 5]), ("k", [2, 2], {"n": 2}))
        assert await get(node, "k", "l") == {
            "k": {"data": {"float32": [2, 2]}, "metadata": {"n": 2}},
            "l": {"data": {"float32": [5, 5]}, "metadata": {}},
        }

    with_index(scenario)


def test_unknown_keys_are_left_out_and_repeated_keys_collapse() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [1, 2]))
        assert (await get(node, "k", "unknown", "k")).keys() == {"k"}
        assert await get(node, "unknown") == {}

    with_index(scenario)


def test_deleting_ignores_unknown_keys() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [1, 2]), ("l", [1, 2]))
        assert await node.call("DeleteVectors", **NAMES, keys=["k", "unknown", "k"]) == {}
        assert await get(node, "k", "l", data=False, metadata=False) == {"l": {}}

    with_index(scenario)


def test_every_answer_about_vectors_carries_the_commit_it_was_computed_at() -> None:
    async def scenario(node: Node) -> None:
        operations = [
            ("PutVectors", {"vectors": [record("k", [1, 2])]}, 1),
            ("GetVectors", {"keys": ["k"]}, 1),
            ("DeleteVectors", {"keys": ["k"]}, 2),
            ("ListVectors", {}, 2),
            ("QueryVectors", {"topK": 1, "queryVector": {"float32": [1, 2]}}, 2),
        ]
        for operation, params, commit in operations:
            assert (await node.service.call(operation, NAMES | params)).commit == commit
        assert (await node.service.call("GetIndex", dict(NAMES))).commit is None

    with_index(scenario)


BAD = "Invalid record for key 'bad': "
NOT_FINITE = f"{BAD}vector contains NaNs or Infs"
BAD_RECORDS = [
    (record("bad", [1]), f"{BAD}vector must have length 2, but has length 1"),
    (record("bad", [1, "NaN"]), NOT_FINITE),
    (record("bad", [1, "-Infinity"]), NOT_FINITE),
    (record("bad", [1, 1e39]), NOT_FINITE),
    (record("bad", [0, 0]), f"{BAD}cosine distance does not support vectors with zero norm"),
    (record("bad", [1, 1], {"n": None}), f"{BAD}Metadata values must be strings, numbers, booleans, or arrays"),
    (record("bad", [1, 1], {"n": {}}), f"{BAD}Metadata values must be strings, numbers, booleans, or arrays"),
    (record("bad", [1, 1], {"n": [True]}), f"{BAD}Metadata array values must be strings or numbers"),
    (record("bad", [1, 1], {"n": []}), f"{BAD}Empty arrays are not allowed in metadata"),
    (record("bad", [1, 1], {str(n): 1 for n in range(51)}), f"{BAD}Metadata object must have at most 50 keys"),
    (record("bad", [1, 1], {"f": "x" * 2036}), f"{BAD}Filterable metadata must have at most 2048 bytes"),
    (record("bad", [1, 1], {"text": "x" * 40_945}), f"{BAD}Metadata object must have at most 40960 bytes"),
    (record("\u00e9" * 1000, [1, 1]), "Record key length exceeds the maximum allowed"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_RECORDS)
def test_one_bad_record_refuses_the_whole_request(bad: dict[str, Any], message: str) -> None:
    async def scenario(node: Node) -> None:
        vectors = [record("good", [1, 2]), bad]
        error = await node.fails("PutVectors", ValidationError, message, **NAMES, vectors=vectors)
        assert error.fields[0].path.startswith("vectors[1]")
        assert (await node.call("ListVectors", **NAMES))["vectors"] == []

    with_index(scenario, metric="cosine", metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})


def test_a_euclidean_index_takes_zero_vectors_and_large_non_filterable_text() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("k", [0, 0], {"text": "x" * 40_944}))
        assert len((await get(node, "k"))["k"]["metadata"]["text"]) == 40_944

    with_index(scenario, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})


@pytest.mark.parametrize("operation", ["GetVectors", "DeleteVectors"])
def test_a_key_may_have_1024_bytes_and_no_more(operation: str) -> None:
    async def scenario(node: Node) -> None:
        key = "\u00e9" * 512
        await node.put((key, [1, 2]))
        assert (await get(node, key)).keys() == {key}
        message = "Record key length exceeds the maximum allowed"
        await node.fails(operation, ValidationError, message, **NAMES, keys=[key, key + "x"])

    with_index(scenario)


def test_half_a_surrogate_pair_is_refused() -> None:
    async def scenario(node: Node) -> None:
        for params in (record("\ud800", [1, 2]), record("k", [1, 2], {"a": "\ud800"})):
            with pytest.raises(SerializationError):
                await node.service.call("PutVectors", {**NAMES, "vectors": [params]})

    with_index(scenario)


# ---------------------------------------------------------------- listing


async def fill(node: Node, count: int, prefix: str = "base") -> set[str]:
    keys = [f"{prefix}-{n}" for n in range(count)]
    for start in range(0, count, 500):
        await node.put(*((key, [n, 1], {"n": n}) for n, key in enumerate(keys[start : start + 500])))
    return set(keys)


def keys_of(pages: list[list[dict[str, Any]]]) -> list[str]:
    return [vector["key"] for page in pages for vector in page]


def test_a_page_has_500_vectors_unless_the_request_says_otherwise() -> None:
    async def scenario(node: Node) -> None:
        keys = await fill(node, 1001)
        pages = await node.pages("ListVectors", "vectors", **NAMES)
        assert [len(page) for page in pages] == [500, 500, 1]
        assert sorted(keys_of(pages)) == sorted(keys)
        pages = await node.pages("ListVectors", "vectors", **NAMES, maxResults=1000)
        assert [len(page) for page in pages] == [1000, 1]

    with_index(scenario)


def test_a_page_ends_at_a_megabyte() -> None:
    async def scenario(node: Node) -> None:
        text = {"text": "x" * 40_000}
        await node.put(*((f"k{n}", [1, 2], text) for n in range(40)))
        pages = await node.pages("ListVectors", "vectors", **NAMES)
        assert [len(page) for page in pages] == [27, 13]

    with_index(scenario, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})


def test_no_token_follows_a_page_that_ends_exactly_at_the_end() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 10)
        pages = await node.pages("ListVectors", "vectors", **NAMES, maxResults=5)
        assert [len(page) for page in pages] == [5, 5]

    with_index(scenario)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 16), st.data())
def test_all_segments_drained_while_others_write_list_each_key_once(count: int, data: st.DataObject) -> None:
    async def run() -> None:
        node = await Deployment().node()
        await node.create_index()
        keys = await fill(node, 120)
        listed: list[str] = []
        for segment in range(count):
            params: dict[str, Any] = {"segmentCount": count, "segmentIndex": segment}
            while True:
                size = data.draw(st.integers(1, 50))
                body = await node.call("ListVectors", **NAMES, **params, maxResults=size)
                assert len(body["vectors"]) <= size
                listed += [vector["key"] for vector in body["vectors"]]
                if "nextToken" not in body:
                    break
                params["nextToken"] = body["nextToken"]
                await fill(node, 5, data.draw(st.sampled_from("abcdef")))
        assert len(listed) == len(set(listed))
        assert {key for key in listed if key.startswith("base")} == keys

    asyncio.run(run())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"segmentCount": 2}, "Must specify either both segmentCount and segmentIndex or neither"),
        ({"segmentIndex": 0}, "Must specify either both segmentCount and segmentIndex or neither"),
        ({"segmentCount": 2, "segmentIndex": 2}, "segmentIndex must be less than segmentCount"),
        (
            {"maxResults": 1001},
            "1 validation error detected. Value at '/maxResults' failed to satisfy constraint: "
            "Member must be between 1 and 1000, inclusive",
        ),
        ({"nextToken": "nonsense"}, INVALID_TOKEN),
    ],
)
def test_a_bad_listing_is_refused(params: dict[str, Any], message: str) -> None:
    with_index(lambda node: node.fails("ListVectors", ValidationError, message, **NAMES, **params))


def test_a_token_fits_only_its_index_and_segment() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 30)
        other = NAMES | {"indexName": "other"}
        await node.call("CreateIndex", **other, dataType="float32", dimension=2, distanceMetric="euclidean")
        token = (await node.call("ListVectors", **NAMES, maxResults=1))["nextToken"]
        refused = [
            (other, {}),
            (NAMES, {"segmentCount": 2, "segmentIndex": 0}),
            (NAMES, {"segmentCount": 2, "segmentIndex": 1}),
        ]
        for names, params in refused:
            await node.fails("ListVectors", ValidationError, INVALID_TOKEN, **names, **params, nextToken=token)
        await node.fails(
            "QueryVectors",
            ValidationError,
            INVALID_TOKEN,
            **NAMES,
            topK=1,
            queryVector={"float32": [1, 1]},
            nextToken=token,
        )
        rest = await node.call("ListVectors", **NAMES, segmentCount=1, segmentIndex=0, nextToken=token)
        assert len(rest["vectors"]) == 29

    with_index(scenario)


def test_a_token_does_not_fit_a_new_index_of_the_same_name() -> None:
    async def scenario(node: Node) -> None:
        await fill(node, 2)
        token = (await node.call("ListVectors", **NAMES, maxResults=1))["nextToken"]
        await node.call("DeleteIndex", **NAMES)
        await node.call("CreateIndex", **NAMES, dataType="float32", dimension=2, distanceMetric="cosine")
        await node.fails("ListVectors", ValidationError, INVALID_TOKEN, **NAMES, nextToken=token)

    with_index(scenario)


def test_a_listing_may_take_days_and_change_nodes() -> None:
    async def run() -> None:
        deployment = Deployment()
        here, there = await deployment.node(), await deployment.node()
        await here.create_index()
        await fill(here, 3)
        token = (await here.call("ListVectors", **NAMES, maxResults=1))["nextToken"]
        deployment.runtime.offset = 7 * 86_400
        assert len((await there.call("ListVectors", **NAMES, nextToken=token))["vectors"]) == 2

    asyncio.run(run())
