"""The payload of an opening: copies of what a node that has never seen an index reads first.

directory length u32 | directory: msgpack [generation, checkpoint length, [[home, segment, length], ...]]
| zeros to 64 | checkpoint: the object, whole | zeros to 64 | head | zeros to 64 | head ...

A head is the last bytes of a segment's index object.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from quiver.format.envelope import padding
from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError

_LENGTH = struct.Struct("<I")


class Head(NamedTuple):
    """The end of a segment's index object.

    Attributes:
        home: id of the index that the segment is stored under, when that is another; else "".
        segment: its id.
        body: the bytes.
    """

    home: str
    segment: str
    body: bytes | memoryview


class Opening(NamedTuple):
    """A checkpoint object, byte by byte, and heads of segments that it names."""

    generation: int
    checkpoint: bytes | memoryview
    heads: list[Head]


def encode(opening: Opening) -> list[bytes | memoryview]:
    """The payload as buffers; nothing large is copied."""
    placed = [(head.home, head.segment, len(head.body)) for head in opening.heads]
    directory = msgspec.msgpack.encode((opening.generation, len(opening.checkpoint), placed))
    first = _LENGTH.pack(len(directory)) + directory
    buffers: list[bytes | memoryview] = []
    for body in (first, opening.checkpoint, *(head.body for head in opening.heads)):
        buffers += [body, bytes(padding(len(body)))]
    return buffers


def decode(key: str, payload: memoryview) -> Opening:
    """The parts, as views of `payload`. Raises CorruptObjectError."""
    if len(payload) < _LENGTH.size:
        raise CorruptObjectError(f"{key}: no directory")
    (length,) = _LENGTH.unpack_from(payload)
    position = _LENGTH.size + length
    generation, size, placed = unpack(
        payload[_LENGTH.size : position],
        tuple[int, int, list[tuple[str, str, int]]],
        f"{key}: unreadable directory",
    )
    bodies = []
    for each in (size, *(nbytes for _, _, nbytes in placed)):
        position += padding(position)
        if each < 0 or position + each > len(payload):
            raise CorruptObjectError(f"{key}: a part passes the end")
        bodies.append(payload[position : position + each])
        position += each
    heads = [Head(home, segment, body) for (home, segment, _), body in zip(placed, bodies[1:], strict=True)]
    return Opening(generation, bodies[0], heads)
