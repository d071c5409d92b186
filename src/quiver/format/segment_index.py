"""The index object of a segment: everything derived from its rows, found through a footer.

    magic 8 | zeros to 64 | section | zeros to 64 | section ... | footer: msgpack
    | footer length u32 | footer xxh3 u64 | magic 8

All arrays are little-endian. Sections carry their own checksums, verified when a section is first used;
`partitions` is verified partition by partition, `texts` (format/text_sections.py) block by block. The last
sections (from `blocks` on) are the small ones that a search begins with: together with the footer they are had in
one read of the object's end.

    partitions       for each partition `codes | row numbers i64 | int8 rows | texts`, starting at a multiple of 8;
                     codes as the codec lays them out, in whole blocks of `code_block`;
                     texts are u64 pairs: where rows.parquet holds the key and the metadata of each row, so that
                     a search on a remote store need not ask for them first. Empty when the rows themselves are
                     scanned
    key_hashes       u64 per row, ascending: xxh3 of the key
    key_rows         u32 per row, in the order of key_hashes
    key_offsets      u64 per row: where rows.parquet holds its key; may be absent when partitions tell
    metadata_offsets u64 per row: where rows.parquet holds its metadata; the same
    norms            f32 per row: euclidean norm
    columns          metadata columns (format/metadata_columns.py)
    blocks           u64 per block of rows.parquet: xxh3 of the block
    key_filter       u32: filter over the key hashes (format/key_filter.py)
    digests          u64 per partition: xxh3 of its bytes in `partitions`
    partition_blocks u64 per 64 KiB block of the object that `partitions` has bytes in: xxh3 of these. The blocks
                     are those that a cache fetches, so that parts of a partition can be had alone; may be absent
    radii            f32 per partition: root mean square distance of its rows to its origin
    calibration      how far to look for a recall (ann/calibration.py)
    refiner, codec   states of the int8 rows and of the codec
    partitioner      state of the partitioner
    ends             i64 per partition: the row after its last; rows stand in partition order
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xxhash

from quiver.format.msgpack import unpack
from quiver.format.rows_parquet import Run
from quiver.format.sections import as_array
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

MAGIC = b"\x89QUIVSEG"
VERSION = 4
CODE_BLOCKS = 4
"""The version from which on codes may lie in blocks."""
ALIGNMENT = 64
BLOCK_BYTES = 1 << 16
PARTITION_BLOCKS = "partition_blocks"
PARTITION_ALIGNMENT = 8
ROW_NUMBER = 8
"""Bytes of a row number in a partition."""
TEXT_PLACES = 16
"""Bytes of the places of a row's texts in a partition."""
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
        partitioner, codec: names of the structure.
        code_size: bytes of a code; 0 when the rows themselves are scanned.
        int8_size: bytes of an int8 row; 0 when there are none.
        rows_size: bytes of rows.parquet.
        block_bytes: bytes of a block of rows.parquet.
        runs: its row groups.
        sections: by name.
        text_size: bytes of the places of a row's texts in its partition; 0 when only sections hold them.
        code_block: how many codes lie together.
    """

    version: int
    key: str
    owner: str
    rows: int
    dimension: int
    metric: str
    partitioner: str
    codec: str
    code_size: int
    int8_size: int
    rows_size: int
    block_bytes: int
    runs: list[Run]
    sections: dict[str, Section]
    text_size: int = 0
    code_block: int = 1

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Bytes of a row in the parts of a partition."""
        return self.code_size, ROW_NUMBER, self.int8_size, self.text_size


def code_fill(rows: NDArray[np.int64], code_size: int, code_block: int) -> NDArray[np.int64]:
    """Bytes that fill up the last block of codes of partitions of so many rows."""
    fills: NDArray[np.int64] = -rows % code_block * code_size
    return fills


def partition_offsets(ends: NDArray[np.int64], widths: tuple[int, ...], code_block: int) -> NDArray[np.int64]:
    """Where each partition starts in the section `partitions`, and where the last one ends; shape (count + 1,).

    Args:
        widths: bytes of a row in each part; the codes are the first.
    """
    rows = np.diff(ends, prepend=0)
    sizes = rows * sum(widths) + code_fill(rows, widths[0], code_block)
    sizes += -sizes % PARTITION_ALIGNMENT
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def encode(
    footer: Footer, sections: Mapping[str, bytes | memoryview | NDArray[np.generic]]
) -> list[bytes | memoryview]:
    """The object as buffers: the magic, then for each section its bytes and what fills up to the next, then the
    footer. `footer.sections` is filled in here."""
    buffers: list[bytes | memoryview] = [MAGIC.ljust(ALIGNMENT, b"\0")]
    position = ALIGNMENT
    placed = {}
    for name, content in sections.items():
        view = bytes_of(content)
        placed[name] = Section(position, len(view), xxhash.xxh3_64_intdigest(view))
        fill = -len(view) % ALIGNMENT
        buffers += [view, bytes(fill)]
        position += len(view) + fill
    text = msgspec.msgpack.encode(msgspec.structs.replace(footer, sections=placed))
    return [*buffers, text, _TAIL.pack(len(text), xxhash.xxh3_64_intdigest(text), MAGIC)]


def offset_of(sections: Mapping[str, bytes | memoryview | NDArray[np.generic]], name: str) -> int:
    """Where `encode` puts a section."""
    position = ALIGNMENT
    for each, content in sections.items():
        if each == name:
            return position
        position += -(-bytes_of(content).nbytes // ALIGNMENT) * ALIGNMENT
    raise KeyError(name)


def bytes_of(content: bytes | memoryview | NDArray[np.generic]) -> memoryview:
    """The bytes of a section."""
    raw = content.data if isinstance(content, np.ndarray) else memoryview(content)
    return raw.cast("B") if raw.nbytes else memoryview(b"")


def sections_before_head(sections: Iterable[str]) -> int:
    """How many of these sections come before those that a search begins with: the first is `blocks`."""
    return list(sections).index("blocks")


def footer_start(key: str, data: memoryview) -> int:
    """Where the footer begins, by the last bytes alone. Raises CorruptObjectError."""
    if len(data) < ALIGNMENT + _TAIL.size:
        raise CorruptObjectError(f"{key}: truncated")
    length, _, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    start: int = len(data) - _TAIL.size - length
    if magic != MAGIC or start < ALIGNMENT:
        raise CorruptObjectError(f"{key}: not a segment index, or truncated")
    return start


def decode_footer(key: str, owner: str, data: memoryview, *, whole: bool = True) -> Footer:
    """The footer, all of whose bytes are there; `whole` if all of the object's are.

    Raises CorruptObjectError, UnsupportedFormatError.
    """
    start = footer_start(key, data)
    if whole and bytes(data[: len(MAGIC)]) != MAGIC:
        raise CorruptObjectError(f"{key}: not a segment index, or truncated")
    _, digest, _ = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    text = data[start : len(data) - _TAIL.size]
    if xxhash.xxh3_64_intdigest(text) != digest:
        raise CorruptObjectError(f"{key}: footer checksum does not match")
    problem = f"{key}: unreadable footer"
    version = unpack(text, _Versioned, problem).version
    if not 1 <= version <= VERSION:
        raise UnsupportedFormatError(f"{key}: format version {version}; this Quiver reads 1 to {VERSION}")
    footer = unpack(text, Footer, problem) if version > 1 else unpack(text, _Footer1, problem).upgraded()
    if (footer.key, footer.owner) != (key, owner):
        raise CorruptObjectError(f"{key}: belongs to {footer.key} of {footer.owner}")
    return footer


class _Versioned(msgspec.Struct):
    version: int


class _Footer1(msgspec.Struct):
    """The footer of version 1, whose segments were one partition without codes."""

    version: int
    key: str
    owner: str
    rows: int
    dimension: int
    metric: str
    rows_size: int
    runs: list[Run]
    sections: dict[str, Section]

    def upgraded(self) -> Footer:
        return Footer(
            self.version,
            self.key,
            self.owner,
            self.rows,
            self.dimension,
            self.metric,
            "single",
            "flat",
            0,
            0,
            self.rows_size,
            1 << 20,
            self.runs,
            self.sections,
        )


def section_range(key: str, footer: Footer, data: memoryview, name: str) -> tuple[int, int]:
    """Where a section starts and ends. Raises CorruptObjectError when it is not there."""
    section = footer.sections.get(name)
    if section is None or min(section.offset, section.length) < 0 or section.offset + section.length > len(data):
        raise CorruptObjectError(f"{key}: section {name} is missing or out of bounds")
    return section.offset, section.offset + section.length


def find_section(key: str, footer: Footer, data: memoryview, name: str) -> memoryview:
    """One section, not verified. Raises CorruptObjectError when it is not there."""
    return data[slice(*section_range(key, footer, data, name))]


def read_section(key: str, footer: Footer, data: memoryview, name: str) -> memoryview:
    """One section, verified. Raises CorruptObjectError."""
    view = find_section(key, footer, data, name)
    if xxhash.xxh3_64_intdigest(view) != footer.sections[name].digest:
        raise CorruptObjectError(f"{key}: section {name}: checksum does not match")
    return view


def read_array(
    key: str, footer: Footer, data: memoryview, name: str, dtype: str, count: int
) -> NDArray[np.generic]:
    """A section of `count` elements, verified. Raises CorruptObjectError."""
    return check_array(key, name, as_array(read_section(key, footer, data, name), np.dtype(dtype)), count)


def check_array(key: str, name: str, array: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    """The array, of `count` elements. Raises CorruptObjectError."""
    if len(array) != count:
        raise CorruptObjectError(f"{key}: section {name} has {len(array)} entries, {count} are due")
    return array


def block_digests(data: memoryview, offset: int = 0) -> NDArray[np.uint64]:
    """The xxh3 of what each block of an object has of some bytes, which start at an offset of it."""
    ends = range(BLOCK_BYTES - offset % BLOCK_BYTES, len(data) + BLOCK_BYTES, BLOCK_BYTES)
    digests = (xxhash.xxh3_64_intdigest(data[max(end - BLOCK_BYTES, 0) : end]) for end in ends)
    return np.fromiter(digests, np.uint64, len(ends))
