"""When an index is flushed, compacted and collected, and when it refuses writes until that has caught up."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from quiver.engine.native.compaction import choose, compact, groups
from quiver.engine.native.flush import flush
from quiver.engine.native.state import segments_of
from quiver.engine.upkeep import Collected
from quiver.format import paths
from quiver.model.errors import BusyError, QuiverError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore


class Maintenance:
    """The upkeep of one open index. One task at a time per node; nodes compete through checkpoints."""

    def __init__(self, index: NativeIndex) -> None:
        # Weak, for the index owns this object: in a cycle, a closed index would keep its rows in memory until
        # the garbage collector comes around to it. Whoever calls a method holds the index.
        self._reference = weakref.ref(index)
        self._lock = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        self._stage = 0
        self.failures = 0

    @property
    def _index(self) -> NativeIndex:
        index = self._reference()
        if index is None:
            raise ReferenceError("maintenance of an index that nobody holds")
        return index

    # ---------------------------------------------------------------- after writes

    def fullness(self) -> float:
        """The tail's size as a multiple of the nearest flush threshold."""
        index = self._index
        settings, tail = index.settings, index.state.tail
        slots = index.log.slot - tail.first_slot + 1
        return max(
            tail.rows / settings.flush_rows, tail.nbytes / settings.flush_bytes, slots / settings.flush_slots
        )

    def admit(self) -> None:
        """Raises BusyError when the tail is so long that a write would make reads slow for everybody."""
        if self.fullness() > self._index.settings.tail_limit:
            self._start()
            raise BusyError("The index has too many writes that are not yet flushed; try again shortly")

    def after_commit(self) -> None:
        """Flush when the tail grew past the next multiple of a threshold.

        The node whose commit crossed it does the work, so that of many nodes one starts. Should it die, the
        next multiple finds another.
        """
        stage = int(self.fullness())
        if stage > self._stage:
            self._start()
        self._stage = stage

    def _start(self) -> None:
        if self._running is None and self._index.settings.background:
            self._running = self._index.runtime.spawn(self._run(self._index), "maintenance")

    async def _run(self, _held: NativeIndex) -> None:
        try:
            await self.flush()
            while await self.compact_tier():
                pass
            await self.collect()
        except QuiverError:
            self.failures += 1  # the store or the data failed; the next write starts it again
        finally:
            self._running = None

    async def wait(self) -> None:
        """Until the work that was started has ended."""
        if self._running is not None:
            await asyncio.wait([self._running])

    # ---------------------------------------------------------------- the work

    async def flush(self) -> bool:
        """See flush.flush."""
        async with self._lock:
            return await flush(self._index)

    async def compact_tier(self) -> bool:
        """Merge one tier that needs it; whether it did."""
        async with self._lock:
            chosen = choose(self._index.state.segments, self._index.settings)
            return bool(chosen) and await compact(self._index, [ref.id for ref in chosen])

    async def compact_all(self) -> None:
        """Flush, then merge everything, in groups that fit in memory, and leave no tombstones."""
        await self.flush()
        async with self._lock:
            for group in groups(self._index.state.segments, self._index.settings.merge_bytes):
                if len(group) > 1 or group[0].tombstones:
                    await compact(self._index, [ref.id for ref in group])

    async def collect(self) -> Collected:
        """Remove what nothing needs any more."""
        index = self._index
        return await collect_index(index.store, index.runtime, index.index_id, index.settings.garbage_age)


async def collect_index(store: ObjectStore, runtime: Runtime, index_id: str, age: float) -> Collected:
    """Remove what nothing needs of an index, open or not. Raises RetryError, DataError."""
    root = paths.index_root(index_id)
    removed = await collect(
        store, runtime, root, CheckpointStore(store, runtime, root, index_id), age, _references
    )
    return Collected(len(removed), sum(info.size for info in removed))


def _references(checkpoint: Checkpoint) -> set[str]:
    return {ref.id for ref in segments_of(checkpoint)}
