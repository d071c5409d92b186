"""A store in memory whose next puts, by key, meet with a scripted fate."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectStore,
    StoreRefusedError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Fate = Callable[["ScriptedStore", str, bytes], Awaitable[None]]


class ScriptedStore(ObjectStore):
    """Counts what is asked of it. `puts` are the keys that were tried, `zombies` puts that may land later."""

    url = "scripted://"

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.puts: list[str] = []
        self.gets: list[str] = []
        self.zombies: list[tuple[str, bytes]] = []
        self._script: list[tuple[re.Pattern[str], Fate]] = []

    def next_put(self, pattern: str, *fates: Fate) -> None:
        """The next puts of keys that match meet with these fates, in order."""
        self._script += [(re.compile(pattern), fate) for fate in fates]

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        self.puts.append(key)
        body = b"".join(parts)
        for number, (pattern, fate) in enumerate(self._script):
            if pattern.search(key):
                del self._script[number]
                await fate(self, key, body)
                return
        await self.inner.put_new(key, [body])

    async def land_zombies(self) -> list[bool]:
        """Puts that were given up land now, if their key is free; whether each did."""
        landed = []
        for key, body in self.zombies:
            try:
                await self.inner.put_new(key, [body])
                landed.append(True)
            except ObjectExistsError:
                landed.append(False)
        self.zombies.clear()
        return landed

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        self.gets.append(key)
        return await self.inner.get(key, start, length)

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        return await self.inner.list(prefix, after)

    async def delete(self, keys: Sequence[str]) -> None:
        await self.inner.delete(keys)


async def lose_answer(store: ScriptedStore, key: str, body: bytes) -> None:
    """Applied, but nobody hears of it."""
    await store.inner.put_new(key, [body])
    raise StoreUnavailableError("the answer was lost")


async def fail(store: ScriptedStore, key: str, body: bytes) -> None:
    """Not applied, and nobody hears of that either."""
    raise StoreUnavailableError("the request was lost")


async def claim_existence(store: ScriptedStore, key: str, body: bytes) -> None:
    """A conflict reported as existence though nothing is there."""
    raise ObjectExistsError(key)


async def refuse(store: ScriptedStore, key: str, body: bytes) -> None:
    raise StoreRefusedError("disk full")


async def become_zombie(store: ScriptedStore, key: str, body: bytes) -> None:
    """Given up by the client, alive on its way."""
    store.zombies.append((key, body))
    raise StoreUnavailableError("timed out")


class Stall:
    """A put that waits on its way to the store until `go` is set. `reached` tells that it has set out."""

    def __init__(self, then: Fate | None = None) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self._then = then

    async def __call__(self, store: ScriptedStore, key: str, body: bytes) -> None:
        self.reached.set()
        await self.go.wait()
        if self._then is not None:
            await self._then(store, key, body)
        else:
            await store.inner.put_new(key, [body])
