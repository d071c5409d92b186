"""The cache in front of a remote store: blocks in memory, blocks on disk, and the store behind them.

A query may touch any number of blocks; those that are missing are fetched in one wave: near ranges as one
request, ranges that another query is fetching already not again, the most urgent first. What came is in memory
until the disk tier has taken it; what that does not take stays there. Of an object that is nearly all here, the
rest is fetched before anybody asks. Memory is held to a budget: blocks that were used in one query only go first,
so that a scan does not push out what is used again and again, then the least recently used. What a query under
way has used stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock  # noqa: TID251 - guards what worker threads share; no thread is started here
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import xxhash

from quiver.model.errors import CorruptObjectError, QuiverError
from quiver.storage.cache.blocks import PROTECTED, Wave, joined, least_worth
from quiver.storage.cache.cached_view import CachedView, Leases, Work
from quiver.storage.cache.counts import CacheCounts
from quiver.storage.cache.gate import Gate, Urgency
from quiver.storage.cache.pace import LINE, LONGEST, Pace
from quiver.storage.cache.view import BLOCK, MissingBytesError, Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.cache.disk_tier import DiskTier
    from quiver.storage.cache.view import ObjectView

T = TypeVar("T")

FIRST_WAVE = 11
"""Requests that a query may make in its first wave: of partitions."""

_LATER_WAVE = 12  # and in each later one, besides those that waves before left over; with seven of an opening, 30
_SHARE_ALONG = 8  # of the budget they may take at most: one in so many
_REST = 8  # of an object's blocks: where no more than one in so many is missing, those are fetched, too
_APART = 1 << 40  # numbers of blocks of several objects are so far apart that no gap between them is closed
_DRAIN = 0.9  # of the budget is left when blocks are dropped
_FROM_DISK = 64  # blocks that are read from the disk before they are copied into place
_TRUST = 600.0  # seconds after which blocks that are looked at on the disk are verified again


class BlockCache:
    """The blocks of a store's objects.

    Attributes:
        nbytes: bytes held in memory.
        pace: of the store.
    """

    def __init__(
        self, store: ObjectStore, runtime: Runtime, budget: int, disk: DiskTier | None = None, width: int = 32
    ) -> None:
        """A cache of `budget` bytes of memory that makes at most `width` requests at once."""
        self.nbytes = 0
        self.pace = Pace(runtime.monotonic)
        self._store = store
        self._runtime = runtime
        self._budget = budget
        self._disk = disk
        self._gate = Gate(width)
        self._leases = Leases()
        # Of what is in memory; threads that search take in blocks from the disk.
        self._lock = Lock() if disk is None else disk.lock
        self._buffers: list[bytearray] = []  # as many as threads read from the disk at once
        self._views: dict[int, CachedView] = {}
        self._alive: WeakValueDictionary[tuple[str, int], CachedView] = WeakValueDictionary()
        self._trusted = runtime.monotonic()
        self._counts: Counter[str] = Counter()
        self._keeping = asyncio.Lock()  # the disk takes no more by several threads, which others need
        self._keeps: set[asyncio.Task[None]] = set()
        self._rests: set[asyncio.Task[None]] = set()  # of objects that were nearly all here

    @property
    def counts(self) -> CacheCounts:
        """What the cache did so far, and what it holds."""
        disk = None if self._disk is None else self._disk.counters
        return CacheCounts(
            **self._counts, nbytes=self.nbytes, budget=self._budget, disk=disk, pace=self.pace.measured
        )

    def open(self, key: str, size: int) -> CachedView:
        """The view of an object, which all who open it share; it counts until they have closed it."""
        view = self._alive.get((key, size))
        if view is None or view.damaged:
            shelf = None
            if self._disk is not None:
                shelf = self._disk.attach(self._identity(key, size), size, self._leases)
            view = CachedView(key, size, self._leases, None if shelf is None else self._from_disk, shelf)
            view.pace = self.pace
            self._alive[key, size] = view
        view.users += 1
        with self._lock:
            if id(view) not in self._views:
                self._views[id(view)] = view
                self.nbytes += view.extent(np.flatnonzero(view.in_memory))
        return view

    def close(self, *views: ObjectView, damaged: bool = False) -> None:
        """Let go of views; work under way may still use them. What showed damage is forgotten on disk too."""
        for view in views:
            if isinstance(view, CachedView):
                view.users -= 1
                view.damaged |= damaged
                with self._lock:
                    if (damaged or not view.users) and self._views.pop(id(view), None) is not None:
                        self.nbytes -= view.extent(np.flatnonzero(view.in_memory))
                if not (view.users or view.in_place):  # of a file there is one mapping at a time
                    self._alive.pop((view.key, view.size), None)
                if damaged and self._disk is not None and view.file is not None:
                    self._disk.discard(view.file)

    async def settle(self) -> None:
        """Wait until the disk tier was offered everything that was fetched before the call."""
        if self._keeps:
            await asyncio.wait(self._keeps.copy())

    async def shut(self) -> None:
        """Let go of the disk tier's folder; nothing that anybody waits for may be under way."""
        if rests := self._rests.copy():
            for rest in rests:
                rest.cancel()
            await asyncio.wait(rests)
        await self.settle()
        if self._disk is not None:
            await self._runtime.offload(self._disk.close)

    async def complete(
        self,
        work: Callable[[], T],
        run: Callable[[Callable[[], T]], Awaitable[T]] | None = None,
        urgency: Urgency = Urgency.QUERY,
    ) -> T:
        """Do work that requires bytes, again after every wave of fetching, until nothing is missing.

        Args:
            work: what to do; without effects until it has all its bytes.
            run: runs it, in another thread perhaps; None to call it here.
            urgency: of the requests.

        Raises: ObjectNotFoundError, StoreUnavailableError, CorruptObjectError, and what `work` raises.
        """
        spare = FIRST_WAVE  # requests
        if self._disk is not None:
            self._doubt()
        lease, needed = self._leases.begin(), Work()
        try:
            while True:
                try:
                    result = needed.attempt(work) if run is None else await run(partial(needed.attempt, work))
                except MissingBytesError as missing:
                    for each in missing.wanted:
                        needed.miss(*each)
                    left = spare - await self.fetch(missing.wanted, urgency, spare, sparing=needed.sparing)
                    spare = max(0, left) + (0 if needed.sparing else _LATER_WAVE)  # what was spared is of these
                else:
                    if urgency is Urgency.QUERY:
                        in_memory, on_disk = needed.found
                        self._counts["found_in_memory"] += in_memory
                        self._counts["found_on_disk"] += on_disk + needed.supplied
                    return result
        finally:
            self._leases.end(lease)
            if self.nbytes > self._budget:
                self._keep_to_budget()

    async def fetch(
        self,
        wanted: Sequence[Wanted],
        urgency: Urgency = Urgency.QUERY,
        most: int = FIRST_WAVE,
        *,
        sparing: bool = False,
    ) -> int:
        """Have these blocks come, unless they are coming already; by how many requests.

        Args:
            wanted: blocks.
            urgency: of the requests.
            most: requests to keep to, for a query and if that is worth it; see `joined`.
            sparing: whether blocks were left out because bytes cost more than rounds.
        """
        wanted = _by_view(wanted)
        coming = {
            view.flying[block] for view, blocks in wanted for block in blocks.tolist() if block in view.flying
        }
        mine = [
            Wanted(view, np.array([block for block in blocks.tolist() if block not in view.flying], np.int64))
            for view, blocks in wanted
        ]
        if urgency is Urgency.QUERY:
            self._counts["missed"] += sum(len(blocks) for _, blocks in mine)
        ranges = self._ranges(mine, most if urgency is Urgency.QUERY else None, sparing=sparing)
        with _flying(mine):
            await _all(*(self._from_store(*each, urgency) for each in ranges))
        if coming:
            await asyncio.wait(coming)
        self._keep_to_budget()
        for view, _ in wanted:
            self._fetch_rest(view)
        return len(ranges)

    def _fetch_rest(self, view: CachedView) -> None:
        """Have the rest of an object come in the background, if that is little and nothing has to go for it."""
        rest = np.flatnonzero(~view.present)
        if not 0 < len(rest) <= len(view.present) // _REST or view.flying or view.damaged or not view.users:
            return
        nbytes = view.extent(rest)
        if self.nbytes + nbytes > _DRAIN * self._budget or not (self._disk is None or self._disk.has_room(nbytes)):
            return
        self._begin(self._rests, self._bring(Wanted(view, rest)), "rest of an object")

    def _begin(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None], name: str) -> None:
        """Do work in the background; it is among the tasks until it ends."""
        task = self._runtime.spawn(work, name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _bring(self, rest: Wanted) -> None:
        """Fetch what nobody waits for. If it does not come, the next query that needs it says why."""
        with suppress(QuiverError):
            await self.fetch([rest], Urgency.WARMING)

    def _ranges(
        self, wanted: Sequence[Wanted], most: int | None, *, sparing: bool
    ) -> list[tuple[CachedView, int, int]]:
        """The requests that bring some blocks, of each object a range [first, last); see `joined`."""
        numbers = np.concatenate(
            [np.zeros(0, np.int64), *(n * _APART + each.blocks for n, each in enumerate(wanted))]
        )
        pace = self.pace
        gap, along = (pace.narrow_gap, pace.few_along) if sparing else (pace.gap, pace.along)
        along = min(along, self._budget // _SHARE_ALONG // BLOCK)
        wave = Wave(len(numbers) if most is None else most, gap, LONGEST, along, LINE)
        return [
            (wanted[first // _APART].view, first % _APART, first % _APART + last - first)
            for first, last in joined(numbers, wave)
        ]

    def supply(self, view: CachedView, end: Buffer) -> None:
        """Take in the last bytes of an object, which came another way, as if they had been fetched."""
        start = view.size - len(end)
        first = -(-start // BLOCK)
        if start < 0 or first * BLOCK >= view.size:
            return
        self._take(view, np.arange(first, len(view.present)), _pieces(memoryview(end)[first * BLOCK - start :]))
        self._offer(view, first, len(view.present))

    # ---------------------------------------------------------------- fetching

    async def _from_store(self, view: CachedView, first: int, last: int, urgency: Urgency) -> None:
        start, end = first * BLOCK, min(last * BLOCK, view.size)
        async with self._gate.entered(urgency):
            request = self._store.get(view.key, start, end - start)
            data = memoryview(await self.pace.timed(request, end - start))
        if len(data) != end - start:
            raise CorruptObjectError(f"{view.key}: ends at {start + len(data)}, not at {view.size}")
        self._counts["requests"] += 1
        self._counts["fetched"] += last - first
        self._counts["fetched_bytes"] += end - start
        self._take(view, np.arange(first, last), _pieces(data))
        if urgency is not Urgency.MAINTENANCE:
            self._offer(view, first, last)

    def _offer(self, view: CachedView, first: int, last: int) -> None:
        """Have the disk tier take blocks that came."""
        if self._disk is not None and view.file is not None:
            self._begin(self._keeps, self._keep(self._disk, view, np.arange(first, last)), "disk tier")

    async def _keep(self, disk: DiskTier, view: CachedView, blocks: NDArray[np.int64]) -> None:
        """Offer the disk tier what is still here of blocks that were fetched."""
        async with self._keeping:
            if view.damaged or view.file is None:
                return
            landed = partial(self._landed, view) if view.in_place else _ignored
            lease = self._leases.begin()
            try:
                view.used[blocks] = self._leases.epoch
                here = blocks[view.present[blocks]]
                await self._runtime.offload(disk.write, view.file, here, view.data, self._leases, landed)
            finally:
                self._leases.end(lease)
                self._keep_to_budget()

    def _landed(self, view: CachedView, blocks: NDArray[np.int64]) -> None:
        """Have blocks be seen in the file that keeps them now. Called with the lock."""
        if id(view) in self._views:
            self.nbytes -= view.extent(blocks)
        view.give_back(blocks)

    def _from_disk(self, view: CachedView, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take in what the disk holds of absent blocks, in the thread that lacks them; which ones."""
        if self._disk is None or view.file is None:
            return blocks[:0]
        if view.in_place:
            return self._disk.check(view.file, blocks, view.mapping, view.arrive)
        came = [blocks[:0]]
        buffer = self._buffers.pop() if self._buffers else bytearray(self._disk.room(_FROM_DISK))
        for at in range(0, len(blocks), _FROM_DISK):
            held = self._disk.read(view.file, blocks[at : at + _FROM_DISK], self._leases.epoch, buffer)
            if len(held.blocks):
                self._take(view, *held)
                came.append(held.blocks)
        self._buffers.append(buffer)
        return np.concatenate(came)

    def _identity(self, key: str, size: int) -> bytes:
        return xxhash.xxh3_128_digest(f"{self._store.url}\0{key}\0{size}".encode())

    def _doubt(self) -> None:
        """Now and then, have the blocks that are looked at on the disk be verified again before their next use."""
        now = self._runtime.monotonic()
        if now < self._trusted + _TRUST:
            return
        self._trusted = now
        horizon = self._leases.horizon
        for view in self._views.values():
            with self._lock:
                view.doubt(np.flatnonzero(view.present & view.kept & (view.used < horizon)), horizon)

    # ---------------------------------------------------------------- memory

    def _take(
        self,
        view: CachedView,
        blocks: NDArray[np.int64],
        pieces: Sequence[memoryview],
        sums: NDArray[np.uint64] | None = None,
    ) -> None:
        """Take blocks in; see `CachedView.fill`."""
        with self._lock:
            nbytes = view.fill(blocks, pieces, sums)
            if id(view) in self._views:
                self.nbytes += nbytes

    def _keep_to_budget(self) -> None:
        if self.nbytes > self._budget:
            self.shrink(int(_DRAIN * self._budget))

    def shrink(self, target: int) -> None:
        """Drop blocks that no query under way has used, until at most `target` bytes are in memory."""
        horizon = self._leases.horizon
        views = list(self._views.values())
        loose = [np.flatnonzero(view.in_memory & (view.used < horizon)) for view in views]
        chosen = least_worth(views, loose, self.nbytes - target, PROTECTED * self._budget)
        for view, blocks in zip(views, chosen, strict=True):
            if len(blocks):
                with self._lock:
                    gone = view.drop(blocks[view.in_memory[blocks]], horizon)
                    self.nbytes -= view.extent(gone)
                self._counts["dropped"] += len(gone)


@contextmanager
def _flying(wanted: Sequence[Wanted]) -> Iterator[None]:
    """Blocks are coming; whoever waited looks for himself whether they came."""
    landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for view, blocks in wanted:
        view.flying.update(dict.fromkeys(blocks.tolist(), landed))
    try:
        yield
    finally:
        for view, blocks in wanted:
            for block in blocks.tolist():
                view.flying.pop(block, None)
        landed.set_result(None)


def _ignored(_: NDArray[np.int64]) -> None:
    """What becomes of blocks that are read into memory again."""


def _pieces(data: memoryview) -> list[memoryview]:
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


def _by_view(wanted: Sequence[Wanted]) -> list[Wanted]:
    """What several pieces of work want of one object, as one, so that near ranges of theirs are joined, too."""
    blocks: dict[int, list[NDArray[np.int64]]] = {}
    for view, some in wanted:
        blocks.setdefault(id(view), []).append(some)
    views = {id(view): view for view, _ in wanted}
    return [Wanted(views[each], np.unique(np.concatenate(some))) for each, some in blocks.items()]


async def _all(*work: Awaitable[None]) -> None:
    """Wait for all, also when one fails; then raise the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
