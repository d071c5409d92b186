"""The root's `format` object: what kind of store this is, and the secret that seals page tokens. Created once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
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


async def open_store_format(store: ObjectStore, runtime: Runtime) -> StoreFormat:
    """Read the root's format, creating it when the root is new. Every caller gets the same answer.

    Raises:
        UnsupportedFormatError: a newer Quiver made this root.
        CorruptObjectError: the object is damaged.
        StoreUnavailableError: it is not known whether the object exists; opening again is safe.
    """
    try:
        return await _read(store)
    except ObjectNotFoundError:
        pass
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
    try:
        version = msgspec.msgpack.decode(payload, type=_Version).version
        if version > VERSION:
            raise UnsupportedFormatError(f"The store has format version {version}; this Quiver reads {VERSION}")
        found = msgspec.msgpack.decode(payload, type=StoreFormat)
    except msgspec.MsgspecError as error:
        raise CorruptObjectError(f"{paths.STORE_FORMAT}: unreadable") from error
    if len(found.token_key) != _KEY_BYTES:
        raise CorruptObjectError(f"{paths.STORE_FORMAT}: the key has {len(found.token_key)} bytes")
    return found
