"""A wrapper that tells how long an object store takes to answer, from the small objects that are read whole.

A node reads some of these before its first query (the catalog, a checkpoint, the log), whose own first requests
are large: without the latency of the small ones, a store that is far away would be taken for a slow line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.store import Buffer, ObjectInfo, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.storage.cache.pace import Pace


class PacedStore(ObjectStore):
    """Passes everything on to another store; the pace learns from it."""

    def __init__(self, inner: ObjectStore, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace
        self.url = inner.url
        self.resident = inner.resident
        self.large_bytes = inner.large_bytes

    @property
    def near(self) -> bool:
        return self._inner.near

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._inner.put_new(key, parts)

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._inner.put_large(key, parts)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        request = self._inner.get(key, start, length)
        return await (self._pace.whole(request) if length is None else request)  # who asks for ranges times them

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        return await self._inner.stands(key, head, absent)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        return await self._inner.list(prefix, after)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._inner.delete(keys)

    async def is_current(self, key: str) -> bool:
        return await self._inner.is_current(key)

    async def close(self) -> None:
        await self._inner.close()
