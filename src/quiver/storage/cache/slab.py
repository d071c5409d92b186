"""A file of the disk tier: blocks one after the other, each behind a header, then, once it is full, an index.

    file     record | record | ... | entry of each record | footer
    record   magic 8 | version u32 | length u32 | object 16 | offset u64 | digest u64 | xxh3 u64 of all that | data
    entry    object 16 | offset u64 | digest u64 | where the data starts u32 | length u32
    footer   magic 8 | version u32 | entries u32 | xxh3 u64 of the entries | xxh3 u64 of all that

Numbers are little-endian. The digest of a block is the xxh3 of the object and the offset its bytes belong to, and
of their xxh3, so that right bytes in the wrong place are wrong. Nothing is forced to the disk: what a crash loses
shows as a wrong digest. A file without an index is read by its headers.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VERSION = 2
ENTRY = np.dtype(
    [("object", "<u8", (2,)), ("offset", "<u8"), ("digest", "<u8"), ("start", "<u4"), ("length", "<u4")]
)
HEADER = struct.Struct("<8sII16sQQQ")
FOOTER = struct.Struct("<8sIIQQ")
LARGEST = 0xFFFF0000
"""Bytes of a file: positions are 32 bits."""
OVERHEAD = HEADER.size + ENTRY.itemsize + FOOTER.size
"""Bytes of a file with one block, beside the block."""

_RECORD_MAGIC = b"QVBLOCK\0"
_INDEX_MAGIC = b"QVSLAB\0\0"
_TOGETHER = 16  # blocks that are read in one call
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FURTHEST = 1 << 62


def digest_of(object_id: bytes, offset: int, checksum: int) -> int:
    """The digest of a block of an object whose bytes have this xxh3."""
    return xxhash.xxh3_64_intdigest(object_id + offset.to_bytes(8, "little") + checksum.to_bytes(8, "little"))


class Slab:
    """One open file. Not thread-safe, but for `read`.

    Attributes:
        entries: of each block, dtype ENTRY, in the order of the file unless somebody forged it.
        live: whether each block still counts.
        used: whether each block was asked for since it was written.
        dead: bytes of records that do not count.
        size: bytes of the file.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.entries = np.zeros(0, ENTRY)
        self.live = np.zeros(0, bool)
        self.used = np.zeros(0, bool)
        self.dead = 0
        self.size = 0
        self._fd = fd
        self._end = 0  # of the last record
        self._sealed = False

    @classmethod
    def create(cls, path: Path) -> Slab:
        """A new file. Raises OSError."""
        return cls(path, os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600))

    @classmethod
    def load(cls, path: Path, block_bytes: int) -> Slab:
        """A file that is there: what can be read of it, perhaps nothing. Raises OSError."""
        slab = cls(path, os.open(path, _OPEN))
        try:
            slab._load(block_bytes)
        except BaseException:
            slab.close()
            raise
        return slab

    def _load(self, block_bytes: int) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return
        self.size = status.st_size
        entries = self._indexed()
        self._sealed = entries is not None
        if entries is None:
            entries, self._end = self._scanned()
        ends = entries["start"].astype(np.int64) + entries["length"]
        if (
            (entries["offset"] % block_bytes).any()
            or (entries["offset"] > _FURTHEST).any()
            or (entries["length"] > block_bytes).any()
            or not entries["length"].all()
            or (ends > self._end).any()
        ):
            return
        self.note(entries)
        self.dead = max(0, self._end - _weight(entries))

    def _indexed(self) -> NDArray[np.void] | None:
        """The entries at the end of the file; None when it has none that can be trusted."""
        at = self.size - FOOTER.size
        raw = os.pread(self._fd, FOOTER.size, at) if at >= 0 else b""
        if len(raw) < FOOTER.size:
            return None
        magic, version, count, digest, checksum = FOOTER.unpack(raw)
        start = at - count * ENTRY.itemsize
        if (
            (magic, version) != (_INDEX_MAGIC, VERSION)
            or checksum != xxhash.xxh3_64_intdigest(raw[:-8])
            or start < 0
        ):
            return None
        entries = os.pread(self._fd, at - start, start)
        if len(entries) != at - start or xxhash.xxh3_64_intdigest(entries) != digest:
            return None
        self._end = start
        return np.frombuffer(entries, ENTRY)

    def _scanned(self) -> tuple[NDArray[np.void], int]:
        """The entries as the headers have them, and where the last whole record ends."""
        found = []
        at = 0
        while True:
            raw = os.pread(self._fd, HEADER.size, at)
            if len(raw) < HEADER.size:
                break
            magic, version, length, object_id, offset, digest, checksum = HEADER.unpack(raw)
            start = at + HEADER.size
            if (
                (magic, version) != (_RECORD_MAGIC, VERSION)
                or checksum != xxhash.xxh3_64_intdigest(raw[:-8])
                or start + length > self.size
            ):
                break
            found.append((np.frombuffer(object_id, "<u8"), offset, digest, start, length))
            at = start + length
        return np.array(found, ENTRY), at

    # ---------------------------------------------------------------- reading

    def read(self, entries: NDArray[np.void], into: memoryview) -> Iterator[tuple[memoryview, int] | None]:
        """The bytes of each block, and their xxh3; None when they are not what was written.

        Neighbours are read together.

        Args:
            into: where the bytes go: room for as many whole blocks, and a header with each.
        """
        starts = entries["start"].tolist()
        ends = (entries["start"].astype(np.int64) + entries["length"]).tolist()
        expected = zip(entries["object"], entries["offset"].tolist(), entries["digest"].tolist(), strict=True)
        base, piece = 0, into[:0]
        for number, (object_words, offset, digest) in enumerate(expected):
            if not number or ends[number] > base + len(piece):
                base, piece, into = starts[number], *self._pread(starts, ends, number, into)
            data = piece[starts[number] - base : ends[number] - base] if starts[number] >= base else piece[:0]
            checksum = xxhash.xxh3_64_intdigest(data)
            right = digest_of(object_words.tobytes(), offset, checksum) == digest
            yield (data, checksum) if right and len(data) == ends[number] - starts[number] else None

    def _pread(
        self, starts: list[int], ends: list[int], first: int, into: memoryview
    ) -> tuple[memoryview, memoryview]:
        """What was read of the blocks from one on that are neighbours, and the rest of `into`."""
        last = first
        while last + 1 < min(len(starts), first + _TOGETHER) and starts[last + 1] == ends[last] + HEADER.size:
            last += 1
        piece, rest = into[: ends[last] - starts[first]], into[ends[last] - starts[first] :]
        try:
            return piece[: os.preadv(self._fd, [piece], starts[first])], rest
        except OSError:
            return piece[:0], rest

    # ---------------------------------------------------------------- writing

    @property
    def reach(self) -> int:
        """Bytes the file has, or will have when it is sealed."""
        return max(self.size, self._with_index)

    @property
    def _with_index(self) -> int:
        return self._end + len(self.entries) * ENTRY.itemsize + FOOTER.size

    def fitting(self, lengths: NDArray[np.int64], largest: int) -> int:
        """How many of some blocks, the first ones, fit when the file with its index may have `largest` bytes."""
        taken = np.cumsum(lengths + HEADER.size + ENTRY.itemsize)
        return int(np.searchsorted(taken, largest - self._with_index, "right"))

    def append(self, entries: NDArray[np.void], data: Sequence[memoryview]) -> NDArray[np.void]:
        """Write up to 500 blocks; where they are now, to be noted: fewer than were given when the disk is full.

        Raises OSError.
        """
        self._cut()
        placed = entries.copy()
        lengths = entries["length"].astype(np.int64)
        ends = self._end + np.cumsum(lengths + HEADER.size)
        placed["start"] = ends - lengths
        buffers = [part for entry, piece in zip(placed, data, strict=True) for part in (_header(entry), piece)]
        try:
            reached = self._end + os.pwritev(self._fd, buffers, self._end)
        finally:
            self.size = os.fstat(self._fd).st_size
        whole = int(np.searchsorted(ends, reached, "right"))
        self._end = int(ends[whole - 1]) if whole else self._end
        self._cut()
        return placed[:whole]

    def note(self, entries: NDArray[np.void]) -> NDArray[np.int64]:
        """Count blocks that were written; their numbers in this file."""
        numbers = len(self.entries) + np.arange(len(entries))
        self.entries = np.concatenate([self.entries, entries])
        self.live = np.concatenate([self.live, np.ones(len(entries), bool)])
        self.used = np.concatenate([self.used, np.zeros(len(entries), bool)])
        return numbers

    def kill(self, numbers: NDArray[np.int64]) -> None:
        """Stop counting distinct live blocks."""
        if len(numbers):
            self.live[numbers] = False
            self.dead += _weight(self.entries[numbers])
            self._sealed = False

    def seal(self) -> None:
        """Write the index of the live blocks, unless the file has that. Raises OSError."""
        if self._sealed:
            return
        self._cut()
        entries = self.entries[self.live].tobytes()
        count = len(entries) // ENTRY.itemsize
        footer = _stamped(FOOTER.pack(_INDEX_MAGIC, VERSION, count, xxhash.xxh3_64_intdigest(entries), 0))
        try:
            self._sealed = os.pwrite(self._fd, entries + footer, self._end) == len(entries) + len(footer)
        finally:
            self.size = os.fstat(self._fd).st_size
            if not self._sealed:
                self._cut()

    def _cut(self) -> None:
        """Take away what stands behind the last record."""
        self._sealed = False
        if self.size > self._end:
            os.ftruncate(self._fd, self._end)
            self.size = self._end

    def discard(self) -> None:
        """Delete the file. Its bytes are given back at once, also while somebody reads it."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
        self.size = 0

    def close(self) -> None:
        """Give the descriptor back."""
        with suppress(OSError):
            os.close(self._fd)


def _weight(entries: NDArray[np.void]) -> int:
    return int(entries["length"].sum(dtype=np.int64)) + len(entries) * HEADER.size


def _header(entry: np.void) -> bytes:
    words = (
        VERSION,
        int(entry["length"]),
        entry["object"].tobytes(),
        int(entry["offset"]),
        int(entry["digest"]),
        0,
    )
    return _stamped(HEADER.pack(_RECORD_MAGIC, *words))


def _stamped(raw: bytes) -> bytes:
    """With the checksum of all before its last 8 bytes in these."""
    return raw[:-8] + xxhash.xxh3_64_intdigest(raw[:-8]).to_bytes(8, "little")
