"""The object store contract: immutable objects, created once by put-if-absent.

What it promises: an object is visible whole or not at all; of any number of racing creators of one key
exactly one succeeds; a read that starts after a successful create sees it; a listing that starts after a
create (or delete) reflects it.

What it does not promise: overwriting, compare-and-swap, rename, atomic groups, a single winner among racing
creators of a body too large for one request (`put_large`), or a listing that is a snapshot while others write
(each key may be judged at another moment of the call, best in ascending order, as paged listings do; in any order,
garbage collection has to leave objects alone for longer than a listing takes).
Quiver needs none of these (docs/decisions/0002-put-if-absent-only.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from quiver.model.errors import QuiverError, StoreUnavailableError, UnavailableError

Buffer: TypeAlias = bytes | bytearray | memoryview


class ObjectNotFoundError(QuiverError):
    """No object has this key."""


class ObjectExistsError(QuiverError):
    """The key is taken, perhaps by an earlier attempt of the same caller."""


class StoreRefusedError(UnavailableError):
    """The store did not apply the request and never will: disk full, permission denied."""


class StoreMisconfiguredError(StoreUnavailableError):
    """What the request needs is not there or not allowed, until somebody changes that: repeating is in vain."""


class ObjectInfo(NamedTuple):
    """One line of a listing. `modified` is seconds since the epoch by the store's own clock."""

    key: str
    size: int
    modified: float


class MadeParts(Sequence[Buffer]):
    """Parts of a body that are made when they are asked for, the same each time; all of them may be more than
    memory holds. Stores take them one after the other.

    Attributes:
        nbytes: of all parts together.
    """

    nbytes: int


def nbytes_of(parts: Sequence[Buffer]) -> int:
    """The length of the concatenated parts."""
    return parts.nbytes if isinstance(parts, MadeParts) else sum(memoryview(part).nbytes for part in parts)


class ObjectStore(ABC):
    """Keys are non-empty relative paths of `[a-z0-9/._-]`; see `quiver.format.paths`."""

    url: str
    """Where the root is, without secrets; for messages."""

    resident: bool = False
    """Whether whole objects are read without a transfer: from this process's memory, or mapped files."""

    large_bytes: int | None = None
    """Bodies larger than this need `put_large`; None: `put_new` takes any size."""

    @property
    def near(self) -> bool:
        """Whether requests are answered so soon that several, one after the other, cost less than at once."""
        return self.resident

    @abstractmethod
    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object with the concatenated parts, durably, if the key is absent.

        Raises:
            ObjectExistsError: the key is taken. The caller decides by reading whether by itself.
            StoreRefusedError: definitely not created, and never will be by this call.
            StoreUnavailableError: unknown; the object may exist now, appear later, or never.
        """

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `put_new`, for a body of any size under a name that nobody else can mean.

        The object appears whole or not at all, and a key that was taken before the call stays as it is. Of racing
        creators the last may win where a store has no condition for uploads in parts: so all of them have to bring
        the same bytes, as the attempts of one caller do. Raises as `put_new`, but after StoreRefusedError, too, an
        earlier request may still land. What has landed is never reported as a failure.
        """
        await self.put_new(key, parts)

    @abstractmethod
    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        """Read `length` bytes from `start` (to the end when None). Shorter only at the object's end.

        A local store may answer with a read-only view of a memory-mapped file.

        Raises: ObjectNotFoundError, StoreUnavailableError.
        """

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        """Whether none of the keys `absent` has an object, and after that `key` still has the one that was read.

        One thing is asked after the other, in this order. A store may know a quicker way than reading.

        Args:
            key: of an object that `get` found before.
            head: its first bytes, which no other object begins with.
            absent: keys.

        Raises: StoreUnavailableError.
        """
        for each in absent:
            try:
                await self.get(each, 0, 1)
            except ObjectNotFoundError:
                continue
            return False
        try:
            return await self.get(key, 0, len(head)) == head
        except ObjectNotFoundError:
            return False

    @abstractmethod
    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        """All objects whose key starts with `prefix` and is greater than `after`, sorted by key.

        Complete or an error, never partial. Raises: StoreUnavailableError.
        """

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent keys are ignored. On error some may remain.

        Raises: StoreUnavailableError.
        """

    async def is_current(self, key: str) -> bool:  # noqa: ARG002 - for stores that write differently over time
        """Whether an object is stored as it would be if it were written now; for who would write it again if not.

        Raises: ObjectNotFoundError, StoreUnavailableError.
        """
        return True

    async def close(self) -> None:
        """Release connections and file descriptors."""
        return


async def put_of_any_size(store: ObjectStore, key: str, parts: Sequence[Buffer]) -> None:
    """Create an object under a name that nobody else can mean, as its size needs. Raises as `put_large`."""
    large = store.large_bytes is not None and nbytes_of(parts) > store.large_bytes
    await (store.put_large if large else store.put_new)(key, parts)


__all__ = [
    "Buffer",
    "MadeParts",
    "ObjectExistsError",
    "ObjectInfo",
    "ObjectNotFoundError",
    "ObjectStore",
    "StoreMisconfiguredError",
    "StoreRefusedError",
    "StoreUnavailableError",
    "nbytes_of",
    "put_of_any_size",
]
