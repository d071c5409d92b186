"""Open segments, shared by the indexes of a node, under one memory budget."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from quiver.format import paths
from quiver.model.errors import CorruptObjectError, DataError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.gate import Urgency
from quiver.storage.index_sections import HEAD_BYTES, IndexSections
from quiver.storage.segment_reader import SegmentReader
from quiver.storage.whole_object import read_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.engine.native.state import SegmentRef
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.cache.block_cache import BlockCache
    from quiver.storage.cache.counts import CacheCounts
    from quiver.storage.cache.pace import Pace
    from quiver.storage.spool import Spool

T = TypeVar("T")

_OVERHEAD = 16 << 10  # bookkeeping of an open segment, about


class SegmentPool:
    """Least recently used readers are dropped beyond `budget` bytes or `limit` readers.

    Memory-mapped bytes do not count, but a mapped object takes a file descriptor: hence the limit. The blocks of a
    remote store have a budget of their own, in `cache`.
    """

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        *,
        budget: int,
        limit: int,
        spool: Spool,
        cache: BlockCache | None = None,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._budget = budget
        self._limit = limit
        self._spool = spool
        self._cache = cache
        self._readers: OrderedDict[str, SegmentReader] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._used = 0

    @property
    def cache_counts(self) -> CacheCounts | None:
        """What the cache did and holds; None without one."""
        return None if self._cache is None else self._cache.counts

    @property
    def pace(self) -> Pace | None:
        """Of the store; None where nothing is fetched."""
        return None if self._cache is None else self._cache.pace

    async def settle(self) -> None:
        """Wait until the cache has kept what it was to keep; see `BlockCache.settle`."""
        if self._cache is not None:
            await self._cache.settle()

    def held(self, owner: str, segment: str) -> SegmentReader | None:
        """The reader of a segment that is open."""
        name = owner + segment
        reader = self._readers.get(name)
        if reader is not None:
            self._readers.move_to_end(name)
            if self._cache is not None and self._sizes[name] != reader.resident + _OVERHEAD:  # it grows with use
                self._count(name, reader)
        return reader

    async def open(
        self,
        owner: str,
        ref: SegmentRef,
        spec: IndexSpec,
        urgency: Urgency = Urgency.QUERY,
        head: Buffer | None = None,
    ) -> SegmentReader:
        """The reader of a segment of the index `owner`.

        Args:
            head: the last bytes of its index object, if they are at hand; what proves wrong is fetched.

        Raises ObjectNotFoundError, DataError, StoreUnavailableError.
        """
        reader = self.held(owner, ref.id)
        if reader is None:
            try:
                reader = await self._open(owner, ref, urgency, head)
            except CorruptObjectError:
                if head is None:
                    raise
                reader = await self._open(owner, ref, urgency)
            reader.check_spec(spec)
            self.drop(owner, ref.id)  # opened twice at the same time
            self._readers[owner + ref.id] = reader
            self._count(owner + ref.id, reader)
        return reader

    async def adopt(self, owner: str, ref: SegmentRef, spec: IndexSpec, head: Buffer) -> None:
        """Open a segment that was just written, whose head is still at hand; for who would have to fetch it."""
        if self._cache is not None:
            await self.open(owner, ref, spec, Urgency.MAINTENANCE, head)

    async def whole(self, reader: SegmentReader) -> SegmentReader:
        """A reader of the same segment with all bytes at hand, for work that reads most of them; not kept.

        Raises ObjectNotFoundError, DataError, StoreUnavailableError.
        """
        if all(view.stable for view in reader.views):
            return reader
        root = paths.index_root(reader.owner)
        keys = [paths.segment_key(root, reader.segment, part) for part in (paths.SEGMENT_INDEX, paths.ROWS)]
        index, rows = [await read_whole(self._store, self._runtime, key, self._spool) for key in keys]
        return SegmentReader.over(root, reader.owner, reader.segment, index, rows)

    async def complete(
        self,
        work: Callable[[], T],
        run: Callable[[Callable[[], T]], Awaitable[T]] | None = None,
        urgency: Urgency = Urgency.QUERY,
    ) -> T:
        """Do work with open readers; see `BlockCache.complete`."""
        if self._cache is not None:
            return await self._cache.complete(work, run, urgency)
        return work() if run is None else await run(work)

    def drop(self, owner: str, segment: str, *, damaged: bool = False) -> None:
        """Forget a reader; after it showed `damage`, so that the next use reads the objects anew."""
        name = owner + segment
        reader = self._readers.pop(name, None)
        if reader is not None:
            self._used -= self._sizes.pop(name)
            if self._cache is not None:
                self._cache.close(*reader.views, damaged=damaged)

    async def _open(
        self, owner: str, ref: SegmentRef, urgency: Urgency, head: Buffer | None = None
    ) -> SegmentReader:
        root = paths.index_root(owner)
        if self._cache is None:
            return await SegmentReader.open(self._store, root, owner, ref.id)
        key = paths.segment_key(root, ref.id, paths.SEGMENT_INDEX)
        view = self._cache.open(key, ref.index_bytes or await self._size(key))
        sections = partial(IndexSections, key, owner, view, ref.head_bytes or HEAD_BYTES)
        try:
            if head is not None:
                self._cache.supply(view, head)
            opened = await self._cache.complete(sections, urgency=urgency)
            return SegmentReader(root, ref.id, opened, self._cache.open)
        except BaseException as error:
            self._cache.close(view, damaged=isinstance(error, DataError))
            raise

    async def _size(self, key: str) -> int:
        """The size of an object that a checkpoint of an older Quiver names. Raises ObjectNotFoundError."""
        for info in await self._store.list(key):
            if info.key == key:
                return info.size
        raise ObjectNotFoundError(key)

    def _count(self, name: str, reader: SegmentReader) -> None:
        """Count a reader with its present size, then drop the least recently used beyond the budget."""
        size = reader.resident + _OVERHEAD
        self._used += size - self._sizes.get(name, 0)
        self._sizes[name] = size
        while (self._used > self._budget or len(self._readers) > self._limit) and len(self._readers) > 1:
            oldest, reader = self._readers.popitem(last=False)
            self._used -= self._sizes.pop(oldest)
            if self._cache is not None:
                self._cache.close(*reader.views)
