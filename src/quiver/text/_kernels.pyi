"""Making and searching postings, in C (src/quiver/text/native).

All sizes and places are checked: ValueError for arguments that do not fit, DamagedError for stored bytes that are
inconsistent. Buffers are of bytes, at any address; arrays are C-contiguous. Searches release the GIL.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class DamagedError(Exception):
    """Stored bytes are inconsistent."""

def split_words(text: str, marks: bytes, pairs: bool, /) -> list[str]:
    """The words of a text as words.py defines them.

    Args:
        text: ASCII, or in the spelling of NFKC with case folded.
        marks: a bit for each character from 0 on, set for combining marks.
        pairs: whether neighbouring characters of Chinese, Japanese and Korean become overlapping pairs; else each
            character of Han and Hiragana is a word, and Katakana and Hangul are letters like others.
    """

class Inverter:
    """Takes the terms of rows; the memory it needs is a few bytes a posting and some fifty a term."""

    def add(self, row: int, terms: Sequence[str], /) -> None:
        """Add a row, which comes after all others. A term has at most 256 bytes."""

    def finish(self, rows: int, /) -> tuple[int, int, int, int, bytes, bytes, bytes, bytes]:
        """End: documents, tokens, bytes of the lists, bytes of the lengths, the body (lists, lengths, dictionary).

        And of each block of the dictionary: its end (u64), the end of its separator (u32); and the separators.
        """

def find_block(separators: memoryview, ends: memoryview, term: bytes, /) -> int:
    """The number of the dictionary's block that may hold a term; -1 for none, or for inconsistent ends."""

def find_term(block: memoryview, term: bytes, /) -> tuple[int, int, int]:
    """How many rows hold a term, and the range of its list; zeros when the block does not have it."""

def overlap(list_: memoryview, frequency: int, rows: int, wanted: NDArray[np.int64], /) -> int:
    """How many of the rows `wanted`, ascending, are in a list of `frequency` postings; the segment has `rows`."""

def search(
    lists: list[memoryview],
    frequencies: NDArray[np.int64],
    weights: NDArray[np.float64],
    lengths: memoryview,
    average_length: float,
    rows: int,
    mask: NDArray[np.bool_] | None,
    limit: int,
    /,
) -> tuple[bytes, bytes]:
    """Rows (int64) and scores (float64) of the best `limit` rows, and of all that tie with the last of them.

    Args:
        lists: of each term, in the order of the query.
        frequencies: how many postings each has.
        weights: of each term, positive.
        lengths: of all rows, a byte or two for each.
        average_length: positive.
        rows: of the segment.
        mask: which rows may be hits; None for all.
        limit: at least 1.
    """

def score(
    lists: list[memoryview],
    frequencies: NDArray[np.int64],
    weights: NDArray[np.float64],
    lengths: memoryview,
    average_length: float,
    rows: int,
    wanted: NDArray[np.int64],
    scores: NDArray[np.float64],
    /,
) -> None:
    """Write the scores of the rows `wanted`, ascending; 0 for those that hold no term."""
