"""Indexes through the service: what is returned, and every error that concerns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import AccessDeniedError, ConflictError, NotFoundError, ValidationError
from service.deployment import ARN, NAMES, on_node

if TYPE_CHECKING:
    from service.deployment import Node

NO_INDEX = "The specified index could not be found"
NO_BUCKET = "The specified vector bucket could not be found"
ARGUMENTS = "Must specify either indexArn or both vectorBucketName and indexName"
CREATE = {**NAMES, "dataType": "float32", "dimension": 5, "distanceMetric": "cosine"}
INDEX_ARN = f"{ARN}:bucket/bucket/index/index"
KMS = {"sseType": "aws:kms", "kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1"}


def in_bucket(scenario: Any) -> None:
    """Run a scenario on a node with an empty bucket."""

    async def run(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="bucket")
        await scenario(node)

    on_node(run)


def test_a_created_index_is_shown_with_its_defaults() -> None:
    async def scenario(node: Node) -> None:
        before = int(node.deployment.runtime.time())
        assert await node.call("CreateIndex", **CREATE) == {"indexArn": INDEX_ARN}
        for name in (NAMES, {"indexArn": INDEX_ARN}):
            shown = (await node.call("GetIndex", **name))["index"]
            assert before <= shown.pop("creationTime") <= before + 5
            assert shown == {
                "vectorBucketName": "bucket",
                "indexName": "index",
                "indexArn": INDEX_ARN,
                "dataType": "float32",
                "dimension": 5,
                "distanceMetric": "cosine",
                "encryptionConfiguration": {"sseType": "AES256"},
                "indexMode": "ENHANCED",
            }

    in_bucket(scenario)


def test_upper_case_spellings_of_older_clients_are_understood() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateIndex", **CREATE | {"distanceMetric": "EUCLIDEAN", "dataType": "FLOAT32"})
        assert (await node.call("GetIndex", **NAMES))["index"]["distanceMetric"] == "euclidean"

    in_bucket(scenario)


def test_a_bucket_arn_names_the_bucket_of_a_new_index() -> None:
    async def scenario(node: Node) -> None:
        params = {name: value for name, value in CREATE.items() if name != "vectorBucketName"}
        made = await node.call("CreateIndex", **params, vectorBucketArn=f"{ARN}:bucket/bucket")
        assert made == {"indexArn": INDEX_ARN}

    in_bucket(scenario)


@pytest.mark.parametrize(
    "given", [{"nonFilterableMetadataKeys": ["text", "_node"]}, {"nonFilterableMetadataKeys": []}, {}]
)
def test_the_metadata_configuration_is_shown_as_given(given: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateIndex", **CREATE, metadataConfiguration=given)
        assert (await node.call("GetIndex", **NAMES))["index"]["metadataConfiguration"] == given

    in_bucket(scenario)


def test_creating_twice_conflicts_even_with_the_same_parameters() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateIndex", **CREATE)
        message = "An index with the specified name already exists"
        await node.fails("CreateIndex", ConflictError, message, **CREATE)

    in_bucket(scenario)


def test_creating_in_an_unknown_bucket_reports_the_bucket() -> None:
    on_node(lambda node: node.fails("CreateIndex", NotFoundError, NO_BUCKET, **CREATE))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (
            {"dimension": 4097},
            "'/dimension' failed to satisfy constraint: Member must be between 1 and 4096, inclusive",
        ),
        (
            {"dataType": "int"},
            "'/dataType' failed to satisfy constraint: Member must satisfy enum value set: [float32]",
        ),
        (
            {"distanceMetric": "dot"},
            "'/distanceMetric' failed to satisfy constraint: "
            "Member must satisfy enum value set: [euclidean, cosine]",
        ),
        ({"dimension": None}, "'/dimension' failed to satisfy constraint: Member must not be null"),
    ],
)
def test_a_bad_parameter_is_refused(change: dict[str, Any], where: str) -> None:
    message = f"1 validation error detected. Value at {where}"
    in_bucket(lambda node: node.fails("CreateIndex", ValidationError, message, **CREATE | change))


def test_a_bad_name_is_refused() -> None:
    in_bucket(
        lambda node: node.fails(
            "CreateIndex", ValidationError, "Invalid index name", **CREATE | {"indexName": "a_b"}
        )
    )


def test_no_kms_key_exists() -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(AccessDeniedError, match="does not exist"):
            await node.service.call("CreateIndex", CREATE | {"encryptionConfiguration": KMS})
        await node.fails("GetIndex", NotFoundError, NO_INDEX, **NAMES)

    in_bucket(scenario)


WITH_INDEX = {
    "GetIndex": {},
    "DeleteIndex": {},
    "UpdateIndexMode": {"indexMode": "ENHANCED"},
    "UpdateMetadataConfiguration": {"delete": {"textSearchConfigurations": [{"metadataKey": "k"}]}},
    "PutVectors": {"vectors": [{"key": "k", "data": {"float32": [1]}}]},
    "GetVectors": {"keys": ["k"]},
    "DeleteVectors": {"keys": ["k"]},
    "ListVectors": {},
    "QueryVectors": {"topK": 1, "queryVector": {"float32": [1]}},
}


@pytest.mark.parametrize("operation", WITH_INDEX)
def test_an_unknown_index_or_bucket_reports_the_index(operation: str) -> None:
    async def scenario(node: Node) -> None:
        for bucket in ("bucket", "unknown"):
            names = {"vectorBucketName": bucket, "indexName": "index"}
            await node.fails(operation, NotFoundError, NO_INDEX, **names, **WITH_INDEX[operation])

    in_bucket(scenario)


@pytest.mark.parametrize("operation", WITH_INDEX)
@pytest.mark.parametrize(
    "names",
    [
        {},
        {"vectorBucketName": "bucket"},
        {"indexName": "index"},
        {"vectorBucketName": "bucket", "indexArn": INDEX_ARN},
    ],
    ids=["none", "bucket only", "index only", "bucket and ARN"],
)
def test_an_index_is_named_in_exactly_one_way(operation: str, names: dict[str, str]) -> None:
    on_node(lambda node: node.fails(operation, ValidationError, ARGUMENTS, **names, **WITH_INDEX[operation]))


def test_a_deleted_index_is_gone_and_its_successor_is_empty() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateIndex", **CREATE)
        await node.put(("k", [1, 2, 3, 4, 5]))
        assert await node.call("DeleteIndex", **NAMES) == {}
        await node.fails("DeleteIndex", NotFoundError, NO_INDEX, **NAMES)
        await node.call("CreateIndex", **CREATE)
        assert (await node.call("ListVectors", **NAMES))["vectors"] == []

    in_bucket(scenario)


def test_the_mode_stays_enhanced() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateIndex", **CREATE)
        assert await node.call("UpdateIndexMode", **NAMES, indexMode="ENHANCED") == {}
        message = "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"
        await node.fails("UpdateIndexMode", ValidationError, message, **NAMES, indexMode="CLASSIC")

    in_bucket(scenario)


def test_indexes_are_listed_by_name_in_pages() -> None:
    async def scenario(node: Node) -> None:
        bucket = {"vectorBucketName": "bucket"}
        assert await node.pages("ListIndexes", "indexes", **bucket) == [[]]
        for name in ("red-2", "blue", "red-1", "red-3"):
            await node.call("CreateIndex", **CREATE | {"indexName": name})
        pages = await node.pages("ListIndexes", "indexes", **bucket, maxResults=2, prefix="red")
        assert [[index["indexName"] for index in page] for page in pages] == [["red-1", "red-2"], ["red-3"]]
        arn = {"vectorBucketArn": f"{ARN}:bucket/bucket"}
        (page,) = await node.pages("ListIndexes", "indexes", **arn)
        assert [index["indexName"] for index in page] == ["blue", "red-1", "red-2", "red-3"]
        assert page[0].keys() == {"vectorBucketName", "indexName", "indexArn", "creationTime"}

    in_bucket(scenario)


def test_a_page_token_does_not_fit_another_bucket() -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="other")
        for name in ("one", "two"):
            await node.call("CreateIndex", **CREATE | {"indexName": name})
        page = await node.call("ListIndexes", vectorBucketName="bucket", maxResults=1)
        await node.fails(
            "ListIndexes",
            ValidationError,
            "Invalid page token",
            vectorBucketName="other",
            nextToken=page["nextToken"],
        )

    in_bucket(scenario)
