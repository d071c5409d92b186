"""Reads the postings of one text field of one segment, and scores its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import numpy as np

from quiver.model.errors import CorruptObjectError
from quiver.text.bm25 import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Body(Protocol):
    """Where the body of the postings can be read."""

    def bytes_at(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """The bytes of each range [start, end) of the body, within its length.

        An implementation may raise an error that names all that has to be fetched first; so everything that a step
        needs is asked for in one call.
        """


class BytesBody:
    """A body in memory."""

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)

    def bytes_at(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        return [self._body[start:end] for start, end in ranges]


class TermLists(NamedTuple):
    """Where the lists of some terms are, in the order that they were asked for.

    Attributes:
        frequencies: rows that hold each term, dead ones included, int64; 0 for a term that no row holds.
        starts, ends: the bytes of each list in the body, int64.
    """

    frequencies: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Statistics(NamedTuple):
    """What BM25 has to know of live rows.

    Attributes:
        documents: rows with at least one term.
        tokens: the sum of their lengths.
        frequencies: of these rows, how many hold each term, int64.
    """

    documents: int
    tokens: int
    frequencies: NDArray[np.int64]


class TextHits(NamedTuple):
    """Rows (int64) and their scores (float64), best first, equal scores by row."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


class Postings:
    """The postings of a field.

    Every method may raise CorruptObjectError, and what `body` raises.

    Args:
        head, body: what a PostingsBuilder made; untrusted.

    Attributes:
        rows: rows of the segment.
        documents: rows with at least one term.
        tokens: the sum of their lengths.
        body_bytes: the length that the body has to have.
    """

    def __init__(self, head: memoryview | bytes, body: Body) -> None:
        self._body = body
        try:
            self.rows, self.documents, self.tokens, self.body_bytes = msgspec.msgpack.decode(head)
        except (msgspec.DecodeError, ValueError) as error:
            raise CorruptObjectError(f"head of postings: {error}") from None
        self._terms: list[str] = []

    def find(self, terms: Sequence[str]) -> TermLists:
        """Where the lists of some distinct terms are."""
        self._terms = list(terms)
        _, lists = self._read()
        frequencies = np.array([len(lists.get(term, ())) for term in terms], np.int64)
        return TermLists(frequencies, np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64))

    def statistics(self, lists: TermLists, dead: NDArray[np.int64]) -> Statistics:
        """What remains when the rows `dead`, ascending, are left out."""
        lengths, postings = self._read()
        gone = set(dead.tolist())
        frequencies = [sum(row not in gone for row, _ in postings.get(term, ())) for term in self._terms]
        alive = lengths.copy()
        alive[dead] = 0
        return Statistics(int((alive > 0).sum()), int(alive.sum()), np.array(frequencies, np.int64))

    def search(
        self,
        lists: TermLists,
        weights: NDArray[np.float64],
        average_length: float,
        mask: NDArray[np.bool_] | None,
        limit: int,
    ) -> TextHits:
        """The best rows that hold any of the terms, and every row that ties with the last of them.

        Args:
            lists: what `find` returned.
            weights: of each term, positive and finite.
            average_length: of live rows with a term, positive.
            mask: which rows may be hits, of shape (rows,); None for all.
            limit: how many rows are wanted, ties of the last not counted.
        """
        rows = np.arange(self.rows) if mask is None else np.flatnonzero(mask)
        scores = self.score(lists, weights, average_length, rows)
        rows, scores = rows[scores > 0], scores[scores > 0]
        order = np.lexsort((rows, -scores))
        if len(order) > limit:
            order = order[scores[order] >= scores[order[limit - 1]]] if limit else order[:0]
        return TextHits(rows[order], scores[order])

    def score(
        self, lists: TermLists, weights: NDArray[np.float64], average_length: float, rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The score of each of `rows`, ascending; 0 where a row holds none of the terms."""
        lengths, postings = self._read()
        held = [dict(postings.get(term, ())) for term in self._terms]
        return np.array(
            [
                score(weights, [each.get(row, 0) for each in held], int(lengths[row]), average_length)
                for row in rows.tolist()
            ],
            np.float64,
        )

    def _read(self) -> tuple[NDArray[np.uint16], dict[str, list[tuple[int, int]]]]:
        (data,) = self._body.bytes_at([(0, self.body_bytes)])
        lengths, lists = msgspec.msgpack.decode(data, type=tuple[bytes, dict[str, list[tuple[int, int]]]])
        return np.frombuffer(lengths, "<u2"), lists
