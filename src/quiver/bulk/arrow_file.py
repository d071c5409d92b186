"""Arrow IPC files, which Feather files are, and streams kept in files: read part by part, however large."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from quiver.bulk.arrow import ArrowSource, readable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.bulk.columns import Columns
    from quiver.service.bulk_rows import RowBatch

_KIND = "an Arrow file"
_MAGIC = b"ARROW1"
"""What a file begins with, and a stream does not (Arrow columnar format, "IPC File Format")."""


class ArrowFileSource:
    """Rows of one file. Raises: ValidationError: no Arrow data, or without the columns; OSError."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._path = path
        self._columns = columns
        with readable(path, _KIND), self._opened() as reader:
            self.rows = reader.count_rows() if isinstance(reader, pa.ipc.RecordBatchFileReader) else 0
            self._source(reader)

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        with readable(self._path, _KIND), self._opened() as reader:
            yield from self._source(reader).batches(rows)

    def _opened(self) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
        with self._path.open("rb") as file:
            whole = file.read(len(_MAGIC)) == _MAGIC
        mapped = pa.memory_map(str(self._path))
        return pa.ipc.open_file(mapped) if whole else pa.ipc.open_stream(mapped)

    def _source(self, reader: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader) -> ArrowSource:
        return ArrowSource(_validated(reader), reader.schema, self._columns, 0, str(self._path))


def _validated(
    reader: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    """Its batches, each checked before it is looked at: what is mapped may be damaged. Raises ArrowInvalid."""
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        each: Iterator[pa.RecordBatch] = (reader.get_batch(n) for n in range(reader.num_record_batches))
    else:
        each = iter(reader)
    for batch in each:
        batch.validate(full=True)
        yield batch
