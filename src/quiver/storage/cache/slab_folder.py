"""The folder one process keeps its slabs in: locked while it is in use, found again by the next process."""

from __future__ import annotations

import itertools
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.objectstore.filesystem import Filesystem
from quiver.storage.cache.slab import Slab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"([0-7][0-9a-f]{15})-[0-9A-Za-z]{1,64}\.slab")
_TOKEN = re.compile(r"[0-9A-Za-z]{1,64}")


class SlabFolder:
    """Files named after their age and who made them; nothing else in the folder is touched."""

    def __init__(self, path: Path, token: str, lock: int) -> None:
        self._path = path
        self._token = token
        self._lock = lock
        self._next = 0

    @classmethod
    def take(cls, folder: Path, token: str) -> SlabFolder:
        """The first of the folders 0, 1, ... in `folder` that no other process has, made if need be.

        Args:
            folder: made if need be, for its owner alone.
            token: letters and digits that make the names of new files unlike any other process's, should the
                file system not keep locks.

        Raises: OSError when the folder cannot be used, ValueError for another token.
        """
        if not _TOKEN.fullmatch(token):
            raise ValueError("the token of a disk tier is 1 to 64 letters and digits")
        folder.mkdir(0o700, parents=True, exist_ok=True)
        for number in itertools.count():
            path = folder / str(number)
            path.mkdir(0o700, exist_ok=True)
            _check_own(path)
            with suppress(BlockingIOError):
                return cls(path, token, Filesystem().lock(str(path / "lock"), wait=False))
        raise AssertionError

    def slabs(self, largest: int, block_bytes: int) -> Iterator[Slab]:
        """The files that are there, the newest first; those without a block that can be read are deleted.

        Args:
            largest: bytes that the files may have together; those that do not fit are deleted.
            block_bytes: of a block.
        """
        names = sorted((entry.name for entry in self._path.iterdir() if _NAME.fullmatch(entry.name)), reverse=True)
        self._next = int(names[0][:16], 16) + 1 if names else 0
        for name in names:
            slab = self._load(self._path / name, largest, block_bytes)
            if slab is not None:
                largest -= slab.size
                yield slab

    def _load(self, path: Path, largest: int, block_bytes: int) -> Slab | None:
        with suppress(OSError):
            slab = Slab.load(path, block_bytes)
            if len(slab.entries) and slab.size <= largest:
                return slab
            slab.discard()
            slab.close()
            return None
        with suppress(OSError):
            path.unlink()
        return None

    def create(self) -> Slab:
        """A new file, younger than all others. Raises OSError."""
        slab = Slab.create(self._path / f"{self._next:016x}-{self._token}.slab")
        self._next += 1
        return slab

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)


def _check_own(path: Path) -> None:
    """Only what this user wrote is read: a checksum does not show a forgery."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a directory of the user that runs this process")
    if status.st_mode & 0o077:
        path.chmod(0o700)
