"""Tests of rows.parquet: plain Parquet to everyone, known byte ranges to Quiver."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import numpy as np
import orjson
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quiver.format import rows_parquet
from quiver.format.rows_parquet import ALIGNMENT, Layout, RowsWriter, TextPage, rows_per_group
from quiver.storage.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = pytest.mark.parametrize(
    ("rows", "dimension", "group_bytes"),
    [(1, 1, 64 << 20), (3, 4096, 64 << 20), (500, 24, 64 << 20), (500, 24, 4000), (17, 3, 12), (100, 1, 40)],
)


def sample(rows: int, dimension: int) -> tuple[list[str], np.ndarray, list[bytes]]:
    keys = [f"k\u00e9y-{number}" + "\x00/\U0001f3f9"[: number % 4] for number in range(rows)]
    vectors = np.random.default_rng(rows).normal(size=(rows, dimension)).astype(np.float32)
    metadata = [orjson.dumps({"n": number, "text": "\u00fc" * (number % 30)}) for number in range(rows)]
    return keys, vectors, metadata


class Made(NamedTuple):
    """A file and where everything in it is."""

    data: memoryview
    layout: Layout


def write(keys: list[str], vectors: np.ndarray, metadata: list[bytes], spool: Spool | None = None) -> Made:
    """As builders do it: row group by row group."""
    file = (spool or Spool()).open(vectors.nbytes + 1)
    writer = RowsWriter(file, vectors.shape[1])
    step = rows_per_group(vectors.shape[1])
    for start in range(0, len(keys), step):
        part = slice(start, start + step)
        writer.write(*pages(keys[part], np.array_split(vectors[part], 3), metadata[part]))
    layout = writer.finish()
    return Made(file.view(), layout)


@pytest.fixture(params=[None, 0], ids=["in memory", "mapped"])
def made(request, monkeypatch, rows, dimension, group_bytes) -> tuple[Made, list[str], np.ndarray, list[bytes]]:
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", group_bytes)
    values = sample(rows, dimension)
    return write(*values, Spool() if request.param is None else Spool(memory_bytes=request.param)), *values


def pages(
    keys: list[str], vectors: list[np.ndarray], metadata: list[bytes]
) -> tuple[TextPage, list[np.ndarray], TextPage]:
    """What a writer takes."""
    return page([key.encode() for key in keys]), vectors, page(metadata)


def page(texts: list[bytes]) -> TextPage:
    values = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return TextPage(values, np.array(list(map(len, texts)), np.int64))


def text_at(data: memoryview, offset: int) -> bytes:
    (length,) = struct.unpack_from("<I", data, offset)
    return bytes(data[offset + 4 : offset + 4 + length])


@SHAPES
def test_offsets_point_at_the_right_bytes(made, rows, dimension):
    file, keys, vectors, metadata = made
    assert [text_at(file.data, int(offset)).decode() for offset in file.layout.keys] == keys
    assert [text_at(file.data, int(offset)) for offset in file.layout.metadata] == metadata
    found = [
        np.frombuffer(file.data, np.float32, run.rows * dimension, run.offset).reshape(-1, dimension)
        for run in file.layout.runs
    ]
    assert np.concatenate(found).tobytes() == vectors.tobytes()


@SHAPES
def test_runs_follow_each_other_and_start_at_multiples_of_64(made, rows, dimension):
    file, *_ = made
    position = 0
    for run in file.layout.runs:
        assert run.first == position
        assert run.offset % ALIGNMENT == 0
        assert 1 <= run.rows <= rows_per_group(dimension)
        position += run.rows
    assert position == rows
    assert len(file.layout.runs) == -(-rows // rows_per_group(dimension))


@SHAPES
def test_duckdb_polars_and_arrow_read_the_same_values(made, tmp_path: Path, dimension):
    file, keys, vectors, metadata = made
    path = tmp_path / "rows.parquet"
    path.write_bytes(file.data)
    texts = [document.decode() for document in metadata]

    table = pq.read_table(path)
    assert table["key"].to_pylist() == keys
    assert table["metadata"].to_pylist() == texts
    assert np.array(table["vector"].to_pylist(), np.float32).tobytes() == vectors.tobytes()

    frame = polars.read_parquet(path)
    assert frame["key"].to_list() == keys
    assert frame["metadata"].to_list() == texts
    assert np.array(frame["vector"].to_list(), np.float32).tobytes() == vectors.tobytes()

    found = duckdb.execute("SELECT key, vector, metadata FROM read_parquet(?)", [str(path)]).fetchall()
    assert [row[0] for row in found] == keys
    assert [row[2] for row in found] == texts
    assert np.array([row[1] for row in found], np.float32).tobytes() == vectors.tobytes()


def test_duckdb_filters_on_metadata_and_computes_on_vectors(tmp_path: Path):
    keys, vectors, metadata = sample(50, 4)
    path = tmp_path / "rows.parquet"
    path.write_bytes(write(keys, vectors, metadata).data)
    query = "SELECT key FROM read_parquet(?) WHERE CAST(metadata->>'n' AS INT) >= 48 AND len(vector) = 4"
    assert [row[0] for row in duckdb.execute(query, [str(path)]).fetchall()] == keys[48:]


def test_no_rows_make_an_empty_file():
    file = write([], np.zeros((0, 3), np.float32), [])
    assert file.layout.runs == []
    assert len(file.layout.keys) == len(file.layout.metadata) == 0
    assert pq.read_table(pa.BufferReader(file.data)).num_rows == 0


@pytest.mark.parametrize("given", [0, 4, 6])
def test_as_many_vectors_as_keys_have_to_come(given):
    keys, vectors, metadata = sample(6, 3)
    writer = RowsWriter(Spool().open(), 3)
    with pytest.raises(ValueError, match="5 rows"):
        writer.write(*pages(keys[:5], [vectors[:given]], metadata[:5]))


def test_a_sink_in_memory_and_one_in_a_file_hold_the_same_bytes():
    values = sample(300, 5)
    assert bytes(write(*values, Spool(memory_bytes=0)).data) == bytes(write(*values).data)


def test_row_groups_hold_no_more_rows_than_metadata_of_the_greatest_size_let_one_page_have():
    assert rows_per_group(1) * (40_960 + 4) < 1 << 31
    assert rows_per_group(4096) * 4096 * 4 <= rows_parquet.GROUP_BYTES
