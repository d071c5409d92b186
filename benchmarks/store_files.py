"""The objects of the benchmarks' S3 server: files below a folder, `bucket/key`, created whole or not at all."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".unfinished"
"""Where bodies are written until they are whole; never listed, as nothing whose name begins with a dot."""


class TakenError(Exception):
    """The key exists, and was to be created."""


class Info(NamedTuple):
    """One object as listed; `modified` in seconds since the epoch."""

    key: str
    size: int
    modified: float
    etag: str


class Page(NamedTuple):
    """A part of a listing; `token` is where the next one begins, None after the last."""

    objects: list[Info]
    prefixes: list[str]
    token: str | None


class Body:
    """A body on its way to become an object; `finish` or `discard` it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)

    def finish(self, target: Path, *, new: bool) -> str:
        """Give it its name, and return its tag. Raises TakenError when it had to be `new` and is not."""
        self._file.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if new:
                os.link(self.path, target)
                self.path.unlink()
            else:
                self.path.replace(target)
        except FileExistsError:
            self.path.unlink()
            raise TakenError from None
        return tag(target.stat())

    def discard(self) -> None:
        """Forget it."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Files:
    """All buckets. No key may be a directory of another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._area = folder / UNFINISHED
        shutil.rmtree(self._area, ignore_errors=True)
        self._area.mkdir(parents=True)
        self._numbers = itertools.count()

    def path(self, bucket: str, key: str) -> Path:
        """Where an object is. Raises ValueError for a key that cannot be a path."""
        for name in (bucket, *key.split("/")):
            if not name or name.startswith(".") or "\0" in name:
                raise ValueError(f"{bucket}/{key} cannot be a path")
        return self.folder / bucket / key

    def begin(self) -> Body:
        """A new body."""
        return Body(self._area / f"body-{next(self._numbers)}")

    def delete(self, bucket: str, key: str) -> None:
        """Also one that is not there."""
        self.path(bucket, key).unlink(missing_ok=True)

    # ---------------------------------------------------------------- multipart uploads

    def begin_upload(self) -> str:
        """The id of a new one."""
        name = f"upload-{next(self._numbers)}"
        (self._area / name).mkdir()
        return name

    def part(self, upload: str, number: int) -> Path:
        """Where a part is. Raises FileNotFoundError when there is no such upload."""
        folder = self._area / upload
        if not re.fullmatch(r"upload-\d+", upload) or not folder.is_dir():
            raise FileNotFoundError(upload)
        return folder / str(number)

    async def complete(self, upload: str, numbers: list[int], target: Path, *, new: bool) -> str:
        """Make an object of parts; its tag. Raises TakenError, FileNotFoundError."""
        paths = [self.part(upload, number) for number in numbers]
        body = self.begin()
        await asyncio.to_thread(_join, paths, body.path)
        made = body.finish(target, new=new)
        self.abort(upload)
        return made

    def abort(self, upload: str) -> None:
        """Forget the parts."""
        shutil.rmtree(self.part(upload, 0).parent)

    # ---------------------------------------------------------------- listing

    def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """A page in the order of the keys' bytes.

        Args:
            after: a key, or a prefix as `delimiter` makes them; what follows it is listed.
        """
        objects: list[Info] = []
        prefixes: list[str] = []
        last = ""
        for key in sorted(self._keys(bucket, prefix)):
            group = _group(key, prefix, delimiter)
            if key <= after or (after and group == after) or (group and group == last):
                continue
            if len(objects) + len(prefixes) == limit:
                return Page(objects, prefixes, last)
            last = group or key
            if group:
                prefixes.append(group)
            else:
                status = self.path(bucket, key).stat()
                objects.append(Info(key, status.st_size, status.st_mtime, tag(status)))
        return Page(objects, prefixes, None)

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        top = self.folder / bucket
        start = top / prefix.rpartition("/")[0]
        for folder, folders, names in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            above = Path(folder).relative_to(top).as_posix()
            keys = (name if above == "." else f"{above}/{name}" for name in names if not name.startswith("."))
            yield from (key for key in keys if key.startswith(prefix))


def tag(status: os.stat_result) -> str:
    """What stands for the contents of a file."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def _group(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that a key is listed under; "" when it is listed itself."""
    if not delimiter or (end := key.find(delimiter, len(prefix))) < 0:
        return ""
    return key[: end + len(delimiter)]


def _join(parts: list[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, joined, 1 << 20)
