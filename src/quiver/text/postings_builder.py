"""Makes the postings of one text field of one segment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class FieldPostings(NamedTuple):
    """What a segment keeps of a text field.

    Attributes:
        head: small; every search of the field begins with it.
        body: dictionary, lists and lengths, of which a search reads parts.
    """

    head: bytes
    body: bytes


class PostingsBuilder:
    """Takes rows in ascending order; memory grows with the postings, at a few bytes for each."""

    def __init__(self) -> None:
        self._lists: dict[str, list[tuple[int, int]]] = {}
        self._lengths: dict[int, int] = {}

    def add(self, row: int, terms: Sequence[str]) -> None:
        """Add a row; one without terms may be left out. ValueError when rows do not ascend."""
        if self._lengths and row <= next(reversed(self._lengths)):
            raise ValueError(f"row {row} does not come after the one before")
        if not terms:
            return
        self._lengths[row] = min(len(terms), 65535)
        for term, frequency in Counter(terms).items():
            self._lists.setdefault(term, []).append((row, frequency))

    def finish(self, rows: int) -> FieldPostings:
        """The postings of a segment of this many rows; the builder is of no use afterwards."""
        lengths = np.zeros(rows, "<u2")
        lengths[list(self._lengths)] = list(self._lengths.values())
        body = msgspec.msgpack.encode([lengths.tobytes(), self._lists])
        head = msgspec.msgpack.encode([rows, len(self._lengths), int(lengths.sum()), len(body)])
        return FieldPostings(head, body)
