"""Byte sequences too large to hold in memory: kept there while small, then in a file that has no name.

The file is unlinked as soon as it is opened, so that nothing is left behind when the process dies.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
MEMORY_BYTES = 256 << 20
"""A sequence up to this size stays in memory."""

_SLACK = 16  # of what is expected, a part of room beside it
_GROWTH = 4  # times what is needed, when memory has to be moved
_MUCH = 1 << 20  # bytes: who writes so many gets all the room there is, and nothing is moved again


class Spool:
    """Makes byte sequences in a directory (None for the system's directory of temporary files)."""

    def __init__(self, directory: str | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes

    def open(self, expected: int = 0) -> SpooledFile:
        """A file to write about `expected` bytes to; one that becomes large moves out of memory then."""
        large = expected > self._memory_bytes
        file = self._temporary() if large else None
        return SpooledFile(self._memory_bytes, self._temporary, file, 0 if large else expected)

    def array(self, nbytes: int) -> NDArray[np.uint8]:
        """A writable array of zero bytes, mapped when it is large."""
        if nbytes <= self._memory_bytes:
            return np.zeros(nbytes, np.uint8)
        with self._temporary() as file:
            file.truncate(nbytes)
            return np.frombuffer(mmap.mmap(file.fileno(), nbytes), np.uint8)

    def _temporary(self) -> IO[bytes]:
        return tempfile.TemporaryFile(prefix="quiver-", dir=self._directory)


class SpooledFile:
    """Written from start to end, then read as one view."""

    def __init__(
        self,
        memory_bytes: int,
        temporary: Callable[[], IO[bytes]],
        file: IO[bytes] | None = None,
        expected: int = 0,
    ) -> None:
        """A sequence in memory, or in `file`; `temporary` makes a file for what outgrows `memory_bytes`."""
        self._memory_bytes = memory_bytes
        self._temporary = temporary
        self._file = file
        self._memory = np.empty(expected + expected // _SLACK, np.uint8)
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append."""
        written = len(data)
        if self._file is None and self.size + written > self._memory_bytes:
            self._file = self._temporary()
            self._file.write(self._memory[: self.size].data)
            self._memory = np.empty(0, np.uint8)
        if self._file is not None:
            self._file.write(data)
        elif written:
            self._make_room(self.size + written)
            self._memory[self.size : self.size + written] = np.frombuffer(data, np.uint8)
        self.size += written
        return written

    def _make_room(self, nbytes: int) -> None:
        """In memory. Room that is not used takes none, and views of before keep what they show."""
        if nbytes > len(self._memory):
            room = _GROWTH * nbytes if nbytes < _MUCH else self._memory_bytes
            grown = np.empty(min(room, self._memory_bytes), np.uint8)
            grown[: self.size] = self._memory[: self.size]
            self._memory = grown

    def tell(self) -> int:
        """Bytes written."""
        return self.size

    def view(self) -> memoryview:
        """Everything written; the file can then be dropped."""
        if self._file is None:
            return self._memory[: self.size].data.toreadonly()
        self._file.flush()
        if not self.size:
            return memoryview(b"")
        return memoryview(mmap.mmap(self._file.fileno(), self.size, prot=mmap.PROT_READ))

    def take(self, numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
        """Some of the rows of `width` bytes, which are all that was written; shape (len(numbers), width).

        Of a file they are read: through a mapping, rows here and there would make much of the file resident.
        """
        if self._file is None:
            return self._memory[: self.size].reshape(-1, width)[numbers]
        self._file.flush()
        taken, file = np.empty((len(numbers), width), np.uint8), self._file.fileno()
        body = taken.reshape(-1).data
        for number, start in enumerate((numbers * width).tolist()):
            if os.preadv(file, [body[number * width : (number + 1) * width]], start) != width:
                raise OSError(errno.EIO, "a spooled file ended early")
        return taken
