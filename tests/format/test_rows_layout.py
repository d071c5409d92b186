"""Tests of reading rows.parquet without a segment index."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from format.hostile import damaged, truncations
from format.test_rows_parquet import SHAPES, sample, text_at, write
from quiver.format import rows_parquet
from quiver.format.rows_layout import read_layout
from quiver.model.errors import CorruptObjectError


@SHAPES
def test_the_layout_is_found_again_without_the_writer(monkeypatch, rows, dimension, group_bytes):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", group_bytes)
    file = write(*sample(rows, dimension))
    found = read_layout(file.data, dimension)
    assert found.runs == file.layout.runs
    assert found.keys.tolist() == file.layout.keys.tolist()
    assert found.metadata.tolist() == file.layout.metadata.tolist()


@pytest.mark.parametrize("dimension", [1, 3, 5, 2**40])
def test_a_file_of_another_dimension_has_no_layout(dimension):
    with pytest.raises(CorruptObjectError):
        read_layout(write(*sample(20, 4)).data, dimension)


def foreign(table: pa.Table, **options: object) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return memoryview(sink.getvalue())


def columns(rows: int = 20, dimension: int = 4) -> dict[str, pa.Array]:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(rows * dimension, np.float32)), dimension)
    return {"vector": vectors, "key": pa.array(["k"] * rows), "metadata": pa.array(["{}"] * rows)}


@pytest.mark.parametrize(
    "data",
    [
        foreign(pa.table(columns()), compression="zstd"),
        foreign(pa.table(columns()), use_dictionary=True, compression="none"),
        foreign(pa.table(columns()), use_dictionary=False, compression="none", data_page_version="2.0"),
        foreign(pa.table({name: columns()[name] for name in ("key", "vector", "metadata")})),
        foreign(pa.table({name: columns()[name] for name in ("vector", "key")})),
        foreign(pa.table(columns() | {"key": pa.array(range(20))})),
        foreign(pa.table(columns() | {"key": pa.array([None] * 20, pa.string())})),
        memoryview(b""),
        memoryview(b"PAR1" * 50),
    ],
    ids=["compressed", "dictionary", "pages v2", "order", "columns", "types", "null", "empty", "nothing"],
)
def test_parquet_that_quiver_did_not_write_has_no_layout(data):
    with pytest.raises(CorruptObjectError):
        read_layout(data, 4)


def test_no_truncation_has_a_layout():
    data = write(*sample(20, 4)).data
    for short in truncations(bytes(data)):
        with pytest.raises(CorruptObjectError):
            read_layout(memoryview(short), 4)


def test_damage_gives_a_layout_within_the_file_or_corruption():
    data = bytes(write(*sample(20, 4)).data)
    for each in damaged(data, 1500):
        try:
            found = read_layout(memoryview(each), 4)
        except CorruptObjectError:
            continue
        assert all(0 <= run.offset <= len(each) - 16 * run.rows for run in found.runs)
        for offset in (*found.keys.tolist(), *found.metadata.tolist()):
            text_at(memoryview(each), offset)
