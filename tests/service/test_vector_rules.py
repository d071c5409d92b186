"""Vectors become float32 first and are judged then; keys are counted in bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.model.types import DistanceMetric
from quiver.service.vector_rules import build_matrix, check_keys, check_query_vector, last_of_each_key, take_matrix

COSINE, EUCLIDEAN = DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN
FLT_MAX = 3.4028234663852886e38
NOT_FINITE = "vector contains NaNs or Infs"
ZERO = "cosine distance does not support vectors with zero norm"
QUERY = "Query vector contains invalid values or is invalid for this index"


def refusal(values: Any, dimension: int, metric: DistanceMetric) -> str | None:
    """The text about a vector, the same for a stored and a query vector; None if it is sound."""
    stored = query = None
    rows = [[1.0] * dimension, values]
    try:
        build_matrix(["first", "second"], rows, dimension, metric)
    except ValidationError as error:
        prefix = "Invalid record for key 'second': "
        stored = error.message.removeprefix(prefix)
        if error.fields != (FieldError("vectors[1]", prefix + stored),):
            raise
    try:
        check_query_vector(values, dimension, metric)
    except ValidationError as error:
        query = error.fields[0].message.removeprefix("Invalid input: ")
        if (error.message, error.fields) != (QUERY, (FieldError("vector", f"Invalid input: {query}"),)):
            raise
    assert stored == query
    return stored


@pytest.mark.parametrize("metric", [COSINE, EUCLIDEAN])
@pytest.mark.parametrize(
    "bad",
    [1e39, -1e39, 3.40282357e38, float("nan"), float("inf"), 10**39, 10**400, -(10**400), "NaN", "-Infinity"],
)
def test_components_not_finite_in_float32_are_refused(bad: Any, metric: DistanceMetric):
    assert refusal([1.0, bad], 2, metric) == NOT_FINITE
    if isinstance(bad, float):
        assert refusal(np.array([1.0, bad]), 2, metric) == NOT_FINITE


@pytest.mark.parametrize("good", [FLT_MAX, -FLT_MAX, 1.4e-45, 1e-50, -0.0, 0, 10**30, np.float32(2)])
def test_other_components_are_kept_as_float32(good: Any):
    assert refusal([1.0, good], 2, COSINE) is None
    matrix = build_matrix(["k"], [[1.0, good]], 2, COSINE)
    with np.errstate(under="ignore"):
        assert matrix[0, 1] == np.float32(good)
    assert np.signbit(matrix[0, 1]) == np.signbit(float(good))


def test_wrong_dimension():
    with pytest.raises(ValidationError) as caught:
        build_matrix(["K"], [[1.0]], 5, EUCLIDEAN)
    assert caught.value.message == "Invalid record for key 'K': vector must have length 5, but has length 1"
    assert refusal(np.ones(6), 5, COSINE) == "vector must have length 5, but has length 6"
    assert refusal([], 5, COSINE) == "vector must have length 5, but has length 0"


@pytest.mark.parametrize("zero", [[0, 0.0], [0.0, -0.0], [1e-50, -1e-46], np.zeros(2), np.full(2, 1e-50)])
def test_zero_vectors_are_judged_after_rounding_and_only_under_cosine(zero: Any):
    assert refusal(zero, 2, COSINE) == ZERO
    assert refusal(zero, 2, EUCLIDEAN) is None


def test_the_smallest_subnormal_is_no_zero_vector():
    assert refusal([0.0, 1.4e-45], 2, COSINE) is None


def test_exact_texts_of_zero_norm():
    with pytest.raises(ValidationError) as caught:
        build_matrix(["K"], [[0.0, 0.0]], 2, COSINE)
    message = "Invalid record for key 'K': cosine distance does not support vectors with zero norm"
    assert (caught.value.message, caught.value.fields) == (message, (FieldError("vectors[0]", message),))
    with pytest.raises(ValidationError) as caught:
        check_query_vector([0.0, 0.0], 2, COSINE)
    assert caught.value.fields == (
        FieldError("vector", "Invalid input: cosine distance does not support vectors with zero norm"),
    )


def test_the_first_record_at_fault_is_named_whatever_its_fault():
    rows = [[1.0, 1.0], [0.0, 0.0], [1.0], [float("nan"), 1.0]]
    with pytest.raises(ValidationError, match=r"^Invalid record for key 'b': cosine"):
        build_matrix(["a", "b", "c", "d"], rows, 2, COSINE)
    with pytest.raises(ValidationError, match=r"^Invalid record for key 'c': vector must have length 2"):
        build_matrix(["a", "b", "c", "d"], rows, 2, EUCLIDEAN)


NUMBERS = st.floats() | st.integers(-(10**40), 10**40)


@given(
    rows=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5),
    metric=st.sampled_from([COSINE, EUCLIDEAN]),
)
def test_a_batch_is_the_rows_rounded_to_float32_or_refused_at_the_first_bad_row(rows: Any, metric: DistanceMetric):
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = [np.array(row, np.float64).astype(np.float32) for row in rows]
    sound = [np.isfinite(row).all() and (metric is EUCLIDEAN or np.any(row != 0)) for row in rounded]
    keys = [f"k{number}" for number in range(len(rows))]
    if all(sound):
        matrix = build_matrix(keys, rows, 3, metric)
        assert matrix.tobytes() == np.stack(rounded).tobytes()
    else:
        with pytest.raises(ValidationError, match=f"^Invalid record for key 'k{sound.index(False)}': "):
            build_matrix(keys, rows, 3, metric)


def test_a_matrix_is_contiguous_float32_of_its_own():
    first, second = np.arange(1, 9, dtype=np.float32)[::2], [1, 2.5, 3, 4]
    matrix = build_matrix(["a", "b"], [first, second], 4, COSINE)
    assert (matrix.dtype, matrix.shape, matrix.flags.c_contiguous) == (np.float32, (2, 4), True)
    first[:] = 0
    assert matrix.tolist() == [[1, 3, 5, 7], [1, 2.5, 3, 4]]


def test_a_matrix_that_is_one_already_is_taken_as_it_is():
    given = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    assert take_matrix(["a", "b"], given, 4, COSINE) is given
    for other in (given.astype(np.float64), np.asfortranarray(given), given.tolist()):
        taken = take_matrix(["a", "b"], other, 4, COSINE)
        assert taken is not other
        assert taken.flags.c_contiguous
        assert (taken.dtype, taken.tolist()) == (np.float32, given.tolist())


def test_a_matrix_that_is_one_already_is_judged_too():
    given = np.ones((3, 4), np.float32)
    given[2] = 0
    with pytest.raises(ValidationError, match=r"^Invalid record for key 'c': "):
        take_matrix(["a", "b", "c"], given, 4, COSINE)
    assert take_matrix(["a", "b", "c"], given, 4, EUCLIDEAN) is given
    with pytest.raises(ValidationError, match=r"^Invalid record for key 'a': "):
        take_matrix(["a", "b", "c"], given, 5, EUCLIDEAN)


def test_a_query_vector_is_float32_of_its_own():
    values = np.array([1.0, 2.0])
    vector = check_query_vector(values, 2, COSINE)
    values[:] = 0
    assert (vector.dtype, vector.shape, vector.tolist()) == (np.float32, (2,), [1.0, 2.0])


@pytest.mark.parametrize("key", ["k", "k" * 1024, "é" * 512, "👩" * 256, "\x00", "../..", "\u202e", "e\u0301"])
def test_keys_of_at_most_1024_bytes_pass(key: str):
    check_keys("keys[{}]", [key])


@pytest.mark.parametrize("key", ["é" * 512 + "a", "é" * 1024, "👩" * 257])
def test_keys_of_more_bytes_are_refused(key: str):
    with pytest.raises(ValidationError) as caught:
        check_keys("vectors[{}].key", ["ok", key])
    text = "Record key length exceeds the maximum allowed"
    assert (caught.value.message, caught.value.fields) == (text, (FieldError("vectors[1].key", text),))


def test_keys_with_lone_surrogates_are_not_text():
    with pytest.raises(SerializationError, match=r"^Value at 'keys\[1\]' is not valid Unicode text$"):
        check_keys("keys[{}]", ["ok", "\udc00"])


def test_the_last_row_of_each_key_is_kept():
    assert last_of_each_key(["a", "b", "a", "c", "b"]) == [2, 3, 4]
    assert last_of_each_key(["e\u0301", "é"]) == [0, 1]
    assert last_of_each_key([]) == []


@given(keys=st.lists(st.sampled_from("abcd")))
def test_keeping_the_last_rows_equals_writing_one_by_one(keys: list[str]):
    written: dict[str, int] = {}
    for row, key in enumerate(keys):
        written[key] = row
    kept = last_of_each_key(keys)
    assert {keys[row]: row for row in kept} == written
    assert kept == sorted(set(kept))
