"""Encrypts and decrypts single chunks; see `quiver.objectstore.encryption.layout` for what they are."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quiver.model.errors import CorruptObjectError
from quiver.objectstore.encryption.layout import HEADER, derive

if TYPE_CHECKING:
    from quiver.objectstore.encryption.layout import DataKey
    from quiver.objectstore.store import Buffer

_OBJECT_INFO = b"quiver: object"
_CIPHERS = 8192  # derived keys that are kept


class Ciphers:
    """The ciphers of the objects used last, so that a key is not derived for every read of a range."""

    def __init__(self, most: int = _CIPHERS) -> None:
        self._most = most
        self._made: OrderedDict[tuple[bytes, bytes], AESGCM] = OrderedDict()

    def of(self, key: DataKey, salt: bytes) -> AESGCM:
        """The cipher of objects with this salt under a data key."""
        place = (key.id, salt)
        cipher = self._made.get(place)
        if cipher is None:
            cipher = self._made[place] = AESGCM(derive(key.secret, salt, _OBJECT_INFO))
            if len(self._made) > self._most:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(place)
        return cipher


def seal_chunk(cipher: AESGCM, header: bytes, name: str, number: int, plain: Buffer, into: memoryview) -> None:
    """Write a chunk to `into`, which has its length."""
    into[: HEADER.size] = header
    cipher.encrypt_into(_nonce(number), plain, _bound(header, name, number), into[HEADER.size :])


def open_chunk(cipher: AESGCM, name: str, number: int, sealed: memoryview, into: memoryview) -> None:
    """Write what a chunk holds to `into`, which is `OVERHEAD` shorter.

    Raises: CorruptObjectError, when anything about it is not as it was written.
    """
    header = bytes(sealed[: HEADER.size])
    try:
        cipher.decrypt_into(_nonce(number), sealed[HEADER.size :], _bound(header, name, number), into)
    except InvalidTag:
        raise CorruptObjectError(
            f"{name}: chunk {number} is not as it was encrypted under the key {header[8:24].hex()}"
        ) from None


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(header: bytes, name: str, number: int) -> bytes:
    return header + number.to_bytes(8, "little") + name.encode()
