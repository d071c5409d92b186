"""Requests are judged by shape with the service's own texts."""

from __future__ import annotations

import time
from typing import Any

import botocore.session
import numpy as np
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.service.operations import OPERATIONS
from quiver.service.shapes import Document, Structure, Union
from quiver.service.validation import normalise, validate

INDEX_ARN = "arn:aws:s3vectors:us-east-1:123456789012:bucket/my-bucket/index/my-index"
TAG_PATTERN = r"Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"
CREATE_INDEX = {"indexName": "idx", "dataType": "float32", "dimension": 3, "distanceMetric": "cosine"}


def record(**changes: Any) -> dict[str, Any]:
    return {"key": "k", "data": {"float32": [1.0, 2]}} | changes


def failure(operation: str, params: dict[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        validate(OPERATIONS[operation], params)
    return caught.value


ONE_VIOLATION = [
    (
        "CreateVectorBucket",
        {"vectorBucketName": "ab"},
        "/vectorBucketName",
        "Value with length 2 at '/vectorBucketName'",
        "Member must have length between 3 and 63, inclusive",
    ),
    (
        "CreateVectorBucket",
        {"vectorBucketName": "a" * 64},
        "/vectorBucketName",
        "Value with length 64 at '/vectorBucketName'",
        "Member must have length between 3 and 63, inclusive",
    ),
    (
        "PutVectors",
        {"vectors": [record(key="")]},
        "/vectors/0/key",
        "Value with length 0 at '/vectors/0/key'",
        "Member must have length between 1 and 1024, inclusive",
    ),
    (
        "PutVectors",
        {"vectors": [record(), record(key="x" * 1025)]},
        "/vectors/1/key",
        "Value with length 1025 at '/vectors/1/key'",
        "Member must have length between 1 and 1024, inclusive",
    ),
    (
        "CreateIndex",
        CREATE_INDEX | {"dataType": "int"},
        "/dataType",
        "Value at '/dataType'",
        "Member must satisfy enum value set: [float32]",
    ),
    (
        "CreateIndex",
        CREATE_INDEX | {"distanceMetric": "dot"},
        "/distanceMetric",
        "Value at '/distanceMetric'",
        "Member must satisfy enum value set: [euclidean, cosine]",
    ),
    (
        "CreateIndex",
        CREATE_INDEX | {"dimension": 99999},
        "/dimension",
        "Value at '/dimension'",
        "Member must be between 1 and 4096, inclusive",
    ),
    (
        "QueryVectors",
        {"indexArn": INDEX_ARN},
        "/topK",
        "Value at '/topK'",
        "Member must not be null",
    ),
    (
        "QueryVectors",
        {"topK": None},
        "/topK",
        "Value at '/topK'",
        "Member must not be null",
    ),
    ("QueryVectors", {"topK": -1}, "/topK", "Value at '/topK'", "Member must be between 1 and 10000, inclusive"),
    (
        "ListVectors",
        {"maxResults": 1001},
        "/maxResults",
        "Value at '/maxResults'",
        "Member must be between 1 and 1000, inclusive",
    ),
    (
        "DeleteVectors",
        {"keys": ["k"] * 501},
        "/keys",
        "Value with length 501 at '/keys'",
        "Member must have length between 1 and 500, inclusive",
    ),
    (
        "PutVectors",
        {"vectors": []},
        "/vectors",
        "Value with length 0 at '/vectors'",
        "Member must have length between 1 and 500, inclusive",
    ),
    (
        "PutVectors",
        {"vectors": [{"data": {"float32": [1.0]}}]},
        "/vectors/0/key",
        "Value at '/vectors/0/key'",
        "Member must not be null",
    ),
    ("TagResource", {"resourceArn": "x", "tags": {"a<b": "c"}}, "/tags", "Value at '/tags'", TAG_PATTERN),
    ("TagResource", {"resourceArn": "x", "tags": {"a": "<"}}, "/tags/a", "Value at '/tags/a'", TAG_PATTERN),
    (
        "GetIndex",
        {"indexArn": INDEX_ARN + "\n"},
        "/indexArn",
        "Value at '/indexArn'",
        "Member must satisfy regular expression pattern: ^arn:aws[-a-z0-9]*:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/"
        "[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]/index/[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]$",
    ),
    (
        "CreateIndex",
        CREATE_INDEX | {"metadataConfiguration": {"nonFilterableMetadataKeys": ["ok", "x" * 64]}},
        "/metadataConfiguration/nonFilterableMetadataKeys/1",
        "Value with length 64 at '/metadataConfiguration/nonFilterableMetadataKeys/1'",
        "Member must have length between 1 and 63, inclusive",
    ),
]


@pytest.mark.parametrize(("operation", "params", "path", "value", "constraint"), ONE_VIOLATION)
def test_one_violated_constraint(operation: str, params: Any, path: str, value: str, constraint: str):
    error = failure(operation, params)
    text = f"{value} failed to satisfy constraint: {constraint}"
    assert error.message == f"1 validation error detected. {text}"
    assert error.fields == (FieldError(path, text),)


def test_all_violations_are_reported_in_the_order_of_the_members():
    error = failure("CreateIndex", {"indexName": "ab", "dimension": 0, "distanceMetric": "cosine"})
    assert error.message == (
        "3 validation errors detected. "
        "Value with length 2 at '/indexName' failed to satisfy constraint: "
        "Member must have length between 3 and 63, inclusive; "
        "Value at '/dataType' failed to satisfy constraint: Member must not be null; "
        "Value at '/dimension' failed to satisfy constraint: Member must be between 1 and 4096, inclusive"
    )
    assert [field.path for field in error.fields] == ["/indexName", "/dataType", "/dimension"]


def test_more_violations_than_are_listed_are_counted():
    error = failure("DeleteVectors", {"keys": [""] * 500})
    assert error.message.startswith("500 validation errors detected. Value with length 0 at '/keys/0' ")
    assert len(error.fields) == 100


def test_members_of_a_list_that_is_too_long_are_looked_at_up_to_its_bound():
    error = failure("DeleteVectors", {"keys": ["k"] * 499 + ["", ""]})
    assert [field.path for field in error.fields] == ["/keys", "/keys/499"]


def test_more_than_fifty_tags_are_refused_before_any_is_looked_at():
    error = failure("TagResource", {"resourceArn": "x", "tags": {f"<{n}": "" for n in range(51)}})
    assert error.message == "Too many tags specified"
    assert error.fields == (FieldError("/tags", "Too many tags specified"),)
    validate(OPERATIONS["TagResource"], {"resourceArn": "x", "tags": {f"k{n}": "" for n in range(50)}})


def test_a_long_tag_key_is_cut_in_paths():
    error = failure("TagResource", {"resourceArn": "x", "tags": {"k" * 5000: "<"}})
    assert [field.path for field in error.fields] == ["/tags", "/tags/" + "k" * 128]


@pytest.mark.parametrize("key", ["plain", "Größe", "日本語", " leading", "a_b.c:d/e=f+g-h@i", "५", "\u2003"])
def test_tag_keys_of_letters_separators_and_numbers_pass(key: str):
    validate(OPERATIONS["TagResource"], {"resourceArn": "x", "tags": {key: ""}})


@pytest.mark.parametrize("key", ["a\tb", "a*", "😀", "a\n", "a\u0301"])
def test_tag_keys_of_other_characters_fail(key: str):
    assert failure("TagResource", {"resourceArn": "x", "tags": {key: ""}}).fields[0].path == "/tags"


ONE_OF = "'/vectors/0/data' must be an object with exactly one of: float32"
NUMBERS = "'/vectors/0/data/float32' must be a list of numbers"
WRONG_TYPES = [
    ("QueryVectors", {"topK": "10"}, "'/topK' must be an integer"),
    ("QueryVectors", {"topK": 1.5}, "'/topK' must be an integer"),
    ("QueryVectors", {"topK": True}, "'/topK' must be an integer"),
    ("GetVectors", {"keys": ["k"], "returnData": 1}, "'/returnData' must be true or false"),
    ("GetVectors", {"keys": "k"}, "'/keys' must be a list"),
    ("GetVectors", {"keys": {"0": "k"}}, "'/keys' must be a list"),
    ("GetVectors", {"keys": [1]}, "'/keys/0' must be a string"),
    ("GetVectors", {"keys": [None]}, "'/keys/0' must be a value, not null"),
    ("GetVectors", {"keys": ["\ud800"]}, "'/keys/0' is not valid Unicode text"),
    ("GetVectorBucket", {"vectorBucketName": ["abc"]}, "'/vectorBucketName' must be a string"),
    ("PutVectors", {"vectors": ["x"]}, "'/vectors/0' must be an object"),
    ("PutVectors", {"vectors": [record(data=[1.0])]}, "'/vectors/0/data' must be an object"),
    ("PutVectors", {"vectors": [record(data={})]}, ONE_OF),
    ("PutVectors", {"vectors": [record(data={"float32": "x"})]}, NUMBERS),
    ("TagResource", {"resourceArn": "x", "tags": [1]}, "'/tags' must be an object"),
    ("TagResource", {"resourceArn": "x", "tags": {"a": 1}}, "'/tags/a' must be a string"),
    ("TagResource", {"resourceArn": "x", "tags": {1: "a"}}, "'/tags' must be a string"),
    ("GetIndex", [], "'/' must be an object"),
]


@pytest.mark.parametrize(("operation", "params", "text"), WRONG_TYPES)
def test_wrong_json_types_name_the_path(operation: str, params: Any, text: str):
    with pytest.raises(SerializationError) as caught:
        validate(OPERATIONS[operation], params)
    assert caught.value.message == f"Value at {text}"


def test_unknown_members_and_nulls_are_ignored():
    params = {"topK": 5, "unheardOf": object(), "filter": None, "returnMetadata": None, "nextToken": None}
    validate(OPERATIONS["QueryVectors"], params)


def test_documents_are_not_looked_into():
    validate(OPERATIONS["QueryVectors"], {"topK": 5, "filter": [None, {"$x": "\ud800"}]})


def test_enum_spellings_of_older_clients_are_normalised():
    params = CREATE_INDEX | {"dataType": "FLOAT32", "distanceMetric": "EUCLIDEAN"}
    normal = normalise(OPERATIONS["CreateIndex"], params)
    assert normal == CREATE_INDEX | {"distanceMetric": "euclidean"}
    assert params["dataType"] == "FLOAT32"
    validate(OPERATIONS["CreateIndex"], normal)
    assert normalise(OPERATIONS["CreateIndex"], {"distanceMetric": "COSINE"}) == {"distanceMetric": "cosine"}


@pytest.mark.parametrize("value", ["Cosine", "cosine", 5, None, ["COSINE"]])
def test_normalising_leaves_every_other_value_alone(value: Any):
    assert normalise(OPERATIONS["CreateIndex"], {"distanceMetric": value}) == {"distanceMetric": value}


def test_normalising_leaves_other_operations_alone():
    assert normalise(OPERATIONS["GetIndex"], {"dataType": "FLOAT32"}) == {"dataType": "FLOAT32"}


GOOD_FLOATS = [
    [1.5, 2, -0.0],
    (1.5, 2),
    [],
    [float("nan"), float("inf")],
    ["NaN", "Infinity", "-Infinity", 1.0],
    [10**400],
    [np.float32(1), np.float64(2), np.int64(3)],
    np.array([1, 2], np.float32),
    np.array([1, 2], np.float64),
    np.arange(10, dtype=np.float32)[::2],
]


@pytest.mark.parametrize("values", GOOD_FLOATS, ids=repr)
def test_float_lists_and_arrays_pass(values: Any):
    validate(OPERATIONS["PutVectors"], {"vectors": [record(data={"float32": values})]})
    validate(OPERATIONS["QueryVectors"], {"topK": 1, "queryVector": {"float32": values}})


BAD_FLOATS = [
    [1.0, "1.5"],
    [1.0, "nan"],
    [1.0, None],
    [True, 1.0],
    [np.True_],
    [[1.0], 2.0],
    [{}],
    [1j],
    np.array([True, False]),
    np.array([1, 2]),
    np.array([1, 2], np.float16),
    np.array([1, 2], ">f4"),
    np.array([1.0, None]),
    np.array(["1.0"]),
    np.ones((2, 2), np.float32),
    np.ones((), np.float32),
]


@pytest.mark.parametrize("values", BAD_FLOATS, ids=repr)
def test_other_components_are_refused_by_the_path_of_the_list(values: Any):
    error = failure("PutVectors", {"vectors": [record(), record(data={"float32": values})]})
    text = "Value at 'vectors[1].data.float32' failed to satisfy constraint: Member must be a list of numbers"
    assert error.message == f"1 validation error detected. {text}"
    assert error.fields == (FieldError("vectors[1].data.float32", text),)
    error = failure("QueryVectors", {"topK": 1, "queryVector": {"float32": values}})
    assert [field.path for field in error.fields] == ["queryVector.float32"]


def test_five_hundred_arrays_are_judged_within_milliseconds():
    vectors = [record(key=f"k{n}", data={"float32": np.ones(1536, np.float32)}) for n in range(500)]
    best = min(_seconds({"vectors": vectors}) for _ in range(5))
    assert best < 0.02  # measured: 0.002


def _seconds(params: dict[str, Any]) -> float:
    start = time.perf_counter()
    validate(OPERATIONS["PutVectors"], params)
    return time.perf_counter() - start


SCALAR = st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    st.none() | SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(OPERATIONS)), data=st.data())
def test_any_json_is_accepted_or_refused_as_a_request_error(name: str, data: st.DataObject):
    members = OPERATIONS[name].input.members
    params = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(members, JSON)))
    error = outcome(name, params)
    if isinstance(error, ValidationError):
        assert all(field.path and field.message in error.message for field in error.fields)
        assert error.fields
    elif error is not None:
        assert error.message.startswith("Value at '/")


SERVICE = botocore.session.Session().get_service_model("s3vectors")
FLAT = st.one_of(SCALAR, st.lists(SCALAR, max_size=3), st.dictionaries(st.text(max_size=5), SCALAR, max_size=3))


@given(name=st.sampled_from(sorted(OPERATIONS)), data=st.data())
def test_whatever_boto3_refuses_to_send_is_refused(name: str, data: st.DataObject):
    """Its validator knows types, required members and minima. It also refuses unknown members: not compared."""
    members = [
        member
        for member, shape in OPERATIONS[name].input.members.items()
        if not isinstance(shape, Structure | Union | Document)
    ]
    params = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(members, FLAT)))
    shape = SERVICE.operation_model(name).input_shape
    if ParamValidator().validate(params, shape).has_errors():
        assert outcome(name, params) is not None


def outcome(name: str, params: dict[str, Any]) -> ValidationError | SerializationError | None:
    try:
        validate(OPERATIONS[name], params)
    except (ValidationError, SerializationError) as error:
        return error
    return None
