"""A wrapper that counts what goes to and comes from an object store."""

from __future__ import annotations

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

    def snapshot(self) -> StoreCounts:
        """The counts since the start or the last reset; a copy that changes no more."""
        now = self._counts
        return StoreCounts(replace(now.put_new), replace(now.get), replace(now.list), replace(now.delete))

    def reset(self) -> None:
        """Start again from zero; calls under way count where they started."""
        self._counts = StoreCounts()

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        with _Count(self._counts.put_new) as counts:
            counts.bytes_in += sum(memoryview(part).nbytes for part in parts)
            await self._inner.put_new(key, parts)
            counts.items += 1

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        with _Count(self._counts.get) as counts:
            data = await self._inner.get(key, start, length)
            counts.bytes_out += memoryview(data).nbytes
            counts.items += 1
        return data

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        with _Count(self._counts.list) as counts:
            found = await self._inner.list(prefix, after)
            counts.items += len(found)
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        with _Count(self._counts.delete) as counts:
            await self._inner.delete(keys)
            counts.items += len(keys)

    async def close(self) -> None:
        await self._inner.close()
