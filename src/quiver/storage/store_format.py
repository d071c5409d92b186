"""The root's `format` object: what kind of store this is, and the secret that seals page tokens. Created once.

A root that `quiver copy` fills gets a format of version 2, first of all its objects. It names the copy, and no
Quiver opens the root before the object `copied`, the last one, says that this copy is whole. So whoever opens a
root that is being filled meets the format, whichever of the two came first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError, DataError, UnsupportedFormatError
from quiver.objectstore.encryption.layout import is_encrypted
from quiver.objectstore.encryption.root_keys import refuse_encrypted
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

VERSION = 1
"""Layout of a root that was created in its place."""

COPY_VERSION = 2
"""Layout of a root that is a copy, or is to become one; the newest that this Quiver reads."""

_OWNER = "store"
_KEY_BYTES = 32


class UnfinishedCopyError(DataError):
    """The root holds a part of a copy."""


class _Version(msgspec.Struct):
    version: int


@dataclass(frozen=True, slots=True)
class CopyMark:
    """Which copy a root is.

    Attributes:
        id: of the copy, 32 hexadecimal digits.
        source: the id of the copy that it was made from, "" for a root that is none.
    """

    id: str
    source: str


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """What a root says about itself.

    Attributes:
        version: layout of the root.
        token_key: 32 secret bytes, the same on every node, and in every copy.
        created: seconds since the epoch by the creator's clock.
        copy: which copy it is, None for a root that is none.
    """

    version: int
    token_key: bytes = field(repr=False)
    created: int
    copy: CopyMark | None = None


class Copied(msgspec.Struct, frozen=True):
    """What says that a copy is whole: the object `copied`.

    Attributes:
        id: of the copy.
        indexes, objects, nbytes: what it consists of, the two objects about it apart.
        finished: seconds since the epoch by the clock of whoever made it.
    """

    id: str
    indexes: int
    objects: int
    nbytes: int
    finished: int


async def open_store_format(
    store: ObjectStore, runtime: Runtime, before_create: Callable[[], Awaitable[None]] | None = None
) -> StoreFormat:
    """Read the root's format, creating it when the root is new. Every caller gets the same answer.

    Args:
        before_create: called when the root is new; what it raises leaves the root as it is.

    Raises:
        UnsupportedFormatError: a newer Quiver made this root.
        CorruptObjectError: the object is damaged.
        MissingKeyError: the root is encrypted, and this process has no key for it.
        UnfinishedCopyError: the root is being filled by `quiver copy`, or was when that was interrupted.
        StoreUnavailableError: it is not known whether the object exists; opening again is safe.
    """
    try:
        return await read_whole_format(store)
    except ObjectNotFoundError:
        pass
    if before_create is not None:
        await before_create()
    key = bytes.fromhex(runtime.new_id() + runtime.new_id())
    fresh = StoreFormat(VERSION, key, int(runtime.time()))
    try:
        await create_format(store, runtime, fresh)
    except ObjectExistsError:
        return await read_whole_format(store)
    return fresh


async def read_whole_format(store: ObjectStore) -> StoreFormat:
    """The format of a root that can be used. Raises ObjectNotFoundError, and as `open_store_format`."""
    found = await read_format(store)
    if found.copy is not None and await read_copied(store, found.copy) is None:
        raise UnfinishedCopyError(
            f"{store.url} holds an unfinished copy: let `quiver copy` finish, or run it again with --resume"
        )
    return found


async def read_format(store: ObjectStore) -> StoreFormat:
    """The format of a root, perhaps of one that is being filled. Raises ObjectNotFoundError, DataError."""
    payload = await _read(store, paths.STORE_FORMAT, Kind.STORE_FORMAT)
    version = unpack(payload, _Version, f"{paths.STORE_FORMAT}: unreadable").version
    if version > COPY_VERSION:
        raise UnsupportedFormatError(f"The store has format version {version}; this Quiver reads {COPY_VERSION}")
    found = unpack(payload, StoreFormat, f"{paths.STORE_FORMAT}: unreadable")
    if len(found.token_key) != _KEY_BYTES:
        raise CorruptObjectError(f"{paths.STORE_FORMAT}: the key has {len(found.token_key)} bytes")
    if (found.copy is not None) != (version == COPY_VERSION):
        raise CorruptObjectError(f"{paths.STORE_FORMAT}: version {version} does not fit what it holds")
    return found


async def is_encrypted_root(store: ObjectStore) -> bool:
    """Whether a root, given in clear, is encrypted; one that is not there is not. Raises StoreUnavailableError."""
    try:
        return is_encrypted(await store.get(paths.STORE_FORMAT))
    except ObjectNotFoundError:
        return False


async def create_format(store: ObjectStore, runtime: Runtime, fresh: StoreFormat) -> None:
    """Raises ObjectExistsError, StoreRefusedError, StoreUnavailableError."""
    fields: dict[str, object] = {
        "version": fresh.version,
        "token_key": fresh.token_key,
        "created": fresh.created,
    }
    if fresh.copy is not None:
        fields["copy"] = fresh.copy
    await _create(store, runtime, paths.STORE_FORMAT, Kind.STORE_FORMAT, fields)


async def read_copied(store: ObjectStore, mark: CopyMark) -> Copied | None:
    """What says that this copy is whole, None when nothing does. Raises DataError, StoreUnavailableError."""
    try:
        payload = await _read(store, paths.COPIED, Kind.COPIED)
    except ObjectNotFoundError:
        return None
    copied = unpack(payload, Copied, f"{paths.COPIED}: unreadable")
    if copied.id != mark.id:
        raise CorruptObjectError(f"{paths.COPIED}: tells of another copy than {paths.STORE_FORMAT}")
    return copied


async def create_copied(store: ObjectStore, runtime: Runtime, copied: Copied) -> None:
    """Raises ObjectExistsError, StoreRefusedError, StoreUnavailableError."""
    await _create(store, runtime, paths.COPIED, Kind.COPIED, copied)


async def _read(store: ObjectStore, key: str, kind: Kind) -> memoryview:
    data = await store.get(key)
    await refuse_encrypted(store, key, data)
    _, payload = decode(kind, key, _OWNER, data)
    return payload


async def _create(store: ObjectStore, runtime: Runtime, key: str, kind: Kind, content: object) -> None:
    identity = Identity(key, _OWNER, runtime.new_id(), 1)
    await store.put_new(key, encode(kind, identity, make_payload([msgspec.msgpack.encode(content)])))
