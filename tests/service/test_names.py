"""Legal names, and which bucket or index a request means."""

from __future__ import annotations

from typing import Any

import pytest

from quiver.model.errors import AccessDeniedError, FieldError, RequestError, ValidationError
from quiver.service.arn import BucketRef, Home, IndexRef
from quiver.service.names import (
    check_bucket_name,
    check_index_name,
    resolve_bucket,
    resolve_index,
    resolve_resource,
)

HOME = Home("us-east-1", "123456789012")
BUCKET_ARN = "arn:aws:s3vectors:us-east-1:123456789012:bucket/my-bucket"
INDEX_ARN = f"{BUCKET_ARN}/index/my-index"
BUCKET_TEXT = "Must specify either vectorBucketName or vectorBucketArn but not both"
INDEX_TEXT = "Must specify either indexArn or both vectorBucketName and indexName"

LEGAL = ["abc", "a" * 63, "0-0", "a--b", "123", "my-bucket-2"]
ILLEGAL = [
    "",
    "ab",
    "a" * 64,
    "Abc",
    "a_b",
    "a&b",
    "a/b",
    "a b",
    "-ab",
    "ab-",
    ".ab",
    "ab.",
    "a..b",
    "...",
    "127.0.0.1",
    "xn--abc",
    "abc\n",
    "\nabc",
    "ábc",
    "a\x00b",
    "१२३",
]


@pytest.mark.parametrize("name", LEGAL)
def test_legal_names(name: str):
    check_bucket_name(name)
    check_index_name(name)


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_names(name: str):
    with pytest.raises(ValidationError) as caught:
        check_bucket_name(name)
    assert caught.value.message == "Invalid vector bucket name"
    assert caught.value.fields == (FieldError("vectorBucketName", "Invalid vector bucket name"),)
    with pytest.raises(ValidationError) as caught:
        check_index_name(name)
    assert caught.value.message == "Invalid index name"
    assert caught.value.fields == (FieldError("indexName", "Invalid index name"),)


@pytest.mark.parametrize("name", ["a.b", "1.2.3", "1.2.3.4.5", "v1.2-x", "1.2.3.a"])
def test_single_dots_are_legal_in_index_names_only(name: str):
    check_index_name(name)
    with pytest.raises(ValidationError):
        check_bucket_name(name)


def test_a_bucket_is_named_one_way():
    assert resolve_bucket({"vectorBucketName": "my-bucket"}, HOME) == BucketRef("my-bucket")
    assert resolve_bucket({"vectorBucketArn": BUCKET_ARN}, HOME) == BucketRef("my-bucket")
    assert resolve_bucket({"vectorBucketName": None, "vectorBucketArn": BUCKET_ARN}, HOME) == BucketRef(
        "my-bucket"
    )


@pytest.mark.parametrize("params", [{}, {"vectorBucketName": "my-bucket", "vectorBucketArn": BUCKET_ARN}])
def test_a_bucket_named_not_at_all_or_twice_is_refused(params: dict[str, Any]):
    with pytest.raises(ValidationError) as caught:
        resolve_bucket(params, HOME)
    assert caught.value.message == BUCKET_TEXT


def test_an_index_is_named_one_way():
    expected = IndexRef("my-bucket", "my-index")
    assert resolve_index({"indexArn": INDEX_ARN}, HOME) == expected
    assert resolve_index({"vectorBucketName": "my-bucket", "indexName": "my-index"}, HOME) == expected


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"vectorBucketName": "my-bucket"},
        {"indexName": "my-index"},
        {"vectorBucketName": "my-bucket", "indexArn": INDEX_ARN},
        {"indexName": "my-index", "indexArn": INDEX_ARN},
        {"vectorBucketName": "my-bucket", "indexName": "my-index", "indexArn": INDEX_ARN},
        {"indexArn": BUCKET_ARN},
    ],
)
def test_an_index_named_not_at_all_by_half_or_twice_is_refused(params: dict[str, Any]):
    with pytest.raises(ValidationError) as caught:
        resolve_index(params, HOME)
    assert caught.value.message == INDEX_TEXT


def test_illegal_names_are_refused_on_every_use():
    with pytest.raises(ValidationError, match=r"^Invalid vector bucket name$"):
        resolve_bucket({"vectorBucketName": "a_b"}, HOME)
    with pytest.raises(ValidationError, match=r"^Invalid vector bucket name$"):
        resolve_index({"vectorBucketName": "a_b", "indexName": "my-index"}, HOME)
    with pytest.raises(ValidationError, match=r"^Invalid index name$"):
        resolve_index({"vectorBucketName": "abc", "indexName": "a_b"}, HOME)


def test_a_resource_is_a_bucket_or_an_index():
    assert resolve_resource({"resourceArn": BUCKET_ARN}, HOME) == BucketRef("my-bucket")
    assert resolve_resource({"resourceArn": INDEX_ARN}, HOME) == IndexRef("my-bucket", "my-index")
    with pytest.raises(ValidationError) as caught:
        resolve_resource({"resourceArn": "arn:aws:s3:::my-bucket"}, HOME)
    assert caught.value.fields == (FieldError("resourceArn", "Invalid resource ARN"),)


FOREIGN = [("us-east-1", "us-west-2"), ("123456789012", "210987654321"), ("arn:aws:", "arn:aws-cn:")]


@pytest.mark.parametrize(("ours", "theirs"), FOREIGN)
def test_foreign_arns_are_denied_without_saying_whether_they_exist(ours: str, theirs: str):
    bucket, index = BUCKET_ARN.replace(ours, theirs), INDEX_ARN.replace(ours, theirs)
    errors = {
        _denied(resolve_bucket, {"vectorBucketArn": bucket}),
        _denied(resolve_index, {"indexArn": index}),
        _denied(resolve_resource, {"resourceArn": bucket}),
        _denied(resolve_resource, {"resourceArn": index}),
    }
    assert errors == {("AccessDeniedException", 403, "Access denied")}


def _denied(resolve: Any, params: dict[str, str]) -> tuple[str, int, str]:
    with pytest.raises(AccessDeniedError) as caught:
        resolve(params, HOME)
    error: RequestError = caught.value
    return error.code, error.status, error.message
