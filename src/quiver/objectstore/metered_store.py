"""A wrapper that counts what goes to and comes from an object store: all in all, and for one piece of work.

What is counted for a piece of work (`metered`) is what it asked for itself, and what tasks asked that it started.
Requests that several pieces of work share, such as the replay of a log, count for the one that started them.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

LISTED_AT_ONCE = 1_000
"""Keys that a store lists, or deletes, with one request."""


@dataclass(slots=True)
class OperationCounts:
    """Of one operation. "Exists" and "not found" are answers; only what failed is an error.

    Attributes:
        requests: calls made, also those that failed.
        errors: calls that raised anything but ObjectExistsError and ObjectNotFoundError.
        bytes_in: bytes received by the store (put_new), whether or not it kept them.
        bytes_out: bytes returned by the store (get).
        items: keys listed or deleted; 1 for each successful put_new and get.
    """

    requests: int = 0
    errors: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    items: int = 0


@dataclass(slots=True)
class StoreCounts:
    """Of each operation of the contract."""

    put_new: OperationCounts = field(default_factory=OperationCounts)
    get: OperationCounts = field(default_factory=OperationCounts)
    list: OperationCounts = field(default_factory=OperationCounts)
    delete: OperationCounts = field(default_factory=OperationCounts)


@dataclass(slots=True)
class Spent:
    """What one piece of work asked of object stores, in requests as stores bill them.

    Attributes:
        puts, gets: requests, also those that failed.
        lists, deletes: requests for up to 1,000 keys each.
        sent, received: bytes to and from stores.
    """

    puts: int = 0
    gets: int = 0
    lists: int = 0
    deletes: int = 0
    sent: int = 0
    received: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.puts + self.gets + self.lists + self.deletes


_SPENT: ContextVar[Spent | None] = ContextVar("spent", default=None)


class _Metering:
    """See `metered`."""

    __slots__ = ("_token",)

    def __enter__(self) -> Spent:
        spent = Spent()
        self._token = _SPENT.set(spent)
        return spent

    def __exit__(self, *_: object) -> None:
        _SPENT.reset(self._token)


def metered() -> AbstractContextManager[Spent]:
    """Count what is asked of metered stores within, and by tasks started within as long as they run."""
    return _Metering()


def _pages(items: int) -> int:
    return max(1, -(-items // LISTED_AT_ONCE))


class _Count:
    """Counts one call, and its error if it fails."""

    __slots__ = ("_counts",)

    def __init__(self, counts: OperationCounts) -> None:
        self._counts = counts

    def __enter__(self) -> OperationCounts:
        self._counts.requests += 1
        return self._counts

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, ObjectExistsError | ObjectNotFoundError):
            self._counts.errors += 1


class MeteredStore(ObjectStore):
    """Passes everything on to another store, and counts."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._counts = StoreCounts()
        self.url = inner.url
        self.resident = inner.resident

    def snapshot(self) -> StoreCounts:
        """The counts since the start or the last reset; a copy that changes no more."""
        now = self._counts
        return StoreCounts(replace(now.put_new), replace(now.get), replace(now.list), replace(now.delete))

    def reset(self) -> None:
        """Start again from zero; calls under way count where they started."""
        self._counts = StoreCounts()

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        with _Count(self._counts.put_new) as counts:
            nbytes = sum(memoryview(part).nbytes for part in parts)
            counts.bytes_in += nbytes
            if (spent := _SPENT.get()) is not None:
                spent.puts += 1
                spent.sent += nbytes
            await self._inner.put_new(key, parts)
            counts.items += 1

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        with _Count(self._counts.get) as counts:
            spent = _SPENT.get()
            if spent is not None:
                spent.gets += 1
            data = await self._inner.get(key, start, length)
            nbytes = memoryview(data).nbytes
            counts.bytes_out += nbytes
            counts.items += 1
            if spent is not None:
                spent.received += nbytes
        return data

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        with _Count(self._counts.list) as counts:
            spent = _SPENT.get()
            if spent is not None:
                spent.lists += 1
            found = await self._inner.list(prefix, after)
            counts.items += len(found)
            if spent is not None:
                spent.lists += _pages(len(found)) - 1
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        with _Count(self._counts.delete) as counts:
            if (spent := _SPENT.get()) is not None:
                spent.deletes += _pages(len(keys))
            await self._inner.delete(keys)
            counts.items += len(keys)

    async def close(self) -> None:
        await self._inner.close()
