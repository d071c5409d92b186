"""Encrypted objects and the wrapped keys beside them: what was changed in any way is noticed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from objectstore.encryption.sealing import encrypting, new_keys
from quiver.model.errors import DataError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from quiver.objectstore.encryption.encrypting_store import EncryptingStore

OBJECT = "catalog/log/0000000000000001"
PLAIN = b"plain as day " * 20


class _Seeded(SystemRuntime):
    """The same ids, and so the same keys, in every process."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self._chance = random.Random(1)

    def new_id(self) -> str:
        return self._chance.randbytes(16).hex()


RUNTIME = _Seeded()
KEYS = new_keys(RUNTIME)
LOOP = asyncio.new_event_loop()


def _written() -> dict[str, bytes]:
    inner = MemoryStore(RUNTIME)
    LOOP.run_until_complete(encrypting(inner, KEYS, RUNTIME).put_new(OBJECT, [PLAIN]))
    return {key: entry.data for key, entry in inner._entries.items()}


STORED = _written()
(KEY_NAME,) = STORED.keys() - {OBJECT}
SEEDS = [b"o" + STORED[OBJECT], b"k" + STORED[KEY_NAME]]


def _over(objects: dict[str, bytes]) -> EncryptingStore:
    inner = MemoryStore(RUNTIME)
    for key, data in objects.items():
        LOOP.run_until_complete(inner.put_new(key, [data]))
    return encrypting(inner, KEYS, RUNTIME)


def run(data: bytes) -> None:
    """After `o` the object, after `k` the wrapped data key that it is encrypted under."""
    name = KEY_NAME if data[:1] == b"k" else OBJECT
    store = _over(STORED | {name: data[1:]})
    for start, length in ((0, None), (5, 7), (0, 1 << 20)):
        due = PLAIN[start:] if length is None else PLAIN[start : start + length]
        try:
            found = LOOP.run_until_complete(store.get(OBJECT, start, length))
        except DataError:
            continue
        assert bytes(found) == due, "bytes that nobody wrote"
