"""Parquet files: read part by part, however large; written so that a file that has its name is whole."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from quiver.bulk.arrow import ArrowSource, readable
from quiver.bulk.documents import named
from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedWriter
    from pathlib import Path

    from quiver.bulk.columns import Columns
    from quiver.model.types import VectorBatch
    from quiver.service.bulk_rows import RowBatch

SUFFIX = ".parquet"
GROUP_BYTES = 64 << 20
"""Vectors, keys and metadata in one row group, about."""
READ_BYTES = 1 << 20
"""Read ahead in each column."""

_KIND = "a Parquet file"

Compression = Literal["zstd", "none"]


class ParquetSource:
    """Rows of one file. Raises: ValidationError: not a Parquet file, or without the columns; OSError."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._path = path
        self._columns = columns
        with readable(path, _KIND), self._open() as file:
            self.rows: int = file.metadata.num_rows
            self._source(file)

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        with readable(self._path, _KIND), self._open() as file:
            yield from self._source(file, rows).batches(rows)

    def _open(self) -> pq.ParquetFile:
        # Without pre-buffering: that would hold all the chunks of a row group, and a file may be one row group.
        return pq.ParquetFile(self._path, buffer_size=READ_BYTES, pre_buffer=False)

    def _source(self, file: pq.ParquetFile, rows: int = 1) -> ArrowSource:
        """The chosen columns; the others are not read."""
        schema, origin = file.schema_arrow, str(self._path)
        chosen = self._columns.choose(schema.names, origin)
        batches = file.iter_batches(rows, columns=chosen.used)
        used = pa.schema([schema.field(name) for name in chosen.used])
        return ArrowSource(batches, used, self._columns, 0, origin)


class ParquetSink:
    """A file with the columns `key`, `vector` (fixed-size list of float32) and `metadata` (JSON text).

    It is written under a name of its own beside `path` and gets its name, whole and durable, by `finish`.

    Args:
        path: the file, which has to end in .parquet, as those that are read; one that exists is replaced.
        dimension: components of each vector.
        compression: of the pages.

    Raises: ValidationError: another name; OSError, with the path.
    """

    def __init__(self, path: Path, dimension: int, compression: Compression = "zstd") -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        element = pa.field("element", pa.float32(), nullable=False)
        self._schema = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("vector", pa.list_(element, dimension), nullable=False),
                pa.field("metadata", pa.string(), nullable=False),
            ]
        )
        self._file = self._created()
        self._writer = pq.ParquetWriter(
            self._file, self._schema, compression=compression, use_dictionary=False, write_statistics=["key"]
        )
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0

    def _created(self) -> BufferedWriter:
        if not self._path.name.endswith(SUFFIX):
            raise ValidationError(named(str(self._path), f"the name must end in {SUFFIX}"))
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        try:
            return self._partial.open("xb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def write(self, batch: VectorBatch) -> None:
        """See Sink."""
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(batch.vectors.reshape(-1)), type=self._schema.field("vector").type
        )
        columns = [pa.array(batch.keys, pa.string()), vectors, pa.array(batch.metadata, pa.string())]
        made = pa.record_batch(columns, schema=self._schema)
        self._waiting.append(made)
        self._waiting_bytes += made.nbytes
        if self._waiting_bytes >= GROUP_BYTES:
            self._write_group()

    def finish(self) -> None:
        """See Sink."""
        self._write_group()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
        _sync_directory(self._path.parent)

    def discard(self) -> None:
        """See Sink."""
        if not self._file.closed:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._file.close()
        self._partial.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._waiting_bytes = [], 0


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_files(directory: Path) -> Sequence[Path]:
    """Every Parquet file in a directory, at any depth, by name. Raises ValidationError: there is none."""
    found = sorted(path for path in directory.rglob("*.parquet") if not path.name.startswith((".", "_")))
    if not found:
        raise ValidationError(named(str(directory), "there is no Parquet file in it"))
    return found
