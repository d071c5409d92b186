"""Arrow record batches as rows: the columns, whatever types they have, become keys, vectors and documents."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quiver.bulk.documents import from_columns, named
from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.model.strict_json import parse_strict
from quiver.service.bulk_rows import RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from quiver.bulk.columns import Chosen, Columns

SLICE_BYTES = 4 << 20
"""Arrow bytes that are converted at a time."""
MAX_VALUE = 1 << 20
"""Bytes of a text and elements of a list beyond which a value is refused unread: nothing valid has as many."""


class _ValueError(Exception):
    """A value that cannot be taken; `row` counts from the begin of its batch."""

    def __init__(self, row: int, member: str, message: str) -> None:
        super().__init__(message)
        self.row = row
        self.member = member


class ArrowSource:
    """Rows from record batches of one schema.

    Args:
        batches: the record batches.
        schema: of each.
        columns: which columns hold what.
        rows: how many there are, 0 when that is not known.
        origin: what a person calls them.

    Raises: ValidationError: a column is missing or of a type that cannot hold what it should.
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        columns: Columns,
        rows: int = 0,
        origin: str = "",
    ) -> None:
        self.rows = rows
        self._batches = batches
        self._chosen = columns.choose(schema.names, origin)
        self._origin = origin
        check_types(schema, self._chosen, origin)

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        first = 0
        for batch in self._batches:
            for part in _slices(batch, rows):
                yield to_rows(part, self._chosen, first, self._origin)
                first += part.num_rows


def open_arrow(value: Any, columns: Columns) -> ArrowSource:
    """The rows of a table, a record batch, a reader, or anything else that speaks the Arrow stream protocol."""
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    if isinstance(value, pa.Table):
        return ArrowSource(value.to_batches(), value.schema, columns, value.num_rows)
    reader = value if isinstance(value, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(value)
    return ArrowSource(reader, reader.schema, columns)


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Raises ValidationError where Arrow finds that a file is not what it should be; OSError as it comes."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: names of columns
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValidationError(named(str(path), f"not {kind} that can be read")) from error


def check_types(schema: pa.Schema, chosen: Chosen, origin: str) -> None:
    """Raises ValidationError: the keys are neither text nor whole numbers, or the vectors no lists of numbers."""
    if chosen.key is not None:
        key = _plain_type(schema.field(chosen.key).type)
        if not (_is_text(key) or pa.types.is_integer(key)):
            raise ValidationError(
                named(origin, f"the column {chosen.key!r} must hold text or whole numbers, not {key}")
            )
    vector = _plain_type(schema.field(chosen.vector).type)
    if not (_is_list(vector) and _is_number(vector.value_type)):
        raise ValidationError(
            named(origin, f"the column {chosen.vector!r} must hold lists of numbers, not {vector}")
        )


def to_rows(batch: pa.RecordBatch, chosen: Chosen, first: int = 0, origin: str = "") -> RowBatch:
    """The rows of a record batch whose types were checked. Raises ValidationError: metadata text is not JSON."""
    vectors = _plain(batch.column(chosen.vector))
    try:
        if vectors.null_count:
            row = int(np.flatnonzero(vectors.is_null().to_numpy(zero_copy_only=False))[0])
            raise _ValueError(row, "data", "Member must not be null")  # noqa: TRY301 - located below
        keys = _keys(batch, chosen.key, first)
        documents = _documents(batch, chosen)
    except _ValueError as error:
        path = f"vectors[{first + error.row}].{error.member}"
        raise ValidationError(named(origin, f"{path}: {error}"), FieldError(path, str(error))) from None
    return RowBatch(keys, _vectors(vectors), documents, first, origin)


def _keys(batch: pa.RecordBatch, name: str | None, first: int) -> list[str | None]:
    if name is None:
        return [str(first + row) for row in range(batch.num_rows)]
    keys = _plain(batch.column(name))
    return _values(keys if _is_text(keys.type) else keys.cast(pa.string()), "key")


def _slices(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """Parts of at most `rows` rows and about SLICE_BYTES."""
    if not batch.num_rows:
        return
    size = max(1, batch.nbytes)
    step = max(1, min(rows, batch.num_rows * SLICE_BYTES // size))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _vectors(column: pa.Array) -> NDArray[Any] | list[NDArray[Any]]:
    """Numbers of shape (rows, components), or an array for each row when they differ in length.

    A component that is null becomes NaN, for the rules to refuse.
    """
    values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        return values.reshape(len(column), column.type.list_size)
    lengths: NDArray[Any] = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if (lengths == lengths[0]).all():
        return values.reshape(len(column), int(lengths[0]))
    return np.split(values, np.cumsum(lengths)[:-1])


def _documents(batch: pa.RecordBatch, chosen: Chosen) -> Sequence[Any] | None:
    if chosen.metadata is None:
        if not chosen.fields:
            return None
        return from_columns(chosen.fields, [_values(batch.column(name)) for name in chosen.fields])
    column = _plain(batch.column(chosen.metadata))
    if pa.types.is_struct(column.type) and column.type.num_fields:
        return from_columns([field.name for field in column.type], [_values(part) for part in column.flatten()])
    values = _values(column)
    if _is_text(column.type):
        return [_parsed(text, row) for row, text in enumerate(values)]
    if pa.types.is_map(column.type):
        return [_without_nulls(entries) for entries in values]
    return values


def _parsed(text: str | None, row: int) -> Any:
    """The document that a text holds; None and "" stand for none."""
    try:
        return parse_strict(text.encode()) if text else None
    except SerializationError:
        raise _ValueError(row, "metadata", "the text is not valid JSON") from None


def _without_nulls(entries: list[tuple[Any, Any]] | None) -> dict[Any, Any]:
    return {key: value for key, value in entries or () if value is not None}


def _values(column: pa.Array, member: str = "metadata") -> list[Any]:
    """Python values, after a look at how large they would be."""
    column = _plain(column)
    sizes = _sizes(column)
    if sizes.size and int(sizes.max()) > MAX_VALUE:
        raise _ValueError(int(sizes.argmax()), member, "the value is too large")
    values: list[Any] = column.to_pylist()
    return values


def _sizes(column: pa.Array) -> NDArray[Any]:
    """Bytes of each text, elements of each list; nothing for values of one size."""
    kind = column.type
    if _is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        sizes = pc.binary_length(column)
    elif pa.types.is_map(kind):
        sizes = pc.subtract(column.offsets[1:], column.offsets[:-1])
    elif _is_list(kind):
        sizes = pc.list_value_length(column)
    else:
        return np.zeros(0)
    lengths: NDArray[Any] = sizes.fill_null(0).to_numpy(zero_copy_only=False)
    return lengths


def _plain(column: pa.Array) -> pa.Array:
    """The column without an extension type around it, a dictionary under it, or views."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
