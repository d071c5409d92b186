"""The directories of a local store that this process has made durable, kept open."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize

if TYPE_CHECKING:
    from quiver.objectstore.filesystem import Filesystem

CAPACITY = 256


class Directory:
    """An open directory; its descriptor is closed when the last user lets go of the object."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, filesystem: Filesystem, fd: int) -> None:
        self.fd = fd
        finalize(self, _release, filesystem, fd)


def _release(filesystem: Filesystem, fd: int) -> None:
    with suppress(OSError):
        filesystem.close(fd)


class Directories:
    """Opens directories under a root, creating them where absent; used from several worker threads.

    A directory is handed out once its own entry, and those of all above it up to the root, were forced to
    disk by this process: that it exists does not mean that whoever created it got that far. Holding it
    open makes the knowledge safe to keep: should the directory be removed and another take its name,
    creating an entry in the open one fails with FileNotFoundError.
    """

    def __init__(self, filesystem: Filesystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root
        self._open: OrderedDict[str, Directory] = OrderedDict()

    def open(self, path: str) -> Directory:
        """The directory at a path relative to the root ("" for the root). Raises: OSError."""
        known = self._open.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition("/")
        directory = self._enter(self.open(above), name) if name else self._open_root()
        self._open[path] = directory
        if len(self._open) > CAPACITY:
            with suppress(KeyError):
                self._open.popitem(last=False)
        return directory

    def sync(self, path: str) -> None:
        """Force the entries of a directory, by its absolute path, to disk. Raises: OSError."""
        fd = self._filesystem.open_directory(path)
        try:
            self._filesystem.sync(fd)
        finally:
            self._filesystem.close(fd)

    def forget(self) -> None:
        """Look everything up again: a directory was found to be removed."""
        self._open.clear()

    def _open_root(self) -> Directory:
        missing: list[str] = []
        path = Path(self._root)
        while True:
            try:
                directory = Directory(self._filesystem, self._filesystem.open_directory(str(path)))
                break
            except FileNotFoundError:
                missing.append(path.name)
                path = path.parent
        for above in path.parents:
            # Another process may have made these and died. Most are older, and some not ours to open.
            with suppress(OSError):
                self.sync(str(above))
        for name in reversed(missing):
            directory = self._enter(directory, name)
        return directory

    def _enter(self, parent: Directory, name: str) -> Directory:
        with suppress(FileExistsError):
            self._filesystem.make_directory(name, parent.fd)
        self._filesystem.sync(parent.fd)
        return Directory(self._filesystem, self._filesystem.open_directory(name, parent.fd))
