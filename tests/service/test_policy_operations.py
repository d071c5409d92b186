"""Vector bucket policies through the service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import NotFoundError, ValidationError
from service.deployment import ARN, on_node

if TYPE_CHECKING:
    from service.deployment import Node

BUCKET = {"vectorBucketName": "bucket"}
NO_BUCKET = "The specified vector bucket could not be found"
NO_POLICY = "The specified vector bucket policy could not be found"
STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "s3vectors:*", "Resource": "*"}
POLICY = '{ "Version": "2012-10-17", "Statement": [ ] }'


def test_a_policy_is_returned_as_it_was_put() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        assert await node.call("PutVectorBucketPolicy", **BUCKET, policy=POLICY) == {}
        assert await node.call("GetVectorBucketPolicy", vectorBucketArn=f"{ARN}:bucket/bucket") == {
            "policy": POLICY
        }
        other = '{"Statement":[]}'
        await node.call("PutVectorBucketPolicy", **BUCKET, policy=other)
        assert await node.call("GetVectorBucketPolicy", **BUCKET) == {"policy": other}

    on_node(scenario)


def test_without_a_policy_get_fails_and_delete_succeeds() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        await node.fails("GetVectorBucketPolicy", NotFoundError, NO_POLICY, **BUCKET)
        await node.call("PutVectorBucketPolicy", **BUCKET, policy=POLICY)
        for _ in range(2):
            assert await node.call("DeleteVectorBucketPolicy", **BUCKET) == {}
        await node.fails("GetVectorBucketPolicy", NotFoundError, NO_POLICY, **BUCKET)

    on_node(scenario)


def test_a_policy_goes_with_its_bucket() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        await node.call("PutVectorBucketPolicy", **BUCKET, policy=POLICY)
        await node.call("DeleteVectorBucket", **BUCKET)
        await node.call("CreateVectorBucket", **BUCKET)
        await node.fails("GetVectorBucketPolicy", NotFoundError, NO_POLICY, **BUCKET)

    on_node(scenario)


@pytest.mark.parametrize("policy", ["", "x", "[]", "null", '"text"', "{", "{} {}", "[" * 5000, '{"a": NaN}'])
def test_a_policy_has_to_be_a_json_object(policy: str) -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        message = "Policy must be a JSON object"
        await node.fails("PutVectorBucketPolicy", ValidationError, message, **BUCKET, policy=policy)

    on_node(scenario)


def test_a_policy_has_a_largest_size() -> None:
    def policy(size: int) -> str:
        return '{"Statement":[],"Id":"é' + "x" * (size - 26) + '"}'

    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        await node.call("PutVectorBucketPolicy", **BUCKET, policy=policy(20_480))
        message = "Policy exceeds the maximum size of 20480 bytes"
        await node.fails("PutVectorBucketPolicy", ValidationError, message, **BUCKET, policy=policy(20_481))

    on_node(scenario)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({}, "Missing required field Statement"),
        ({"Statement": [], "statement": []}, "Policy has an unknown member 'statement'"),
        ({"Statement": {"Effect": "Allow"}}, "Statement[0] must have either Principal or NotPrincipal"),
        (
            {"Statement": STATEMENT | {"Action": "s3vectors:GetIndx"}},
            "Action 's3vectors:GetIndx' is no action of this service",
        ),
        (
            {"Statement": STATEMENT | {"Action": "s3:GetObject"}},
            "Action 's3:GetObject' is no action of this service",
        ),
        (
            {"Statement": STATEMENT | {"Condition": {"Bool": {"s3vectors:sse": "true"}}}},
            "Condition key 's3vectors:sse' is not known to this service",
        ),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(policy: dict[str, Any], message: str) -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", **BUCKET)
        await node.fails("PutVectorBucketPolicy", ValidationError, message, **BUCKET, policy=json.dumps(policy))
        await node.fails("GetVectorBucketPolicy", NotFoundError, NO_POLICY, **BUCKET)

    on_node(scenario)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("PutVectorBucketPolicy", {"policy": POLICY}),
        ("GetVectorBucketPolicy", {}),
        ("DeleteVectorBucketPolicy", {}),
    ],
)
def test_an_unknown_bucket_is_reported_as_such(operation: str, params: dict[str, str]) -> None:
    on_node(lambda node: node.fails(operation, NotFoundError, NO_BUCKET, **BUCKET, **params))
