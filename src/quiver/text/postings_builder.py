"""Makes the postings of one text field of one segment: docs/formats.md, "Text postings"."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from quiver.text._kernels import Inverter
from quiver.text.analysis import ANALYSIS_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
HEAD = struct.Struct("<HHIIIQQQ")
"""Version, version of the analysis, rows, rows with a term, blocks of the dictionary, terms of all rows, bytes of
the lists and of the lengths. Ends of the blocks (u64), ends of the separators (u32) and the separators follow."""


class FieldPostings(NamedTuple):
    """What a segment keeps of a text field.

    Attributes:
        head: small; every search of the field begins with it.
        body: lists, lengths and dictionary, of which a search reads parts.
    """

    head: bytes
    body: bytes


class PostingsBuilder:
    """Takes rows in ascending order; memory grows with the postings, at a few bytes for each."""

    def __init__(self) -> None:
        self._inverter = Inverter()

    def add(self, row: int, terms: Sequence[str]) -> None:
        """Add a row; one without terms may be left out. ValueError when rows do not ascend.

        Args:
            row: its number, below 2**31 - 2.
            terms: as an analyzer gives them; none has more than 256 bytes of UTF-8.
        """
        self._inverter.add(row, terms)

    def finish(self, rows: int) -> FieldPostings:
        """The postings of a segment of this many rows; the builder is of no use afterwards."""
        documents, tokens, lists, lengths, body, block_ends, ends, separators = self._inverter.finish(rows)
        blocks = len(block_ends) // 8
        head = HEAD.pack(VERSION, ANALYSIS_VERSION, rows, documents, blocks, tokens, lists, lengths)
        return FieldPostings(b"".join([head, block_ends, ends, separators]), body)
