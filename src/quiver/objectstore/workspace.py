"""The private directory in which one process of a local store writes objects before they get their name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quiver.objectstore.filesystem import Filesystem

AREA = ".tmp"
_LOCK = "lock"


class Workspace:
    """`<root>/.tmp/<id>/`, locked for as long as the process lives.

    A process that died leaves its directory unlocked; the next one to open a workspace removes it. All
    opening is serialised by a lock of the area, so a directory seen unlocked then is never just being made.
    """

    def __init__(self, filesystem: Filesystem, path: str, lock: int) -> None:
        self._filesystem = filesystem
        self._path = path
        self._lock = lock

    @classmethod
    def open(cls, filesystem: Filesystem, root: str, name: str) -> Workspace:
        """Clear what dead processes left and make this process's own directory. Raises: OSError."""
        area = f"{root}/{AREA}"
        with suppress(FileExistsError):
            filesystem.make_directory(area)
        gate = filesystem.lock(f"{area}/{_LOCK}", wait=True)
        try:
            for entry, is_directory in list(filesystem.scan(area)):
                if is_directory:
                    # What cannot be removed takes space but is never visible as an object.
                    with suppress(OSError):
                        _sweep(filesystem, f"{area}/{entry}")
            path = f"{area}/{name}"
            filesystem.make_directory(path)
            return cls(filesystem, path, filesystem.lock(f"{path}/{_LOCK}", wait=False))
        finally:
            _close(filesystem, gate)

    def path(self, name: str) -> str:
        """Where to write the temporary file `name`."""
        return f"{self._path}/{name}"

    def close(self) -> None:
        """Remove the directory and let go of the lock."""
        with suppress(OSError):
            _empty(self._filesystem, self._path)
        _close(self._filesystem, self._lock)


def _sweep(filesystem: Filesystem, path: str) -> None:
    """Remove another process's directory, unless that process lives."""
    try:
        lock = filesystem.lock(f"{path}/{_LOCK}", wait=False)
    except BlockingIOError:
        return
    try:
        _empty(filesystem, path)
    finally:
        _close(filesystem, lock)


def _empty(filesystem: Filesystem, path: str) -> None:
    names = [f"{path}/{name}" for name, _ in filesystem.scan(path) if name != _LOCK]
    # A second link means: named as an object, yet perhaps not durably. Readers go by the number of links
    # (LocalStore), so it has to be durable before the temporary name goes.
    if any(filesystem.status(name).st_nlink > 1 for name in names):
        filesystem.sync_all()
    for name in names:
        filesystem.unlink(name)
    filesystem.unlink(f"{path}/{_LOCK}")
    filesystem.remove_directory(path)


def _close(filesystem: Filesystem, fd: int) -> None:
    """Close a descriptor nothing was written through: a failure loses nothing."""
    with suppress(OSError):
        filesystem.close(fd)
