"""The service serves exactly the operations of the model, and validates before it does anything."""

from __future__ import annotations

import pytest

from quiver.model.errors import SerializationError, ValidationError
from quiver.service.operations import OPERATIONS
from service.deployment import ARN, MODEL, NAMES, Node, on_node

BUCKET = {"vectorBucketName": "bucket"}
TAGGED = {"resourceArn": f"{ARN}:bucket/bucket"}
LIFE = [
    ("CreateVectorBucket", BUCKET),
    ("GetVectorBucket", BUCKET),
    ("ListVectorBuckets", {}),
    ("PutVectorBucketPolicy", BUCKET | {"policy": '{"Statement":[]}'}),
    ("GetVectorBucketPolicy", BUCKET),
    ("DeleteVectorBucketPolicy", BUCKET),
    ("PutVectorBucketDefaultIndexMode", BUCKET | {"defaultIndexMode": "ENHANCED"}),
    ("CreateIndex", NAMES | {"dataType": "float32", "dimension": 1, "distanceMetric": "cosine"}),
    ("GetIndex", NAMES),
    ("ListIndexes", BUCKET),
    ("UpdateIndexMode", NAMES | {"indexMode": "ENHANCED"}),
    ("PutVectors", NAMES | {"vectors": [{"key": "k", "data": {"float32": [1.5]}, "metadata": {"a": 1}}]}),
    ("GetVectors", NAMES | {"keys": ["k"], "returnData": True, "returnMetadata": True}),
    ("ListVectors", NAMES | {"returnData": True, "returnMetadata": True}),
    (
        "QueryVectors",
        NAMES | {"topK": 1, "queryVector": {"float32": [1]}, "returnDistance": True, "returnMetadata": True},
    ),
    ("DeleteVectors", NAMES | {"keys": ["k"]}),
    ("TagResource", TAGGED | {"tags": {"k": "v"}}),
    ("ListTagsForResource", TAGGED),
    ("UntagResource", TAGGED | {"tagKeys": ["k"]}),
    ("DeleteIndex", NAMES),
    ("DeleteVectorBucket", BUCKET),
]


def test_the_operations_are_those_of_the_model() -> None:
    assert set(OPERATIONS) == set(MODEL.operation_names)


def test_a_whole_life_answers_in_the_shapes_of_the_model() -> None:
    async def scenario(node: Node) -> None:
        for operation, params in LIFE:
            output = MODEL.operation_model(operation).output_shape
            body = await node.call(operation, **params)
            assert bool(body) == bool(output and output.members)

    assert {operation for operation, _ in LIFE} == set(OPERATIONS) - {"UpdateMetadataConfiguration"}
    on_node(scenario)


def test_null_members_count_as_absent() -> None:
    async def scenario(node: Node) -> None:
        for operation, params in LIFE:
            absent = {name: None for name in OPERATIONS[operation].input.members if name not in params}
            await node.call(operation, **params, **absent)

    on_node(scenario)


def test_the_caller_s_parameters_stay_as_they_are() -> None:
    async def scenario(node: Node) -> None:
        params = NAMES | {"dataType": "FLOAT32", "dimension": 1, "distanceMetric": "COSINE"}
        before = dict(params)
        await node.call("CreateVectorBucket", **BUCKET)
        await node.service.call("CreateIndex", params)
        assert params == before

    on_node(scenario)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_member_of_the_wrong_type_is_refused_before_anything_happens(operation: str) -> None:
    async def scenario(node: Node) -> None:
        for member in OPERATIONS[operation].input.members:
            if member != "filter":
                with pytest.raises((SerializationError, ValidationError)):
                    await node.service.call(operation, dict(LIFE).get(operation, NAMES) | {member: object()})
        assert await node.call("ListVectorBuckets") == {"vectorBuckets": []}

    on_node(scenario)
