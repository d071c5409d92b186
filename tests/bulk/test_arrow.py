"""Arrow data as rows: every type a column may have, and what is refused."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bulk.reading import refusal, rows
from quiver.bulk import arrow
from quiver.bulk.arrow import open_arrow
from quiver.bulk.columns import Columns

VECTORS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
KEYS = ["a", "b", "c"]


def table(keys: Any = KEYS, vectors: Any = VECTORS, **more: Any) -> pa.Table:
    if not isinstance(vectors, pa.Array):
        vectors = pa.array(vectors, pa.list_(pa.float32(), 2))
    return pa.table({"key": keys, "vector": vectors, **more})


def read(data: Any, size: int = 100, **columns: Any) -> Any:
    return rows(open_arrow(data, Columns(**columns)), size)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint32()])
@pytest.mark.parametrize("shape", [lambda k: pa.list_(k, 2), pa.list_, pa.large_list])
def test_vectors_of_every_type(kind: Any, shape: Any) -> None:
    found = read(table(vectors=pa.array([[1, 2], [3, 4], [5, 6]], shape(kind))))
    assert found == [("a", [1, 2], None), ("b", [3, 4], None), ("c", [5, 6], None)]


@pytest.mark.parametrize(
    "keys",
    [
        pa.array(KEYS, pa.string()),
        pa.array(KEYS, pa.large_string()),
        pa.array(KEYS, pa.string_view()),
        pa.array(KEYS).dictionary_encode(),
    ],
)
def test_text_keys_of_every_type(keys: pa.Array) -> None:
    assert [key for key, _, _ in read(table(keys))] == KEYS


def test_whole_numbers_as_keys_become_text() -> None:
    assert [key for key, _, _ in read(table([1, -2, 3]))] == ["1", "-2", "3"]


def test_null_keys_are_left_for_the_rules_and_null_components_become_nan() -> None:
    found = read(table(["a", None, "c"], pa.array([[1, 2], [3, None], [5, 6]], pa.list_(pa.float32(), 2))))
    assert [key for key, _, _ in found] == ["a", None, "c"]
    assert np.isnan(found[1][1][1])


def test_vectors_that_differ_in_length_are_left_for_the_rules() -> None:
    found = read(table(vectors=pa.array([[1.0], [2.0, 3.0], []], pa.list_(pa.float32()))))
    assert [vector for _, vector, _ in found] == [[1], [2, 3], []]


@pytest.mark.parametrize("shape", [pa.list_(pa.float32(), 2), pa.list_(pa.float32())])
def test_a_vector_that_is_missing_is_refused_by_its_row(shape: Any) -> None:
    data = table(vectors=pa.array([[1, 2], [3, 4], None], shape))
    assert refusal(lambda: read(data, 2)) == "vectors[2].data: Member must not be null"


@pytest.mark.parametrize(
    "metadata",
    [
        pa.array(['{"n":1,"s":"x"}', "", None]),
        pa.array(['{"n":1,"s":"x"}', "", None], pa.string_view()),
        pa.array(['{"n":1,"s":"x"}', "", None]).dictionary_encode(),
        pa.array([{"n": 1, "s": "x"}, {"n": None, "s": None}, None]),
    ],
)
def test_one_column_of_metadata(metadata: pa.Array) -> None:
    found = [document or None for _, _, document in read(table(metadata=metadata))]
    assert found == [{"n": 1, "s": "x"}, None, None]


def test_a_map_of_metadata() -> None:
    metadata = pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64()))
    assert [document for _, _, document in read(table(metadata=metadata))] == [{"a": 1}, {}, {}]


def test_other_columns_become_fields_and_nulls_leave_them_out() -> None:
    data = table(
        n=[1, None, 3],
        s=pa.array(["x", "y", None]).dictionary_encode(),
        tags=[["p", "q"], None, ["r"]],
        b=[True, False, None],
        f=pa.array([0.5, None, None], pa.float32()),
        nothing=pa.nulls(3),
    )
    assert [document for _, _, document in read(data, 2)] == [
        {"n": 1, "s": "x", "tags": ["p", "q"], "b": True, "f": 0.5},
        {"s": "y", "b": False},
        {"n": 3, "tags": ["r"]},
    ]
    assert [document for _, _, document in read(data, metadata=["n"])] == [{"n": 1}, {}, {"n": 3}]
    assert [document for _, _, document in read(data, metadata=())] == [None, None, None]


def test_values_without_a_place_in_metadata_are_left_for_the_rules() -> None:
    (first, *_) = read(table(day=pa.array([datetime.date(2020, 1, 2)] * 3)))
    assert first[2] == {"day": datetime.date(2020, 1, 2)}


def test_extension_types_are_read_as_what_they_store() -> None:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(VECTORS, np.float32))
    assert [vector for _, vector, _ in read(table(vectors=tensor))] == VECTORS


def test_metadata_text_that_is_not_json_is_refused_by_its_row() -> None:
    for text in ("{", '{"a":1,"a":2}', "nan"):
        data = table(metadata=["{}", "{}", text])
        assert refusal(lambda data=data: read(data, 2)) == "vectors[2].metadata: the text is not valid JSON"


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", "x" * (arrow.MAX_VALUE + 1), None]),
        pa.array([[1], [1] * (arrow.MAX_VALUE + 1), None], pa.list_(pa.int8())),
    ],
)
def test_values_too_large_for_any_document_are_not_even_decoded(column: pa.Array) -> None:
    assert refusal(lambda: read(table(x=column))) == "vectors[1].metadata: the value is too large"
    map_of = pa.array([[], [("a", 1)] * (arrow.MAX_VALUE + 1), []], pa.map_(pa.string(), pa.int8()))
    assert refusal(lambda: read(table(metadata=map_of))) == "vectors[1].metadata: the value is too large"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table(keys=[1.5, 2.5, 3.5]), "the column 'key' must hold text or whole numbers, not double"),
        (table(vectors=pa.array(["a", "b", "c"])), "the column 'vector' must hold lists of numbers, not string"),
        (
            table(vectors=pa.array([["a"], ["b"], ["c"]])),
            "the column 'vector' must hold lists of numbers, not list<item: string>",
        ),
    ],
)
def test_columns_of_the_wrong_type(data: pa.Table, message: str) -> None:
    assert refusal(lambda: open_arrow(data, Columns())).replace("element", "item") == message


def test_batches_readers_slices_and_other_libraries() -> None:
    import polars

    data = table(n=[1, 2, 3])
    expected = read(data)
    assert read(data.to_batches()[0]) == expected
    assert read(data.to_reader(max_chunksize=1)) == expected
    assert read(polars.from_arrow(data)) == expected
    assert read(data.slice(1)) == expected[1:]
    assert read(pa.concat_tables([data.slice(0, 1), data.slice(1)]), 1) == expected
    assert read(data.slice(3)) == []


def test_how_many_rows_is_known_of_tables_only() -> None:
    data = table()
    assert open_arrow(data, Columns()).rows == 3
    assert open_arrow(data.to_reader(), Columns()).rows == 0


def test_heavy_rows_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "SLICE_BYTES", 4096)
    data = table([f"k{i}" for i in range(64)], [[1.0, 2.0]] * 64, s=["x" * 1000] * 64)
    sizes = [len(batch.keys) for batch in open_arrow(data, Columns()).batches(1000)]
    assert set(sizes) <= {4, 3}
    assert sum(sizes) == 64
