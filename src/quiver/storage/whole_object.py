"""Reads an object from start to end, for work that needs all of it: into memory, or a file when it is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.spool import Spool

_PIECE = 8 << 20


async def read_whole(store: ObjectStore, runtime: Runtime, key: str, spool: Spool) -> memoryview:
    """The bytes of an object; those of a remote store are spooled.

    Raises ObjectNotFoundError, StoreUnavailableError.
    """
    if store.resident:
        return memoryview(await store.get(key))
    file = spool.open()
    while True:
        piece = memoryview(await store.get(key, file.size, _PIECE))
        if piece:
            await runtime.offload(file.write, piece)
        if len(piece) < _PIECE:
            return await runtime.offload(file.view)
