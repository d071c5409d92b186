"""The engine contract: an index of vectors that stores, lists, filters and searches, by vector and by text.

Every engine promises: an acknowledged write is durable and seen by every read that starts afterwards, on any
node; a batch is all or nothing to every reader; a read answers at one commit number and never from a part of
the index; a put replaces vector and metadata of its key whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from quiver.model.errors import ConflictError, NotFoundError, ValidationError
from quiver.model.progress import no_progress
from quiver.model.record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence

    from numpy.typing import NDArray

    from quiver.model.filter import Filter
    from quiver.model.progress import Progress
    from quiver.model.types import Float32Matrix, IndexSpec, TextField, VectorBatch

MAX_TEXT_FIELDS = 10
FUSED_LISTS = 100
"""Each list of a hybrid query is at least so long."""


class IndexSealedError(NotFoundError):
    """The index was deleted; its log takes no more entries."""

    def __init__(self) -> None:
        super().__init__("The specified index could not be found")


class UnknownTextFieldError(ValidationError):
    """The index has no text field with this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The metadata key '{key}' is not configured for text search")
        self.key = key


class TextFieldBuildingError(ValidationError):
    """The text field is being backfilled, and cannot be searched before that has ended."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The text search configuration of the metadata key '{key}' isn't yet serving queries")
        self.key = key


class TextFieldConflictError(ConflictError):
    """The index has a text field with this key already."""

    def __init__(self, key: str) -> None:
        super().__init__(f"A text search configuration of the metadata key '{key}' already exists")
        self.key = key


class TooManyTextFieldsError(ValidationError):
    """The index would have more text fields than it may."""

    def __init__(self) -> None:
        super().__init__(f"An index can have at most {MAX_TEXT_FIELDS} text search configurations")


class Row(NamedTuple):
    """One stored vector. `vector` (float32, read-only) and `metadata` (UTF-8 JSON) are None unless asked for."""

    key: str
    vector: NDArray[np.float32] | None
    metadata: bytes | None


Decide: TypeAlias = "Callable[[Sequence[Row]], VectorBatch]"
"""Makes of rows what is to be put."""


class Cursor(NamedTuple):
    """A place in a ranking: results come strictly after it in the order (place, key), `returned` hits down.

    `place` is what the ranking ascends by, see `Hits.places`.
    """

    place: float
    key: str
    returned: int


class ListPosition(NamedTuple):
    """A place in a listing: rows come strictly after it in the order (key hash, key)."""

    key_hash: int
    key: str


class Freshness(NamedTuple):
    """What a read has to reflect. The default is a strong read: every commit acknowledged before the call.

    Attributes:
        eventual: commits acknowledged within the engine's bound of staleness may be missing.
        at_least: this commit must not be missing, whoever made it. A load stands just after the commit it answers
            with, so only a strong read is certain to see it.
    """

    eventual: bool = False
    at_least: int = 0


STRONG = Freshness()


class TextQuery(NamedTuple):
    """Words to look for in a text field; any of them suffices."""

    key: str
    text: str


class Query(Record, frozen=True):
    """A query for nearest neighbours, for texts, or for both (hybrid).

    Nearest neighbours are ranked by distance. Texts are ranked by their BM25 scores, those of several texts
    added up. A hybrid query ranks by reciprocal rank fusion: a row has 1 / (60 + its rank, from 1) for the list of
    nearest rows and for the list of each text, as far as it is among the first `max(total, 100)` rows there.

    Attributes:
        vector: float32 of shape (dimension,), finite, and not zero under the cosine metric; None to search texts
            only.
        limit: how many hits at most, 1 or more.
        filter: only rows whose metadata match.
        after: only hits after this place in the ranking.
        metadata: whether to return metadata.
        recall: the share of the true nearest to find, 1 for an exact answer; None for what the index is set to.
        total: how many hits all pages of the query may have together, so that each page looks as far as the last;
            0 for this page alone.
        texts: at least one when there is no vector; with distinct keys.
        vectors: whether to return vectors.
    """

    vector: NDArray[np.float32] | None
    limit: int
    filter: Filter | None = None
    after: Cursor | None = None
    metadata: bool = False
    recall: float | None = None
    total: int = 0
    texts: tuple[TextQuery, ...] = ()
    vectors: bool = False

    @property
    def depth(self) -> int:
        """How many hits all pages up to this one have together, or all there will be."""
        return max(self.limit + (self.after.returned if self.after is not None else 0), self.total)


class SourceWork(Record, frozen=True):
    """What a query did in one segment, or in the tail.

    Attributes:
        source: the segment's id, or "tail".
        structure: names of partitioner and codec.
        plan: "gather" (matching rows picked out and scored exactly), "scan" (all rows scored exactly), "probe"
            (codes of some partitions scored, the best rows then exactly), "text" (posting lists), or "none".
        rows, matches: rows held, and those of them that the query may return.
        partitions, probed: how many there are, and how many were looked into.
        codes: codes scored; postings of a text's words.
        vectors: rows scored exactly.
        nbytes: of codes and rows read, about.
        int8: how the int8 rows of candidates are had, where they come from a store and are used: "along" with all
            codes of their partitions, or "later", in a round of their own and of candidates alone; else "".
    """

    source: str
    structure: str
    plan: str
    rows: int
    matches: int
    partitions: int
    probed: int
    codes: int
    vectors: int
    nbytes: int
    int8: str = ""


class Scores(NamedTuple):
    """Why a hit of a text or hybrid query stands where it does.

    Attributes:
        fused: the sum of reciprocal ranks; None when there was no vector.
        bm25: key and BM25 score of each text that the hit matched, of a hybrid query: in whose list it is.
        distance: from the query's vector; None when the hit is not in the list of nearest rows.
    """

    fused: float | None
    bm25: tuple[tuple[str, float], ...]
    distance: float | None

    @property
    def place(self) -> float:
        """What the ranking ascends by."""
        if self.fused is not None:
            return -self.fused
        total = 0.0
        for _, score in self.bm25:  # plainly one after the other, as the ranking adds them up
            total += score
        return -total


class Hits(Record, frozen=True):
    """The answer to a query, ascending by (place, key).

    Attributes:
        keys: n vector keys.
        distances: n float32 distances (cosine: 1 - cos; euclidean: the root); NaN where only texts led to the hit.
        metadata: n JSON objects as UTF-8 bytes, or None when not asked for.
        commit: the commit number the answer was computed at.
        work: what was done for it.
        scores: n of them; None for a query without texts.
        vectors: float32 of shape (n, dimension), or None when not asked for.
    """

    keys: list[str]
    distances: NDArray[np.float32]
    metadata: list[bytes] | None
    commit: int
    work: Sequence[SourceWork]
    scores: list[Scores] | None = None
    vectors: Float32Matrix | None = None

    @property
    def places(self) -> NDArray[np.float64]:
        """What the ranking ascends by, shape (n,): distances, minus the BM25 scores, or minus the fused scores."""
        if self.scores is None:
            return self.distances.astype(np.float64)
        return np.array([score.place for score in self.scores], np.float64)

    def first(self, count: int) -> Hits:
        """The first so many of them."""
        metadata = None if self.metadata is None else self.metadata[:count]
        scores = None if self.scores is None else self.scores[:count]
        vectors = None if self.vectors is None else self.vectors[:count]
        return Hits(self.keys[:count], self.distances[:count], metadata, self.commit, self.work, scores, vectors)


class TextFieldStatus(NamedTuple):
    """A text field, and whether it can be searched; else it is being backfilled."""

    field: TextField
    active: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a listing. `position` is where the next page starts, None at the end."""

    rows: list[Row]
    position: ListPosition | None
    commit: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer to a get: the rows that exist, in no promised order."""

    rows: list[Row]
    commit: int


class Count(NamedTuple):
    """How many rows there are, and the commit at which they were counted."""

    rows: int
    commit: int


class Deleted(NamedTuple):
    """What a deletion by filter removed.

    Attributes:
        rows: how many.
        position: where to go on, None when nothing is left.
        commit: of the deletion; when there was nothing to delete, the one at which it was looked.
    """

    rows: int
    position: ListPosition | None
    commit: int


class Loaded(NamedTuple):
    """What a load brought in: distinct rows, and the commit that they belong to."""

    rows: int
    commit: int


class Index(ABC):
    """One open index. Every method may raise IndexSealedError, RetryError and DataError.

    Reads that ask for a commit that is not there wait for it, then raise RequestTimeoutError.
    """

    index_id: str
    spec: IndexSpec

    @abstractmethod
    async def put(self, batch: VectorBatch) -> int:
        """Insert or replace; returns the commit number. Raises BusyError when too much is unflushed."""

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> int:
        """Remove; unknown keys are ignored. Returns the commit number."""

    @abstractmethod
    async def get(
        self, keys: Sequence[str], *, vectors: bool, metadata: bool, freshness: Freshness = STRONG
    ) -> Lookup:
        """Rows by key; keys that do not exist are left out."""

    @abstractmethod
    async def list(
        self,
        *,
        limit: int,
        max_bytes: int,
        after: ListPosition | None = None,
        segment: int = 0,
        segment_count: int = 1,
        vectors: bool = False,
        metadata: bool = False,
        condition: Filter | None = None,
        freshness: Freshness = STRONG,
    ) -> Listing:
        """A page in key-hash order of part `segment` of `segment_count` equal parts of the hash range.

        With a condition only rows whose metadata match.

        The page ends at `limit` rows or when the rows processed pass `max_bytes`; it holds at least one row
        when any is left. A key that exists throughout a listing is listed exactly once.
        """

    @abstractmethod
    async def query(self, query: Query, freshness: Freshness = STRONG) -> Hits:
        """The best rows. Never fewer than min(limit, matches); a row with none of the words does not match a text.

        Scores follow from the rows of one commit alone, however they are stored; so under concurrent writes the
        pages of a query with texts may overlap, or leave gaps.

        Raises UnknownTextFieldError, TextFieldBuildingError.
        """

    @abstractmethod
    async def text_fields(self, freshness: Freshness = STRONG) -> Sequence[TextFieldStatus]:
        """Its text fields, in the order of their configuration."""

    @abstractmethod
    async def configure_texts(self, add: Sequence[TextField] = (), delete: Sequence[str] = ()) -> int:
        """Delete text fields by key, then add others, all or none; returns the commit number.

        A field that is added where rows are already stored cannot be searched at once, see `text_fields`.
        Raises UnknownTextFieldError, TextFieldConflictError, TooManyTextFieldsError; BusyError as `put`.
        """

    @abstractmethod
    async def query_many(self, queries: Sequence[Query], freshness: Freshness = STRONG) -> Sequence[Hits]:
        """The answers of several queries, all as of one commit."""

    @abstractmethod
    async def count(self, condition: Filter | None = None, freshness: Freshness = STRONG) -> Count:
        """How many rows there are, or match."""

    @abstractmethod
    async def amend(
        self, keys: Sequence[str], decide: Decide, *, vectors: bool = False, metadata: bool = False
    ) -> int:
        """Write what `decide` makes of the rows with these distinct keys, if none of them changes meanwhile.

        Args:
            keys: of the rows to look at; those that do not exist are left out.
            decide: is given the rows and returns what to put, with keys among `keys`; an empty batch for nothing.
                It may be called several times, each time with newer rows; the last call counts.
            vectors, metadata: what of the rows it needs.

        Returns the commit number: of the write, or that of the reading when there was nothing to put. At the
        commit before the write the rows were just those that `decide` was given.
        Raises BusyError when others always were quicker, or as `put`; and what `decide` raises.
        """

    @abstractmethod
    async def delete_matching(
        self, condition: Filter, *, limit: int, after: ListPosition | None = None
    ) -> Deleted:
        """Remove the first `limit` rows that match, in the order of a listing, from `after` on.

        One write: all of them match at the commit before it. Raises as `amend`.
        """

    @abstractmethod
    async def load(self, batches: AsyncIterable[VectorBatch], progress: Progress = no_progress) -> Loaded:
        """Insert or replace many rows at once, without passing them through the log.

        All become visible at one instant, at the end; after an error none ever does. Keys may repeat: the last
        row wins. The load stands just after the commit it answers with: writes acknowledged while it was being
        published come after it. Memory stays bounded, however many rows there are.
        """

    @abstractmethod
    def scan(self, rows: int = 4096) -> AsyncIterator[VectorBatch]:
        """Every row, as of one commit, in batches of at most `rows` and in no promised order."""


class Engine(ABC):
    """Opens indexes and keeps the open ones under one memory budget."""

    @abstractmethod
    async def open(self, index_id: str, spec: IndexSpec) -> Index:
        """The index with this id, opened or taken from the pool. An id never seen before is an empty index."""

    @abstractmethod
    async def seal(self, index_id: str, spec: IndexSpec) -> None:
        """Delete the index: append the last entry its log will ever take. Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Finish background work that was started and release everything."""
