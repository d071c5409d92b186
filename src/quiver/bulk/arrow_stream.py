"""Arrow IPC streams from strangers: every message is judged before one is decoded, every batch before it is used.

Refused are dictionaries, tensors, compressed buffers (whose size nobody knows before they are unpacked), messages
that are too large, foreign byte order, and columns of types that have no place in a row of vectors. What is left
takes no more memory than its bytes. Message framing and metadata: Arrow columnar format, "Serialization and IPC".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pyarrow as pa

from quiver.bulk.arrow import ArrowSource
from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.bulk.columns import Columns

MAX_MESSAGE = 256 << 20
"""Bytes of one record batch with its metadata."""
MAX_COLUMNS = 1_000

_HEADER, _BYTE_ORDER, _COMPRESSION = 2, 0, 3
"""Positions of the fields `header` of Message, `endianness` of Schema and `compression` of RecordBatch."""

_BROKEN = (pa.ArrowException, OSError, ValueError, struct.error)
_NOT_A_STREAM = "The request body is not a whole Arrow IPC stream"


def open_arrow_stream(data: memoryview | bytes, columns: Columns) -> ArrowSource:
    """The rows of an IPC stream that nobody vouches for.

    Args:
        data: the whole stream; it is read in place.
        columns: which columns hold what.

    Raises: ValidationError: refused, or not a stream. Batches that contradict themselves raise it when read.
    """
    buffer = pa.py_buffer(data)
    try:
        _check_messages(buffer)
        reader = pa.ipc.open_stream(pa.BufferReader(buffer))
        _check_schema(reader.schema)
    except _BROKEN as error:
        raise ValidationError(_NOT_A_STREAM) from error
    return ArrowSource(_validated(reader), reader.schema, columns)


def _check_messages(buffer: pa.Buffer) -> None:
    """Look at the metadata of every message; their bodies are not touched."""
    messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(buffer))
    expected = "schema"
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            break
        if message.type != expected:
            raise ValidationError(f"An Arrow stream may not hold a {message.type} message here")
        header = _table(message.metadata, _HEADER)
        if message.type == "schema" and _slot(message.metadata, header, _BYTE_ORDER):
            raise ValidationError("Arrow data must be little-endian")
        if message.type == "record batch":
            if _slot(message.metadata, header, _COMPRESSION):
                raise ValidationError("Arrow buffers must not be compressed")
            if message.metadata.size + message.body.size > MAX_MESSAGE:
                raise ValidationError(f"A record batch may have at most {MAX_MESSAGE} bytes")
        expected = "record batch"
    if expected == "schema":
        raise ValidationError(_NOT_A_STREAM)


def _validated(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
            batch.validate(full=True)
        except StopIteration:
            return
        except _BROKEN as error:
            raise ValidationError("A record batch of the Arrow stream is not valid") from error
        yield batch


def _check_schema(schema: pa.Schema) -> None:
    """Raises: ValidationError; ValueError: a name that is not UTF-8."""
    if len(schema.names) > MAX_COLUMNS:
        raise ValidationError(f"An Arrow stream may have at most {MAX_COLUMNS} columns")
    for field in schema:
        if not (pa.types.is_null(field.type) or _is_scalar(field.type) or _is_nested(field.type)):
            raise ValidationError(
                f"The column {field.name!r} has the type {field.type}, which is not accepted here"
            )


def _is_nested(kind: pa.DataType) -> bool:
    """Lists of text or numbers; structures of such and of scalars; maps of scalars. Nothing deeper.

    Every value then has bytes of its own, so that values never take much more memory than the message did.
    """
    if _is_list(kind):
        return True
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return len(fields) <= MAX_COLUMNS and all(_is_scalar(each) or _is_list(each) for each in fields.values())
    return bool(pa.types.is_map(kind) and _is_element(kind.key_type) and _is_scalar(kind.item_type))


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    lists = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    return bool(lists and _is_element(kind.value_type))


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(_is_element(kind) or pa.types.is_boolean(kind))


def _is_element(kind: pa.DataType) -> bool:
    types = pa.types
    text = types.is_string(kind) or types.is_large_string(kind)
    return bool(text or types.is_integer(kind) or types.is_floating(kind))


def _table(data: pa.Buffer, field: int) -> int:
    """Where the table begins that a field of the root table refers to. Raises struct.error."""
    (root,) = struct.unpack_from("<I", data)
    at = root + _slot(data, root, field)
    (offset,) = struct.unpack_from("<I", data, at)
    return int(at + offset)


def _slot(data: pa.Buffer, table: int, field: int) -> int:
    """Where in a table of a FlatBuffer a field is, from the table's begin; 0 when it is left out."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    if 4 + 2 * field >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + 4 + 2 * field)
    return int(offset)
