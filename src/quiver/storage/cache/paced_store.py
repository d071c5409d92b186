"""A wrapper that tells how long an object store takes to answer, from the small objects that are read whole.

A node reads some of these before its first query (the catalog, a checkpoint, the log), whose own first requests
are large: without the latency of the small ones, a store that is far away would be taken for a slow line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.forwarding_store import ForwardingStore

if TYPE_CHECKING:
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.cache.pace import Pace


class PacedStore(ForwardingStore):
    """A store that the pace learns from."""

    def __init__(self, inner: ObjectStore, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        request = self.inner.get(key, start, length)
        return await (self._pace.whole(request) if length is None else request)  # who asks for ranges times them
