"""`rows.parquet`: the rows of a segment as plain Parquet, laid out so that each value is one known byte range.

Columns: `vector` (fixed-size list of float32), `key` and `metadata` (JSON text, UTF-8); all required, uncompressed
and PLAIN, one data page per column and row group. The values of a PLAIN page stand at its end, so their offsets
follow from the column chunk's place and length. Zero bytes before a row group put its vectors at a multiple of 64,
for reading them in place; Parquet readers find column chunks by offset and never see the gap.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

GROUP_BYTES = 64 << 20
"""Vector bytes of one row group, about."""
ALIGNMENT = 64
_ONE_PAGE = (1 << 31) - 1
_GROUP_ROWS = 50_000  # with metadata of 40,960 bytes each, as much as a vector may have, just within one page


class Run(NamedTuple):
    """Consecutive rows whose vectors are contiguous: one row group."""

    first: int
    rows: int
    offset: int


class RowsFile(NamedTuple):
    """A built file and where everything in it is.

    Attributes:
        data: the file.
        runs: its row groups.
        keys: for each row, the offset of its key: a u32 length, then UTF-8 bytes. uint64 of shape (rows,).
        metadata: the same for its metadata.
    """

    data: memoryview
    runs: list[Run]
    keys: NDArray[np.uint64]
    metadata: NDArray[np.uint64]


def rows_per_group(dimension: int) -> int:
    """How many rows of this dimension make a full row group."""
    return max(1, min(GROUP_BYTES // (4 * dimension), _GROUP_ROWS))


def build(keys: Sequence[str], vectors: Float32Matrix, metadata: Sequence[bytes]) -> RowsFile:
    """Lay out n rows; vectors have shape (n, dimension)."""
    rows, dimension = vectors.shape
    schema = _schema(dimension)
    texts = [key.encode() for key in keys]
    sink = pa.BufferOutputStream()
    starts = range(0, rows, rows_per_group(dimension))
    with _writer(sink, schema) as writer:
        for start in starts:
            part = slice(start, start + rows_per_group(dimension))
            table = _table(schema, texts[part], vectors[part], metadata[part])
            sink.write(bytes(-(sink.tell() + _vector_overhead(len(table), dimension)) % ALIGNMENT))
            writer.write_table(table, row_group_size=len(table))
    data = memoryview(sink.getvalue())
    footer = pq.read_metadata(pa.BufferReader(data))
    key_sizes, metadata_sizes = _sizes(texts), _sizes(metadata)
    runs, key_offsets, metadata_offsets = [], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for number, start in enumerate(starts):
        group = footer.row_group(number)
        part = slice(start, start + group.num_rows)
        runs.append(Run(start, group.num_rows, _end(group, 0) - 4 * dimension * group.num_rows))
        key_offsets.append(_offsets(_end(group, 1), key_sizes[part]))
        metadata_offsets.append(_offsets(_end(group, 2), metadata_sizes[part]))
    return RowsFile(data, runs, np.concatenate(key_offsets), np.concatenate(metadata_offsets))


def _schema(dimension: int) -> pa.Schema:
    element = pa.field("element", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("vector", pa.list_(element, dimension), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
        ]
    )


def _writer(sink: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=_ONE_PAGE,
        max_rows_per_page=_ONE_PAGE,
        data_page_version="1.0",
    )


def _table(
    schema: pa.Schema, keys: Sequence[bytes], vectors: Float32Matrix, metadata: Sequence[bytes]
) -> pa.Table:
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.table(
        [
            pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type),
            pa.array(keys, pa.string()),
            pa.array(metadata, pa.string()),
        ],
        schema=schema,
    )


@lru_cache(maxsize=1024)
def _vector_overhead(rows: int, dimension: int) -> int:
    """Bytes between the start of a vector column chunk and its values: page header and levels."""
    schema = _schema(dimension)
    sink = pa.BufferOutputStream()
    with _writer(sink, schema) as writer:
        blank = np.zeros((rows, dimension), np.float32)
        writer.write_table(_table(schema, [b""] * rows, blank, [b""] * rows), row_group_size=rows)
    chunk = pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0).column(0)
    return int(chunk.total_compressed_size) - 4 * rows * dimension


def _end(group: pq.RowGroupMetaData, column: int) -> int:
    chunk = group.column(column)
    return int(chunk.data_page_offset) + int(chunk.total_compressed_size)


def _sizes(texts: Sequence[bytes]) -> NDArray[np.int64]:
    """Bytes of each text in a PLAIN page, with its length."""
    return np.fromiter((4 + len(text) for text in texts), np.int64, len(texts))


def _offsets(end: int, sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    return (end - np.cumsum(sizes[::-1])[::-1]).astype(np.uint64)
