"""Choosing an index structure by tags: what is understood, what is refused, and what reaches the engine."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.errors import NotFoundError, ValidationError
from quiver.model.structure import CODECS, DEFAULT_CODEC, DEFAULT_PARTITIONER, DEFAULT_RECALL, PARTITIONERS
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.arn import IndexRef
from quiver.service.structure_tags import CHOICES, choose
from service.deployment import ARN, NAMES, on_node

if TYPE_CHECKING:
    from service.deployment import Node

PLAIN = IndexSpec(2, DistanceMetric.COSINE, ("text",))
INDEX = f"{ARN}:bucket/bucket/index/index"
FIXED = "Tags that begin with quiver: are fixed when the index is created"
RECALL = "quiver:recall must be a number from 0.5 to 1"


def refusals(tags: dict[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        choose(PLAIN, tags)
    assert caught.value.message == "; ".join(field.message for field in caught.value.fields)
    return [tuple(field) for field in caught.value.fields]


@pytest.mark.parametrize(("partitioner", "codec"), list(itertools.product(PARTITIONERS, CODECS)))
def test_any_partitioner_goes_with_any_codec(partitioner: str, codec: str) -> None:
    tags = {"quiver:partitioner": partitioner, "quiver:codec": codec, "quiver:recall": "0.9"}
    assert choose(PLAIN, tags) == IndexSpec(2, DistanceMetric.COSINE, ("text",), partitioner, codec, 0.9)


def test_what_is_not_chosen_is_the_default() -> None:
    for tags in ({}, {"team": "red", "Quiver:codec": "x", "quiver": "y", "my:quiver:codec": "z"}):
        chosen = choose(PLAIN, tags)
        assert chosen == PLAIN
        assert (chosen.partitioner, chosen.codec, chosen.recall) == (
            DEFAULT_PARTITIONER,
            DEFAULT_CODEC,
            DEFAULT_RECALL,
        )
    assert choose(PLAIN, {"quiver:codec": "pq"}).partitioner == DEFAULT_PARTITIONER


def test_every_choice_is_a_field_of_the_specification() -> None:
    assert set(CHOICES) <= {field.name for field in fields(IndexSpec)}
    assert (DEFAULT_PARTITIONER in PARTITIONERS, DEFAULT_CODEC in CODECS) == (True, True)


@pytest.mark.parametrize(
    ("text", "recall"), [("0.5", 0.5), ("0.50", 0.5), ("1", 1.0), ("1.000", 1.0), ("0.9876543210", 0.987654321)]
)
def test_the_target_recall_is_a_decimal_number(text: str, recall: float) -> None:
    assert choose(PLAIN, {"quiver:recall": text}).recall == recall


@given(st.floats(0.5, 1.0))
def test_every_number_in_range_is_understood_as_python_writes_it(recall: float) -> None:
    assert choose(PLAIN, {"quiver:recall": str(recall)}).recall == recall


OUT_OF_RANGE = ["0", "0.4999999", "1.0000001", "1.5", "2", "98", "-1"]
NO_DECIMALS = ["", "+1", "nan", "inf", "1e0", "0.9 ", "0.9\n", "0,9", ".9", "1.", "0_1.5", "\u0661", "0.\u0669"]


@pytest.mark.parametrize("text", OUT_OF_RANGE + NO_DECIMALS)
def test_other_target_recalls_are_refused(text: str) -> None:
    assert refusals({"quiver:recall": text}) == [("tags.quiver:recall", RECALL)]


def test_unknown_names_are_refused_by_name() -> None:
    codecs = "quiver:codec must be one of rabitq, sq8, pq, lsh, flat"
    for codec in ("", "Flat", "flat ", "ivf", "kmeans"):
        assert refusals({"quiver:codec": codec}) == [("tags.quiver:codec", codecs)]
    partitioners = "quiver:partitioner must be one of kmeans, kdtree, single"
    assert refusals({"quiver:partitioner": "flat"}) == [("tags.quiver:partitioner", partitioners)]


@pytest.mark.parametrize(
    "tag", ["quiver:", "quiver:Codec", "quiver:codec:", "quiver:dimension", "quiver:quiver:codec"]
)
def test_unknown_tags_of_our_name_space_are_refused(tag: str) -> None:
    known = "quiver:partitioner, quiver:codec, quiver:recall"
    message = f"{tag} is not one of the tags that choose an index structure: {known}"
    assert refusals({tag: "flat"}) == [(f"tags.{tag}", message)]


def test_all_that_is_wrong_is_said_at_once() -> None:
    tags = {"quiver:recall": "x", "quiver:partitioner": "single", "quiver:codec": "x", "quiver:x": "x"}
    assert [path for path, _ in refusals(tags)] == ["tags.quiver:recall", "tags.quiver:codec", "tags.quiver:x"]


def test_the_chosen_structure_is_what_every_node_gives_the_engine() -> None:
    tags = {"quiver:partitioner": "kdtree", "quiver:codec": "lsh", "quiver:recall": "0.75", "team": "red"}

    async def scenario(node: Node) -> None:
        await node.create_index(tags=tags)
        assert (await node.call("ListTagsForResource", resourceArn=INDEX))["tags"] == tags
        for each in (node, await node.deployment.node()):
            index = await each.catalog.index(IndexRef("bucket", "index"))
            assert (index.spec.partitioner, index.spec.codec, index.spec.recall) == ("kdtree", "lsh", 0.75)

    on_node(scenario)


def test_a_refused_structure_creates_nothing() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="bucket")
        written = node.deployment.store.requests["catalog"]
        create = {**NAMES, "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
        await node.fails("CreateIndex", ValidationError, RECALL, **create, tags={"quiver:recall": "2"})
        assert node.deployment.store.requests["catalog"] == written
        await node.fails("GetIndex", NotFoundError, "The specified index could not be found", **NAMES)

    on_node(scenario)


@pytest.mark.parametrize(
    "key", ["quiver:partitioner", "quiver:codec", "quiver:recall", "quiver:unknown", "quiver:"]
)
def test_our_tags_of_an_index_can_be_neither_set_nor_removed(key: str) -> None:
    tags = {"quiver:codec": "flat", "quiver:recall": "0.9", "team": "red"}

    async def scenario(node: Node) -> None:
        await node.create_index(tags=tags)
        change = {"resourceArn": INDEX, "tags": {"team": "blue", key: "0.9"}}
        refused = await node.fails("TagResource", ValidationError, FIXED, **change)
        assert refused.fields == ((f"tags.{key}", FIXED),)
        removal = {"resourceArn": INDEX, "tagKeys": ["team", key]}
        refused = await node.fails("UntagResource", ValidationError, FIXED, **removal)
        assert refused.fields == (("tagKeys[1]", FIXED),)
        assert (await node.call("ListTagsForResource", resourceArn=INDEX))["tags"] == tags
        index = await node.catalog.index(IndexRef("bucket", "index"))
        assert (index.spec.codec, index.spec.recall) == ("flat", 0.9)

    on_node(scenario)


def test_other_tags_of_an_index_with_a_chosen_structure_change_freely() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index(tags={"quiver:codec": "flat", "team": "red"})
        await node.call("TagResource", resourceArn=INDEX, tags={"team": "blue", "Quiver:codec": "x"})
        await node.call("UntagResource", resourceArn=INDEX, tagKeys=["team"])
        tags = (await node.call("ListTagsForResource", resourceArn=INDEX))["tags"]
        assert tags == {"quiver:codec": "flat", "Quiver:codec": "x"}

    on_node(scenario)


def test_tags_of_buckets_choose_nothing_and_are_ordinary() -> None:
    async def scenario(node: Node) -> None:
        bucket = f"{ARN}:bucket/bucket"
        await node.call("CreateVectorBucket", vectorBucketName="bucket", tags={"quiver:codec": "x"})
        await node.call("TagResource", resourceArn=bucket, tags={"quiver:recall": "y"})
        await node.call("UntagResource", resourceArn=bucket, tagKeys=["quiver:codec"])
        assert (await node.call("ListTagsForResource", resourceArn=bucket))["tags"] == {"quiver:recall": "y"}

    on_node(scenario)
