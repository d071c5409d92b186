"""Lookups in the sorted tables of a metadata column, in C (src/quiver/format/native).

Arrays are one-dimensional, at any address, and untrusted: ValueError for bytes that are inconsistent.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

def find_numbers(table: memoryview[float], wanted: Iterable[int | float]) -> list[int]:
    """The indexes of those numbers that are in a table of ascending float64, compared exactly."""

def find_strings(offsets: memoryview[int], text: memoryview, wanted: Iterable[bytes]) -> list[int]:
    """The indexes of those strings that are in a table of ascending ones.

    Args:
        offsets: the n + 1 boundaries in `text` of n strings, uint64; or none.
    """

def rows_posted(
    offsets: memoryview[int], rows: NDArray[np.uint32], frequent: memoryview[int], values: Iterable[int]
) -> tuple[bytes, list[int]]:
    """The rows of some values, uint32, value by value; and where among the frequent ones those are that are there.

    Args:
        offsets: the n + 1 boundaries in `rows` of the rows of n values, uint32.
        frequent: indexes of values, ascending, uint32.
        values: indexes of values.
    """
