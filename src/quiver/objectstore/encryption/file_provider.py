"""The key provider over a key file: master keys in this process's memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quiver.model.errors import CorruptObjectError
from quiver.objectstore.encryption.layout import KEY_BYTES, SALT_BYTES, derive
from quiver.objectstore.encryption.provider import GeneratedKey, KeyProvider, KmsNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.key_file import KeyFile

_INFO = b"quiver: wrap"
_NONCE = bytes(12)  # the wrapping key is derived from a salt of its own and used once


class FileKeyProvider(KeyProvider):
    """Keys are named by their ids, or by ARNs that end with `:key/<id>`.

    Wrapped is the salt (24 bytes), then the data key under AES-256-GCM (32 + 16), by a key derived from the master
    key and the salt, with the master key's id and the context as associated data.
    """

    def __init__(self, keys: KeyFile, runtime: Runtime) -> None:
        self._keys = keys
        self._runtime = runtime

    async def generate(self, key: str, context: Mapping[str, str]) -> GeneratedKey:
        secret = random_bytes(self._runtime, KEY_BYTES)
        return GeneratedKey(secret, await self.wrap(key, secret, context))

    async def wrap(self, key: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        master, name = self._master(key)
        salt = random_bytes(self._runtime, SALT_BYTES)
        return salt + _cipher(master, salt).encrypt(_NONCE, secret, _bound(name, context))

    async def unwrap(self, key: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        master, name = self._master(key)
        salt, rest = wrapped[:SALT_BYTES], wrapped[SALT_BYTES:]
        try:
            secret = _cipher(master, salt).decrypt(_NONCE, rest, _bound(name, context))
        except (InvalidTag, ValueError):
            raise CorruptObjectError(f"a data key is not as it was wrapped by the key {name}") from None
        if len(secret) != KEY_BYTES:
            raise CorruptObjectError(f"a data key wrapped by the key {name} has {len(secret)} bytes")
        return secret

    def _master(self, key: str) -> tuple[bytes, str]:
        """The key's bytes and its id."""
        name = key.rpartition(":key/")[2]
        secret = self._keys.keys.get(name)
        if secret is None:
            raise KmsNotFoundError(f"Key '{key}' does not exist")
        return secret, name


def _cipher(master: bytes, salt: bytes) -> AESGCM:
    return AESGCM(derive(master, salt, _INFO))


def random_bytes(runtime: Runtime, count: int) -> bytes:
    """Unpredictable bytes."""
    made = b""
    while len(made) < count:
        made += bytes.fromhex(runtime.new_id())
    return made[:count]


def _bound(name: str, context: Mapping[str, str]) -> bytes:
    return json.dumps([name, sorted(context.items())]).encode()
