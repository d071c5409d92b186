"""Reads the postings of one text field of one segment, and scores its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np

from quiver.model.errors import CorruptObjectError, UnsupportedFormatError
from quiver.text._kernels import DamagedError, find_block, find_term, overlap, score, search
from quiver.text.postings_builder import HEAD, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MOST_ROWS = 2**31 - 2

P = ParamSpec("P")
T = TypeVar("T")


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
        ranges: the bytes of each list in the body, [start, end).
    """

    frequencies: NDArray[np.int64]
    ranges: list[tuple[int, int]]


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


class _Dictionary:
    """What the head knows of the dictionary: which block may hold a term.

    Args:
        data: the head from the ends of the blocks on.
        blocks: how many there are.
        begin: where the first begins in the body.
    """

    def __init__(self, data: memoryview, blocks: int, begin: int) -> None:
        if len(data) < 12 * blocks:
            raise CorruptObjectError(f"{blocks} blocks of a dictionary in {len(data)} bytes of a head")
        self._begin = begin
        self._block_ends = data[: 8 * blocks].cast("Q")
        self._ends = data[8 * blocks : 12 * blocks]
        self._separators = data[12 * blocks :]
        ends = np.frombuffer(self._block_ends, np.uint64)
        if np.any(ends[1:] < ends[:-1]):
            raise CorruptObjectError("blocks of a dictionary out of order")

    @property
    def end(self) -> int:
        """The end of the last block in the body."""
        return self._begin + (self._block_ends[-1] if len(self._block_ends) else 0)

    def block_of(self, term: bytes) -> int:
        """The number of the block that may hold a term, or -1."""
        return find_block(self._separators, self._ends, term)

    def range_of(self, block: int) -> tuple[int, int]:
        """The bytes of a block in the body."""
        start = self._block_ends[block - 1] if block else 0
        return self._begin + start, self._begin + self._block_ends[block]


class Postings:
    """The postings of a field.

    Every method may raise CorruptObjectError, and what `body` raises.

    Args:
        head, body: what a PostingsBuilder made; untrusted.

    Raises:
        UnsupportedFormatError: a newer Quiver wrote them.

    Attributes:
        rows: rows of the segment.
        documents: rows with at least one term.
        tokens: the sum of their lengths.
        body_bytes: the length that the body has to have.
        analysis: the ANALYSIS_VERSION that the terms are of.
    """

    def __init__(self, head: memoryview | bytes, body: Body) -> None:
        data = memoryview(head)
        if len(data) < HEAD.size:
            raise CorruptObjectError(f"head of postings: {len(data)} bytes")
        version, self.analysis, self.rows, self.documents, blocks, self.tokens, *sizes = HEAD.unpack_from(data)
        if version > VERSION:
            raise UnsupportedFormatError(f"postings of version {version}, this Quiver knows {VERSION}")
        self._lists, lengths = sizes
        self._lengths = (self._lists, self._lists + lengths)
        self._dictionary = _Dictionary(data[HEAD.size :], blocks, self._lengths[1])
        self._body = body
        self.body_bytes = self._dictionary.end
        self._check(version, lengths)

    def _check(self, version: int, lengths: int) -> None:
        due = (self.rows, 2 * self.rows) if self.documents else (0,)
        if version < 1 or lengths not in due or not self.documents <= min(self.rows, self.tokens):
            raise CorruptObjectError(f"{self.documents} documents in {self.rows} rows, {lengths} bytes of lengths")
        if self.rows > MOST_ROWS or self.body_bytes >= 2**62:
            raise CorruptObjectError(f"postings of {self.rows} rows in {self.body_bytes} bytes")

    def find(self, terms: Sequence[str]) -> TermLists:
        """Where the lists of some distinct terms are."""
        encoded = [term.encode() for term in terms]
        numbers = [self._dictionary.block_of(term) for term in encoded]
        distinct = [number for number in dict.fromkeys(numbers) if number >= 0]
        blocks = self._body.bytes_at([self._dictionary.range_of(number) for number in distinct])
        held = dict(zip(distinct, blocks, strict=True))
        found = [
            _checked(find_term, held[number], term) if number >= 0 else (0, 0, 0)
            for number, term in zip(numbers, encoded, strict=True)
        ]
        if any(frequency > self.documents or end > self._lists for frequency, _, end in found):
            raise CorruptObjectError("a dictionary names lists that are not there")
        frequencies = np.array([frequency for frequency, _, _ in found], np.int64)
        return TermLists(frequencies, [(start, end) for _, start, end in found])

    def require(self, lists: TermLists) -> None:
        """Have everything come that `statistics`, `search` and `score` read for these lists."""
        if self.documents and lists.frequencies.any():
            self._read(lists)

    def statistics(self, lists: TermLists, dead: NDArray[np.int64]) -> Statistics:
        """What remains when the rows `dead`, ascending, are left out."""
        if not len(dead) or not self.documents:
            return Statistics(self.documents, self.tokens, lists.frequencies)
        data, lengths = self._read(lists)
        gone = np.frombuffer(lengths, np.uint8 if len(lengths) == self.rows else np.dtype("<u2"))[dead]
        beyond = [
            _checked(overlap, postings, frequency, self.rows, dead) if frequency else 0
            for postings, frequency in zip(data, lists.frequencies.tolist(), strict=True)
        ]
        documents, tokens = int(np.count_nonzero(gone)), int(gone.sum(dtype=np.int64))
        frequencies = lists.frequencies - np.array(beyond, np.int64)
        if documents > self.documents or tokens > self.tokens:
            raise CorruptObjectError("lengths do not sum up to what the head says")
        return Statistics(self.documents - documents, self.tokens - tokens, frequencies)

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
        if limit < 1 or not lists.frequencies.any():
            return TextHits(np.zeros(0, np.int64), np.zeros(0, np.float64))
        data, lengths = self._read(lists)
        rows, scores = _checked(
            search, data, lists.frequencies, weights, lengths, average_length, self.rows, mask, limit
        )
        return TextHits(np.frombuffer(rows, np.int64), np.frombuffer(scores, np.float64))

    def score(
        self, lists: TermLists, weights: NDArray[np.float64], average_length: float, rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The score of each of `rows`, ascending; 0 where a row holds none of the terms."""
        scores = np.zeros(len(rows), np.float64)
        if len(rows) and lists.frequencies.any():
            data, lengths = self._read(lists)
            _checked(score, data, lists.frequencies, weights, lengths, average_length, self.rows, rows, scores)
        return scores

    def _read(self, lists: TermLists) -> tuple[list[memoryview], memoryview]:
        """The bytes of the lists, and the lengths of all rows."""
        *data, lengths = self._body.bytes_at([*lists.ranges, self._lengths])
        if len(lengths) != self._lengths[1] - self._lengths[0]:
            raise CorruptObjectError("the body of postings is too short")
        return data, lengths


def _checked(kernel: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a kernel returns; CorruptObjectError for stored bytes that it finds inconsistent."""
    try:
        return kernel(*arguments, **named)
    except DamagedError as error:
        raise CorruptObjectError(str(error)) from None
