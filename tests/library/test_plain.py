"""Values on their way in and out of the boto3-like client."""

import math
from collections import UserDict
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.library.plain import components, from_answer, to_model

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_plain_values_stay_as_they_are(value: object) -> None:
    assert to_model(value) == value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_arrays_are_passed_on_uncopied(dtype: str) -> None:
    array = np.arange(3, dtype=dtype)
    assert to_model({"queryVector": {"float32": array}})["queryVector"]["float32"] is array
    assert to_model({"vectors": [{"data": {"float32": array}}]})["vectors"][0]["data"]["float32"] is array


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.array([1, 2], np.int32), [1, 2]),
        ({"metadata": {"xs": np.array([1.5, 2.5])}}, {"metadata": {"xs": [1.5, 2.5]}}),
        ({"data": np.array([1.5])}, {"data": [1.5]}),
        ({"data": {"float32": np.array([1, 2])}}, {"data": {"float32": [1, 2]}}),
        (np.array([1.5], np.float16), [1.5]),
        (np.array([True]), [True]),
        (np.zeros((1, 2), np.float32), [[0.0, 0.0]]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        ([np.float32(0.5), 1], [0.5, 1]),
        ((1, 2), [1, 2]),
        (UserDict({"a": np.int8(1)}), {"a": 1}),
        ([{"a": (np.int8(1),)}], [{"a": [1]}]),
    ],
)
def test_other_values_become_those_of_the_model(value: object, plain: object) -> None:
    changed = to_model(value)
    assert changed == plain
    assert type(changed) is type(plain)


def test_lists_are_copied_so_that_the_caller_may_go_on_changing_his() -> None:
    given_list = [1.0, 2.0]
    assert to_model(given_list) is not given_list


def test_an_answer_becomes_plain_python() -> None:
    body = {
        "vectors": [
            {
                "key": "a",
                "distance": np.float32(0.1),
                "metadata": orjson.Fragment(b'{"n":1,"tags":["x"]}'),
                "data": {"float32": np.array([0.1, 1.0], np.float32)},
            }
        ]
    }
    vector = from_answer(body)["vectors"][0]
    assert vector == {
        "key": "a",
        "distance": 0.1,
        "metadata": {"n": 1, "tags": ["x"]},
        "data": {"float32": [0.1, 1.0]},
    }


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_distance_is_the_double_that_json_carries(distance: float) -> None:
    found = from_answer({"vectors": [{"distance": np.float32(distance)}]})["vectors"][0]["distance"]
    assert np.float32(found) == np.float32(distance)
    assert not math.isnan(found)


@pytest.mark.parametrize("member", ["vectorBucket", "index"])
def test_creation_times_become_aware_datetimes(member: str) -> None:
    expected = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    record = {"creationTime": int(expected.timestamp())}
    plural = {"vectorBucket": "vectorBuckets", "index": "indexes"}[member]
    assert from_answer({member: record})[member]["creationTime"] == expected
    assert from_answer({plural: [record, record]})[plural][1]["creationTime"] == expected


def test_components_are_a_float_array_or_what_the_service_judges() -> None:
    for dtype in (np.float32, np.float64):
        array = np.ones(3, dtype)
        assert components(array) is array
    assert components([1.5, 2.5]).tolist() == [1.5, 2.5]
    for other in ([1, 2], [True, False], ["a"], [[1.5]], 1.5, None):
        assert components(other) == other
        assert components(other) == to_model(np.asarray(other))
