"""A log entry's payload: one or several parts, each one acknowledged request (group commit).

directory length u32 | directory: msgpack [[kind, length], ...] | zeros to 64 | part | zeros to 64 | part ...
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.format.envelope import padding
from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LENGTH = struct.Struct("<I")


class PartKind(IntEnum):
    """What a part does to the state."""

    NOTHING = 0
    SEAL = 1
    PUT = 2
    DELETE = 3
    CATALOG = 4
    CONFIGURE = 5


class Part(NamedTuple):
    """One request in a log entry."""

    kind: PartKind
    body: bytes | memoryview


def encode(parts: Sequence[Part]) -> list[bytes | memoryview]:
    """The payload as buffers; the bodies are not copied."""
    directory = msgspec.msgpack.encode([(part.kind, len(part.body)) for part in parts])
    head = _LENGTH.pack(len(directory)) + directory
    buffers: list[bytes | memoryview] = [head + bytes(padding(len(head)))]
    for part in parts:
        buffers.append(part.body)
        if fill := padding(len(part.body)):
            buffers.append(bytes(fill))
    return buffers


def decode(key: str, payload: memoryview) -> list[Part]:
    """The parts, as views of `payload`. Raises CorruptObjectError."""
    if len(payload) < _LENGTH.size:
        raise CorruptObjectError(f"{key}: no directory of parts")
    (length,) = _LENGTH.unpack_from(payload)
    directory = unpack(
        payload[_LENGTH.size : _LENGTH.size + length],
        list[tuple[PartKind, int]],
        f"{key}: unreadable directory of parts",
    )
    position = _LENGTH.size + length
    parts = []
    for kind, size in directory:
        position += padding(position)
        if size < 0 or position + size > len(payload):
            raise CorruptObjectError(f"{key}: a part passes the end of the entry")
        parts.append(Part(kind, payload[position : position + size]))
        position += size
    return parts
