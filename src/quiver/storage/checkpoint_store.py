"""Checkpoints of one log: found by listing, read whole, created once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore


class CheckpointStore:
    """The checkpoints under `root`, owned by `owner` (an index id, or "catalog")."""

    def __init__(self, store: ObjectStore, runtime: Runtime, root: str, owner: str) -> None:
        self._store = store
        self._runtime = runtime
        self._root = root
        self._owner = owner

    async def newest_slot(self, after: int) -> int | None:
        """The slot of the newest checkpoint past `after`, or None."""
        prefix = paths.checkpoint_prefix(self._root)
        listed = await self._store.list(prefix, paths.checkpoint_key(self._root, after) if after >= 0 else "")
        slots = [
            name.slot for info in listed if (name := paths.classify(self._root, info.key)).kind == "checkpoint"
        ]
        return max(slots, default=None)

    async def load(self, slot: int) -> Checkpoint:
        """Raises ObjectNotFoundError (a newer one has replaced it), DataError, StoreUnavailableError."""
        key = paths.checkpoint_key(self._root, slot)
        _, payload = decode(Kind.CHECKPOINT, key, self._owner, await self._store.get(key))
        return checkpoint_format.decode(key, payload)

    async def create(self, checkpoint: Checkpoint, writer: str) -> bool:
        """Publish; False when another node's checkpoint holds the slot.

        A lost answer is resolved by putting the same bytes again, then by reading who wrote the object.
        """
        key = paths.checkpoint_key(self._root, checkpoint.slot)
        identity = Identity(key, self._owner, writer, checkpoint.slot)
        body = encode(Kind.CHECKPOINT, identity, make_payload([checkpoint_format.encode(checkpoint)]))
        delay = 0.05
        while True:
            try:
                await self._store.put_new(key, body)
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
            slot = paths.classify(self._root, key).slot
            return "" if await self.newest_slot(slot) is not None else None
        return identity.writer
