"""One object from one store to another: read whole, created, read back and compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import xxhash

from quiver.model.errors import ConflictError, CorruptObjectError
from quiver.storage.creation import create_object
from quiver.storage.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Collection

    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

STAGE = "copy"


@dataclass(frozen=True, slots=True)
class CopySettings:
    """Plain values of a copy.

    Attributes:
        at_once: log entries and segments worked on at a time.
        piece_bytes: a larger object is read in pieces of so many bytes, into a file without a name.
        verify: read back what was written.
        spool: where these files are.
    """

    at_once: int = 8
    piece_bytes: int = 8 << 20
    verify: bool = True
    spool: Spool = field(default_factory=lambda: Spool(memory_bytes=0))


@dataclass(slots=True)
class Tally:
    """What a copy consists of so far: `copied` objects were written by this run, `kept` ones were there."""

    copied: int = 0
    kept: int = 0
    nbytes: int = 0


class Transfer:
    """From one store to another, counting.

    Args:
        mapped: the stores that answer with mapped files, so that an object may be read in one piece.
        progress: is told the bytes done; `expect` says how many there will be.

    Attributes:
        turn: held by whoever has bodies of objects in memory, so that these are bounded.
    """

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        runtime: Runtime,
        settings: CopySettings,
        progress: Progress,
        *,
        mapped: Collection[ObjectStore] = (),
    ) -> None:
        self.source = source
        self.target = target
        self.runtime = runtime
        self.settings = settings
        self.tally = Tally()
        self.turn = asyncio.Semaphore(settings.at_once)
        self._mapped = mapped
        self._progress = progress
        self._expected = 0
        self._placed: set[str] = set()

    def expect(self, nbytes: int) -> None:
        """So many bytes more (fewer, when negative) will be placed."""
        self._expected += nbytes
        self._progress(STAGE, self.tally.nbytes, self._expected)

    def placed(self, key: str) -> bool:
        """Whether this run has found or put the object in its place."""
        return key in self._placed

    async def fetch(self, key: str, size: int) -> memoryview:
        """The object, which has `size` bytes. Raises ObjectNotFoundError, CorruptObjectError: it has not."""
        return await self._read(self.source, key, size)

    async def fetch_small(self, key: str) -> memoryview:
        """An object of unknown, moderate size. Raises ObjectNotFoundError."""
        return memoryview(await self.source.get(key))

    async def fetch_placed(self, key: str, size: int) -> memoryview:
        """The same of what the target holds."""
        return await self._read(self.target, key, size)

    async def place(self, key: str, body: memoryview, *, there: bool = False) -> None:
        """Create the object in the target, or find it there as it should be.

        Args:
            there: it was listed there, so it need not be sent.

        Raises:
            ConflictError: another object of this name is there. It is left alone.
            CorruptObjectError: the target gives back something else than it was given.
            StoreRefusedError, StoreUnavailableError.
        """
        if self.placed(key):
            return
        created = not there and await create_object(self.target, self.runtime, key, [body])
        if not created or self.settings.verify:
            await self._compare(key, body, created=created)
        self.note(key, len(body), created=created)

    def note(self, key: str, nbytes: int, *, created: bool) -> None:
        """Count an object that is in its place."""
        self._placed.add(key)
        if created:
            self.tally.copied += 1
        else:
            self.tally.kept += 1
        self.tally.nbytes += nbytes
        self._progress(STAGE, self.tally.nbytes, self._expected)

    async def _compare(self, key: str, body: memoryview, *, created: bool) -> None:
        wanted = await self.runtime.offload(xxhash.xxh3_128_intdigest, body)
        hasher = xxhash.xxh3_128()
        read = 0
        while piece := await self.target.get(key, read, self.settings.piece_bytes):
            await self.runtime.offload(hasher.update, piece)
            read += memoryview(piece).nbytes
        if (read, hasher.intdigest()) == (len(body), wanted):
            return
        if created:
            raise CorruptObjectError(f"{key}: {self.target.url} does not give back what was written")
        raise ConflictError(f"{self.target.url} holds another {key}: copy to an empty place")

    async def _read(self, store: ObjectStore, key: str, size: int) -> memoryview:
        if store in self._mapped or size <= self.settings.piece_bytes:
            body = memoryview(await store.get(key))
        else:
            body = await self._spool(store, key, size)
        if len(body) != size:
            raise CorruptObjectError(f"{key}: {len(body)} bytes where {size} were listed")
        return body

    async def _spool(self, store: ObjectStore, key: str, size: int) -> memoryview:
        file = self.settings.spool.open(size)
        while file.size < size and (piece := await store.get(key, file.size, self.settings.piece_bytes)):
            await self.runtime.offload(file.write, memoryview(piece))
        return await self.runtime.offload(file.view)
