"""Parquet files: read with any layout in bounded memory, written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.reading import refusal, rows
from quiver.bulk import parquet
from quiver.bulk.columns import Columns
from quiver.bulk.parquet import ParquetSink, ParquetSource, parquet_files
from quiver.model.types import VectorBatch

if TYPE_CHECKING:
    from pathlib import Path


def table(count: int = 5) -> pa.Table:
    vectors = pa.array([[float(i), 1.0] for i in range(count)], pa.list_(pa.float32(), 2))
    return pa.table({"key": [f"k{i}" for i in range(count)], "vector": vectors, "n": list(range(count))})


def expected(count: int = 5) -> Any:
    return [(f"k{i}", [i, 1], {"n": i}) for i in range(count)]


def batch(start: int, count: int, dimension: int = 2) -> VectorBatch:
    numbers = range(start, start + count)
    vectors = np.array([[i] * dimension for i in numbers], np.float32)
    return VectorBatch([f"k{i}" for i in numbers], vectors, [b'{"n":%d}' % i for i in numbers])


def test_a_file_is_read_in_order_whatever_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for options in ({}, {"row_group_size": 2}, {"compression": "zstd", "data_page_size": 1}, {"version": "1.0"}):
        pq.write_table(table(), path, **options)
        for size in (1, 2, 100):
            source = ParquetSource(path, Columns())
            assert source.rows == 5
            assert rows(source, size) == expected()


def test_files_of_other_writers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    polars.from_arrow(table()).write_parquet(path)
    assert rows(ParquetSource(path, Columns())) == expected()
    duckdb.sql(f"COPY (SELECT 'a' AS id, [1.5, 2.5]::FLOAT[] AS vector, 7 AS n) TO '{path}' (FORMAT parquet)")
    assert rows(ParquetSource(path, Columns())) == [("a", [1.5, 2.5], {"n": 7})]


def test_only_the_chosen_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table().append_column("unreadable", pa.array([b"\\xff"] * 5, pa.binary())), path)
    assert rows(ParquetSource(path, Columns(metadata=["n"]))) == expected()


def test_what_is_no_parquet_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path)
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[:-9], b"x" * 5000):
        path.write_bytes(data)
        assert refusal(lambda: ParquetSource(path, Columns())) == f"{path}: not a Parquet file that can be read"
    path.write_bytes(b"PAR1" + bytes(200) + whole[204:])
    assert refusal(lambda: rows(ParquetSource(path, Columns()))) == f"{path}: not a Parquet file that can be read"
    with pytest.raises(FileNotFoundError):
        ParquetSource(tmp_path / "none.parquet", Columns())
    pq.write_table(table().drop(["vector"]), path)
    assert refusal(lambda: ParquetSource(path, Columns())) == f"{path}: there is no column 'vector' or 'data'"


def test_the_files_of_a_directory(tmp_path: Path) -> None:
    for name in ("b.parquet", "a/z.parquet", "a/.hidden.parquet", "_temporary.parquet", "a/readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert parquet_files(tmp_path) == [tmp_path / "a/z.parquet", tmp_path / "b.parquet"]
    (tmp_path / "empty").mkdir()
    assert refusal(lambda: parquet_files(tmp_path / "empty")).endswith("there is no Parquet file in it")


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_what_was_written_is_read_again(tmp_path: Path, compression: Any) -> None:
    path = tmp_path / "out.parquet"
    sink = ParquetSink(path, 2, compression)
    sink.write(batch(0, 3))
    sink.write(batch(3, 4))
    assert not path.exists()
    sink.finish()
    sink.discard()
    assert list(tmp_path.iterdir()) == [path]
    assert rows(ParquetSource(path, Columns())) == [(f"k{i}", [i, i], {"n": i}) for i in range(7)]
    found = duckdb.sql(f"SELECT key, vector, metadata FROM '{path}' ORDER BY key LIMIT 1").fetchall()
    assert [(key, list(vector), text) for key, vector, text in found] == [("k0", [0.0, 0.0], '{"n":0}')]
    assert pq.read_schema(path).field("vector").type.list_size == 2
    chunk = pq.read_metadata(path).row_group(0).column(0)
    assert chunk.compression == {"zstd": "ZSTD", "none": "UNCOMPRESSED"}[compression]


def test_row_groups_have_about_the_size_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 10_000)
    path = tmp_path / "out.parquet"
    sink = ParquetSink(path, 100)
    for start in range(0, 100, 10):
        sink.write(batch(start, 10, dimension=100))
    sink.finish()
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [30, 30, 30, 10]


def test_an_index_without_rows_becomes_a_file_without_rows(tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / "out.parquet", 3)
    sink.finish()
    sink.discard()
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert rows(ParquetSource(tmp_path / "out.parquet", Columns())) == []


def test_an_export_that_was_discarded_leaves_nothing_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_text("before")
    sink = ParquetSink(path, 2)
    sink.write(batch(0, 3))
    sink.discard()
    assert [(p, p.read_text()) for p in tmp_path.iterdir()] == [(path, "before")]


READ = """
import resource, sys
from pathlib import Path
from quiver.bulk.columns import Columns
from quiver.bulk.parquet import ParquetSource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(batch.keys) for batch in ParquetSource(Path(sys.argv[1]), Columns()).batches(4096))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_of_one_row_group_is_read_in_a_part_of_its_size(tmp_path: Path) -> None:
    path, count = tmp_path / "a.parquet", 100_000
    vectors = np.random.default_rng(1).standard_normal(count * 512, dtype=np.float32)
    columns = [pa.array([str(i) for i in range(count)]), pa.FixedSizeListArray.from_arrays(pa.array(vectors), 512)]
    data = pa.table(columns, ["key", "vector"])
    pq.write_table(data, path, row_group_size=count, compression="none", use_dictionary=False)
    assert pq.read_metadata(path).num_row_groups == 1
    ran = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    rows_read, kibibytes = map(int, ran.stdout.split())
    assert rows_read == count
    assert kibibytes * 1024 < path.stat().st_size / 2


def test_a_file_that_cannot_be_written_is_called_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "folder.parquet").mkdir()
    for name, kind in (("none/x.parquet", FileNotFoundError), ("folder.parquet", IsADirectoryError)):
        with pytest.raises(kind) as caught:
            ParquetSink(tmp_path / name, 2)
        assert caught.value.filename == str(tmp_path / name)
    assert (
        refusal(lambda: ParquetSink(tmp_path / "x.csv", 2)) == f"{tmp_path}/x.csv: the name must end in .parquet"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]
