"""A file of the disk tier: one object in its whole length, sparse, with a checksum for every block that came.

    file     header | checksums, u64 each | zeros up to a multiple of 64 KiB | the object, with holes
    header   magic 8 | version u32 | bytes of a block u32 | object 16 | size u64 | xxh3 u64 of all that

Numbers are little-endian. The checksum of a block is its xxh3, mixed with the object and the block's number, so
that right bytes in the wrong place are wrong; 0 where the block is not. It is written after its block and taken
back before the block becomes a hole. Nothing is forced to the disk: what a crash loses shows as a wrong checksum.

Files are written by calls, which fail when the disk does, never through a mapping, and are never cut shorter.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import stat
import struct
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.storage.cache.blocks import extents_of, runs
from quiver.storage.cache.probation import keys_of
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VERSION = 3
HEADER = struct.Struct("<8sII16sQQ")
PAGE = 4096
"""Bytes that file systems give out at a time, about."""
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if platform.machine() in ("x86_64", "aarch64") else 0)
"""Of a mapping: that it may be larger than memory. Python before 3.12 has no name for it."""

_MAGIC = b"QVCACHE\0"
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST = 1 << 43
_HOLE = 3  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_POPULATE_READ = 22  # MADV_POPULATE_READ, of Linux 5.14


class ObjectFile:
    """The blocks of one object. Calls that change what it holds are made by one thread at a time.

    Attributes:
        name: of the object, 16 bytes.
        size: bytes of the object.
        kept: of each block, whether it is in the file.
        used, hot: of each block: the epoch in which it was last used; whether it was used again in a later one.
        here: the marks of who searches the file in place: which blocks may be looked at; None when nobody does.
        retired: whether it was deleted; what is mapped stays.
    """

    def __init__(self, path: Path, name: bytes, size: int) -> None:
        self.name = name
        self.size = size
        self.retired = False
        self.here: NDArray[np.bool_] | None = None
        self._path = path
        self._mapped: weakref.ref[mmap.mmap] | None = None
        count = -(-size // BLOCK)
        self._sums = np.zeros(count, np.uint64)
        self.kept = np.zeros(count, bool)
        self.used = np.zeros(count, np.int64)
        self.hot = np.zeros(count, bool)
        self._start = _start(size)
        self._headed = False

    @classmethod
    def create(cls, path: Path, name: bytes, size: int) -> ObjectFile:
        """A new file without blocks; that takes no room, so that it is there when a full disk has some again.

        Raises OSError.
        """
        file = cls(path, name, size)
        fd = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(fd, file._start + size)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return file

    @classmethod
    def load(cls, path: Path) -> ObjectFile | None:
        """A file that is there; None when it is none of these, or of another version. Raises OSError."""
        fd = os.open(path, _OPEN)
        try:
            status = os.fstat(fd)
            raw = os.pread(fd, HEADER.size, 0) if stat.S_ISREG(status.st_mode) else b""
            if len(raw) < HEADER.size:
                return None
            *_, name, size, _ = HEADER.unpack(raw)
            if raw != _header(name, size) or not 0 < size <= _LARGEST or status.st_size != _start(size) + size:
                return None
            file = cls(path, name, size)
            file._headed = True
            return file if file._recall(fd) else None
        finally:
            os.close(fd)

    def _recall(self, fd: int) -> bool:
        """Read the checksums, and give back what belongs to no block: a crash may leave that."""
        raw = os.pread(fd, self._sums.nbytes, HEADER.size)
        if len(raw) < self._sums.nbytes:
            return False
        self._sums[:] = np.frombuffer(raw, "<u8")
        self.kept[:] = self._sums != 0
        if os.fstat(fd).st_blocks * 512 > self.overhead + int(self.sizes(np.flatnonzero(self.kept)).sum()):
            _punch(fd, self._start, self.size, np.flatnonzero(~self.kept))
            padding = -(-(HEADER.size + self._sums.nbytes) // PAGE) * PAGE
            if padding < self._start:
                _fallocate(fd, _HOLE, padding, self._start - padding)
        return True

    @property
    def overhead(self) -> int:
        """Bytes of the disk that the file takes beside blocks, at most."""
        return -(-(HEADER.size + self._sums.nbytes) // PAGE) * PAGE + PAGE

    def sizes(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of the disk that each of some blocks takes."""
        return -(-extents_of(blocks, self.size) // PAGE) * PAGE

    # ---------------------------------------------------------------- in place

    @property
    def is_mapped(self) -> bool:
        """Whether somebody may be looking at it."""
        return self._mapped is not None and self._mapped() is not None

    def map(self) -> mmap.mmap:
        """The object, with zeros for what is not there. What is written to the mapping stays in memory, and hides
        the file, until it is given up by MADV_DONTNEED. Raises OSError.
        """
        with self._opened() as fd:
            flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            mapping = mmap.mmap(fd, self.size, flags=flags, prot=access, offset=self._start)
        self._mapped = weakref.ref(mapping)
        return mapping

    def readable(self, mapping: mmap.mmap, blocks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some ascending blocks the disk gives: to look at another would end the process. In the mapping
        they are at hand afterwards.
        """
        good = np.ones(len(blocks), bool)
        for first, last in runs(blocks):
            length = min(last * BLOCK, self.size) - first * BLOCK
            try:
                mapping.madvise(_POPULATE_READ, first * BLOCK, length)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._reads(first * BLOCK, length):
                    good[(blocks >= first) & (blocks < last)] = False
        return good

    def _reads(self, start: int, length: int) -> bool:
        """What `readable` asks, of systems that cannot tell it at once."""
        with suppress(OSError), self._opened() as fd:
            return len(os.pread(fd, length, self._start + start)) == length
        return False

    def verified(
        self, blocks: NDArray[np.int64], data: memoryview
    ) -> tuple[NDArray[np.bool_], NDArray[np.uint64]]:
        """Which of some kept blocks are right in a view of the object; the xxh3 of each."""
        starts = (blocks * BLOCK).tolist()
        sums = np.array([xxhash.xxh3_64_intdigest(data[start : start + BLOCK]) for start in starts], np.uint64)
        return self.fits(blocks, sums), sums

    def fits(self, blocks: NDArray[np.int64], sums: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of some kept blocks have the right xxh3."""
        right: NDArray[np.bool_] = (sums ^ self._salts(blocks)) == self._sums[blocks]
        return right

    def _salts(self, blocks: NDArray[np.int64]) -> NDArray[np.uint64]:
        return keys_of(self.name, blocks)

    # ---------------------------------------------------------------- by calls

    def read(self, blocks: NDArray[np.int64], into: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Some kept blocks, one after the other in `into`; those that the disk does not give are left out."""
        with suppress(OSError), self._opened() as fd:
            for block, length in zip(blocks.tolist(), extents_of(blocks, self.size).tolist(), strict=True):
                piece, into = into[:length], into[length:]
                with suppress(OSError):
                    if os.preadv(fd, [piece], self._start + block * BLOCK) == length:
                        yield block, piece

    def write(self, blocks: NDArray[np.int64], pieces: Sequence[memoryview]) -> None:
        """Write distinct ascending blocks, and their checksums; they are kept once `keep` is told.

        Raises OSError, also when the disk is full; then none of them takes room.
        """
        sums = np.array([xxhash.xxh3_64_intdigest(piece) for piece in pieces], np.uint64) ^ self._salts(blocks)
        with self._opened() as fd:
            try:
                if not self._headed:
                    _write(fd, _header(self.name, self.size), 0)
                    self._headed = True
                for block, piece in zip(blocks.tolist(), pieces, strict=True):
                    _write(fd, piece, self._start + block * BLOCK)
                self._sums[blocks] = sums
                self._note(fd, blocks)
            except OSError:
                self._sums[blocks] = 0
                with suppress(OSError):
                    self._note(fd, blocks)
                with suppress(OSError):
                    _punch(fd, self._start, self.size, blocks)
                raise

    def _note(self, fd: int, blocks: NDArray[np.int64]) -> None:
        """Write the checksums of some ascending blocks."""
        for first, last in runs(blocks):
            _write(fd, self._sums[first:last].astype("<u8").tobytes(), HEADER.size + 8 * first)

    def release(self, blocks: NDArray[np.int64], horizon: int) -> NDArray[np.int64]:
        """Keep some blocks no longer, unless they were used from epoch `horizon` on; which ones. See `erase`."""
        here = np.zeros(len(self.kept), bool) if self.here is None else self.here
        seen = here[blocks]
        here[blocks] = False
        busy = self.used[blocks] >= horizon  # a thread may have used some since they were chosen
        here[blocks[busy]] = seen[busy]
        return self.forget(blocks[~busy])

    def forget(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep some blocks no longer, which nobody looks at; these. See `erase`."""
        self.kept[blocks] = False
        self._sums[blocks] = 0
        return blocks

    def erase(self, blocks: NDArray[np.int64]) -> None:
        """Give back the room of ascending blocks that were forgotten. Raises OSError."""
        with self._opened() as fd:
            self._note(fd, blocks)
            _punch(fd, self._start, self.size, blocks)

    def discard(self) -> None:
        """Delete the file; its room is given back when nobody maps it any more."""
        self.retired = True
        with suppress(OSError):
            self._path.unlink()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, by its name: a descriptor for each would be one too many."""
        if self.retired:
            raise FileNotFoundError(errno.ENOENT, "deleted", str(self._path))
        fd = os.open(self._path, _OPEN)
        try:
            yield fd
        finally:
            os.close(fd)


def _start(size: int) -> int:
    """Where the bytes of an object of this size begin."""
    return -(-(HEADER.size - 8 * (-size // BLOCK)) // BLOCK) * BLOCK


def can_punch(fd: int) -> bool:
    """Whether the file system of an open empty file can make holes."""
    try:
        _fallocate(fd, _HOLE, 0, PAGE)
    except (OSError, AttributeError) as error:
        return isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS)
    return True


def _fallocate(fd: int, mode: int, start: int, length: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while call(fd, mode, start, length):
        if (number := ctypes.get_errno()) != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _punch(fd: int, start: int, size: int, blocks: NDArray[np.int64]) -> None:
    """Make holes of ascending blocks of an object that starts there. Raises OSError."""
    for first, last in runs(blocks):
        end = -(-min(last * BLOCK, size) // PAGE) * PAGE  # the rest of a page is not given back otherwise
        _fallocate(fd, _HOLE, start + first * BLOCK, end - first * BLOCK)


def _write(fd: int, data: bytes | memoryview, at: int) -> None:
    rest = memoryview(data).cast("B")
    while len(rest):
        written = os.pwrite(fd, rest, at)
        rest, at = rest[written:], at + written


def _header(name: bytes, size: int) -> bytes:
    raw = HEADER.pack(_MAGIC, VERSION, BLOCK, name, size, 0)
    return raw[:-8] + xxhash.xxh3_64_intdigest(raw[:-8]).to_bytes(8, "little")
