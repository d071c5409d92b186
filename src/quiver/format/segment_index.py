"""The index object of a segment: everything derived from its rows, found through a footer.

    magic 8 | zeros to 64 | section | zeros to 64 | section ... | footer: msgpack
    | footer length u32 | footer xxh3 u64 | magic 8

Sections carry their own checksums, verified when a section is first used. All arrays are little-endian.

    key_hashes       u64 per row, ascending: xxh3 of the key
    key_rows         u32 per row, in the order of key_hashes
    key_offsets      u64 per row: where rows.parquet holds its key
    metadata_offsets u64 per row: where rows.parquet holds its metadata
    norms            f32 per row: euclidean norm
    columns          metadata columns (format/metadata_columns.py)
    codes            code_size bytes per row, absent when the codec's codes are the rows themselves
    blocks           u64 per block of rows.parquet: xxh3 of the block
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xxhash

from quiver.format.msgpack import unpack
from quiver.format.rows_parquet import Run
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAGIC = b"\x89QUIVSEG"
VERSION = 1
ALIGNMENT = 64
BLOCK_BYTES = 1 << 20
_TAIL = struct.Struct("<IQ8s")


class Section(msgspec.Struct, frozen=True, array_like=True):
    """Where a section is, and its xxh3."""

    offset: int
    length: int
    digest: int


class Footer(msgspec.Struct, frozen=True):
    """What a segment is.

    Attributes:
        key: the object's own name.
        owner: the index id.
        rows: how many.
        partition_ends: for each partition, the row after its last; rows stand in partition order.
        rows_size: bytes of rows.parquet.
        runs: its row groups.
        sections: by name.
    """

    version: int
    key: str
    owner: str
    rows: int
    dimension: int
    metric: str
    partitioner: str
    partitioner_state: bytes
    codec: str
    codec_state: bytes
    partition_ends: list[int]
    rows_size: int
    runs: list[Run]
    sections: dict[str, Section]


def encode(
    footer: Footer, sections: Mapping[str, bytes | memoryview | NDArray[np.generic]]
) -> list[bytes | memoryview]:
    """The object as buffers; `footer.sections` is filled in here."""
    buffers: list[bytes | memoryview] = [MAGIC.ljust(ALIGNMENT, b"\0")]
    position = ALIGNMENT
    placed = {}
    for name, content in sections.items():
        raw = content.data if isinstance(content, np.ndarray) else memoryview(content)
        view = raw.cast("B") if raw.nbytes else memoryview(b"")
        placed[name] = Section(position, len(view), xxhash.xxh3_64_intdigest(view))
        fill = -len(view) % ALIGNMENT
        buffers += [view, bytes(fill)]
        position += len(view) + fill
    text = msgspec.msgpack.encode(msgspec.structs.replace(footer, sections=placed))
    return [*buffers, text, _TAIL.pack(len(text), xxhash.xxh3_64_intdigest(text), MAGIC)]


def decode_footer(key: str, owner: str, data: memoryview) -> Footer:
    """Raises CorruptObjectError, UnsupportedFormatError."""
    if len(data) < ALIGNMENT + _TAIL.size:
        raise CorruptObjectError(f"{key}: truncated")
    length, digest, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    start = len(data) - _TAIL.size - length
    if magic != MAGIC or bytes(data[: len(MAGIC)]) != MAGIC or start < ALIGNMENT:
        raise CorruptObjectError(f"{key}: not a segment index, or truncated")
    text = data[start : start + length]
    if xxhash.xxh3_64_intdigest(text) != digest:
        raise CorruptObjectError(f"{key}: footer checksum does not match")
    version = unpack(text, _Versioned, f"{key}: unreadable footer").version
    if version != VERSION:
        raise UnsupportedFormatError(f"{key}: format version {version}; this Quiver reads {VERSION}")
    footer = unpack(text, Footer, f"{key}: unreadable footer")
    if (footer.key, footer.owner) != (key, owner):
        raise CorruptObjectError(f"{key}: belongs to {footer.key} of {footer.owner}")
    return footer


class _Versioned(msgspec.Struct):
    version: int


def read_section(key: str, footer: Footer, data: memoryview, name: str) -> memoryview:
    """One section, verified. Raises CorruptObjectError."""
    section = footer.sections.get(name)
    if section is None or min(section.offset, section.length) < 0 or section.offset + section.length > len(data):
        raise CorruptObjectError(f"{key}: section {name} is missing or out of bounds")
    view = data[section.offset : section.offset + section.length]
    if xxhash.xxh3_64_intdigest(view) != section.digest:
        raise CorruptObjectError(f"{key}: section {name}: checksum does not match")
    return view


def block_digests(data: memoryview) -> list[int]:
    """The xxh3 of each block of rows.parquet."""
    starts = range(0, len(data), BLOCK_BYTES)
    return [xxhash.xxh3_64_intdigest(data[start : start + BLOCK_BYTES]) for start in starts]
