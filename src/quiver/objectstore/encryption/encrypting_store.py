"""A store around another in which every object is encrypted and authenticated.

Sizes and ranges are those of the plaintext; a range is read with one request, as whole chunks. What was
changed, cut short, moved to another place or name, or put there by somebody without the key is a
CorruptObjectError; what is not encrypted is a NotEncryptedError. Two things cannot be told here: that an object
has been replaced by an earlier one of the same name, and, when a read begins where an object ends, that it ended
there when it was written. Whoever reads knows how long objects are from what stands in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.errors import CorruptObjectError
from quiver.objectstore.encryption.bodies import SealedBody
from quiver.objectstore.encryption.chunks import Ciphers, open_chunk
from quiver.objectstore.encryption.file_provider import random_bytes
from quiver.objectstore.encryption.layout import (
    CHUNK,
    OVERHEAD,
    SALT_BYTES,
    SEALED_CHUNK,
    Header,
    opened_size,
    read_header,
)
from quiver.objectstore.encryption.root_keys import PREFIX
from quiver.objectstore.keys import check_key, check_range
from quiver.objectstore.store import Buffer, ObjectInfo, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.index_keys import IndexKeys
    from quiver.objectstore.encryption.layout import DataKey
    from quiver.objectstore.encryption.root_keys import RootKeys

_INLINE_BYTES = 256 << 10  # below this a change of thread costs more
_MADE_AT_ONCE = 64 << 20  # a larger body is encrypted as it is sent


class EncryptingStore(ObjectStore):
    """See the file. Only the wrapped data keys are in clear; those of the root are not shown.

    Attributes:
        root_keys, index_keys: the data keys.
    """

    def __init__(self, inner: ObjectStore, root_keys: RootKeys, index_keys: IndexKeys, runtime: Runtime) -> None:
        self.root_keys = root_keys
        self.index_keys = index_keys
        self.url = inner.url
        self.large_bytes = inner.large_bytes
        self._inner = inner
        self._runtime = runtime
        self._ciphers = Ciphers()

    @property
    def near(self) -> bool:
        return self._inner.near

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._inner.put_new(key, await self._sealed(key, parts))

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._inner.put_large(key, await self._sealed(key, parts))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        check_range(start, length)
        if self._is_clear(key):
            return await self._inner.get(key, start, length)
        if not length and length is not None:
            await self._inner.get(key, 0, 0)  # whether it is there
            return b""
        first = start // CHUNK
        due = None if length is None else ((start + length - 1) // CHUNK - first + 1) * SEALED_CHUNK
        sealed = memoryview(await self._inner.get(key, first * SEALED_CHUNK, due))
        if not sealed and first:
            return b""
        header = read_header(key, sealed)
        keys = self.index_keys.find(key, header.key_id) if header.of_index else self.root_keys.find(header.key_id)
        cipher = self._ciphers.of(await keys, header.salt)
        ends = due is None or len(sealed) < due
        if len(sealed) <= _INLINE_BYTES:
            plain = _open(cipher, key, header, first, sealed, ends=ends)
        else:
            plain = await self._runtime.offload(_open, cipher, key, header, first, sealed, ends=ends)
        skipped = start - first * CHUNK
        return plain[skipped:] if length is None else plain[skipped : skipped + length]

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        listed = await self._inner.list(prefix, after)
        return [
            info if self.index_keys.holds(info.key) else info._replace(size=opened_size(info.size))
            for info in listed
            if not info.key.startswith(PREFIX)
        ]

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            _check_name(key)
        await self._inner.delete(keys)

    async def is_current(self, key: str) -> bool:
        """Whether an object is encrypted under the key it would be written under now. Raises as `get`."""
        if self._is_clear(key):
            return True
        header = read_header(key, memoryview(await self._inner.get(key, 0, OVERHEAD)))
        return header.key_id == (await self._key_for(key)).id

    async def close(self) -> None:
        await self.index_keys.close()
        await self._inner.close()

    async def _key_for(self, key: str) -> DataKey:
        return await self.index_keys.of(key) or await self.root_keys.current()

    def _is_clear(self, key: str) -> bool:
        return self.index_keys.holds(_check_name(key))

    async def _sealed(self, key: str, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        """What is to be stored under the name."""
        if self._is_clear(key):
            return parts
        data_key = await self._key_for(key)
        salt = random_bytes(self._runtime, SALT_BYTES)
        header = Header(data_key.id, salt, data_key.of_index, last=False)
        body = SealedBody(self._ciphers.of(data_key, salt), header, key, parts)
        if body.nbytes <= _INLINE_BYTES:
            return list(body)
        return await self._runtime.offload(list, body) if body.nbytes <= _MADE_AT_ONCE else body


def _check_name(key: str) -> str:
    """The key itself. Raises ValueError, also for the names of the root's data keys."""
    if check_key(key).startswith(PREFIX):
        raise ValueError(f"malformed object key: {key!r} is the name of a data key")
    return key


def _open(cipher: AESGCM, name: str, header: Header, first: int, sealed: memoryview, *, ends: bool) -> memoryview:
    """What consecutive chunks of an object hold.

    Args:
        header: of the first of them.
        first: the number of that.
        ends: the object ends with them.

    Raises: CorruptObjectError, UnsupportedFormatError.
    """
    count = -(-len(sealed) // SEALED_CHUNK)
    if 0 < len(sealed) % SEALED_CHUNK < OVERHEAD:
        raise CorruptObjectError(f"{name}: truncated")
    plain = memoryview(bytearray(len(sealed) - count * OVERHEAD))
    for number in range(count):
        chunk = sealed[number * SEALED_CHUNK : (number + 1) * SEALED_CHUNK]
        found = read_header(name, chunk)
        must_be_last = number + 1 == count and (ends or len(chunk) < SEALED_CHUNK)
        may_be_last = number + 1 == count
        if found._replace(last=header.last) != header or not must_be_last <= found.last <= may_be_last:
            raise CorruptObjectError(
                f"{name}: chunk {first + number} is of another object, or the last is missing"
            )
        if len(chunk) == OVERHEAD and first + number:
            raise CorruptObjectError(f"{name}: chunk {first + number} is empty")
        open_chunk(cipher, name, first + number, chunk, plain[number * CHUNK : (number + 1) * CHUNK])
    return plain.toreadonly()
