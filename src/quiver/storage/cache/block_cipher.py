"""Encrypts blocks of the disk tier: what lies in a cache folder tells nobody what is in an encrypted root.

AES-256-XTS, as for disks: a block keeps its length, and what it is encrypted with follows from its object and
place. It is not authenticated: a block is verified against its segment before its first use, like one fetched.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

KEY_BYTES = 96
"""Of the key: 64 for blocks, 32 for names."""


class BlockCipher:
    """One key's. Another key finds nothing that was kept under this one, since objects have other names there."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        self._algorithm = AES(key[:64])
        self._naming = key[64:]

    def name(self, object_id: bytes) -> bytes:
        """What an object is called in the folder: 16 bytes."""
        return hmac.digest(self._naming, object_id, "sha256")[:16]

    def seal(self, name: bytes, offset: int, plain: memoryview) -> memoryview:
        """The block at this offset of the object of this name, encrypted."""
        return memoryview(self._at(name, offset).encryptor().update(plain))

    def open(self, name: bytes, offset: int, block: memoryview) -> None:
        """Decrypt a block where it stands."""
        block[:] = self._at(name, offset).decryptor().update(block)

    def _at(self, name: bytes, offset: int) -> Cipher[XTS]:
        place = hmac.digest(self._naming, name + offset.to_bytes(8, "little"), "sha256")
        return Cipher(self._algorithm, XTS(place[:16]))
