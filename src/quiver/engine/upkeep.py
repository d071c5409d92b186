"""The upkeep contract: what an operator asks of an engine, beside reading and writing."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.engine.pinning import Pinned, Pinning
from quiver.model.progress import no_progress

if TYPE_CHECKING:
    from quiver.model.filter import Filter
    from quiver.model.progress import Progress
    from quiver.model.types import Float32Matrix, IndexSpec


class SegmentSummary(msgspec.Struct, frozen=True):
    """One segment in use; `deleted` of its `rows` are dead. `home`: id of the index it belongs to, "" for this."""

    id: str
    rows: int
    deleted: int
    nbytes: int
    home: str


class IndexSummary(msgspec.Struct, frozen=True):
    """What an index consists of.

    Attributes:
        checkpoint: the slot that the newest checkpoint reaches to, 0 for none.
        tail: log entries past it.
        sealed: deleted; its objects wait for garbage collection.
        garbage: objects that nothing names any more (collected once they are old enough).
        objects, nbytes: of everything the index owns.
        accepted: bytes of keys, vectors and metadata put, loaded or deleted, up to the checkpoint.
        written: bytes written for them: log entries and segments, merged ones too.
        pins: its snapshots, and the clones that read segments of it.
        origin: id of the index it was cloned from, "" when it was not.
    """

    index_id: str
    checkpoint: int
    tail: int
    sealed: bool
    segments: list[SegmentSummary]
    garbage: int
    objects: int
    nbytes: int
    accepted: int
    written: int
    pins: list[Pinned]
    origin: str


class Finding(NamedTuple):
    """One thing that is wrong: which object, and what."""

    key: str
    problem: str


class Collected(NamedTuple):
    """What a garbage collection removed."""

    objects: int
    nbytes: int


class RecallReport(NamedTuple):
    """How much of the true nearest neighbours queries find.

    Attributes:
        queries: how many were asked.
        limit: neighbours asked for.
        target: what the index is set to.
        mean: the share found, of all neighbours of all queries.
        low, high: an interval that holds the true share in 95 of 100 measurements (Wilson's, of neighbours found);
            0 and 1 for fewer than two queries.
        commit: the commit number it was measured at.
    """

    queries: int
    limit: int
    target: float
    mean: float
    low: float
    high: float
    commit: int


class Warmed(NamedTuple):
    """What is in the caches after warming: so many segments, so many bytes of each one's index, all together."""

    segments: int
    nbytes: int


class Upkeep(Pinning):
    """Every method raises StoreUnavailableError; all but `check` raise DataError too."""

    @abstractmethod
    async def inspect(self, index_id: str) -> IndexSummary:
        """What is stored, from listings and the newest checkpoint."""

    @abstractmethod
    async def check(self, index_id: str, spec: IndexSpec) -> list[Finding]:
        """Everything wrong with an index that nobody writes to; [] when it is sound. Reads every byte."""

    @abstractmethod
    async def rebuild(self, index_id: str, spec: IndexSpec) -> list[str]:
        """Rebuild segments of which all but the rows is missing or damaged; the ids of those that were.

        A segment whose rows are damaged stays as it is. Raises StoreRefusedError too.
        """

    @abstractmethod
    async def compact(self, index_id: str, spec: IndexSpec) -> None:
        """Flush, and merge everything that can be merged."""

    @abstractmethod
    async def tend(self, index_id: str, spec: IndexSpec) -> bool:
        """Flush and merge what the index's writers would by themselves; whether all went well.

        Raises IndexSealedError.
        """

    @abstractmethod
    async def recall(
        self,
        index_id: str,
        spec: IndexSpec,
        *,
        queries: int | Float32Matrix,
        limit: int,
        condition: Filter | None,
        seed: int,
    ) -> RecallReport:
        """Search for `limit` neighbours, as queries are answered and exactly.

        Args:
            queries: how many rows of the index to ask with, chosen at random by the seed, each of which is not
                counted as its own neighbour; or vectors to ask with, shape (n, dimension).
        """

    @abstractmethod
    async def warm(
        self, index_id: str, spec: IndexSpec, *, whole: bool = False, progress: Progress = no_progress
    ) -> Warmed | None:
        """Have the caches of this process hold what searches begin with, the ends of the segments' indexes.

        Args:
            whole: all bytes of these, not rows.
            progress: told bytes.

        Queries come first meanwhile. None when there is nothing to do: the store is at hand, as a directory is.
        Raises IndexSealedError.
        """

    @abstractmethod
    async def collect(self, index_id: str, age: float) -> Collected:
        """Remove what nothing needs any more and is older than `age` seconds, by the store's clock."""

    @abstractmethod
    async def discard(self, index_id: str, age: float) -> Collected:
        """The same for an index that was deleted: finish what its deletion began, then remove what is left."""
