"""The envelope round every object but segments: who wrote it, where it belongs, and its checksums.

    magic 8 | version u16 | kind u16 | header length u32 | payload length u64 | payload xxh3 u64
    header: msgpack [key, owner, writer, sequence]
    xxh3 u64 of all of the above | zeros to a multiple of 64 | payload

The object's own key stands inside, so that an object that was swapped with another is caught. The writer and
sequence let a writer recognise its own entry after an answer was lost.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import xxhash

from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"\x89QUIVER\n"
VERSION = 1
ALIGNMENT = 64
_FIXED = struct.Struct("<8sHHIQQ")
_CHECKSUM = struct.Struct("<Q")
_MAX_HEADER = 4096


class Kind(IntEnum):
    """What an enveloped object is."""

    STORE_FORMAT = 1
    LOG_ENTRY = 2
    CHECKPOINT = 3
    COPIED = 4
    OPENING = 5


class Identity(NamedTuple):
    """Who wrote an object and where it belongs.

    Attributes:
        key: the object's own name.
        owner: index id, or "catalog".
        writer: id of the writer process, new at each start.
        sequence: the writer's count of entries in this log (log entries), or a random number that no other attempt
            to create the object has (checkpoints), or the generation of the checkpoint inside (openings).
    """

    key: str
    owner: str
    writer: str
    sequence: int


class Payload(NamedTuple):
    """Buffers with their total length and xxh3 digest, computed once however often they are sent."""

    parts: tuple[bytes | memoryview, ...]
    length: int
    digest: int


def padding(length: int) -> int:
    """Zero bytes needed to reach the alignment."""
    return -length % ALIGNMENT


def make_payload(parts: Sequence[bytes | memoryview]) -> Payload:
    """Digest the concatenation of `parts`."""
    hasher = xxhash.xxh3_64()
    for part in parts:
        hasher.update(part)
    return Payload(tuple(parts), sum(len(part) for part in parts), hasher.intdigest())


def encode(kind: Kind, identity: Identity, payload: Payload) -> list[bytes | memoryview]:
    """The object as buffers, without copying the payload."""
    header = msgspec.msgpack.encode(tuple(identity))
    fixed = _FIXED.pack(MAGIC, VERSION, kind, len(header), payload.length, payload.digest)
    head = fixed + header
    head += _CHECKSUM.pack(xxhash.xxh3_64_intdigest(head))
    return [head + bytes(padding(len(head))), *payload.parts]


def decode(kind: Kind, key: str, owner: str, data: bytes | bytearray | memoryview) -> tuple[Identity, memoryview]:
    """Check everything and return the identity and the payload (a view).

    Raises:
        CorruptObjectError: any mismatch, including an object stored under another's name.
        UnsupportedFormatError: a version this Quiver does not know.
    """
    view = memoryview(data).cast("B")
    identity, start, length, digest = _decode_head(kind, key, owner, view)
    if len(view) != start + length:
        raise CorruptObjectError(f"{key}: {len(view)} bytes where {start + length} are due")
    payload = view[start:]
    if xxhash.xxh3_64_intdigest(payload) != digest:
        raise CorruptObjectError(f"{key}: payload checksum does not match")
    return identity, payload


def peek(kind: Kind, key: str, owner: str, data: bytes | bytearray | memoryview) -> tuple[Identity, int]:
    """The identity of an object, and how many bytes it should have, from its first bytes. Raises as `decode`."""
    identity, start, length, _ = _decode_head(kind, key, owner, memoryview(data).cast("B"))
    return identity, start + length


def _decode_head(kind: Kind, key: str, owner: str, view: memoryview) -> tuple[Identity, int, int, int]:
    if len(view) < _FIXED.size:
        raise CorruptObjectError(f"{key}: truncated")
    magic, version, found, header_length, length, digest = _FIXED.unpack_from(view)
    if magic != MAGIC:
        raise CorruptObjectError(f"{key}: not a Quiver object")
    end = _FIXED.size + header_length
    if header_length > _MAX_HEADER or len(view) < end + _CHECKSUM.size:
        raise CorruptObjectError(f"{key}: truncated")
    if _CHECKSUM.unpack_from(view, end)[0] != xxhash.xxh3_64_intdigest(view[:end]):
        raise CorruptObjectError(f"{key}: header checksum does not match")
    if version != VERSION:
        raise UnsupportedFormatError(f"{key}: format version {version}; this Quiver reads {VERSION}")
    if found != kind:
        raise CorruptObjectError(f"{key}: kind {found} where {int(kind)} is due")
    identity = unpack(view[_FIXED.size : end], Identity, f"{key}: unreadable header")
    if (identity.key, identity.owner) != (key, owner):
        raise CorruptObjectError(f"{key}: belongs to {identity.key} of {identity.owner}")
    start = end + _CHECKSUM.size
    return identity, start + padding(start), length, digest
