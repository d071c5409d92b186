"""When an index is flushed, compacted and collected, and when it refuses writes until that has caught up."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from quiver.engine.engine import IndexSealedError
from quiver.engine.native import pins
from quiver.engine.native.compaction import choose, compact, groups
from quiver.engine.native.flush import flush
from quiver.engine.native.opening import renew
from quiver.engine.native.reservation import announced, drop_forgotten
from quiver.engine.native.state import references_of
from quiver.engine.native.workshop import Job
from quiver.engine.upkeep import Collected
from quiver.format import paths
from quiver.model.errors import BusyError, QuiverError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.state import SegmentRef
    from quiver.engine.native.workshop import Watcher, Workshop
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0  # seconds
_STALLED = 300.0  # seconds after which a backfill that published nothing is taken to be nobody's


class Maintenance:
    """The upkeep of one open index. One task for each job per node; nodes compete through checkpoints.

    Attributes:
        publishing: held by whoever on this node publishes checkpoints of the index, so that they do not compete.
        failures: jobs that failed.
    """

    def __init__(self, index: NativeIndex, workshop: Workshop, watcher: Watcher) -> None:
        # Weak, for the index owns this object: in a cycle, a closed index would keep its rows in memory until
        # the garbage collector comes around to it. Whoever calls a method holds the index.
        self._reference = weakref.ref(index)
        self._workshop = workshop
        self._watcher = watcher
        self._merging = asyncio.Lock()
        self.publishing = asyncio.Lock()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._renewed = 0  # generation of the last checkpoint that the opening was seen to
        self._retry = _FIRST_RETRY
        self._untidy = False
        self._building: tuple[int, float] | None = None  # generation, and since when fields were seen being built
        self._stopped = False
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
            self._start(Job.FLUSH)
            raise BusyError("The index has too many writes that are not yet flushed; try again shortly")

    def after_commit(self) -> None:
        """Flush when the tail grew past the next multiple of a threshold.

        The node whose commit crossed it does the work, so that of many nodes one starts. Should it die, the
        next multiple finds another. A node that leaves upkeep to others does so as well, but not before the tail
        is half as long as it may be: nobody else seems to be there.
        """
        stage, settings = int(self.fullness()), self._index.settings
        if stage > self._stage and not (settings.reluctant and stage < settings.tail_limit / 2):
            self._start(Job.FLUSH)
        self._stage = stage

    def backfill(self) -> None:
        """Make text fields searchable that are not, aside, unless that is left to other nodes.

        A checkpoint that knows of them, then segments written anew that lack them.
        """
        if not self._index.settings.reluctant:
            self._start(Job.FLUSH)

    def notice_building(self) -> None:
        """Somebody met a text field that is being built. After minutes without a new checkpoint begin here, too:
        whoever was at it may have died."""
        base, now = self._index.log.base, self._index.runtime.monotonic()
        if self._building is None or self._building[0] != base:
            self._building = base, now
        elif now - self._building[1] >= _STALLED:
            self._building = base, now
            self.backfill()

    def _is_due(self) -> bool:
        """Whether the tail is long, or has changes of text fields that wait for a checkpoint."""
        return self.fullness() >= 1 or bool(self._index.state.fresh)

    def _start(self, job: Job) -> None:
        if job not in self._running and not self._stopped and self._index.settings.background:
            work = self._flushing if job is Job.FLUSH else self._tidying
            self._running[job] = self._index.runtime.spawn(work(self._index), f"maintenance: {job}")

    async def _flushing(self, index: NativeIndex) -> None:
        """Flush until the tail is short, then have merged what that made."""
        try:
            before = -1
            while before < index.log.base and (before < 0 or self._is_due()):
                before = index.log.base
                if not await self._do(Job.FLUSH, index):
                    self._try_again_later(index)
                    return
            self._stage = min(self._stage, int(self.fullness()))
            if not index.settings.reluctant:
                self._untidy = True
                self._start(Job.TIDY)
        finally:
            del self._running[Job.FLUSH]

    async def _tidying(self, index: NativeIndex) -> None:
        """Tidy once more when a flush ended meanwhile."""
        try:
            while self._untidy and not self._stopped:
                self._untidy = False
                await self._do(Job.TIDY, index)
        finally:
            del self._running[Job.TIDY]

    async def _do(self, job: Job, index: NativeIndex) -> bool:
        """Whether the store, the data and the workshop let it be done."""
        began, done = index.runtime.monotonic(), False
        self._watcher.started(job)
        try:
            await self._workshop.do(job, index)
            done = True
        except IndexSealedError:
            done = True  # deleted meanwhile: nothing is left to do
        except QuiverError as error:
            self.failures += 1
            self._watcher.failed(job, index.index_id, error)
        finally:
            self._watcher.ended(job, index.runtime.monotonic() - began, done=done)
        if done:
            self._retry = _FIRST_RETRY
        return done

    def _try_again_later(self, index: NativeIndex) -> None:
        if self._waiting is None and not self._stopped:
            self._waiting = index.runtime.spawn(self._retry_after(index.runtime), "maintenance: retry")

    async def _retry_after(self, runtime: Runtime) -> None:
        """Start again if the index is still open and its tail too long."""
        await runtime.sleep(self._retry)
        self._retry = min(2 * self._retry, _LONGEST_RETRY)
        self._waiting = None
        if self._reference() is not None and self._is_due():
            self._start(Job.FLUSH)

    def published(self) -> None:
        """See to the opening, aside, after the index came to stand on another checkpoint.

        A store at hand needs none.
        """
        index = self._index
        if self._renewing is None and not index.store.near and self._renewed != index.log.base:
            self._renewing = index.runtime.spawn(self._renew(index), "opening")

    async def _renew(self, index: NativeIndex) -> None:
        """Once more when another checkpoint came meanwhile."""
        try:
            while self._renewed != index.log.base:
                self._renewed = index.log.base
                await renew(index)
        finally:
            self._renewing = None

    async def wait(self) -> None:
        """Until the work that was started has ended."""
        while under_way := [*self._running.values(), *([self._renewing] if self._renewing else [])]:
            await asyncio.wait(under_way)

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    # ---------------------------------------------------------------- for others

    async def tend(self) -> bool:
        """Do what the writers of the index leave to others: flush a long tail, merge tiers that need it.

        Whoever else does so at the same time costs at most the work of one of both. So the newest checkpoint is
        looked at first, and merging is left to whoever has announced to be at it. Returns whether all went well.
        Raises IndexSealedError, StoreUnavailableError, DataError.
        """
        index = self._index
        await index.log.refresh()
        well = True
        if self._is_due():
            well = await self._do(Job.FLUSH, index)
        if self._choose() and not await announced(index):
            well = await self._do(Job.TIDY, index) and well
        self.published()  # whoever did may have died before it came to the opening
        return well

    # ---------------------------------------------------------------- the work

    async def flush(self) -> bool:
        """See flush.flush."""
        async with self.publishing:
            return await flush(self._index)

    async def tidy(self) -> None:
        """Merge tiers until none needs it, then remove garbage."""
        while await self.compact_tier():
            pass
        await self.collect()

    async def compact_tier(self) -> bool:
        """Merge one tier that needs it; whether it did."""
        async with self._merging:
            chosen = self._choose()
            return bool(chosen) and await compact(self._index, [ref.id for ref in chosen])

    def _choose(self) -> list[SegmentRef]:
        state = self._index.state
        return choose(state.segments, self._index.settings, state.texts)

    async def compact_all(self) -> None:
        """Flush, merge everything in groups that fit in memory, and leave no tombstones and no backfill to do.

        A segment that the store would write differently now, under another key, is written again.
        """
        await self.flush()
        async with self._merging:
            state = self._index.state
            for group in groups(state.segments, self._index.settings.merge_bytes):
                stale = group[0].tombstones or group[0].lacks(state.texts)
                if len(group) > 1 or stale or not await self._is_current(group[0]):
                    await compact(self._index, [ref.id for ref in group])
        self.published()  # a root that was copied has no openings

    async def _is_current(self, ref: SegmentRef) -> bool:
        """What clones read of others is left to these; what another node has just merged is not ours to write."""
        index = self._index
        if ref.home:
            return True
        try:
            rows = paths.segment_key(paths.index_root(index.index_id), ref.id, paths.ROWS)
            return await index.store.is_current(rows)
        except ObjectNotFoundError:
            return True

    async def collect(self) -> Collected:
        """Remove what nothing needs any more."""
        index = self._index
        await drop_forgotten(index)
        if any(pin.holder for pin in index.state.contents.pins):
            await pins.release(index.store, index.runtime, index.index_id, index.settings.garbage_age)
        return await collect_index(index.store, index.runtime, index.index_id, index.settings.garbage_age)


async def collect_index(store: ObjectStore, runtime: Runtime, index_id: str, age: float) -> Collected:
    """Remove what nothing needs of an index, open or not. Raises RetryError, DataError."""
    root = paths.index_root(index_id)
    removed = await collect(
        store, runtime, root, CheckpointStore(store, runtime, root, index_id), age, references_of
    )
    return Collected(len(removed), sum(info.size for info in removed))
