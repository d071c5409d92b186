"""The chain of checkpoints of one log: found by listing, read whole, each generation created once.

A checkpoint is made from the one before, so at most one of all that are drafted from it can take the next
generation. A draft that stalled while others went on loses, and can never bring back a segment that they dropped.

The newest is found by listing. Whoever stands on one that was the newest learns without a listing that it still is
(`has`, `holds`): collection removes checkpoints one after the other in the order of the chain (garbage.py), so its
successor can be absent for one of two reasons: that it never was, or that this one was removed before it. A draft
that lost, and lands late under a name that was collected, differs in its first bytes, as do any two attempts.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore

PUBLISHED = b"a checkpoint was published"
_HEAD_BYTES = 256  # hold the identity, and so what tells one attempt to put a checkpoint from any other


class StoredCheckpoint(NamedTuple):
    """A checkpoint, and the first bytes of its object, by which it is known again."""

    checkpoint: Checkpoint
    head: bytes


class CheckpointStore:
    """The checkpoints under `root`, owned by `owner` (an index id, or "catalog")."""

    def __init__(self, store: ObjectStore, runtime: Runtime, root: str, owner: str) -> None:
        self._store = store
        self._runtime = runtime
        self._root = root
        self._owner = owner

    async def newest(self, after: int) -> int | None:
        """The newest generation past `after` (0 for any), or None."""
        prefix = paths.checkpoint_prefix(self._root)
        listed = await self._store.list(prefix, paths.checkpoint_key(self._root, after))
        generations = [
            name.generation
            for info in listed
            if (name := paths.classify(self._root, info.key)).kind == "checkpoint"
        ]
        return max(generations, default=None)

    async def settled(self) -> Checkpoint | None:
        """The newest checkpoint of the chain, None without any.

        What stands under the newest name that was listed may be a draft that lost: it landed late in a generation
        that had been collected meanwhile. Then there is a newer one, so the listing is looked at again.
        Raises DataError, StoreUnavailableError.
        """
        after = 0
        found: Checkpoint | None = None
        while (newest := await self.newest(after)) is not None:
            try:
                found, after = await self.load(newest), newest
            except ObjectNotFoundError:
                continue  # a newer one has just replaced it
        return found

    async def load(self, generation: int) -> Checkpoint:
        """Raises ObjectNotFoundError (a newer one has replaced it), DataError, StoreUnavailableError."""
        return (await self.read(generation)).checkpoint

    async def read(self, generation: int) -> StoredCheckpoint:
        """The same with what `holds` needs to know it again."""
        return self.parse(generation, await self._store.get(paths.checkpoint_key(self._root, generation)))

    def parse(self, generation: int, body: Buffer) -> StoredCheckpoint:
        """The same of an object's bytes. Raises DataError."""
        key = paths.checkpoint_key(self._root, generation)
        _, payload = decode(Kind.CHECKPOINT, key, self._owner, body)
        return StoredCheckpoint(checkpoint_format.decode(key, payload), bytes(memoryview(body)[:_HEAD_BYTES]))

    async def has(self, generation: int) -> bool:
        """Whether there is an object of this name; it may be a draft that lost and landed late."""
        try:
            await self._store.get(paths.checkpoint_key(self._root, generation), 0, 1)
        except ObjectNotFoundError:
            return False
        return True

    async def holds(self, generation: int, head: bytes) -> bool:
        """Whether the very object that was read is still there: then it has been all the time."""
        try:
            found = await self._store.get(paths.checkpoint_key(self._root, generation), 0, _HEAD_BYTES)
        except ObjectNotFoundError:
            return False
        return found == head

    async def create(self, checkpoint: Checkpoint, writer: str) -> bool:
        """Publish; False when another node's checkpoint holds the generation.

        After the first of a log, for good, an object that tells that there was one: else a log of which only
        its checkpoint is left would be empty without it. Best effort: without that object no loss is noticed.
        """
        won = await self._create(checkpoint, writer)
        if won and checkpoint.generation == 1:
            with suppress(ObjectExistsError, StoreRefusedError, StoreUnavailableError):
                await self._store.put_new(paths.published_key(self._root), [PUBLISHED])
        return won

    async def _create(self, checkpoint: Checkpoint, writer: str) -> bool:
        """See `create`.

        A lost answer is resolved by putting it again, then by reading who wrote the object. Every attempt has a
        number of its own: one that lands after the checkpoint was collected must not be taken for it.
        """
        key = paths.checkpoint_key(self._root, checkpoint.generation)
        payload = make_payload([checkpoint_format.encode(checkpoint)])
        delay = 0.05
        while True:
            identity = Identity(key, self._owner, writer, int(self._runtime.new_id()[:15], 16))
            try:
                await self._store.put_new(key, encode(Kind.CHECKPOINT, identity, payload))
            except ObjectExistsError:
                holder = await self._holder(key)
                if holder is not None:
                    return holder == writer
            except StoreUnavailableError:
                pass
            else:
                return True
            await self._runtime.sleep(delay * (0.5 + self._runtime.random()))
            delay = min(2 * delay, 2.0)

    async def _holder(self, key: str) -> str | None:
        """Who wrote the checkpoint: a writer id, "" when it is gone behind a newer one, None when unclear."""
        try:
            identity, _ = decode(Kind.CHECKPOINT, key, self._owner, await self._store.get(key))
        except ObjectNotFoundError:
            generation = paths.classify(self._root, key).generation
            return "" if await self.newest(generation) is not None else None
        return identity.writer
