"""A file system in memory that knows what has reached the disk, and a wrapper that makes its calls fail."""

from __future__ import annotations

import errno
import mmap
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from quiver.model.runtime import SystemRuntime

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

BLOCK = 512


class InlineRuntime(SystemRuntime):
    """Runs offloaded work at once, so that calls come in one order, and counts ids instead of drawing them."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self._ids = 0

    async def offload(self, function, /, *args, **kwargs):
        return function(*args, **kwargs)

    def new_id(self) -> str:
        self._ids += 1
        return f"{id(self):x}{self._ids:x}"


class File:
    def __init__(self, number: int, data: bytes = b"") -> None:
        self.number = number
        self.data = data
        self.durable = data
        self.links = 0

    def after_power_loss(self, number: int, chance: random.Random) -> File:
        """What was forced to disk; of the rest any beginning, perhaps with blocks that were never written."""
        kept = chance.choice([len(self.durable), len(self.data), chance.randint(0, len(self.data))])
        data = bytearray(self.data[: max(kept, len(self.durable))])
        for start in range(len(self.durable), len(data), BLOCK):
            if chance.random() < 0.2:
                data[start : start + BLOCK] = bytes(len(data[start : start + BLOCK]))
        return File(number, bytes(data))


class Folder:
    def __init__(self, number: int) -> None:
        self.number = number
        self.links = 0
        self.entries: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.pending: list[tuple[str, File | Folder | None]] = []

    def set(self, name: str, node: File | Folder | None) -> None:
        old = self.entries.pop(name, None)
        if old is not None:
            old.links -= 1
        if node is not None:
            self.entries[name] = node
            node.links += 1
        self.pending.append((name, node))

    def sync(self) -> None:
        self.durable = dict(self.entries)
        self.pending = []

    def names_after_power_loss(self, chance: random.Random) -> dict[str, File | Folder]:
        """What was forced to disk, and any of the changes since."""
        names = dict(self.durable)
        likely = chance.choice([0.0, 0.5, 0.5, 1.0])
        for name, node in self.pending:
            if chance.random() < likely:
                names.pop(name, None)
                if node is not None:
                    names[name] = node
        return names


class SimulatedFilesystem:
    """The methods of `Filesystem`, on a tree in memory. `power_loss` gives a tree that could be left."""

    def __init__(self) -> None:
        self._numbers = 0
        self.root = Folder(0)
        self._open: dict[int, File | Folder] = {}
        self._locks: dict[int, int] = {}
        self._next_fd = 100

    def power_loss(self, chance: random.Random) -> SimulatedFilesystem:
        after = SimulatedFilesystem()
        copies: dict[int, File | Folder] = {}

        def copy(node: File | Folder) -> File | Folder:
            if node.number not in copies:
                after._numbers = max(after._numbers, node.number)
                if isinstance(node, File):
                    copies[node.number] = node.after_power_loss(node.number, chance)
                else:
                    folder = copies[node.number] = Folder(node.number)
                    for name, entry in node.names_after_power_loss(chance).items():
                        folder.set(name, copy(entry))
                    folder.sync()
            return copies[node.number]

        root = copy(self.root)
        assert isinstance(root, Folder)
        after.root = root
        return after

    def kill_processes(self) -> None:
        """All descriptors and locks go; what was written stays."""
        self._open.clear()
        self._locks.clear()

    def make_directory(self, name: str, parent: int | None = None) -> None:
        folder, last = self._place(name, parent)
        if last in folder.entries:
            raise FileExistsError(errno.EEXIST, name)
        folder.set(last, Folder(self._number()))

    def open_directory(self, name: str, parent: int | None = None) -> int:
        node = self._find(name, parent)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, name)
        return self._descriptor(node)

    def remove_directory(self, path: str) -> None:
        folder, last = self._place(path)
        node = self._find(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, path)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, path)
        folder.set(last, None)

    def create(self, path: str) -> int:
        folder, last = self._place(path)
        if last in folder.entries:
            raise FileExistsError(errno.EEXIST, path)
        node = File(self._number())
        folder.set(last, node)
        return self._descriptor(node)

    def write(self, fd: int, buffers: Any) -> int:
        node = self._open[fd]
        assert isinstance(node, File)
        data = b"".join(buffers)
        node.data += data
        return len(data)

    def sync(self, fd: int) -> None:
        node = self._open[fd]
        if isinstance(node, File):
            node.durable = node.data
        else:
            node.sync()

    def sync_all(self) -> None:
        folders = [self.root]
        while folders:
            folder = folders.pop()
            folder.sync()
            for node in folder.entries.values():
                if isinstance(node, Folder):
                    folders.append(node)
                else:
                    node.durable = node.data

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)
        for number, holder in list(self._locks.items()):
            if holder == fd:
                del self._locks[number]

    def link(self, path: str, name: str, parent: int) -> None:
        node = self._find(path)
        folder, last = self._place(name, parent)
        if last in folder.entries:
            raise FileExistsError(errno.EEXIST, name)
        folder.set(last, node)

    def unlink(self, path: str) -> None:
        folder, last = self._place(path)
        if isinstance(self._find(path), Folder):
            raise IsADirectoryError(errno.EISDIR, path)
        folder.set(last, None)

    def status(self, name: str, parent: int | None = None) -> Any:
        return self._status(self._find(name, parent))

    def status_of(self, fd: int) -> Any:
        return self._status(self._open[fd])

    def is_absent(self, path: str) -> bool:
        try:
            self._find(path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return False

    def begins_with(self, path: str, head: bytes) -> bool:
        if self.is_absent(path):
            return False
        node = self._find(path)
        return isinstance(node, File) and node.data.startswith(head)

    def open(self, path: str) -> int:
        return self._descriptor(self._find(path))

    def read(self, fd: int, size: int, start: int) -> bytes:
        node = self._open[fd]
        assert isinstance(node, File)
        return node.data[start : start + size]

    def map(self, fd: int) -> mmap.mmap:
        node = self._open[fd]
        assert isinstance(node, File)
        mapping = mmap.mmap(-1, len(node.data))
        mapping[:] = node.data
        return mapping

    def scan(self, path: str) -> Iterator[tuple[str, bool]]:
        node = self._find(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, path)
        for name, entry in list(node.entries.items()):
            yield name, isinstance(entry, Folder)

    def lock(self, path: str, *, wait: bool) -> int:
        folder, last = self._place(path)
        if last not in folder.entries:
            folder.set(last, File(self._number()))
        node = folder.entries[last]
        if node.number in self._locks:
            assert not wait, "a single thread waits for itself"
            raise BlockingIOError(errno.EWOULDBLOCK, path)
        fd = self._descriptor(node)
        self._locks[node.number] = fd
        return fd

    def is_directory(self, fd: int) -> bool:
        return isinstance(self._open[fd], Folder)

    def _status(self, node: File | Folder) -> Any:
        folder = isinstance(node, Folder)
        return SimpleNamespace(
            st_mode=stat.S_IFDIR if folder else stat.S_IFREG,
            st_nlink=node.links,
            st_size=0 if folder else len(node.data),
            st_mtime=0.0,
            st_dev=1,
            st_ino=node.number,
        )

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _descriptor(self, node: File | Folder) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = node
        return self._next_fd

    def _place(self, name: str, parent: int | None = None) -> tuple[Folder, str]:
        above, _, last = name.rpartition("/")
        node = self._find(above, parent)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, name)
        if node is not self.root and node.links == 0:
            raise FileNotFoundError(errno.ENOENT, name)
        return node, last

    def _find(self, name: str, parent: int | None = None) -> File | Folder:
        node = self.root if parent is None else self._open[parent]
        for step in filter(None, name.split("/")):
            if not isinstance(node, Folder):
                raise NotADirectoryError(errno.ENOTDIR, name)
            if step not in node.entries:
                raise FileNotFoundError(errno.ENOENT, name)
            node = node.entries[step]
        return node


class Intercepted:
    """Another file system with `hook(name, call)` around each of its calls."""

    def __init__(self, inner: Any, hook: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]) -> None:
        self._inner = inner
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        def intercepted(*args: Any, **kwargs: Any) -> Any:
            return self._hook(name, lambda *given: call(*(given or args), **kwargs), args)

        return intercepted
