"""Judging rows in bulk: the rules of PutVectors, and where the row at fault is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.bulk_rows import RowBatch, check_rows

COSINE = IndexSpec(2, DistanceMetric.COSINE, ("text",))
EUCLIDEAN = IndexSpec(2, DistanceMetric.EUCLIDEAN)


def batch(keys: list[Any], vectors: Any = None, metadata: Any = None, **more: Any) -> RowBatch:
    return RowBatch(keys, np.ones((len(keys), 2)) if vectors is None else vectors, metadata, **more)


def refusal(rows: RowBatch, spec: IndexSpec = COSINE) -> tuple[str, str]:
    """The path and the text of the only fault."""
    with pytest.raises(ValidationError) as caught:
        check_rows(rows, spec)
    (field,) = caught.value.fields
    assert caught.value.message == f"{rows.origin}: {field.path}: {field.message}".removeprefix(": ")
    return field.path, field.message


def test_sound_rows_become_a_batch() -> None:
    made = check_rows(batch(["a", "é"], np.array([[1, 2], [3, 4]], np.float16), [{"n": 1}, None]), COSINE)
    assert (made.keys, made.metadata) == (["a", "é"], [b'{"n":1}', b"{}"])
    assert (made.vectors.dtype, made.vectors.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert made.vectors.flags.c_contiguous


def test_no_metadata_are_empty_documents() -> None:
    assert check_rows(batch(["a", "b"]), COSINE).metadata == [b"{}", b"{}"]


def test_the_last_row_of_a_key_counts() -> None:
    made = check_rows(
        batch(["a", "b", "a"], np.array([[1, 1], [2, 2], [3, 3]]), [{"n": i} for i in range(3)]), COSINE
    )
    assert (made.keys, made.vectors.tolist(), made.metadata) == (
        ["b", "a"],
        [[2, 2], [3, 3]],
        [b'{"n":1}', b'{"n":2}'],
    )


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (None, "Member must not be null"),
        (7, "Member must be text"),
        ("", "Member must have length between 1 and 1024, inclusive"),
        ("k" * 1025, "Member must have length between 1 and 1024, inclusive"),
        ("é" * 513, "Record key length exceeds the maximum allowed"),
    ],
)
def test_bad_keys(key: Any, fault: str) -> None:
    assert refusal(batch(["good", key], first=100)) == ("vectors[101].key", fault)


def test_half_of_a_surrogate_pair_is_named_with_its_source() -> None:
    with pytest.raises(SerializationError, match=r"^f: Value at 'vectors\[9\]\.key' is not valid Unicode text$"):
        check_rows(batch(["\ud800"], first=9, origin="f"), COSINE)


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        (np.array([[1, 1], [1, np.nan]]), "vector contains NaNs or Infs"),
        (np.array([[1, 1], [1, 1e39]]), "vector contains NaNs or Infs"),
        (np.array([[1, 1], [0, 1e-50]]), "cosine distance does not support vectors with zero norm"),
        ([np.ones(2), np.ones(3)], "vector must have length 2, but has length 3"),
    ],
)
def test_bad_vectors(vectors: Any, fault: str) -> None:
    expected = ("vectors[6]", f"Invalid record for key 'b': {fault}")
    assert refusal(batch(["a", "b"], vectors, first=5, origin="rows.parquet")) == expected


def test_a_matrix_of_another_dimension_is_refused_at_its_first_row() -> None:
    fault = "Invalid record for key 'a': vector must have length 2, but has length 3"
    assert refusal(batch(["a", "b"], np.ones((2, 3)))) == ("vectors[0]", fault)


def test_zero_vectors_are_fine_under_the_euclidean_metric() -> None:
    assert check_rows(batch(["a"], np.zeros((1, 2))), EUCLIDEAN).vectors.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"a": None}, "Metadata values must be strings, numbers, booleans, or arrays"),
        ([1], "Metadata must be a JSON object"),
        ({"a": float("nan")}, "Metadata numbers must be finite and integers must fit in 64 bits"),
        ({"a": "x" * 3000}, "Filterable metadata must have at most 2048 bytes"),
        ({"text": "x" * 50_000}, "Metadata object must have at most 40960 bytes"),
    ],
)
def test_bad_metadata(document: Any, fault: str) -> None:
    message = f"Invalid record for key 'b': {fault}"
    assert refusal(batch(["a", "b"], None, [{}, document], first=3)) == ("vectors[4].metadata", message)


def test_long_text_is_fine_under_a_key_that_no_filter_may_name() -> None:
    assert check_rows(batch(["a"], None, [{"text": "x" * 3000}]), COSINE).keys == ["a"]


def test_the_error_of_an_anonymous_source_begins_with_the_path() -> None:
    with pytest.raises(ValidationError) as caught:
        check_rows(batch([""]), COSINE)
    text = "Member must have length between 1 and 1024, inclusive"
    assert caught.value.message == f"vectors[0].key: {text}"
    assert caught.value.fields == (FieldError("vectors[0].key", text),)
