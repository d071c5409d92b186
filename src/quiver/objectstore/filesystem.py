"""The system calls a local store makes, one method each, so that tests can put a faulty disk underneath."""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING

from quiver.objectstore import _files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quiver.objectstore.store import Buffer

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Filesystem:
    """The operating system's file system. Every method raises OSError.

    Where a method takes `parent` (a directory's file descriptor), the name is looked up in that very
    directory: a name looked up by path may lead to another directory created there in the meantime.
    """

    def make_directory(self, name: str, parent: int | None = None) -> None:
        """Create a directory only its owner can enter."""
        os.mkdir(name, 0o700, dir_fd=parent)

    def open_directory(self, name: str, parent: int | None = None) -> int:
        """A descriptor of a directory, never of a symbolic link's target."""
        return os.open(name, _DIRECTORY, dir_fd=parent)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; atomic against creators of entries in it."""
        os.rmdir(path)  # noqa: PTH106 (this module is the system calls)

    def create(self, path: str) -> int:
        """Create a file that does not exist yet, for writing, readable by its owner alone."""
        return os.open(path, _CREATE, 0o600)

    def write(self, fd: int, buffers: Sequence[Buffer]) -> int:
        """Append buffers; returns the number of bytes taken, perhaps fewer than offered."""
        return os.writev(fd, buffers)

    def sync(self, fd: int) -> None:
        """Force a file's bytes, or a directory's entries, to the disk."""
        os.fsync(fd)

    def sync_all(self) -> None:
        """Force everything written so far to the disks."""
        os.sync()

    def close(self, fd: int) -> None:
        """Give the descriptor back; some file systems report a failed write only here."""
        os.close(fd)

    def link(self, path: str, name: str, parent: int) -> None:
        """Give a file a second name; FileExistsError when the name is taken."""
        os.link(path, name, dst_dir_fd=parent, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)  # noqa: PTH108 (this module is the system calls)

    def status(self, name: str, parent: int | None = None) -> os.stat_result:
        """What a name refers to, without following a symbolic link."""
        return os.stat(name, dir_fd=parent, follow_symlinks=False)

    def status_of(self, fd: int) -> os.stat_result:
        """What a descriptor refers to."""
        return os.fstat(fd)

    def is_absent(self, path: str) -> bool:
        """Whether nothing has this name, not even a symbolic link."""
        return _files.is_absent(path)

    def begins_with(self, path: str, head: Buffer) -> bool:
        """Whether there is a file of this name, and it begins with some bytes: `open`, `read`, `close`."""
        return _files.begins_with(path, head)

    def open(self, path: str) -> int:
        """A descriptor for reading; does not wait on pipes and does not follow a symbolic link."""
        return os.open(path, _READ)

    def read(self, fd: int, size: int, start: int) -> bytes:
        """Up to `size` bytes from `start`."""
        return os.pread(fd, size, start)

    def map(self, fd: int) -> mmap.mmap:
        """The whole of a non-empty file as read-only memory."""
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)

    def scan(self, path: str) -> Iterator[tuple[str, bool]]:
        """Name of each directory entry, and whether it is itself a directory."""
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name, entry.is_dir(follow_symlinks=False)

    def lock(self, path: str, *, wait: bool) -> int:
        """Create or open a file and lock it until the descriptor is closed or the process ends.

        Raises: BlockingIOError when another holds the lock and `wait` is false.
        """
        fd = os.open(path, _LOCK, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return fd
