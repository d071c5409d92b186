"""Quiver over an index that was built before, in an object store or a directory; for reading only."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import quiver.objectstore.remote  # noqa: F401 - loaded on first use otherwise, and loading is not to be measured
from benchmarks.contenders.quiver_library import BUCKET, INDEX, QuiverLibrary
from quiver import assemble
from quiver.library.connection import AsyncConnection
from quiver.library.sync import open_synchronously
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.local import LocalStore
from quiver.settings import load

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset


class Distant(LocalStore):
    """A directory that is read like a remote store: through the caches."""

    resident = False


class QuiverNode(QuiverLibrary):
    """A node without upkeep of its own; other settings come from the environment."""

    def __init__(self, data: Dataset, url: str, *, distant: bool = False) -> None:
        super().__init__(data, Path())
        self._url = url
        self._distant = distant

    def open(self) -> None:
        if self._distant:
            assemble.LocalStore = Distant
        self._connection = open_synchronously(self._open())
        self._index = self._connection.bucket(BUCKET).index(INDEX)
        self._index.info()  # as LanceDB reads the table's manifest when it is opened

    async def _open(self) -> AsyncConnection:
        runtime = SystemRuntime()
        settings = load(os.environ, root=self._url)
        self._root = await assemble.open_service(settings, runtime, background=False)

        async def close() -> None:
            await self._root.close()
            runtime.close()

        return AsyncConnection(self._root, close)

    def index(self) -> Any:
        return self._index

    def counts(self) -> dict[str, int]:
        """What its caches did so far, in blocks, and what the store was asked."""
        asked = self._root.store_counts()
        found = {"gets": asked.get.requests, "got bytes": asked.get.bytes_out, "lists": asked.list.requests}
        counts = self._root.cache_counts()
        if counts is None:
            return found
        cached = dataclasses.asdict(counts)
        disk = cached.pop("disk") or {}
        return found | cached | {f"disk {name}": n for name, n in disk.items()}

    def empty(self) -> None:
        """Drop everything that the caches have in memory, if there are any."""

        async def drop() -> None:
            if self._root.cache is not None:
                self._root.cache.shrink(0)

        # On this thread: else the next query would find the loop's on its way to rest, and wait for its turn.
        self._connection._loop.run(drop(), at_once=True)

    def close(self) -> None:
        self._connection.close()
