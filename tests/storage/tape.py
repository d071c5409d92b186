"""The simplest machine of a commit log: it remembers what was applied, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from quiver.format.log_entry import Part, PartKind
from quiver.storage.commit_log import CommitLog, LogSettings, Machine
from quiver.storage.garbage import collect

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

ROOT = "index/" + "a" * 32 + "/"
OWNER = "a" * 32
QUICK = LogSettings(first_delay=0.001, deadline=10)


class Tape(Machine):
    """Bodies in the order they were applied; the answer to each is its place on the tape."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def restore(self, checkpoint: Checkpoint | None) -> None:
        self.bodies = msgspec.msgpack.decode(checkpoint.state, type=list[bytes]) if checkpoint else []

    def apply(self, slot: int, part: Part) -> Any:
        if part.kind == PartKind.CATALOG:
            self.bodies.append(bytes(part.body))
            return len(self.bodies)
        return None


class Node:
    """A commit log over a tape."""

    def __init__(self, store: ObjectStore, runtime: Runtime, settings: LogSettings = QUICK) -> None:
        self.tape = Tape()
        self._store, self._runtime = store, runtime
        self.log = CommitLog(store, runtime, ROOT, OWNER, self.tape, settings)

    async def write(self, body: bytes) -> int:
        """Append; the slot."""
        return (await self.log.append(Part(PartKind.CATALOG, body))).slot

    async def read(self) -> list[bytes]:
        """The tape as of now."""
        return await self.log.observe(lambda: list(self.tape.bodies))

    async def draft(self) -> Checkpoint:
        return await self.log.observe(lambda: self.log.draft_checkpoint(msgspec.msgpack.encode(self.tape.bodies)))

    async def checkpoint(self) -> bool:
        """Publish the state of now."""
        return await self.log.publish_checkpoint(await self.draft())

    async def collect(self) -> list[str]:
        """Garbage collection at age 0; the names of the objects removed."""
        removed = await collect(self._store, self._runtime, ROOT, self.log.checkpoints, 0, lambda _: set())
        return [info.key for info in removed]
