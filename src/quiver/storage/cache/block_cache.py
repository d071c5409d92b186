"""The cache in front of a remote store: blocks in memory, blocks on disk, and the store behind them.

A query may touch any number of blocks; those that are missing are fetched in one wave: near ranges as one request,
ranges that another query is fetching already not again, the most urgent first. Memory is held to a budget: blocks
that were used in one query only go first, so that a scan does not push out what is used again and again, then the
least recently used. What a query under way has used stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from threading import Lock  # noqa: TID251 - guards what worker threads share; no thread is started here
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import xxhash

from quiver.model.errors import CorruptObjectError
from quiver.storage.cache.cached_view import CachedView, Leases, Touched, runs
from quiver.storage.cache.counts import CacheCounts
from quiver.storage.cache.gate import Gate, Urgency
from quiver.storage.cache.view import BLOCK, MissingBytesError, Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.cache.disk_tier import DiskTier
    from quiver.storage.cache.view import ObjectView

T = TypeVar("T")

_LONGEST = 64  # blocks of a request: more go faster over several connections
_WIDEST_GAP = 16  # blocks that are fetched along to save a request
_DRAIN = 0.9  # of the budget is left when blocks are dropped
_PROTECTED = 0.8  # of the budget that blocks used again may take before they count like others
_SMOOTHING = 0.2
_FROM_DISK = 64  # blocks that are read from the disk before they are copied into place


class Pace:
    """How long a request takes, and how fast bytes come; from the requests made so far.

    It begins with what large public stores do: 30 ms, 85 MB/s a connection.
    """

    def __init__(self) -> None:
        self.seconds = 0.03
        self.rate = 85e6

    @property
    def gap(self) -> int:
        """Blocks that take less time to fetch along than a request of their own."""
        return min(_WIDEST_GAP, int(self.seconds * self.rate / BLOCK))

    def note(self, seconds: float, nbytes: int) -> None:
        """Learn from a request."""
        if nbytes <= 2 * BLOCK:
            self.seconds += _SMOOTHING * (seconds - self.seconds)
        elif seconds > 1.5 * self.seconds:
            self.rate += _SMOOTHING * (nbytes / (seconds - self.seconds) - self.rate)


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
        self.pace = Pace()
        self._store = store
        self._runtime = runtime
        self._budget = budget
        self._disk = disk
        self._gate = Gate(width)
        self._leases = Leases()
        self._lock = Lock()  # of what is in memory; threads that search take in blocks from the disk
        self._buffers: list[bytearray] = []  # as many as threads read from the disk at once
        self._views: dict[int, CachedView] = {}
        self._counts: Counter[str] = Counter()
        self._keeping = asyncio.Lock()  # the disk takes no more by several threads, which others need
        self._keeps: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> CacheCounts:
        """What the cache did so far, and what it holds."""
        disk = None if self._disk is None else self._disk.counters
        return CacheCounts(**self._counts, nbytes=self.nbytes, budget=self._budget, disk=disk)

    def open(self, key: str, size: int) -> CachedView:
        """A view of an object; it counts until it is closed."""
        view = CachedView(key, size, self._leases, None if self._disk is None else self._from_disk)
        self._views[id(view)] = view
        return view

    def close(self, *views: ObjectView, damaged: bool = False) -> None:
        """Let go of views; work under way may still use them. What showed damage is forgotten on disk too."""
        for view in views:
            if isinstance(view, CachedView) and self._views.pop(id(view), None) is not None:
                with self._lock:
                    self.nbytes -= view.extent(np.flatnonzero(view.present))
                view.damaged |= damaged
                if damaged and self._disk is not None:
                    self._disk.drop(self._identity(view))

    async def settle(self) -> None:
        """Wait until the disk tier was offered everything that was fetched before the call."""
        if self._keeps:
            await asyncio.wait(self._keeps.copy())

    async def shut(self) -> None:
        """Let go of the disk tier's folder; nothing may be under way."""
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
        missed = None  # blocks that were not in memory
        lease = self._leases.begin()
        try:
            while True:
                needed, wanted = Touched(), []
                attempt = partial(needed.during, work)
                try:
                    result = attempt() if run is None else await run(attempt)
                except MissingBytesError as missing:
                    wanted = missing.wanted
                if wanted or needed.supplied:
                    missed = self._note(missed or Touched(), needed.supplied, wanted, urgency)
                if not wanted:
                    if urgency is Urgency.QUERY:
                        found = len(needed) if missed is None else max(0, len(needed) - len(missed))
                        self._counts["found_in_memory"] += found
                    return result
                await self.fetch(wanted, urgency)
        finally:
            self._leases.end(lease)
            self._keep_to_budget()

    def _note(
        self, missed: Touched, supplied: Sequence[Wanted], wanted: Sequence[Wanted], urgency: Urgency
    ) -> Touched:
        """Add what was not in memory, and count what the disk had of it."""
        for view, blocks in (*supplied, *wanted):
            missed.of(view)[blocks] = True
        if urgency is Urgency.QUERY:
            self._counts["found_on_disk"] += sum(len(blocks) for _, blocks in supplied)
        return missed

    async def fetch(self, wanted: Sequence[Wanted], urgency: Urgency = Urgency.QUERY) -> None:
        """Have these blocks come, unless they are coming already."""
        await _all(*(self._fetch(view, blocks, urgency) for view, blocks in wanted))
        self._keep_to_budget()

    def supply(self, view: CachedView, end: Buffer) -> None:
        """Take in the last bytes of an object, which came another way, as if they had been fetched."""
        start = view.size - len(end)
        first = -(-start // BLOCK)
        if start < 0 or first * BLOCK >= view.size:
            return
        self._take(view, np.arange(first, len(view.present)), _pieces(memoryview(end)[first * BLOCK - start :]))
        self._offer(view, first, len(view.present))

    # ---------------------------------------------------------------- fetching

    async def _fetch(self, view: CachedView, blocks: NDArray[np.int64], urgency: Urgency) -> None:
        coming = {view.flying[block] for block in blocks.tolist() if block in view.flying}
        mine = np.array([block for block in blocks.tolist() if block not in view.flying], np.int64)
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        view.flying.update(dict.fromkeys(mine.tolist(), landed))
        try:
            if urgency is Urgency.QUERY:
                self._counts["missed"] += len(mine)
            pieces = runs(mine, self.pace.gap, _LONGEST)
            await _all(*(self._from_store(view, first, last, urgency) for first, last in pieces))
        finally:
            for block in mine.tolist():
                view.flying.pop(block, None)
            landed.set_result(None)  # whoever waited looks for himself whether it came
        if coming:
            await asyncio.wait(coming)

    async def _from_store(self, view: CachedView, first: int, last: int, urgency: Urgency) -> None:
        start, end = first * BLOCK, min(last * BLOCK, view.size)
        async with self._gate.entered(urgency):
            began = self._runtime.monotonic()
            data = memoryview(await self._store.get(view.key, start, end - start))
            self.pace.note(self._runtime.monotonic() - began, end - start)
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
        if self._disk is not None:
            keep = self._runtime.spawn(self._keep(self._disk, view, np.arange(first, last)), "disk tier")
            self._keeps.add(keep)
            keep.add_done_callback(self._keeps.discard)

    async def _keep(self, disk: DiskTier, view: CachedView, blocks: NDArray[np.int64]) -> None:
        """Offer the disk tier what is still here of blocks that were fetched."""
        async with self._keeping:
            if view.damaged:
                return
            lease = self._leases.begin()
            try:
                view.used[blocks] = self._leases.epoch
                here = blocks[view.present[blocks]]
                await self._runtime.offload(disk.write, self._identity(view), here, view.data)
            finally:
                self._leases.end(lease)
                self._keep_to_budget()
            if view.damaged:  # it was found out meanwhile
                disk.drop(self._identity(view))

    def _from_disk(self, view: CachedView, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take in what the disk holds of absent blocks, in the thread that lacks them; which ones."""
        came = [blocks[:0]]
        if self._disk is not None:
            buffer = self._buffers.pop() if self._buffers else bytearray(self._disk.room(_FROM_DISK))
            for at in range(0, len(blocks), _FROM_DISK):
                held = self._disk.read(self._identity(view), blocks[at : at + _FROM_DISK], view.size, buffer)
                if len(held.blocks):
                    self._take(view, *held)
                    came.append(held.blocks)
            self._buffers.append(buffer)
        return np.concatenate(came)

    def _identity(self, view: CachedView) -> bytes:
        return xxhash.xxh3_128_digest(f"{self._store.url}\0{view.key}".encode())

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
        loose = [np.flatnonzero(view.present & (view.used < horizon)) for view in views]
        owners = np.repeat(np.arange(len(views)), [len(blocks) for blocks in loose])
        if not len(owners):
            return
        blocks = np.concatenate(loose)
        used = np.concatenate([view.used[of_view] for view, of_view in zip(views, loose, strict=True)])
        hot = np.concatenate([view.hot[of_view] for view, of_view in zip(views, loose, strict=True)])
        if hot.sum() * BLOCK > _PROTECTED * self._budget:
            hot[:] = False
        sizes = np.concatenate([view.sizes(of_view) for view, of_view in zip(views, loose, strict=True)])
        order = np.lexsort((used, hot))
        excess = self.nbytes - target
        chosen = order[: np.searchsorted(np.cumsum(sizes[order]), excess) + 1]
        for number, view in enumerate(views):
            gone = np.sort(blocks[chosen[owners[chosen] == number]])
            if len(gone):
                with self._lock:
                    gone = view.drop(gone, horizon)
                    self.nbytes -= view.extent(gone)
                self._counts["dropped"] += len(gone)


def _pieces(data: memoryview) -> list[memoryview]:
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


async def _all(*work: Awaitable[None]) -> None:
    """Wait for all, also when one fails; then raise the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
