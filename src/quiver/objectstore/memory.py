"""An object store in this process's memory: for tests, the simulator and throw-away databases."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, NamedTuple

from quiver.objectstore.keys import (
    AFTER_ANY_KEY,
    check_key,
    check_keys,
    check_prefix,
    check_range,
    range_end,
)
from quiver.objectstore.store import Buffer, ObjectExistsError, ObjectInfo, ObjectNotFoundError, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime


class _Entry(NamedTuple):
    data: bytes
    modified: float


class MemoryStore(ObjectStore):
    """A dict of objects, and their keys in order for listings. Lost when the process ends."""

    url = "memory://"
    resident = True

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._entries: dict[str, _Entry] = {}
        self._keys: list[str] = []

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        if key in self._entries:
            raise ObjectExistsError(key)
        self._entries[key] = _Entry(b"".join(parts), self._runtime.time())
        insort(self._keys, key)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        check_key(key)
        check_range(start, length)
        entry = self._entries.get(key)
        if entry is None:
            raise ObjectNotFoundError(key)
        return entry.data[start : range_end(start, length, len(entry.data))]

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        check_prefix(prefix)
        first = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        last = bisect_left(self._keys, prefix + AFTER_ANY_KEY)
        found = ((key, self._entries[key]) for key in self._keys[first:last])
        return [ObjectInfo(key, len(entry.data), entry.modified) for key, entry in found]

    async def delete(self, keys: Sequence[str]) -> None:
        for key in check_keys(keys):
            if self._entries.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
