"""Splitting rows into requests within the limits of S3 Vectors."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.library.batches import BATCH_BYTES, batches, by_count
from quiver.model.errors import ValidationError


def rows(count: int, dimension: int = 2) -> tuple[list[str], np.ndarray]:
    return [f"k{i}" for i in range(count)], np.arange(count * dimension, dtype=np.float32).reshape(
        count, dimension
    )


@given(st.integers(0, 1_700))
def test_every_row_appears_once_in_order_in_batches_of_at_most_500(count: int) -> None:
    keys, vectors = rows(count)
    made = list(batches(keys, vectors, None))
    flat = [row for batch in made for row in batch]
    assert [row["key"] for row in flat] == keys
    assert all(np.array_equal(row["data"]["float32"], vector) for row, vector in zip(flat, vectors, strict=True))
    assert [len(batch) for batch in made] == [500] * (count // 500) + ([count % 500] if count % 500 else [])


def test_large_metadata_make_smaller_batches() -> None:
    keys, vectors = rows(1000)
    metadata = [{"text": "x" * 40_000}] * 1000
    made = list(batches(keys, vectors, metadata))
    sizes = [sum(len(orjson.dumps(row["metadata"])) + 8 for row in batch) for batch in made]
    assert max(sizes) <= BATCH_BYTES
    assert min(sizes[:-1]) > BATCH_BYTES - 50_000
    assert sum(len(batch) for batch in made) == 1000


def test_a_row_too_large_for_any_batch_goes_alone_for_the_service_to_refuse() -> None:
    keys, vectors = rows(3)
    made = list(batches(keys, vectors, [None, {"text": "x" * BATCH_BYTES}, None]))
    assert [[row["key"] for row in batch] for batch in made] == [["k0"], ["k1"], ["k2"]]


def test_rows_without_metadata_have_none() -> None:
    keys, vectors = rows(2)
    (batch,) = batches(keys, vectors, [None, {"a": 1}])
    assert "metadata" not in batch[0]
    assert batch[1]["metadata"] == {"a": 1}


@pytest.mark.parametrize(
    ("keys", "vectors", "metadata"),
    [
        (["a"], np.zeros(3), None),
        (["a"], np.zeros((2, 3)), None),
        (["a", "b"], np.zeros((2, 3, 1)), None),
        (["a", "b"], np.zeros((2, 3)), [None]),
    ],
)
def test_rows_that_do_not_match_are_refused_before_anything_is_sent(keys, vectors, metadata) -> None:
    with pytest.raises(ValidationError):
        batches(keys, vectors, metadata)


@given(st.lists(st.text(), max_size=30), st.integers(1, 7))
def test_keys_are_split_by_count(keys: list[str], count: int) -> None:
    made = list(by_count(keys, count))
    assert [key for some in made for key in some] == keys
    assert all(1 <= len(some) <= count for some in made)
