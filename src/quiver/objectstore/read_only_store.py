"""A store that is only read: whatever would change it is refused before it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.forwarding_store import ForwardingStore
from quiver.objectstore.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.objectstore.store import Buffer

_REFUSED = "this process only reads"


class ReadOnlyStore(ForwardingStore):
    """Passes reads on to another store."""

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:  # noqa: ARG002 - the contract's signature
        raise StoreRefusedError(f"cannot create {key}: {_REFUSED}")

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        await self.put_new(key, parts)

    async def delete(self, keys: Sequence[str]) -> None:
        if keys:
            raise StoreRefusedError(f"cannot delete {keys[0]}: {_REFUSED}")
