"""From whatever a caller has to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.reading import refusal, rows
from mappings import resident
from quiver.bulk.columns import Columns
from quiver.bulk.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path


def read(value: Any, size: int = 2) -> Any:
    return rows(open_source(value, Columns()), size)


def test_arrays() -> None:
    matrix = np.array([[1, 2], [3, 4], [5, 6]], np.float64)
    found = [("a", [1, 2], None), ("b", [3, 4], None), ("c", [5, 6], None)]
    assert read((["a", "b", "c"], matrix)) == found
    assert read((np.array(["a", "b", "c"]), matrix.astype(np.int64).tolist())) == found
    assert open_source((["a", "b", "c"], matrix), Columns()).rows == 3


def test_numpy_values_in_metadata_become_plain() -> None:
    documents = [{"n": np.int64(3), "xs": np.array([1.5]), "t": ("p", np.str_("q"))}, None]
    ((_, _, first), (_, _, second)) = read((["a", "b"], np.ones((2, 1)), documents))
    assert (first, type(first["n"]), second) == ({"n": 3, "xs": [1.5], "t": ["p", "q"]}, int, None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((["a"], np.ones((2, 3))), "vectors must have the shape (1, dimension), not (2, 3)"),
        ((["a"], np.ones(3)), "vectors must have the shape (1, dimension), not (3,)"),
        ((["a"], np.array([["x"]])), "vectors must be numbers, not <U1"),
        ((["a"], np.ones((1, 3)), []), "there are 1 keys but 0 metadata"),
    ],
)
def test_arrays_that_do_not_fit_together(value: Any, message: str) -> None:
    assert refusal(lambda: open_source(value, Columns())) == message


def test_a_matrix_in_a_file_is_keyed_by_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for matrix in (np.arange(6).reshape(3, 2), np.asfortranarray(np.arange(6.0).reshape(3, 2))):
        np.save(path, matrix)
        assert read(str(path)) == [(str(n), matrix[n].tolist(), None) for n in range(3)]
    several = open_source([path, path], Columns())
    assert [key for batch in several.batches(2) for key in batch.keys] == ["0", "1", "2"] * 2


def test_files_that_hold_no_matrix_of_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.ones(3), np.array([["x"]]), np.ones((1, 1), complex)):
        np.save(path, array)
        assert "not numbers of shape (rows, dimension)" in refusal(lambda: open_source(str(path), Columns()))
    np.save(path, np.array([{}], object), allow_pickle=True)
    assert "not a NumPy file" in refusal(lambda: open_source(str(path), Columns()))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 9)}"
    for body in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header):
        path.write_bytes(body)
        assert "not a NumPy file" in refusal(lambda: open_source(str(path), Columns()))


def test_files_by_path_and_several_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"key": "a", "vector": [1]}))
    table = pa.table({"key": ["b", "c"], "vector": pa.array([[2.0], [3.0]], pa.list_(pa.float32(), 1))})
    (tmp_path / "directory").mkdir()
    pq.write_table(table, tmp_path / "directory" / "b.parquet")
    assert read(str(tmp_path / "a.jsonl")) == [("a", [1], {})]
    assert read(tmp_path / "directory") == read(table) == [("b", [2], None), ("c", [3], None)]
    several = open_source([tmp_path / "a.jsonl", str(tmp_path / "directory")], Columns())
    assert [key for batch in several.batches(10) for key in batch.keys] == ["a", "b", "c"]
    assert several.rows == 0
    assert open_source([tmp_path / "directory"], Columns()).rows == 2


def test_names_that_say_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    assert refusal(lambda: open_source(path, Columns())) == (
        f"{path}: the name must end in .parquet, .jsonl, .jsonl.gz, .ndjson, .ndjson.gz, "
        ".arrow, .arrows, .feather or .npy"
    )


@pytest.mark.parametrize("value", [7, None, {"a": 1}, (1,), [1, 2], np.ones((2, 2))])
def test_values_that_cannot_hold_rows(value: Any) -> None:
    with pytest.raises(TypeError, match="rows come from"):
        open_source(value, Columns())


@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_mapped_matrix_that_was_read_counts_no_more_for_memory(tmp_path: Path, mode: Any) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(1 << 22, dtype=np.float32).reshape(-1, 64))  # 16 MiB
    matrix = np.load(path, mmap_mode=mode)
    if mode == "c":
        matrix[:] += 1  # which only this process sees
    expected = np.load(path) + (mode == "c")
    source = open_source((list(map(str, range(len(matrix)))), matrix), Columns())
    most = 0
    for batch in source.batches(8192):  # each of 2 MiB, and the last two may still be mapped
        assert np.array_equal(batch.vectors, expected[batch.first : batch.first + len(batch.keys)])
        most = max(most, resident(matrix))
    assert most <= 8 << 20 or mode == "c"
    assert np.array_equal(matrix, expected)


def test_a_numpy_file_that_was_read_counts_no_more_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    expected = np.arange(1 << 22, dtype=np.float32).reshape(-1, 64)
    np.save(path, expected)
    most = 0
    for batch in open_source(path, Columns()).batches(8192):
        assert np.array_equal(batch.vectors, expected[batch.first : batch.first + len(batch.keys)])
        assert batch.keys == [str(batch.first + number) for number in range(len(batch.keys))]
        most = max(most, resident(np.asarray(batch.vectors)))
    assert 0 < most <= 8 << 20
