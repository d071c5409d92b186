"""Tests of put and delete bodies: Arrow streams that anyone can read, and hostile ones that nobody should."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives
from quiver.format.rows import decode_delete, decode_put, encode_delete, encode_put
from quiver.model.errors import CorruptObjectError
from quiver.model.types import VectorBatch

KEYS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=8, unique=True
)


def batch_of(keys: list[str], dimension: int) -> VectorBatch:
    vectors = np.random.default_rng(0).normal(size=(len(keys), dimension)).astype(np.float32)
    return VectorBatch(keys, vectors, [b'{"n":%d}' % number for number in range(len(keys))])


@given(KEYS, st.integers(1, 40))
def test_a_put_comes_back_bit_for_bit(keys, dimension):
    batch = batch_of(keys, dimension)
    found = decode_put(bytes(encode_put(batch)), dimension)
    assert found.keys == batch.keys
    assert found.metadata == batch.metadata
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == batch.vectors.shape
    assert found.vectors.tobytes() == batch.vectors.tobytes()


@given(KEYS)
def test_a_delete_comes_back(keys):
    assert decode_delete(bytes(encode_delete(keys))) == keys


def test_vectors_are_read_in_place_and_read_only():
    body = bytes(encode_put(batch_of(["a", "b"], 16)))
    vectors = decode_put(body, 16).vectors
    assert np.shares_memory(vectors, np.frombuffer(body, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1


def test_vectors_that_are_not_contiguous_are_written_right():
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    batch = VectorBatch(["a", "b"], wide[::2, ::3], [b"{}", b"{}"])
    assert decode_put(bytes(encode_put(batch)), 2).vectors.tolist() == [[0, 3], [12, 15]]


def test_a_body_is_a_plain_arrow_stream():
    with pa.ipc.open_stream(encode_put(batch_of(["a", "b"], 3))) as reader:
        table = reader.read_all()
    assert table.column_names == ["key", "vector", "metadata"]
    assert table["key"].to_pylist() == ["a", "b"]
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float not null>[3]"


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_other_shapes_are_refused():
    put, delete = bytes(encode_put(batch_of(["a"], 3))), bytes(encode_delete(["a"]))
    for wrong in (
        lambda: decode_put(put, 4),
        lambda: decode_put(delete, 3),
        lambda: decode_delete(put),
        lambda: decode_put(b"", 3),
        lambda: decode_delete(stream(pa.table({"key": ["a"]}))),  # nullable
        lambda: decode_delete(stream(pa.table({"key": [1]}))),
        lambda: decode_delete(delete[:-8][: len(delete) // 2]),
    ):
        with pytest.raises(CorruptObjectError):
            wrong()


def forged(keys: pa.Array, vector: pa.Array, metadata: pa.Array) -> bytes:
    """A stream that has the right schema and the wrong content."""
    schema = pa.ipc.open_stream(encode_put(batch_of(["a"], 2))).schema
    return stream(pa.Table.from_batches([pa.RecordBatch.from_arrays([keys, vector, metadata], schema=schema)]))


def test_nulls_and_broken_text_under_the_right_schema_are_refused():
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), 2)
    keys, metadata = pa.array(["a", "b"]), pa.array([b"{}", b"{}"])
    vector = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.float32()), type=kind)
    assert decode_put(forged(keys, vector, metadata), 2).keys == ["a", "b"]
    holes = pa.FixedSizeListArray.from_arrays(pa.array([1, None, 3, 4], pa.float32()), type=kind)
    gap = pa.FixedSizeListArray.from_arrays(
        pa.array([1, 2, 3, 4], pa.float32()), type=kind, mask=pa.array([False, True])
    )
    latin = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))
    wild = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 900, 2], np.int32)), pa.py_buffer(b"ab"))
    for wrong in (
        (pa.array(["a", None]), vector, metadata),
        (keys, holes, metadata),
        (keys, gap, metadata),
        (keys, vector, pa.array([b"{}", None])),
        (latin, vector, metadata),
        (wild, vector, metadata),
    ):
        with pytest.raises(CorruptObjectError):
            decode_put(forged(*wrong), 2)


@given(RANDOM_BYTES)
@settings(max_examples=60)
def test_random_bytes_never_raise_anything_else(data):
    assert not survives(lambda data: decode_put(data, 3), data)
    assert not survives(decode_delete, data)


def test_damage_never_raises_anything_else():
    put, delete = bytes(encode_put(batch_of(["a", "bc", "d"], 3))), bytes(encode_delete(["a", "bc"]))
    outcomes = [survives(lambda data: decode_put(data, 3), each) for each in damaged(put, 4000)]
    outcomes += [survives(decode_delete, each) for each in damaged(delete, 3000)]
    assert not all(outcomes)
    assert any(outcomes)
