"""An object store in a directory of a local (or NFS) file system.

An object is written to a temporary file, forced to disk, given its name by link(2), which fails when the name
is taken, and the directory is forced to disk; only then the temporary name goes. So an object with a single
link is durable. A reader that meets one with two forces the directory itself before it answers: whatever any
process has seen survives a power cut, acknowledged or not.

A deletion is not forced to disk: after a power cut a deleted object may be back, like one the deletion never
got to, and callers have to cope with that anyway.
"""

from __future__ import annotations

import errno
import os
import stat
from asyncio import Lock
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from quiver.model.errors import StoreUnavailableError
from quiver.model.mapped import STEP, release
from quiver.objectstore.directories import Directories, Directory
from quiver.objectstore.filesystem import Filesystem
from quiver.objectstore.keys import SEGMENT, check_key, check_keys, check_prefix, check_range, range_end
from quiver.objectstore.store import (
    Buffer,
    MadeParts,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
)
from quiver.objectstore.workspace import Workspace

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from quiver.model.runtime import Runtime

READ_LIMIT = 256 * 1024
"""Objects up to this many bytes are read, on the event loop; larger ones are mapped."""

INLINE_ENTRIES = 256
"""A listing goes on in a worker thread after this many directory entries."""

_PATHS = 1024  # kept of keys that were checked: a few are asked for again and again
_BUFFERS_PER_WRITE = 1024  # IOV_MAX
_LINK_ATTEMPTS = 100  # others may delete the directory again each time, while it is empty
_ABSENT = (FileNotFoundError, NotADirectoryError)
_LINK_REFUSED = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    errno.EXDEV,
}


class LocalStore(ObjectStore):
    """Objects as files under a root directory, which is created (mode 0700) by the first put.

    No key may be a directory of another key ("a" and "a/b"). Opens and creates nothing before the first put,
    so a read-only root can be read.
    """

    resident = True

    def __init__(self, root: Path, runtime: Runtime, filesystem: Filesystem | None = None) -> None:
        self._root = str(root.resolve())
        self.url = f"file://{self._root}"
        self._runtime = runtime
        self._filesystem = filesystem or Filesystem()
        self._directories = Directories(self._filesystem, self._root)
        self._path = lru_cache(_PATHS)(partial(_path_of, self._root))
        self._workspace: Workspace | None = None
        self._opening = Lock()
        self._maps: WeakValueDictionary[tuple[int, int], mmap.mmap] = WeakValueDictionary()

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        workspace = self._workspace or await self._open_workspace()
        await self._runtime.offload(self._put, key, parts, workspace.path(self._runtime.new_id()))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        check_range(start, length)
        path = self._path(key)
        try:
            data, settled = self._read(path, start, length)
            if not settled:
                await self._runtime.offload(self._settle, {path.rpartition("/")[0]})
        except _ABSENT as error:
            raise ObjectNotFoundError(key) from error
        except (OSError, ValueError) as error:
            raise StoreUnavailableError(f"cannot read {key}: {error}") from error
        return data

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        """Whatever else is there is for the caller to read; the object itself was found to be durable before."""
        path, files = self._path, self._filesystem
        try:
            for each in absent:
                if not files.is_absent(path(each)):
                    return False
            return files.begins_with(path(key), head)
        except OSError as error:
            raise StoreUnavailableError(f"cannot tell whether {key} stands: {error}") from error

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        top = check_prefix(prefix).rpartition("/")[0]
        unsettled: set[str] = set()
        entries = self._walk(top, prefix, after, unsettled)
        try:
            found = list(islice(entries, INLINE_ENTRIES))
            if len(found) == INLINE_ENTRIES:
                found += await self._runtime.offload(list, entries)
            if unsettled:
                await self._runtime.offload(self._settle, unsettled)
        except OSError as error:
            raise StoreUnavailableError(f"cannot list {prefix}: {error}") from error
        return sorted(info for info in found if info is not None)

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            await self._runtime.offload(self._delete, check_keys(keys))
        except OSError as error:
            raise StoreUnavailableError(f"cannot delete: {error}") from error

    async def close(self) -> None:
        workspace, self._workspace = self._workspace, None
        self._directories.forget()
        if workspace is not None:
            await self._runtime.offload(workspace.close)

    async def _open_workspace(self) -> Workspace:
        async with self._opening:
            if self._workspace is None:
                try:
                    self._workspace = await self._runtime.offload(self._make_workspace, self._runtime.new_id())
                except OSError as error:
                    raise StoreRefusedError(f"cannot write to {self.url}: {error}") from error
            return self._workspace

    def _make_workspace(self, name: str) -> Workspace:
        self._directories.open("")
        return Workspace.open(self._filesystem, self._root, name)

    def _put(self, key: str, parts: Sequence[Buffer], temporary: str) -> None:
        """A whole put, in a worker thread. Whenever the outcome is unknown the temporary file stays."""
        try:
            self._write(temporary, parts)
            directory = self._link(temporary, key)
        except ObjectExistsError:
            self._discard(temporary)
            raise
        except OSError as error:
            self._discard(temporary)
            raise StoreRefusedError(f"cannot create {key}: {error}") from error
        try:
            self._filesystem.sync(directory.fd)
        except OSError as error:
            raise StoreUnavailableError(f"cannot tell whether {key} is durable: {error}") from error
        self._discard(temporary)

    def _write(self, path: str, parts: Sequence[Buffer]) -> None:
        fd = self._filesystem.create(path)
        try:
            together = 1 if isinstance(parts, MadeParts) else _BUFFERS_PER_WRITE
            rest = iter(parts)
            while taken := list(islice(rest, together)):
                for views in _portions(taken):
                    while views:
                        _drop(views, self._filesystem.write(fd, views))
            self._filesystem.sync(fd)
        except BaseException:
            with suppress(OSError):
                self._filesystem.close(fd)
            raise
        self._filesystem.close(fd)

    def _link(self, temporary: str, key: str) -> Directory:
        above, _, name = key.rpartition("/")
        for _ in range(_LINK_ATTEMPTS):
            try:
                directory = self._directories.open(above)
                self._link_in(temporary, name, directory, key)
            except FileNotFoundError:
                # A delete emptied and removed the directory meanwhile.
                self._directories.forget()
            else:
                return directory
        raise FileNotFoundError(errno.ENOENT, "its directory keeps disappearing")

    def _link_in(self, temporary: str, name: str, directory: Directory, key: str) -> None:
        """NFS may answer a link that was made with an error: what the name refers to decides."""
        try:
            self._filesystem.link(temporary, name, directory.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            if self._is_linked(temporary, name, directory, key):
                return
            if isinstance(error, FileExistsError):
                raise ObjectExistsError(key) from error
            if error.errno not in _LINK_REFUSED:
                raise StoreUnavailableError(f"cannot tell whether {key} was created: {error}") from error
            raise

    def _is_linked(self, temporary: str, name: str, directory: Directory, key: str) -> bool:
        try:
            mine = self._filesystem.status(temporary)
            return mine.st_nlink > 1 and os.path.samestat(mine, self._filesystem.status(name, directory.fd))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreUnavailableError(f"cannot tell whether {key} was created: {error}") from error

    def _discard(self, temporary: str) -> None:
        """What cannot be removed now goes with the workspace."""
        with suppress(OSError):
            self._filesystem.unlink(temporary)

    def _read(self, path: str, start: int, length: int | None) -> tuple[Buffer, bool]:
        """The bytes, and whether the object is known to be durable."""
        fd = self._filesystem.open(path)
        try:
            status = self._filesystem.status_of(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            end = range_end(start, length, status.st_size)
            return self._extract(fd, status, start, end), status.st_nlink == 1
        finally:
            self._filesystem.close(fd)

    def _extract(self, fd: int, status: os.stat_result, start: int, end: int) -> Buffer:
        if start >= end:
            return b""
        if status.st_size > READ_LIMIT:
            return memoryview(self._map(fd, status))[start:end]
        data = self._filesystem.read(fd, end - start, start)
        if len(data) != end - start:
            raise OSError(errno.EIO, "the file ended early")
        return data

    def _map(self, fd: int, status: os.stat_result) -> mmap.mmap:
        """One mapping, and so one file descriptor, per object however many ranges of it are in use.

        A mapping keeps its file open, so the inode number is not given to another file while it lives.
        """
        identity = (status.st_dev, status.st_ino)
        mapping = self._maps.get(identity)
        if mapping is None:
            mapping = self._maps[identity] = self._filesystem.map(fd)
        return mapping

    def _settle(self, directories: set[str]) -> None:
        """Make durable what a writer has named and perhaps not forced to disk yet."""
        for path in directories:
            with suppress(FileNotFoundError):
                self._directories.sync(path)

    def _walk(self, directory: str, prefix: str, after: str, unsettled: set[str]) -> Iterator[ObjectInfo | None]:
        """An item for each directory entry: the object, or None when there is none to list."""
        path = f"{self._root}/{directory}" if directory else self._root
        below = []
        with suppress(*_ABSENT):
            for name, is_directory in self._filesystem.scan(path):
                key = f"{directory}/{name}" if directory else name
                info = None
                if SEGMENT.fullmatch(name):
                    if is_directory:
                        below.append(key)
                    elif key.startswith(prefix) and key > after:
                        info = self._info(key, path, unsettled)
                yield info
        # Afterwards, so that one directory is open at a time.
        for key in below:
            if _may_hold(f"{key}/", prefix, after):
                yield from self._walk(key, prefix, after, unsettled)

    def _info(self, key: str, directory: str, unsettled: set[str]) -> ObjectInfo | None:
        try:
            status = self._filesystem.status(f"{self._root}/{key}")
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_nlink > 1:
            unsettled.add(directory)
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(*_ABSENT):
                self._filesystem.unlink(f"{self._root}/{key}")
        for directory in {key.rpartition("/")[0] for key in keys}:
            self._prune(directory)

    def _prune(self, directory: str) -> None:
        """Remove a directory that became empty, and those above it. A put that wanted it makes it again."""
        while directory:
            try:
                self._filesystem.remove_directory(f"{self._root}/{directory}")
            except OSError:
                return
            directory = directory.rpartition("/")[0]


def _path_of(root: str, key: str) -> str:
    """Where an object is. Raises: ValueError, when the key is malformed."""
    return f"{root}/{check_key(key)}"


def _portions(parts: Sequence[Buffer]) -> Iterator[list[memoryview]]:
    """The parts, those of mapped files piece by piece, each let go of when it has been written."""
    views = [view.cast("B") for part in parts if (view := memoryview(part)).nbytes]
    if sum(view.nbytes for view in views) <= STEP:
        yield views
        return
    for view in views:
        for start in range(0, view.nbytes, STEP):
            yield [view[start : start + STEP]]
            release(view, start, start + STEP)


def _drop(views: list[memoryview], count: int) -> None:
    """Take the first `count` bytes away from the front of the views."""
    if count <= 0:
        raise OSError(errno.EIO, "the file took no bytes")
    done = 0
    while done < len(views) and count >= views[done].nbytes:
        count -= views[done].nbytes
        done += 1
    del views[:done]
    if count:
        views[0] = views[0][count:]


def _may_hold(subtree: str, prefix: str, after: str) -> bool:
    """Whether any key that begins with `subtree` can begin with `prefix` and be greater than `after`."""
    on_path = subtree.startswith(prefix) or prefix.startswith(subtree)
    return on_path and (subtree > after or after.startswith(subtree))
