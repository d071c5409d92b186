"""Byte sequences too large to hold in memory: kept there while small, then in a file that has no name.

The file is unlinked as soon as it is opened, so that nothing is left behind when the process dies.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
MEMORY_BYTES = 64 << 20
"""A sequence up to this size stays in memory."""


def release(view: memoryview) -> None:
    """Let go of the pages of a mapped view, which stay in the page cache; nothing for a view of memory."""
    if isinstance(view.obj, mmap.mmap):
        view.obj.madvise(mmap.MADV_DONTNEED)


class Spool:
    """Makes byte sequences in a directory (None for the system's directory of temporary files)."""

    def __init__(self, directory: str | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes

    def open(self, expected: int) -> SpooledFile:
        """A file to write about `expected` bytes to."""
        return SpooledFile(self._temporary() if expected > self._memory_bytes else None)

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

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._parts: list[bytes] = []
        self.size = 0
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        """Append."""
        if self._file is None:
            self._parts.append(bytes(data))
        else:
            self._file.write(data)
        written = len(data)
        self.size += written
        return written

    def tell(self) -> int:
        """Bytes written."""
        return self.size

    def flush(self) -> None:
        """Nothing to do: `view` does it."""

    def close(self) -> None:
        """Nothing to do: the bytes are still wanted."""

    def writable(self) -> bool:
        """True."""
        return True

    def readable(self) -> bool:
        """False."""
        return False

    def seekable(self) -> bool:
        """False."""
        return False

    def view(self) -> memoryview:
        """Everything written; the file can then be dropped."""
        if self._file is None:
            self._parts = [b"".join(self._parts)]
            return memoryview(self._parts[0])
        self._file.flush()
        if not self.size:
            return memoryview(b"")
        return memoryview(mmap.mmap(self._file.fileno(), self.size, prot=mmap.PROT_READ))
