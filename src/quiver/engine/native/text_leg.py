"""One text of a query: finds its words in every segment and in the tail, and scores rows by BM25.

What a word weighs follows from all live rows of the index: first everything is counted, then anything is scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from quiver.engine.engine import SourceWork, TextFieldBuildingError, UnknownTextFieldError
from quiver.engine.native.segment_search import live_matches, row_mask
from quiver.engine.native.snapshot import row_numbers
from quiver.engine.native.tail_texts import best_rows
from quiver.storage.cache.view import Missing
from quiver.text import bm25
from quiver.text.analysis import analyzer
from quiver.text.postings import TextHits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.engine import Query
    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.engine.native.tail import TailBlock
    from quiver.engine.native.tail_texts import BlockTexts
    from quiver.model.filter import Filter
    from quiver.model.types import IndexSpec, TextField
    from quiver.storage.segment_reader import SegmentReader
    from quiver.text.postings import Postings, Statistics, TermLists


class Scale(NamedTuple):
    """What is the same for every row of the index: the weight of each term, and the average length."""

    weights: NDArray[np.float64]
    average_length: float


class TextSource(Protocol):
    """The rows of a segment, or of a block of the tail, that a text is looked for in."""

    rows: Source

    def count(self) -> Statistics:
        """Of all live rows."""

    def require(self) -> None:
        """Have everything come that this and scoring need. Raises MissingBytesError."""

    def search(self, scale: Scale, limit: int) -> TextHits:
        """The best of the rows that may be hits, and all that tie with the last of them."""

    def score(self, scale: Scale, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of some rows, ascending; 0 where none of the words is."""

    def work(self, scored: int) -> SourceWork:
        """What was done, when so many rows were scored."""


class Selection(NamedTuple):
    """Which rows of a segment may be hits.

    Attributes:
        matches: how many.
        mask: of shape (rows,); None for all of them.
        dead: numbers of those that are not alive, ascending.
    """

    matches: int
    mask: NDArray[np.bool_] | None
    dead: NDArray[np.int64]


def select(segment: OpenSegment, condition: Filter | None) -> Selection:
    """The live, matching rows."""
    reader, dead = segment
    allowed, matches = live_matches(segment, condition)
    return Selection(matches, row_mask(reader.rows, allowed, dead), row_numbers(dead))


class SegmentText:
    """See TextSource."""

    def __init__(self, reader: SegmentReader, postings: Postings, lists: TermLists, selection: Selection) -> None:
        self.rows: Source = reader
        self._reader = reader
        self._postings = postings
        self._lists = lists
        self._selection = selection

    def count(self) -> Statistics:
        return self._postings.statistics(self._lists, self._selection.dead)

    def require(self) -> None:
        self._postings.require(self._lists)

    def search(self, scale: Scale, limit: int) -> TextHits:
        return self._postings.search(self._lists, *scale, self._selection.mask, limit)

    def score(self, scale: Scale, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._postings.score(self._lists, *scale, rows)

    def work(self, scored: int) -> SourceWork:
        reader, lists = self._reader, self._lists
        postings, nbytes = int(lists.frequencies.sum()), sum(end - start for start, end in lists.ranges)
        partitions, matches = len(reader.codes.ends), self._selection.matches
        return SourceWork(
            reader.segment,
            reader.structure_name,
            "text",
            reader.rows,
            matches,
            partitions,
            0,
            postings,
            scored,
            nbytes,
        )


class BlockText:
    """See TextSource."""

    def __init__(
        self,
        block: TailBlock,
        texts: BlockTexts,
        terms: Sequence[int],
        visible: NDArray[np.bool_],
        mask: NDArray[np.bool_],
    ) -> None:
        self.rows: Source = block
        self._texts = texts
        self._terms = terms
        self._visible = visible
        self._mask = mask

    def count(self) -> Statistics:
        return self._texts.statistics(self._terms, self._visible)

    def require(self) -> None:
        """All of it is here."""

    def search(self, scale: Scale, limit: int) -> TextHits:
        return best_rows(self._texts.score(self._terms, *scale), self._mask, limit)

    def score(self, scale: Scale, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._texts.score(self._terms, *scale)[rows]

    def work(self, scored: int) -> SourceWork:
        rows, matches = len(self._mask), int(np.count_nonzero(self._mask))
        postings, nbytes = len(self._texts.terms), self._texts.nbytes
        return SourceWork("tail", "rows", "text", rows, matches, 1, 0, postings, scored, nbytes)


class TextLeg:
    """A text, looked for in all sources of a snapshot.

    Attributes:
        key: of the text field.
        sources: in the same order for every text of a query.
    """

    def __init__(self, key: str, sources: Sequence[TextSource], repeats: Sequence[int]) -> None:
        """A text whose distinct terms come so often."""
        self.key = key
        self.sources = sources
        self._repeats = repeats
        self._scale: Scale | None = None

    def weigh(self) -> None:
        """Count the text's words among all live rows, before anything is scored.

        Raises MissingBytesError, DataError.
        """
        counted, missing = [], Missing()
        for source in self.sources:
            with missing:
                counted.append(source.count())
        if missing.any:  # then all that scoring needs comes with it
            for source in self.sources:
                with missing:
                    source.require()
        missing.raise_any()
        documents = sum(each.documents for each in counted)
        if documents and self._repeats:
            frequencies = [
                sum(of_term) for of_term in zip(*(each.frequencies.tolist() for each in counted), strict=True)
            ]
            average = sum(each.tokens for each in counted) / documents
            self._scale = Scale(bm25.weights(documents, frequencies, self._repeats), average)

    def search(self, number: int, limit: int) -> TextHits:
        """The best rows of a source that may be hits, and all that tie with the last of them."""
        if self._scale is None:
            return TextHits(np.zeros(0, np.int64), np.zeros(0))
        return self.sources[number].search(self._scale, limit)

    def score(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of some rows of a source, ascending; 0 where none of the words is."""
        return np.zeros(len(rows)) if self._scale is None else self.sources[number].score(self._scale, rows)

    def work(self, number: int, scored: int) -> SourceWork:
        """What was done in a source, when so many rows were scored."""
        return self.sources[number].work(scored)


def open_legs(snapshot: Snapshot, spec: IndexSpec, query: Query, fields: Sequence[TextField]) -> list[TextLeg]:
    """Look the words of all texts up, and weigh them. `fields` are those that the texts name.

    Raises TextFieldBuildingError, MissingBytesError with all that is lacking for a step, DataError.
    """
    missing, selections, legs = Missing(), list[Selection](), list[TextLeg]()
    for segment in snapshot.segments:
        with missing:
            selections.append(select(segment, query.filter))
    for field, text in zip(fields, query.texts, strict=True):
        with missing:
            legs.append(_open_leg(snapshot, selections, spec, field, text.text, query.filter))
    missing.raise_any()
    for leg in legs:
        with missing:
            leg.weigh()
    missing.raise_any()
    return legs


def _open_leg(
    snapshot: Snapshot,
    selections: Sequence[Selection],
    spec: IndexSpec,
    field: TextField,
    text: str,
    condition: Filter | None,
) -> TextLeg:
    repeats = bm25.distinct(analyzer(field.language).terms(text))
    terms = list(repeats)
    looked_up, missing = [], Missing()
    for reader, _ in snapshot.segments:
        with missing:
            postings = reader.texts.postings(field)
            if postings is None:
                raise TextFieldBuildingError(field.key)
            looked_up.append((postings, postings.find(terms)))
    missing.raise_any()
    sources: list[TextSource] = [
        SegmentText(reader, *found, selection)
        for (reader, _), found, selection in zip(snapshot.segments, looked_up, selections, strict=False)
    ]
    sources += _tail_sources(snapshot, spec, field, terms, condition)
    return TextLeg(field.key, sources, list(repeats.values()))


def find_field(snapshot: Snapshot, key: str) -> TextField:
    """The text field with this key. Raises UnknownTextFieldError, TextFieldBuildingError."""
    for field in snapshot.texts:
        if field.key == key:
            if field in snapshot.fresh:
                raise TextFieldBuildingError(key)
            return field
    raise UnknownTextFieldError(key)


def _tail_sources(
    snapshot: Snapshot, spec: IndexSpec, field: TextField, terms: Sequence[str], condition: Filter | None
) -> list[TextSource]:
    known = snapshot.tail.tail.texts_of(field)
    blocks = snapshot.tail.blocks()
    texts = [known.of(number, block.metadata, len(visible)) for number, (block, visible) in enumerate(blocks)]
    numbers = known.numbers(terms)  # after all rows were analysed
    sources: list[TextSource] = []
    for (block, visible), theirs in zip(blocks, texts, strict=True):
        mask = visible
        if condition is not None and visible.any():
            mask = visible & block.select(condition, spec.non_filterable, len(visible))
        sources.append(BlockText(block, theirs, numbers, visible, mask))
    return sources
