"""The terms of the tail's rows in one text field: analysed once, when a query first asks for them.

Every row has a run of numbers of terms in one array. A term is found by comparing all of them, which takes less
than a tenth of a millisecond for a block. Arrays are replaced, never changed: a search may run in a thread while
another extends them.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.format.metadata_columns import decode_metadata
from quiver.text.analysis import analyzer
from quiver.text.bm25 import K1, B
from quiver.text.documents import field_terms
from quiver.text.postings import Statistics, TextHits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import TextField

ABSENT = -1
"""The number of a term that no row holds."""
_LONGEST = np.iinfo(np.uint16).max


class BlockTexts(NamedTuple):
    """The terms of the first rows of a block.

    Attributes:
        lengths: terms of each row, repetitions included, int64 of shape (rows,).
        rows, terms, frequencies: of every distinct term of every row, in row order: the row, the number of the
            term, and how often the row has it.
    """

    lengths: NDArray[np.int64]
    rows: NDArray[np.int32]
    terms: NDArray[np.int32]
    frequencies: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self)

    def statistics(self, terms: Sequence[int], visible: NDArray[np.bool_]) -> Statistics:
        """What BM25 has to know of the rows that a reader sees."""
        lengths = self.lengths[visible]
        holding = [int(visible[self.rows[self.terms == term]].sum()) for term in terms]
        return Statistics(int(np.count_nonzero(lengths)), int(lengths.sum()), np.array(holding, np.int64))

    def score(
        self, terms: Sequence[int], weights: NDArray[np.float64], average_length: float
    ) -> NDArray[np.float64]:
        """The score of every row, 0 where it holds none of the terms; as bm25.score computes it, bit for bit."""
        norms = K1 * (1 - B + B * (self.lengths / average_length))
        total = np.zeros(len(self.lengths))
        for term, weight in zip(terms, weights.tolist(), strict=True):
            holding = np.flatnonzero(self.terms == term)
            rows, frequencies = self.rows[holding], self.frequencies[holding]
            total[rows] += weight * (frequencies / (frequencies + norms[rows]))
        return total


def best_rows(scores: NDArray[np.float64], mask: NDArray[np.bool_], limit: int) -> TextHits:
    """The best of the rows that the mask allows, and all that tie with the last of them; as `Postings.search`."""
    rows = np.flatnonzero(mask & (scores > 0))
    order = np.lexsort((rows, -scores[rows]))
    if len(order) > limit:
        order = order[scores[rows[order]] >= scores[rows[order[limit - 1]]]]
    return TextHits(rows[order], scores[rows[order]])


class TailTexts:
    """Of all blocks of a tail."""

    def __init__(self, field: TextField) -> None:
        self._key = field.key
        self._analyzer = analyzer(field.language)
        self._numbers: dict[str, int] = {}
        self._next = count()
        self._blocks: dict[int, BlockTexts] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of memory, about."""
        return 150 * len(self._numbers) + sum(texts.nbytes for texts in list(self._blocks.values()))

    def numbers(self, terms: Sequence[str]) -> list[int]:
        """Of each term, ABSENT for those that no row holds."""
        return [self._numbers.get(term, ABSENT) for term in terms]

    def of(self, number: int, metadata: Sequence[bytes], rows: int) -> BlockTexts:
        """The terms of the first `rows` rows of block `number`, whose metadata these are."""
        known = self._blocks.get(number, _NONE)
        if len(known.lengths) < rows:
            fresh = [self._terms(text) for text in metadata[len(known.lengths) : rows]]
            known = self._blocks[number] = _extended(known, fresh)
        return BlockTexts(known.lengths[:rows], *known[1:]) if len(known.lengths) == rows else _first(known, rows)

    def _terms(self, metadata: bytes) -> dict[int, int]:
        """How often a row has each term, by number."""
        found = Counter(field_terms(decode_metadata(metadata), self._key, self._analyzer))
        # In one step each: two threads never give a number to two terms, or two numbers to a term.
        return {self._numbers.setdefault(term, next(self._next)): times for term, times in found.items()}


_NONE = BlockTexts(np.zeros(0, np.int64), *(np.zeros(0, np.int32) for _ in range(3)))


def _extended(known: BlockTexts, fresh: Sequence[dict[int, int]]) -> BlockTexts:
    first = len(known.lengths)
    lengths = np.array([min(sum(row.values()), _LONGEST) for row in fresh], np.int64)
    rows = np.repeat(np.arange(first, first + len(fresh), dtype=np.int32), [len(row) for row in fresh])
    terms = np.array([term for row in fresh for term in row], np.int32)
    frequencies = np.array([times for row in fresh for times in row.values()], np.int32)
    return BlockTexts(
        np.concatenate([known.lengths, lengths]),
        np.concatenate([known.rows, rows]),
        np.concatenate([known.terms, terms]),
        np.concatenate([known.frequencies, frequencies]),
    )


def _first(texts: BlockTexts, rows: int) -> BlockTexts:
    end = int(np.searchsorted(texts.rows, rows))
    return BlockTexts(texts.lengths[:rows], texts.rows[:end], texts.terms[:end], texts.frequencies[:end])
