"""A wrapper that counts what goes to and comes from an object store: all in all, and for one piece of work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from quiver.objectstore.forwarding_store import ForwardingStore
from quiver.objectstore.spending import Spent, metered, spending
from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    nbytes_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LISTED_AT_ONCE", "MeteredStore", "OperationCounts", "Spent", "StoreCounts", "metered"]

LISTED_AT_ONCE = 1_000
"""Keys that a store lists, or deletes, with one request."""


@dataclass(slots=True)
class OperationCounts:
    """Of one operation. "Exists" and "not found" are answers; only what failed is an error.

    Attributes:
        requests: calls made, also those that failed; for an upload in parts, the requests that it takes.
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


class MeteredStore(ForwardingStore):
    """Passes everything on to another store, and counts.

    Args:
        inner: that store.
        billed: whether each call is a request that somebody charges for. False for a store that is made of others,
            which are counted themselves.
    """

    def __init__(self, inner: ObjectStore, *, billed: bool = True) -> None:
        super().__init__(inner)
        self._billed = billed
        self._counts = StoreCounts()

    def snapshot(self) -> StoreCounts:
        """The counts since the start or the last reset; a copy that changes no more."""
        now = self._counts
        return StoreCounts(replace(now.put_new), replace(now.get), replace(now.list), replace(now.delete))

    def reset(self) -> None:
        """Start again from zero; calls under way count where they started."""
        self._counts = StoreCounts()

    def _account(self) -> Spent | None:
        return spending() if self._billed else None

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        with _Count(self._counts.put_new) as counts:
            nbytes = nbytes_of(parts)
            counts.bytes_in += nbytes
            if (spent := self._account()) is not None:
                spent.puts += 1
                spent.sent += nbytes
            await self.inner.put_new(key, parts)
            counts.items += 1

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        now, spent = self._counts, self._account()
        with _Count(now.put_new) as counts:
            with metered() as told:
                try:
                    await self.inner.put_large(key, parts)
                finally:
                    if not told.requests:  # a store that takes any size at once tells nothing
                        told.puts = 1
                    told.sent = nbytes_of(parts) if told.puts else 0
                    counts.requests += told.puts - 1
                    counts.bytes_in += told.sent
                    now.get.requests += told.gets
                    now.get.bytes_out += told.received
                    if spent is not None:
                        spent.add(told)
            counts.items += 1

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        with _Count(self._counts.get) as counts:
            spent = self._account()
            if spent is not None:
                spent.gets += 1
            data = await self.inner.get(key, start, length)
            nbytes = memoryview(data).nbytes
            counts.bytes_out += nbytes
            counts.items += 1
            if spent is not None:
                spent.received += nbytes
        return data

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        """Counts as the reads that it stands for; where a read takes a transfer, it is these reads."""
        if not self.resident:
            return await ObjectStore.stands(self, key, head, absent)
        counts, spent, asked = self._counts.get, self._account(), len(absent) + 1
        counts.requests += asked
        if spent is not None:
            spent.gets += asked
        try:
            stands = await self.inner.stands(key, head, absent)
        except Exception:
            counts.errors += 1
            raise
        if stands:
            counts.items += 1
            counts.bytes_out += len(head)
            if spent is not None:
                spent.received += len(head)
        return stands

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        with _Count(self._counts.list) as counts:
            spent = self._account()
            if spent is not None:
                spent.lists += 1
            found = await self.inner.list(prefix, after)
            counts.items += len(found)
            if spent is not None:
                spent.lists += _pages(len(found)) - 1
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        with _Count(self._counts.delete) as counts:
            if (spent := self._account()) is not None:
                spent.deletes += _pages(len(keys))
            await self.inner.delete(keys)
            counts.items += len(keys)
