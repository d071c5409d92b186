"""Where everything is in `rows.parquet`, found from nothing but the file: for a segment whose index is gone.

Arrow reads the file, and what it reads has to lie where the layout says. Without the checksums of the index a
value that changed into another one is not noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quiver.format.rows_parquet import Ends, Layout, group_layout, join, schema
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_layout(data: memoryview, dimension: int) -> Layout:
    """The layout of a file that a `RowsWriter` wrote; one row group is in memory at a time.

    Raises:
        CorruptObjectError: the file is none, or is not of this dimension.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)))
        if not file.schema_arrow.equals(schema(dimension)):
            raise CorruptObjectError(f"the columns are not those of rows of dimension {dimension}")
        return join([_read_group(file, number, data, dimension) for number in range(file.num_row_groups)])
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise CorruptObjectError(f"unreadable Parquet: {error}") from error


def _read_group(file: pq.ParquetFile, number: int, data: memoryview, dimension: int) -> Layout:
    table = file.read_row_group(number, use_threads=False).combine_chunks()
    table.validate(full=True)
    if any(column.null_count for column in table.columns):
        raise CorruptObjectError(f"row group {number} has values missing")
    sizes = [pc.binary_length(table[name]).to_numpy().astype(np.int64) for name in ("key", "metadata")]
    layout = group_layout(table.num_rows, dimension, _ends(file.metadata.row_group(number)), *sizes)
    vectors = table["vector"].chunk(0).flatten().to_numpy()
    same = _lie_at(data, layout.runs[0].offset, vectors)
    for offsets, lengths in zip((layout.keys, layout.metadata), sizes, strict=True):
        same = same and _have_lengths(data, offsets, lengths)
    if not same:
        raise CorruptObjectError(f"row group {number} is not laid out as Quiver does it")
    return layout


def _ends(group: pq.RowGroupMetaData) -> Ends:
    chunks = [group.column(number) for number in range(3)]
    return Ends(*(int(chunk.data_page_offset) + int(chunk.total_compressed_size) for chunk in chunks))


def _lie_at(data: memoryview, offset: int, vectors: NDArray[np.float32]) -> bool:
    """Whether the bytes of vectors are there, where float32 can be read in place."""
    if offset < 0 or offset % vectors.itemsize or offset + vectors.nbytes > len(data):
        return False
    there = np.frombuffer(data, np.uint8, vectors.nbytes, offset)
    return np.array_equal(there, vectors.view(np.uint8))


def _have_lengths(data: memoryview, offsets: NDArray[np.uint64], lengths: NDArray[np.int64]) -> bool:
    """Whether texts of these lengths begin there, each with its length as a u32."""
    if len(offsets) and int(offsets.max()) > len(data) - 4:
        return False
    places = offsets.astype(np.int64)[:, None] + np.arange(4)
    return np.array_equal(np.frombuffer(data, np.uint8)[places].view("<u4")[:, 0], lengths)
