"""The table of permissions: complete, and by the words of the service model."""

from __future__ import annotations

import re
from typing import Any

import pytest

from quiver.model.errors import AccessDeniedError, ValidationError
from quiver.service.arn import BucketRef, IndexRef
from quiver.service.extensions import EXTENSIONS, SERVED
from quiver.service.operations import OPERATIONS
from quiver.service.permissions import ACTIONS, LOAD, RULES
from service.deployment import ARN, HOME, MODEL

BUCKET = {"vectorBucketName": "bucket"}
INDEX = BUCKET | {"indexName": "index"}
REF, INDEX_REF = BucketRef("bucket"), IndexRef("bucket", "index")


def test_every_operation_has_a_rule() -> None:
    assert set(RULES) == set(SERVED) | {LOAD}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_needs_what_its_table_says(name: str) -> None:
    rule = RULES[name]
    assert rule.needed({}) == EXTENSIONS[name].actions
    assert rule.resource(INDEX, HOME) == INDEX_REF
    assert rule.resource({"indexArn": f"{ARN}:bucket/bucket/index/index"}, HOME) == INDEX_REF


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_action_is_the_one_the_model_documents(name: str) -> None:
    documented = set(re.findall(r"s3vectors:\w+", MODEL.operation_model(name).documentation))
    assert RULES[name].actions == (f"s3vectors:{name}",)
    assert f"s3vectors:{name}" in documented
    assert documented <= ACTIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_resource_is_the_one_a_request_names(name: str) -> None:
    members = OPERATIONS[name].input.members
    ways: list[tuple[dict[str, Any], Any]] = []
    if "indexArn" in members:
        ways = [(INDEX, INDEX_REF), ({"indexArn": f"{ARN}:bucket/bucket/index/index"}, INDEX_REF)]
    elif name == "CreateIndex":
        ways = [(INDEX, INDEX_REF), ({"vectorBucketArn": f"{ARN}:bucket/bucket", "indexName": "index"}, INDEX_REF)]
    elif "vectorBucketArn" in members:
        ways = [(BUCKET, REF), ({"vectorBucketArn": f"{ARN}:bucket/bucket"}, REF)]
    elif "resourceArn" in members:
        arns = {f"{ARN}:bucket/bucket": REF, f"{ARN}:bucket/bucket/index/index": INDEX_REF}
        ways = [({"resourceArn": arn}, ref) for arn, ref in arns.items()]
    elif "vectorBucketName" in members:
        ways = [(BUCKET, REF)]
    else:
        ways = [({}, None)]
    for params, ref in ways:
        assert RULES[name].resource(params, HOME) == ref


@pytest.mark.parametrize("other", [ARN.replace("123456789012", "210987654321"), ARN.replace("central", "west")])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if RULES[name].resource.__name__ != "_account"])
def test_arns_of_others_are_denied_at_once(name: str, other: str) -> None:
    members = OPERATIONS[name].input.members
    if "indexArn" in members or "resourceArn" in members:
        named = {"indexArn" if "indexArn" in members else "resourceArn": f"{other}:bucket/bucket/index/index"}
    elif "vectorBucketArn" in members:
        named = {"vectorBucketArn": f"{other}:bucket/bucket", "indexName": "index"}
    else:
        return
    with pytest.raises(AccessDeniedError, match="Access denied"):
        RULES[name].resource(named, HOME)


@pytest.mark.parametrize("name", ["CreateVectorBucket", "CreateIndex"])
def test_names_of_what_is_to_be_made_are_checked(name: str) -> None:
    with pytest.raises(ValidationError, match="Invalid"):
        RULES[name].resource({"vectorBucketName": "bucket_", "indexName": "index_"}, HOME)


GET, TAG = "s3vectors:GetVectors", "s3vectors:TagResource"


@pytest.mark.parametrize(
    ("name", "params", "more"),
    [
        ("QueryVectors", {}, ()),
        ("QueryVectors", {"returnDistance": True, "returnMetadata": False}, ()),
        ("QueryVectors", {"filter": {"a": 1}}, (GET,)),
        ("QueryVectors", {"filter": {}}, (GET,)),
        ("QueryVectors", {"queryTexts": [{"text": "a", "metadataKey": "b"}]}, (GET,)),
        ("QueryVectors", {"returnMetadata": True}, (GET,)),
        ("ListVectors", {"returnData": False}, ()),
        ("ListVectors", {"returnData": True}, (GET,)),
        ("ListVectors", {"returnMetadata": True}, (GET,)),
        ("CreateIndex", {}, ()),
        ("CreateIndex", {"tags": {}}, ()),
        ("CreateIndex", {"tags": {"a": "b"}}, (TAG,)),
        ("CreateVectorBucket", {"tags": {"a": "b"}}, (TAG,)),
        ("TagResource", {"tags": {"a": "b"}}, ()),
    ],
)
def test_what_a_request_asks_for_can_need_more(name: str, params: dict[str, Any], more: tuple[str, ...]) -> None:
    assert RULES[name].needed(params) == (f"s3vectors:{name}", *more)


def test_a_bulk_load_needs_its_own_action_and_that_of_writing() -> None:
    assert RULES[LOAD].needed({}) == ("quiver:LoadVectors", "s3vectors:PutVectors")
    assert RULES[LOAD].resource(INDEX, HOME) == INDEX_REF
