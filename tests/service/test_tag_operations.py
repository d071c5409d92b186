"""Tags of buckets and indexes through the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import AccessDeniedError, NotFoundError, ValidationError
from service.deployment import ARN, on_node

if TYPE_CHECKING:
    from service.deployment import Node

BUCKET = f"{ARN}:bucket/bucket"
INDEX = f"{ARN}:bucket/bucket/index/index"
CREATE_INDEX = {
    "vectorBucketName": "bucket",
    "indexName": "index",
    "dataType": "float32",
    "dimension": 2,
    "distanceMetric": "cosine",
}
PATTERN = (
    "failed to satisfy constraint: Member must satisfy regular expression pattern: "
    r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"
)
REFUSED = [
    ({f"k{i}": "" for i in range(51)}, "Too many tags specified"),
    ({"aws:owner": "x"}, "System tags cannot be added/updated by requester"),
    ({"AWS:owner": "x"}, 'Invalid System Tag: AWS:owner must be prefixed with "aws:" in lowercase.'),
    ({"a#b": "x"}, f"1 validation error detected. Value at '/tags' {PATTERN}"),
    ({"key": "a#b"}, f"1 validation error detected. Value at '/tags/key' {PATTERN}"),
]


async def tags_of(node: Node, arn: str) -> dict[str, str]:
    return (await node.call("ListTagsForResource", resourceArn=arn))["tags"]


@pytest.mark.parametrize("arn", [BUCKET, INDEX], ids=["bucket", "index"])
def test_tags_are_set_with_the_resource_then_merged_and_removed(arn: str) -> None:
    async def scenario(node: Node) -> None:
        first = {"colour": "red", " leading space": "aws:value"}
        await node.call("CreateVectorBucket", vectorBucketName="bucket", tags=first)
        await node.call("CreateIndex", **CREATE_INDEX, tags=first)
        assert await tags_of(node, arn) == first
        assert await node.call("TagResource", resourceArn=arn, tags={"colour": "blue", "size": ""}) == {}
        assert await tags_of(node, arn) == first | {"colour": "blue", "size": ""}
        assert await node.call("UntagResource", resourceArn=arn, tagKeys=["colour", "unknown"]) == {}
        assert await tags_of(node, arn) == {" leading space": "aws:value", "size": ""}
        assert await tags_of(node, INDEX if arn == BUCKET else BUCKET) == first

    on_node(scenario)


def test_a_resource_without_tags_has_an_empty_set() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        assert await tags_of(node, BUCKET) == await tags_of(node, INDEX) == {}

    on_node(scenario)


@pytest.mark.parametrize(("tags", "message"), REFUSED)
def test_bad_tags_are_refused_wherever_tags_are_set(tags: dict[str, str], message: str) -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        name = {"vectorBucketName": "other"}
        await node.fails("CreateVectorBucket", ValidationError, message, **name, tags=tags)
        other = CREATE_INDEX | {"indexName": "other"}
        await node.fails("CreateIndex", ValidationError, message, **other, tags=tags)
        for arn in (BUCKET, INDEX):
            await node.fails("TagResource", ValidationError, message, resourceArn=arn, tags=tags)
            assert await tags_of(node, arn) == {}

    on_node(scenario)


def test_a_resource_keeps_at_most_fifty_tags_over_all_requests() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        await node.call("TagResource", resourceArn=INDEX, tags={f"k{i}": "" for i in range(50)})
        more = {"resourceArn": INDEX, "tags": {"one-more": ""}}
        await node.fails("TagResource", ValidationError, "Too many tags specified", **more)
        await node.call("UntagResource", resourceArn=INDEX, tagKeys=["k0"])
        await node.call("TagResource", **more)

    on_node(scenario)


OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("TagResource", {"tags": {"k": "v"}}),
    ("UntagResource", {"tagKeys": ["k"]}),
    ("ListTagsForResource", {}),
]


@pytest.mark.parametrize(("operation", "params"), OPERATIONS)
def test_an_unknown_resource_is_not_found(operation: str, params: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="bucket")
        message = "The specified resource could not be found"
        for arn in (INDEX, f"{ARN}:bucket/other", f"{ARN}:bucket/other/index/index"):
            await node.fails(operation, NotFoundError, message, resourceArn=arn, **params)

    on_node(scenario)


@pytest.mark.parametrize(("operation", "params"), OPERATIONS)
def test_a_foreign_or_malformed_arn_is_refused(operation: str, params: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        foreign = "arn:aws:s3vectors:us-east-1:123456789012:bucket/bucket"
        await node.fails(operation, AccessDeniedError, "Access denied", resourceArn=foreign, **params)
        await node.fails(operation, ValidationError, "Invalid resource ARN", resourceArn="bucket", **params)

    on_node(scenario)
