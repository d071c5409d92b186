"""The metadata of a run of rows by field, so that a filter becomes a bitmap of the rows that match.

The one representation is the stored one: it is read in place, and a query touches only the fields that its
filter names. Layout (sections.py): row count (u64), table of field names, then one column per name.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import orjson
from pyroaring import BitMap

from quiver.format.column import Column, ColumnBuilder
from quiver.format.sections import Sections, pack
from quiver.format.string_table import StringTable, encode_strings
from quiver.model.errors import CorruptObjectError
from quiver.model.filter import And, Exists, In, Or

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from quiver.model.filter import Filter

_EMPTY = b"{}"
_HEADER = 2  # sections before the columns
_MAX_ROWS = 2**32  # of a roaring bitmap


class MetadataColumnsBuilder:
    """Gathers the metadata of consecutive rows, without the keys no filter may name."""

    def __init__(self, non_filterable: Collection[str] = ()) -> None:
        self._left_out = frozenset(non_filterable)
        self._rows = 0
        self._builders: defaultdict[str, ColumnBuilder] = defaultdict(ColumnBuilder)

    def add(self, metadata: Sequence[bytes]) -> None:
        """The next rows, as JSON objects. Raises CorruptObjectError when one is none."""
        for row, document in enumerate(metadata, self._rows):
            if document == _EMPTY:  # not to be read: the most frequent of all
                continue
            for field, value in decode_metadata(document).items():
                if field not in self._left_out:
                    self._builders[field].add(row, value)
        self._rows += len(metadata)

    def encode(self) -> bytes:
        """The columns as `MetadataColumns` reads them."""
        names = sorted(self._builders)
        columns = [self._builders[name].encode() for name in names]
        return pack([self._rows.to_bytes(8, "little"), encode_strings(names), *columns])


class MetadataColumns:
    """Typed columns and bitmaps over rows 0 to n - 1; agrees with `model.filter.matches` on every row."""

    def __init__(self, buffer: memoryview, rows: int) -> None:
        sections = Sections(buffer.cast("B"))
        if len(sections) < _HEADER or not int.from_bytes(sections[0], "little") == rows <= _MAX_ROWS:
            raise CorruptObjectError(f"metadata columns are not of {rows} rows")
        self.rows = rows
        self._buffer = buffer
        self._sections = sections
        self._names = StringTable(sections[1])
        self._columns: dict[str, Column] = {}
        if len(sections) != _HEADER + len(self._names):
            raise CorruptObjectError(f"{len(sections) - _HEADER} columns for {len(self._names)} names")

    @classmethod
    def build(cls, metadata: Sequence[bytes], non_filterable: Collection[str] = ()) -> MetadataColumns:
        """The columns of n JSON objects, without the keys no filter may name.

        Raises:
            CorruptObjectError: a row is not a JSON object.
        """
        builder = MetadataColumnsBuilder(non_filterable)
        builder.add(metadata)
        return cls.decode(memoryview(builder.encode()), len(metadata))

    @classmethod
    def decode(cls, buffer: memoryview, rows: int) -> MetadataColumns:
        """Columns read in place; quickest when the buffer starts at a multiple of 8 in memory.

        Args:
            buffer: what `encode` gave; untrusted, kept and not copied.
            rows: number of rows the columns have to be of.

        Raises:
            CorruptObjectError: the bytes are inconsistent. Fields are read when first named, so `select` may
                raise it too.
        """
        return cls(buffer, rows)

    def encode(self) -> bytes:
        """The stored form."""
        return bytes(self._buffer)

    def select(self, condition: Filter) -> BitMap:
        """The rows that match, within [0, rows). The bitmap belongs to the caller."""
        match condition:
            case And(parts):
                return self._select_all(parts)
            case Or(parts):
                return BitMap().union(*(self.select(part) for part in parts))
            case In(_, _, negated):
                pass
            case Exists(_, expected):
                negated = not expected
            case _:
                negated = False
        column = self._column(condition.field)
        found = BitMap() if column is None else column.find(condition)
        return found.flip(0, self.rows) if negated else found

    def _select_all(self, parts: Sequence[Filter]) -> BitMap:
        found = BitMap(range(self.rows))
        for part in parts:
            if not found:
                break
            found &= self.select(part)
        return found

    def _column(self, field: str) -> Column | None:
        column = self._columns.get(field)
        if column is None:
            index = self._names.find(field)
            if index is None:
                return None
            column = self._columns[field] = Column(self._sections[_HEADER + index], self.rows)
        return column


def decode_metadata(document: bytes) -> dict[str, Any]:
    """The stored metadata of one row. Raises CorruptObjectError."""
    try:
        decoded = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise CorruptObjectError(f"metadata are not JSON: {error}") from None
    if not isinstance(decoded, dict):
        raise CorruptObjectError("metadata are not a JSON object")
    return decoded
