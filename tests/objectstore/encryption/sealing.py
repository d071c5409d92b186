"""Encrypting stores to test: key files without files, and roots in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.format import paths
from quiver.objectstore.encryption.encrypting_store import EncryptingStore
from quiver.objectstore.encryption.file_provider import FileKeyProvider
from quiver.objectstore.encryption.index_keys import IndexKeys
from quiver.objectstore.encryption.key_file import KeyFile, key_id_of
from quiver.objectstore.encryption.root_keys import RootKeys

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.provider import KeyProvider
    from quiver.objectstore.store import ObjectStore

INDEX = "5" * 32


def new_keys(runtime: Runtime, count: int = 1) -> KeyFile:
    """A key file of so many keys, the last of them current."""
    ids = [key_id_of(runtime.new_id()) for _ in range(count)]
    return KeyFile(ids[-1], {name: bytes.fromhex(runtime.new_id() * 2) for name in ids})


def encrypting(
    inner: ObjectStore, keys: KeyFile, runtime: Runtime, provider: KeyProvider | None = None
) -> EncryptingStore:
    """A store over another, as a process with this key file opens it."""
    own = FileKeyProvider(keys, runtime)
    root_keys = RootKeys(inner, keys, own, runtime)
    index_keys = IndexKeys(inner, provider or own, runtime, paths.index_of, paths.index_key_name)
    return EncryptingStore(inner, root_keys, index_keys, runtime)
