"""The root's `format` object: what kind of store this is, and the secret that seals page tokens. Created once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

VERSION = 1
"""Newest layout of a root that this Quiver reads."""

_OWNER = "store"
_KEY_BYTES = 32


class _Version(msgspec.Struct):
    version: int


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """What a root says about itself.

    Attributes:
        version: layout of the root.
        token_key: 32 secret bytes, the same on every node.
        created: seconds since the epoch by the creator's clock.
    """

    version: int
    token_key: bytes = field(repr=False)
    created: int


async def open_store_format(
    store: ObjectStore, runtime: Runtime, before_create: Callable[[], Awaitable[None]] | None = None
) -> StoreFormat:
    """Read the root's format, creating it when the root is new. Every caller gets the same answer.

    Args:
        before_create: called when the root is new; what it raises leaves the root as it is.

    Raises:
        UnsupportedFormatError: a newer Quiver made this root.
        CorruptObjectError: the object is damaged.
        StoreUnavailableError: it is not known whether the object exists; opening again is safe.
    """
    try:
        return await _read(store)
    except ObjectNotFoundError:
        pass
    if before_create is not None:
        await before_create()
    key = bytes.fromhex(runtime.new_id() + runtime.new_id())
    fresh = StoreFormat(VERSION, key, int(runtime.time()))
    identity = Identity(paths.STORE_FORMAT, _OWNER, runtime.new_id(), 1)
    payload = make_payload([msgspec.msgpack.encode(fresh)])
    try:
        await store.put_new(paths.STORE_FORMAT, encode(Kind.STORE_FORMAT, identity, payload))
    except ObjectExistsError:
        return await _read(store)
    return fresh


async def _read(store: ObjectStore) -> StoreFormat:
    data = await store.get(paths.STORE_FORMAT)
    _, payload = decode(Kind.STORE_FORMAT, paths.STORE_FORMAT, _OWNER, data)
    version = unpack(payload, _Version, f"{paths.STORE_FORMAT}: unreadable").version
    if version > VERSION:
        raise UnsupportedFormatError(f"The store has format version {version}; this Quiver reads {VERSION}")
    found = unpack(payload, StoreFormat, f"{paths.STORE_FORMAT}: unreadable")
    if len(found.token_key) != _KEY_BYTES:
        raise CorruptObjectError(f"{paths.STORE_FORMAT}: the key has {len(found.token_key)} bytes")
    return found
