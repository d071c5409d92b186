"""A store that is only read: whatever would change it is refused before it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.store import Buffer, ObjectInfo, ObjectStore, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFUSED = "this process only reads"


class ReadOnlyStore(ObjectStore):
    """Passes reads on to another store."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.url = inner.url
        self.resident = inner.resident
        self.large_bytes = inner.large_bytes

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:  # noqa: ARG002 - the contract's signature
        raise StoreRefusedError(f"cannot create {key}: {_REFUSED}")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        return await self._inner.get(key, start, length)

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        return await self._inner.stands(key, head, absent)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        return await self._inner.list(prefix, after)

    async def delete(self, keys: Sequence[str]) -> None:
        if keys:
            raise StoreRefusedError(f"cannot delete {keys[0]}: {_REFUSED}")

    async def close(self) -> None:
        await self._inner.close()
