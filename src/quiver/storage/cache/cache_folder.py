"""The folder one process keeps its files of blocks in: locked while it is in use, found again by the next one."""

from __future__ import annotations

import itertools
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.objectstore.filesystem import Filesystem
from quiver.storage.cache.object_file import ObjectFile, can_punch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{32}\.blocks")
_FORMER = re.compile(r"[0-7][0-9a-f]{15}-[0-9A-Za-z]{1,64}\.slab")  # of Quiver before files held one object each


class CacheFolder:
    """Files named after their objects; nothing else in the folder is touched, but for what older versions left."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock

    @classmethod
    def take(cls, folder: Path) -> CacheFolder:
        """The first of the folders 0, 1, ... in `folder` that no other process has, made if need be.

        Args:
            folder: made if need be, for its owner alone.

        Raises: OSError when the folder cannot be used.
        """
        folder.mkdir(0o700, parents=True, exist_ok=True)
        for number in itertools.count():
            path = folder / str(number)
            path.mkdir(0o700, exist_ok=True)
            _check_own(path)
            with suppress(BlockingIOError):
                lock = Filesystem().lock(str(path / "lock"), wait=False)
                if can_punch(lock):
                    return cls(path, lock)
                os.close(lock)
                raise OSError(f"the file system of {path} cannot make holes in files")
        raise AssertionError

    def files(self) -> Iterator[ObjectFile]:
        """The files that are there, those written last at the end; what cannot be read is deleted."""
        ages = []
        for entry in os.scandir(self._path):
            with suppress(OSError):
                if _FORMER.fullmatch(entry.name):
                    os.unlink(entry.path)  # noqa: PTH108 - there is no Path of it
                elif _NAME.fullmatch(entry.name):
                    ages.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        for _, name in sorted(ages):
            file = self._load(self._path / name)
            if file is not None:
                yield file

    def _load(self, path: Path) -> ObjectFile | None:
        with suppress(OSError):
            file = ObjectFile.load(path)
            if file is not None and path.name == _name_of(file.name):
                return file
        with suppress(OSError):
            path.unlink()
        return None

    def create(self, name: bytes, size: int) -> ObjectFile:
        """A file for an object that has none, in the place of what may be left of one. Raises OSError."""
        path = self._path / _name_of(name)
        path.unlink(missing_ok=True)
        return ObjectFile.create(path, name, size)

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)


def _name_of(name: bytes) -> str:
    return f"{name.hex()}.blocks"


def _check_own(path: Path) -> None:
    """Only what this user wrote is read: a checksum does not show a forgery."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a directory of the user that runs this process")
    if status.st_mode & 0o077:
        path.chmod(0o700)
