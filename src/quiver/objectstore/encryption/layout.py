"""How an encrypted object is made of chunks, each of which can be read and verified alone.

    chunk    header 48 | ciphertext up to 65,536, as long as the plaintext | tag 16
    header   magic 6 | version u8 | flags u8 | id of the data key 16 | salt of the object 24

A chunk holds 65,536 bytes of the object, the last one fewer unless it ends there; an empty object is one chunk of
no bytes. So chunk n begins at n * 65,600, and the length of an object follows from that of what is stored.

The object's key comes from the data key and the salt by HKDF-SHA256. A salt is random and belongs to one body
under one name, so a nonce need only differ between the chunks of a body: it is their number. Each chunk is
AES-256-GCM with its header, its number and the object's name as associated data. Every header says whose key and
salt it was made with, so that a range is read with one request, and a put repeated with another salt harms nobody.
"""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.errors import CorruptObjectError, DataError, UnsupportedFormatError

if TYPE_CHECKING:
    from quiver.objectstore.store import Buffer

VERSION = 1
CHUNK = 65_536
"""Bytes of the object in a chunk."""
SALT_BYTES = 24
KEY_BYTES = 32
HEADER = struct.Struct("<6sBB16s24s")
TAG_BYTES = 16
OVERHEAD = HEADER.size + TAG_BYTES
SEALED_CHUNK = CHUNK + OVERHEAD
"""Bytes of a whole chunk as it is stored."""

_MAGIC = b"\x89QENC\n"
_LAST, _OF_INDEX = 1, 2
_KNOWN_FLAGS = _LAST | _OF_INDEX


class NotEncryptedError(DataError):
    """What was read is not encrypted, where everything should be."""


class Header(NamedTuple):
    """What stands in clear before each chunk.

    Attributes:
        key_id: of the data key, 16 bytes.
        salt: of the object, 24 bytes.
        of_index: the data key is that of the index which owns the object, not the root's.
        last: whether it is the object's last chunk.
    """

    key_id: bytes
    salt: bytes
    of_index: bool
    last: bool

    def encode(self) -> bytes:
        """48 bytes."""
        flags = _LAST * self.last + _OF_INDEX * self.of_index
        return HEADER.pack(_MAGIC, VERSION, flags, self.key_id, self.salt)


class DataKey(NamedTuple):
    """A key that objects are encrypted under, by way of keys derived from it.

    Attributes:
        id: 16 bytes, random.
        secret: 32 bytes.
        of_index: it belongs to one index, not to the root.
    """

    id: bytes
    secret: bytes
    of_index: bool = False

    def __repr__(self) -> str:
        """Without the secret."""
        return f"DataKey({self.id.hex()})"


def is_encrypted(data: Buffer) -> bool:
    """Whether bytes from an object's start look like those of an encrypted one."""
    return bytes(memoryview(data)[: len(_MAGIC)]) == _MAGIC


def read_header(name: str, data: memoryview) -> Header:
    """The header of a chunk of an object. Raises NotEncryptedError, CorruptObjectError, UnsupportedFormatError."""
    if not is_encrypted(data):
        raise NotEncryptedError(f"{name} is not encrypted")
    if len(data) < OVERHEAD:
        raise CorruptObjectError(f"{name}: truncated")
    _, version, flags, key_id, salt = HEADER.unpack_from(data)
    if version != VERSION or flags & ~_KNOWN_FLAGS:
        raise UnsupportedFormatError(f"{name}: encryption version {version}.{flags}; this Quiver reads {VERSION}")
    return Header(key_id, salt, bool(flags & _OF_INDEX), bool(flags & _LAST))


def sealed_size(nbytes: int) -> int:
    """Bytes that an object of so many takes."""
    return nbytes + OVERHEAD * max(1, -(-nbytes // CHUNK))


def opened_size(stored: int) -> int:
    """Bytes of an object that takes so many; 0 for what is none."""
    return max(0, stored - OVERHEAD * -(-stored // SEALED_CHUNK))


def derive(secret: bytes, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 (RFC 5869) of a secret."""
    pseudorandom = hmac.digest(salt, secret, "sha256")
    made, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([number]), "sha256")
        made += block
    return made[:length]
