"""One metadata field of a run of rows: who has it, and which rows hold which value.

A column is six sections (sections.py): bitmap of the rows that have the field, table of strings, their postings,
table of numbers, their postings, and postings of false and true. Elements of arrays are entered singly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from quiver.format.number_table import NumberTable, encode_numbers
from quiver.format.postings import Postings, decode_bitmap, encode_bitmap, encode_postings
from quiver.format.sections import Sections, pack
from quiver.format.string_table import StringTable, encode_strings
from quiver.model.filter import In, Range, RangeOperator, StartsWith, is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.filter import Exists, Primitive


class ColumnBuilder:
    """Gathers the values of one field, rows ascending."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._strings: list[str] = []
        self._string_rows: list[int] = []
        self._numbers: list[int | float] = []
        self._number_rows: list[int] = []
        self._booleans: list[bool] = []
        self._boolean_rows: list[int] = []

    def add(self, row: int, value: object) -> None:
        """Enter the decoded JSON value of one row. Values no filter can match only count as present."""
        self._rows.append(row)
        for element in value if isinstance(value, list) else (value,):
            if isinstance(element, str):
                self._strings.append(element)
                self._string_rows.append(row)
            elif isinstance(element, bool):
                self._booleans.append(element)
                self._boolean_rows.append(row)
            elif is_number(element):
                self._numbers.append(element)
                self._number_rows.append(row)

    def encode(self) -> bytes:
        """The column as `Column` reads it."""
        numbers, number_codes, distinct = encode_numbers(self._numbers)
        number_postings = encode_postings(number_codes, _u32(self._number_rows), distinct)
        boolean_postings = encode_postings(_u32(self._booleans), _u32(self._boolean_rows), 2)
        presence = encode_bitmap(_u32(self._rows))
        return pack([presence, *self._encode_strings(), numbers, number_postings, boolean_postings])

    def _encode_strings(self) -> tuple[bytes, bytes]:
        ascending = sorted(set(self._strings))
        index = {string: position for position, string in enumerate(ascending)}
        codes = _u32([index[string] for string in self._strings])
        return encode_strings(ascending), encode_postings(codes, _u32(self._string_rows), len(ascending))


def _u32(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(values, np.uint32)


class Column:
    """An encoded column, searched in place.

    Args:
        buffer: what `ColumnBuilder.encode` made; untrusted.
        rows: number of rows there are.

    Raises:
        CorruptObjectError: here or on a search, when the bytes are inconsistent.
    """

    def __init__(self, buffer: memoryview, rows: int) -> None:
        presence, strings, string_rows, numbers, number_rows, boolean_rows = Sections(buffer, 6)
        self._presence = decode_bitmap(presence, rows)
        self._strings = StringTable(strings)
        self._string_rows = Postings(string_rows, len(self._strings), rows)
        self._numbers = NumberTable(numbers)
        self._number_rows = Postings(number_rows, len(self._numbers), rows)
        self._boolean_rows = Postings(boolean_rows, 2, rows)

    def find(self, condition: In | Range | Exists | StartsWith) -> BitMap:
        """Rows with an element that meets the condition; for Exists, rows that have the field.

        Negation is left to the caller, who owns the bitmap.
        """
        match condition:
            case In(_, values):
                return self._equal(values)
            case Range(_, operator, bound):
                return self._number_rows.select(*self._range(operator, bound))
            case StartsWith(_, prefix):
                return self._string_rows.select(*self._strings.prefix_range(prefix))
        return self._presence.copy()

    def _equal(self, values: Sequence[Primitive]) -> BitMap:
        """Rows with an element that equals one of the values."""
        strings, numbers, booleans = set[str](), set[int | float](), set[int]()
        for value in values:
            if isinstance(value, str):
                strings.add(value)
            elif isinstance(value, bool):
                booleans.add(int(value))
            else:
                numbers.add(value)
        found = []
        if strings:
            found.append(self._string_rows.select_any(self._strings.find_all(strings)))
        if numbers:
            found.append(self._number_rows.select_any(self._numbers.find_all(numbers)))
        if booleans:
            found.append(self._boolean_rows.select_any(booleans))
        return found[0] if len(found) == 1 else BitMap.union(*found)

    def _range(self, operator: RangeOperator, bound: int | float) -> tuple[int, int]:
        """First index, and one past the last, of the numbers on the asked side of the bound."""
        match operator:
            case RangeOperator.GT:
                return self._numbers.up_to(bound), len(self._numbers)
            case RangeOperator.GTE:
                return self._numbers.below(bound), len(self._numbers)
            case RangeOperator.LT:
                return 0, self._numbers.below(bound)
            case RangeOperator.LTE:
                return 0, self._numbers.up_to(bound)
