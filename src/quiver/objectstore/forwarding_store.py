"""What wrappers of a store begin with: every call is passed on to another store, even those with a default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.store import Buffer, ObjectInfo, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence


class ForwardingStore(ObjectStore):
    """Passes everything on to `inner`; wrappers override what they change."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.url = inner.url
        self.resident = inner.resident
        self.large_bytes = inner.large_bytes

    @property
    def near(self) -> bool:
        return self.inner.near

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        await self.inner.put_new(key, parts)

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        await self.inner.put_large(key, parts)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        return await self.inner.get(key, start, length)

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        return await self.inner.stands(key, head, absent)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        return await self.inner.list(prefix, after)

    async def delete(self, keys: Sequence[str]) -> None:
        await self.inner.delete(keys)

    async def is_current(self, key: str) -> bool:
        return await self.inner.is_current(key)

    async def close(self) -> None:
        await self.inner.close()
