"""Open segments, shared by the indexes of a node, under one memory budget."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from quiver.storage.segment_reader import SegmentReader

if TYPE_CHECKING:
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import ObjectStore

_OVERHEAD = 16 << 10  # bookkeeping of an open segment, about


class SegmentPool:
    """Least recently used readers are dropped beyond `budget` bytes or `limit` readers.

    Memory-mapped bytes do not count, but a mapped object takes a file descriptor: hence the limit.
    """

    def __init__(self, store: ObjectStore, budget: int, limit: int) -> None:
        self._store = store
        self._budget = budget
        self._limit = limit
        self._readers: OrderedDict[str, SegmentReader] = OrderedDict()
        self._used = 0

    async def open(self, root: str, owner: str, segment: str, spec: IndexSpec) -> SegmentReader:
        """Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        name = root + segment
        reader = self._readers.get(name)
        if reader is None:
            reader = await SegmentReader.open(self._store, root, owner, segment)
            reader.check_spec(spec)
            self._keep(name, reader)
        self._readers.move_to_end(name)
        return reader

    def drop(self, root: str, segment: str) -> None:
        """Forget a reader, after it showed damage: the next use reads the objects anew."""
        reader = self._readers.pop(root + segment, None)
        if reader is not None:
            self._used -= reader.resident + _OVERHEAD

    def _keep(self, name: str, reader: SegmentReader) -> None:
        if name in self._readers:  # opened twice at the same time
            self._used -= self._readers[name].resident + _OVERHEAD
        self._readers[name] = reader
        self._used += reader.resident + _OVERHEAD
        while (self._used > self._budget or len(self._readers) > self._limit) and len(self._readers) > 1:
            _, oldest = self._readers.popitem(last=False)
            self._used -= oldest.resident + _OVERHEAD
