"""`rows.parquet`: the rows of a segment as plain Parquet, laid out so that each value is one known byte range.

Columns: `vector` (fixed-size list of float32), `key` and `metadata` (JSON text, UTF-8); all required, uncompressed
and PLAIN, one data page per column and row group. The values of a PLAIN page stand at its end, so their offsets
follow from the column chunk's place and length. Zero bytes before a row group put its vectors at a multiple of 64,
for reading them in place; Parquet readers find column chunks by offset and never see the gap.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
_LENGTH = 4  # bytes before each text
_ONE_PAGE = (1 << 31) - 1
_GROUP_ROWS = 50_000  # with metadata of 40,960 bytes each, as much as a vector may have, just within one page


class Run(NamedTuple):
    """Consecutive rows whose vectors are contiguous: one row group."""

    first: int
    rows: int
    offset: int


class Layout(NamedTuple):
    """Where everything in a file is.

    Attributes:
        runs: its row groups.
        keys: for each row, the offset of its key: a u32 length, then UTF-8 bytes. uint64 of shape (rows,).
        metadata: the same for its metadata.
    """

    runs: list[Run]
    keys: NDArray[np.uint64]
    metadata: NDArray[np.uint64]


def rows_per_group(dimension: int) -> int:
    """How many rows of this dimension make a full row group."""
    return max(1, min(GROUP_BYTES // (4 * dimension), _GROUP_ROWS))


class Sink(Protocol):
    """What is written to: the part of a binary file that pyarrow needs."""

    @property
    def closed(self) -> bool: ...

    def write(self, data: bytes | memoryview) -> int: ...

    def tell(self) -> int: ...

    def flush(self) -> None: ...


class RowsWriter:
    """Writes a file row group by row group."""

    def __init__(self, sink: Sink, dimension: int) -> None:
        self._sink = pa.PythonFile(sink, "w")
        self._dimension = dimension
        self._schema = schema(dimension)
        self._footers: list[pq.FileMetaData] = []
        self._writer = _writer(self._sink, self._schema, self._footers)
        self._key_sizes: list[NDArray[np.int64]] = []
        self._metadata_sizes: list[NDArray[np.int64]] = []

    def write(self, keys: Sequence[str], vectors: Float32Matrix, metadata: Sequence[bytes]) -> None:
        """Append one row group: n rows, at least one and no more than `rows_per_group` allows."""
        texts = [key.encode() for key in keys]
        table = _table(self._schema, texts, vectors, metadata)
        overhead = _vector_overhead(len(texts), self._dimension)
        self._sink.write(bytes(-(self._sink.tell() + overhead) % ALIGNMENT))
        self._writer.write_table(table, row_group_size=len(texts))
        self._key_sizes.append(_sizes(texts))
        self._metadata_sizes.append(_sizes(metadata))

    def finish(self) -> Layout:
        """Write the Parquet footer. The sink stays open."""
        self._writer.close()
        self._sink.flush()
        (footer,) = self._footers
        groups = zip(_groups(footer), self._key_sizes, self._metadata_sizes, strict=True)
        return join([group_layout(group, self._dimension, *sizes) for group, *sizes in groups])


def _groups(footer: pq.FileMetaData) -> list[pq.RowGroupMetaData]:
    return [footer.row_group(number) for number in range(footer.num_row_groups)]


def group_layout(
    group: pq.RowGroupMetaData, dimension: int, key_sizes: NDArray[np.int64], metadata_sizes: NDArray[np.int64]
) -> Layout:
    """Where one row group is, as if it were the first; sizes are bytes of each text."""
    run = Run(0, group.num_rows, _end(group, 0) - 4 * dimension * group.num_rows)
    return Layout([run], _offsets(_end(group, 1), key_sizes), _offsets(_end(group, 2), metadata_sizes))


def join(groups: Sequence[Layout]) -> Layout:
    """Row groups one after the other."""
    runs: list[Run] = []
    rows = 0
    for run in (run for group in groups for run in group.runs):
        runs.append(run._replace(first=rows))
        rows += run.rows
    none = np.zeros(0, np.uint64)
    keys = np.concatenate([none, *(group.keys for group in groups)])
    return Layout(runs, keys, np.concatenate([none, *(group.metadata for group in groups)]))


def schema(dimension: int) -> pa.Schema:
    """The columns."""
    element = pa.field("element", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("vector", pa.list_(element, dimension), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
        ]
    )


def _writer(sink: pa.NativeFile, columns: pa.Schema, footers: list[pq.FileMetaData]) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        columns,
        metadata_collector=footers,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=_ONE_PAGE,
        max_rows_per_page=_ONE_PAGE,
        data_page_version="1.0",
    )


def _table(
    columns: pa.Schema, keys: Sequence[bytes], vectors: Float32Matrix, metadata: Sequence[bytes]
) -> pa.Table:
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.table(
        [
            pa.FixedSizeListArray.from_arrays(values, type=columns.field("vector").type),
            pa.array(keys, pa.string()),
            pa.array(metadata, pa.string()),
        ],
        schema=columns,
    )


@lru_cache(maxsize=1024)
def _vector_overhead(rows: int, dimension: int) -> int:
    """Bytes between the start of a vector column chunk and its values: page header and levels."""
    columns = schema(dimension)
    footers: list[pq.FileMetaData] = []
    with _writer(pa.BufferOutputStream(), columns, footers) as writer:
        blank = np.zeros((rows, dimension), np.float32)
        writer.write_table(_table(columns, [b""] * rows, blank, [b""] * rows), row_group_size=rows)
    chunk = footers[0].row_group(0).column(0)
    return int(chunk.total_compressed_size) - 4 * rows * dimension


def _end(group: pq.RowGroupMetaData, column: int) -> int:
    chunk = group.column(column)
    return int(chunk.data_page_offset) + int(chunk.total_compressed_size)


def _sizes(texts: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter((len(text) for text in texts), np.int64, len(texts))


def _offsets(end: int, sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Where texts of these sizes start that end together: each has its length before it."""
    return (end - np.cumsum(sizes[::-1] + _LENGTH)[::-1]).astype(np.uint64)
