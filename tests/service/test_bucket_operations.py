"""Vector buckets through the service: what is returned, and every error that concerns them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import AccessDeniedError, ConflictError, NotFoundError, ValidationError
from service.deployment import ARN, Deployment, on_node

if TYPE_CHECKING:
    from service.deployment import Node

KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/1"
NO_BUCKET = "The specified vector bucket could not be found"
ARGUMENTS = "Must specify either vectorBucketName or vectorBucketArn but not both"
LENGTH = (
    "1 validation error detected. Value with length 2 at '/vectorBucketName' failed to satisfy constraint: "
    "Member must have length between 3 and 63, inclusive"
)


def test_a_created_bucket_is_shown_with_its_defaults() -> None:
    async def scenario(node: Node) -> None:
        before = int(node.deployment.runtime.time())
        made = await node.call("CreateVectorBucket", vectorBucketName="bucket")
        assert made == {"vectorBucketArn": f"{ARN}:bucket/bucket"}
        for name in ({"vectorBucketName": "bucket"}, made):
            shown = (await node.call("GetVectorBucket", **name))["vectorBucket"]
            assert before <= shown.pop("creationTime") <= before + 5
            assert shown == {
                "vectorBucketName": "bucket",
                "vectorBucketArn": f"{ARN}:bucket/bucket",
                "encryptionConfiguration": {"sseType": "AES256"},
                "defaultIndexMode": "ENHANCED",
            }

    on_node(scenario)


def test_creating_twice_conflicts() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="bucket")
        message = "A vector bucket with the specified name already exists"
        await node.fails("CreateVectorBucket", ConflictError, message, vectorBucketName="bucket")

    on_node(scenario)


@pytest.mark.parametrize(
    ("name", "message"),
    [("ab", LENGTH), ("a_b_c", "Invalid vector bucket name"), ("a.b.c", "Invalid vector bucket name")],
)
def test_a_bad_name_is_refused(name: str, message: str) -> None:
    on_node(lambda node: node.fails("CreateVectorBucket", ValidationError, message, vectorBucketName=name))


ENCRYPTION_ERRORS = [
    ({"kmsKeyArn": KEY_ARN}, "kmsKeyArn must not be specified when sseType is AES256."),
    ({"sseType": "AES256", "kmsKeyArn": KEY_ARN}, "kmsKeyArn must not be specified when sseType is AES256."),
    ({"sseType": "aws:kms"}, "kmsKeyArn must be specified when sseType is set to aws:kms"),
]


@pytest.mark.parametrize(("encryption", "message"), ENCRYPTION_ERRORS)
def test_encryption_type_and_key_have_to_match(encryption: dict[str, str], message: str) -> None:
    async def scenario(node: Node) -> None:
        error = await node.fails(
            "CreateVectorBucket",
            ValidationError,
            message,
            vectorBucketName="bucket",
            encryptionConfiguration=encryption,
        )
        assert [field.path for field in error.fields] == ["EncryptionConfiguration"]

    on_node(scenario)


def test_no_kms_key_exists() -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(AccessDeniedError, match=rf"Key '{KEY_ARN}' does not exist \(kms_request_id=.+\)"):
            await node.service.call(
                "CreateVectorBucket",
                {
                    "vectorBucketName": "bucket",
                    "encryptionConfiguration": {"sseType": "aws:kms", "kmsKeyArn": KEY_ARN},
                },
            )

    on_node(scenario)


@pytest.mark.parametrize("operation", ["GetVectorBucket", "DeleteVectorBucket", "ListIndexes"])
def test_an_unknown_bucket_is_not_found(operation: str) -> None:
    on_node(lambda node: node.fails(operation, NotFoundError, NO_BUCKET, vectorBucketName="bucket"))


@pytest.mark.parametrize(
    "params", [{}, {"vectorBucketName": "bucket", "vectorBucketArn": f"{ARN}:bucket/bucket"}], ids=["none", "both"]
)
@pytest.mark.parametrize(
    "operation", ["GetVectorBucket", "DeleteVectorBucket", "ListIndexes", "GetVectorBucketPolicy"]
)
def test_a_bucket_is_named_in_exactly_one_way(operation: str, params: dict[str, str]) -> None:
    on_node(lambda node: node.fails(operation, ValidationError, ARGUMENTS, **params))


def test_a_bucket_of_another_account_is_denied() -> None:
    other = "arn:aws:s3vectors:eu-central-1:999999999999:bucket/bucket"
    on_node(lambda node: node.fails("GetVectorBucket", AccessDeniedError, "Access denied", vectorBucketArn=other))


def test_a_bucket_can_be_deleted_only_when_it_is_empty() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        message = "The specified vector bucket is not empty"
        await node.fails("DeleteVectorBucket", ConflictError, message, vectorBucketName="bucket")
        await node.call("DeleteIndex", vectorBucketName="bucket", indexName="index")
        assert await node.call("DeleteVectorBucket", vectorBucketName="bucket") == {}
        await node.fails("DeleteVectorBucket", NotFoundError, NO_BUCKET, vectorBucketName="bucket")

    on_node(scenario)


def test_the_default_index_mode_stays_enhanced() -> None:
    async def scenario(node: Node) -> None:
        name = {"vectorBucketName": "bucket"}
        for mode in ("ENHANCED", "CLASSIC"):
            await node.fails(
                "PutVectorBucketDefaultIndexMode", NotFoundError, NO_BUCKET, **name, defaultIndexMode=mode
            )
        await node.call("CreateVectorBucket", **name)
        assert await node.call("PutVectorBucketDefaultIndexMode", **name, defaultIndexMode="ENHANCED") == {}
        message = (
            "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support CLASSIC mode"
        )
        await node.fails(
            "PutVectorBucketDefaultIndexMode", ValidationError, message, **name, defaultIndexMode="CLASSIC"
        )

    on_node(scenario)


async def create(node: Node, *names: str) -> None:
    for name in names:
        await node.call("CreateVectorBucket", vectorBucketName=name)


def names_of(pages: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[bucket["vectorBucketName"] for bucket in page] for page in pages]


def test_buckets_are_listed_by_name_in_pages() -> None:
    async def scenario(node: Node) -> None:
        assert await node.pages("ListVectorBuckets", "vectorBuckets") == [[]]
        await create(node, "red-2", "blue-1", "red-1", "red-3", "red-4")
        pages = await node.pages("ListVectorBuckets", "vectorBuckets", maxResults=2, prefix="red")
        assert names_of(pages) == [["red-1", "red-2"], ["red-3", "red-4"]]
        pages = await node.pages("ListVectorBuckets", "vectorBuckets")
        assert names_of(pages) == [["blue-1", "red-1", "red-2", "red-3", "red-4"]]
        assert pages[0][0].keys() == {"vectorBucketName", "vectorBucketArn", "creationTime"}

    on_node(scenario)


def test_a_page_token_fits_any_node_and_only_its_own_prefix() -> None:
    async def run() -> None:
        deployment = Deployment()
        here, there = await deployment.node(), await deployment.node()
        await create(here, "red-1", "red-2", "red-3")
        page = await here.call("ListVectorBuckets", maxResults=1, prefix="red")
        token = page["nextToken"]
        rest = await there.call("ListVectorBuckets", prefix="red", nextToken=token)
        assert names_of([rest["vectorBuckets"]]) == [["red-2", "red-3"]]
        for params in ({}, {"prefix": "re"}):
            await there.fails(
                "ListVectorBuckets", ValidationError, "Invalid page token", nextToken=token, **params
            )
        await there.fails(
            "ListIndexes", ValidationError, "Invalid page token", vectorBucketName="red-1", nextToken=token
        )

    asyncio.run(run())
