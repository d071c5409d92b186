"""`rows.parquet`: the rows of a segment as plain Parquet, laid out so that each value is one known byte range.

Columns: `vector` (fixed-size list of float32), `key` and `metadata` (JSON text, UTF-8); all required, uncompressed
and PLAIN, one data page per column and row group. The values of a PLAIN page stand at its end, so their offsets
follow from the column chunk's place and length. Zero bytes before a row group put its vectors at a multiple of 64,
for reading them in place; Parquet readers find column chunks by offset and never see the gap.

Pages this plain are written here: vectors go from memory to the file in one piece, where a general writer copies
them several times and encodes a level for every component. Format: parquet-format, README.md, Encodings.md and
parquet.thrift.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from quiver.format.thrift import Long, Value, encode, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

GROUP_BYTES = 64 << 20
"""Vector bytes of one row group, about."""
ALIGNMENT = 64
_LENGTH = 4  # before each text
_FLOAT_SIZE = 4
_GROUP_ROWS = 50_000  # with metadata of 40,960 bytes each, as much as a vector may have, just within one page

_MAGIC = b"PAR1"
_FLOAT, _BYTE_ARRAY = 4, 6  # Type
_REQUIRED, _REPEATED = 0, 2  # FieldRepetitionType
_UTF8, _LIST = 0, 3  # ConvertedType
_STRING_TYPE, _LIST_TYPE = 1, 3  # members of LogicalType
_PLAIN, _RLE = 0, 3  # Encoding
_VERSION = 2


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


class TextPage(NamedTuple):
    """Texts of a row group as they stand in a file.

    Attributes:
        values: each with its length, a u32, before it.
        sizes: bytes of each, its length apart. int64 of shape (rows,).
    """

    values: bytes
    sizes: NDArray[np.int64]


class Ends(NamedTuple):
    """Where the column chunks of one row group end."""

    vector: int
    key: int
    metadata: int


def rows_per_group(dimension: int) -> int:
    """How many rows of this dimension make a full row group."""
    return max(1, min(GROUP_BYTES // (4 * dimension), _GROUP_ROWS))


class Sink(Protocol):
    """What is written to: a part of a binary file."""

    def write(self, data: bytes | memoryview, /) -> int: ...

    def tell(self) -> int: ...


class RowsWriter:
    """Writes a file row group by row group."""

    def __init__(self, sink: Sink, dimension: int) -> None:
        self._sink = sink
        self._dimension = dimension
        self._groups: list[Value] = []
        self._layouts: list[Layout] = []
        sink.write(_MAGIC)

    def write(self, keys: TextPage, vectors: Iterable[Float32Matrix], metadata: TextPage) -> None:
        """Append one row group: n rows, at least one and no more than `rows_per_group` allows.

        Args:
            vectors: n rows in all, one matrix after the other.
        """
        rows = len(keys.sizes)
        count, levels = rows * self._dimension, _levels(rows, self._dimension)
        head = _page_header(count, len(levels) + _FLOAT_SIZE * count) + levels
        self._sink.write(bytes(-(self._sink.tell() + len(head)) % ALIGNMENT))
        values = map(_raw, vectors)
        chunks = [self._chunk(_FLOAT, ["vector", "list", "element"], count, head, values)]
        if chunks[0].size != len(head) + _FLOAT_SIZE * count:
            raise ValueError(f"vectors of {chunks[0].size - len(head)} bytes for {rows} rows")
        ends = [self._sink.tell()]
        for name, page in (("key", keys.values), ("metadata", metadata.values)):
            chunks.append(self._chunk(_BYTE_ARRAY, [name], rows, _page_header(rows, len(page)), [page]))
            ends.append(self._sink.tell())
        self._groups.append(_row_group(rows, chunks))
        self._layouts.append(group_layout(rows, self._dimension, Ends(*ends), keys.sizes, metadata.sizes))

    def finish(self) -> Layout:
        """Write the Parquet footer. The sink stays open."""
        layout = join(self._layouts)
        footer = encode(_file(self._dimension, len(layout.keys), self._groups))
        self._sink.write(footer + struct.pack("<I", len(footer)) + _MAGIC)
        return layout

    def _chunk(
        self, kind: int, path: list[Value], values: int, head: bytes, page: Iterable[bytes | memoryview]
    ) -> Chunk:
        """Write a column chunk of one page."""
        start = self._sink.tell()
        self._sink.write(head)
        for part in page:
            self._sink.write(part)
        size = Long(self._sink.tell() - start)
        encodings: list[Value] = [_RLE, _PLAIN]
        fields: dict[int, Value] = {1: kind, 2: encodings, 3: path, 4: 0, 5: Long(values), 6: size, 7: size}
        return Chunk({2: Long(0), 3: {**fields, 9: Long(start)}}, size.value)


class Chunk(NamedTuple):
    """A column chunk that was written: its ColumnChunk structure, and its bytes."""

    description: dict[int, Value]
    size: int


def group_layout(
    rows: int, dimension: int, ends: Ends, key_sizes: NDArray[np.int64], metadata_sizes: NDArray[np.int64]
) -> Layout:
    """Where one row group is, as if it were the first; sizes are bytes of each text."""
    run = Run(0, rows, ends.vector - _FLOAT_SIZE * dimension * rows)
    return Layout([run], _offsets(ends.key, key_sizes), _offsets(ends.metadata, metadata_sizes))


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


# ---------------------------------------------------------------- structures of Parquet


def _file(dimension: int, rows: int, groups: list[Value]) -> dict[int, Value]:
    """FileMetaData. Arrow's own description of the columns lets its readers see lists of a fixed size."""
    arrow = base64.b64encode(schema(dimension).serialize()).decode()
    columns: list[Value] = [
        {3: _REQUIRED, 4: "schema", 5: 3},
        {3: _REQUIRED, 4: "vector", 5: 1, 6: _LIST, 10: {_LIST_TYPE: {}}},
        {3: _REPEATED, 4: "list", 5: 1},
        {1: _FLOAT, 3: _REQUIRED, 4: "element"},
        {1: _BYTE_ARRAY, 3: _REQUIRED, 4: "key", 6: _UTF8, 10: {_STRING_TYPE: {}}},
        {1: _BYTE_ARRAY, 3: _REQUIRED, 4: "metadata", 6: _UTF8, 10: {_STRING_TYPE: {}}},
    ]
    described: list[Value] = [{1: "ARROW:schema", 2: arrow}]
    return {1: _VERSION, 2: columns, 3: Long(rows), 4: groups, 5: described, 6: "quiver"}


def _row_group(rows: int, chunks: Sequence[Chunk]) -> dict[int, Value]:
    described: list[Value] = [chunk.description for chunk in chunks]
    return {1: described, 2: Long(sum(chunk.size for chunk in chunks)), 3: Long(rows)}


def _page_header(values: int, nbytes: int) -> bytes:
    """PageHeader of a data page."""
    return encode({1: 0, 2: nbytes, 3: nbytes, 5: {1: values, 2: _PLAIN, 3: _RLE, 4: _RLE}})


def _levels(rows: int, dimension: int) -> bytes:
    """Repetition levels, 0 where a list begins and else 1, then definition levels, all 1; as runs."""
    begin = _level_run(1, 0)
    repetition = (begin + _level_run(dimension - 1, 1)) * rows if dimension > 1 else _level_run(rows, 0)
    definition = _level_run(rows * dimension, 1)
    return b"".join(struct.pack("<I", len(part)) + part for part in (repetition, definition))


def _level_run(count: int, level: int) -> bytes:
    return varint(count << 1) + bytes([level])


def _raw(vectors: Float32Matrix) -> memoryview:
    return np.ascontiguousarray(vectors, "<f4").reshape(-1).view(np.uint8).data


def _offsets(end: int, sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Where texts of these sizes start that end together: each has its length before it."""
    return (end - np.cumsum(sizes[::-1] + _LENGTH)[::-1]).astype(np.uint64)
