"""Which keys the objects of a root are encrypted under: a look at the first bytes of each, in clear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from quiver.objectstore.encryption import wrapped_keys
from quiver.objectstore.encryption.layout import OVERHEAD, is_encrypted, read_header
from quiver.objectstore.encryption.root_keys import PREFIX, list_wraps
from quiver.objectstore.store import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.objectstore.store import ObjectInfo, ObjectStore

_AT_ONCE = 32


class KeyUse(NamedTuple):
    """What is under one data key.

    Attributes:
        key_id: of the data key; "" for objects that are not encrypted.
        masters: the master keys that it is wrapped by; one of them is enough.
        objects, nbytes: under it, as stored.
    """

    key_id: str
    masters: tuple[str, ...]
    objects: int
    nbytes: int


async def survey(store: ObjectStore, is_index_key: Callable[[str], bool]) -> list[KeyUse]:
    """The data keys of a root, given in clear, and what is under them; each object costs a small read.

    Args:
        is_index_key: whether an object of this name is the wrapped data key of an index.

    Raises: DataError, StoreUnavailableError.
    """
    masters: dict[str, list[str]] = {}
    for wrap in await list_wraps(store):
        masters.setdefault(wrap.key_id, []).append(wrap.master)
    totals = dict.fromkeys(masters, (0, 0))
    door = asyncio.Semaphore(_AT_ONCE)

    async def look(info: ObjectInfo) -> None:
        async with door:
            try:
                if is_index_key(info.key):
                    record = wrapped_keys.decode(info.key, bytes(await store.get(info.key)))
                    masters[record.id] = [record.master]
                    totals.setdefault(record.id, (0, 0))
                    return
                head = memoryview(await store.get(info.key, 0, OVERHEAD))
            except ObjectNotFoundError:
                return  # deleted since it was listed
        key_id = read_header(info.key, head).key_id.hex() if is_encrypted(head) else ""
        objects, nbytes = totals.get(key_id, (0, 0))
        totals[key_id] = objects + 1, nbytes + info.size

    await asyncio.gather(*(look(info) for info in await store.list("") if not info.key.startswith(PREFIX)))
    return [KeyUse(name, tuple(sorted(masters.get(name, ()))), *totals[name]) for name in sorted(totals)]
