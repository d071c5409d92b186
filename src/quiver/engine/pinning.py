"""The pinning contract: snapshots of an index, and clones that share its segments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from quiver.model.types import IndexSpec


class Pinned(msgspec.Struct, frozen=True):
    """A snapshot, or what a clone holds of the index that it was made from.

    Attributes:
        name: of the snapshot; "" for a clone.
        holder: id of the clone; "" for a snapshot.
        created: by the store's clock, in seconds since the epoch.
        commit: of the index, at which it was made.
        rows, nbytes: vectors it shows, and size of the segments kept for it.
    """

    name: str
    holder: str
    created: float
    commit: int
    rows: int
    nbytes: int


class Pinning(ABC):
    """Every method raises StoreUnavailableError and DataError; those that write, StoreRefusedError too."""

    @abstractmethod
    async def snapshot(self, index_id: str, spec: IndexSpec, name: str) -> Pinned:
        """Keep the index as it is now under a name: everything acknowledged before the call is in it.

        Raises IndexSealedError, ConflictError when a snapshot has the name, QuotaExceededError.
        """

    @abstractmethod
    async def snapshots(self, index_id: str, spec: IndexSpec) -> list[Pinned]:
        """The snapshots of an index, by name. Raises IndexSealedError."""

    @abstractmethod
    async def drop_snapshot(self, index_id: str, spec: IndexSpec, name: str) -> None:
        """Keep a snapshot no longer. Raises IndexSealedError, NotFoundError."""

    @abstractmethod
    async def clone(self, index_id: str, spec: IndexSpec, clone_id: str, snapshot: str | None) -> Pinned:
        """Make the index `clone_id`, with the contents of this one now or at a snapshot; no row is copied.

        The id must be new, and become known to others only afterwards.
        Raises IndexSealedError, NotFoundError, QuotaExceededError, and UnavailableError when garbage collection
        gave the clone up meanwhile.
        """

    @abstractmethod
    async def release(self, index_id: str, age: float) -> bool:
        """Keep no longer what the clones of an index do not read any more; whether anything changed.

        A clone that was to be made more than `age` seconds ago, by the store's clock, and is still not there,
        never will be. An index that was deleted may be released too.
        """

    @abstractmethod
    async def unborn(self, index_id: str, age: float) -> bool:
        """Whether an index that has no name is a clone whose maker went away more than `age` seconds ago."""

    @abstractmethod
    async def abandon(self, index_id: str) -> None:
        """Delete a clone that has no name and will not get one."""
