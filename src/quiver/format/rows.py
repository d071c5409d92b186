"""The bodies of put and delete parts: one Arrow IPC stream each, written fast and read in place.

put:    key utf8, vector fixed_size_list<float32>[dimension], metadata binary (JSON text)
delete: key utf8
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from quiver.model.errors import CorruptObjectError
from quiver.model.types import VectorBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

_DELETE = pa.schema([pa.field("key", pa.string(), nullable=False)])


def _put_schema(dimension: int) -> pa.Schema:
    element = pa.field("element", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("vector", pa.list_(element, dimension), nullable=False),
            pa.field("metadata", pa.binary(), nullable=False),
        ]
    )


def _stream(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _read(body: memoryview | bytes, schema: pa.Schema) -> pa.RecordBatch:
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            if reader.schema != schema:
                raise CorruptObjectError("log entry: unexpected columns")
            batch = reader.read_next_batch()
        batch.validate(full=True)
    except (pa.ArrowException, StopIteration, OSError) as error:
        raise CorruptObjectError("log entry: unreadable rows") from error
    if any(column.null_count for column in batch.columns):
        raise CorruptObjectError("log entry: null values")
    return batch


def encode_put(batch: VectorBatch) -> memoryview:
    """The body of a put part."""
    schema = _put_schema(batch.vectors.shape[1])
    values = pa.array(np.ascontiguousarray(batch.vectors).reshape(-1))
    columns = [
        pa.array(batch.keys, pa.string()),
        pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type),
        pa.array(batch.metadata, pa.binary()),
    ]
    return _stream(pa.RecordBatch.from_arrays(columns, schema=schema))


def decode_put(body: memoryview | bytes, dimension: int) -> VectorBatch:
    """The vectors are a read-only view of `body`. Raises CorruptObjectError."""
    batch = _read(body, _put_schema(dimension))
    values = batch.column("vector").flatten()
    if values.null_count:
        raise CorruptObjectError("log entry: null values")
    vectors = values.to_numpy(zero_copy_only=True).reshape(-1, dimension)
    return VectorBatch(batch.column("key").to_pylist(), vectors, batch.column("metadata").to_pylist())


def encode_delete(keys: Sequence[str]) -> memoryview:
    """The body of a delete part."""
    return _stream(pa.RecordBatch.from_arrays([pa.array(keys, pa.string())], schema=_DELETE))


def decode_delete(body: memoryview | bytes) -> list[str]:
    """The keys to delete. Raises CorruptObjectError."""
    keys: list[str] = _read(body, _DELETE).column("key").to_pylist()
    return keys
