"""How a reader sees the bytes of an object: whole, or as far as they have been fetched.

Readers are synchronous. Before a reader touches bytes it requires them. What the disk tier holds comes there and
then; bytes that have to be fetched end its work with MissingBytesError, which says all that it found missing.
Whoever runs the work fetches them and begins it again (`BlockCache.complete`), so that each wave of a search costs
one round of requests, however many they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from quiver.ann._kernels import Notes
    from quiver.storage.cache.cached_view import CachedView

    Places = NDArray[np.int64] | int

BLOCK = 1 << 16
"""Bytes that are fetched, kept and dropped together; the last block of an object is shorter."""


class Wanted(NamedTuple):
    """Blocks of an object, by number."""

    view: CachedView
    blocks: NDArray[np.int64]


class MissingBytesError(Exception):
    """Bytes have to be fetched first. Not an error of anybody's: the work has to be done again afterwards."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        super().__init__()
        self.wanted = list(wanted)


class ObjectView(ABC):
    """The bytes of one object.

    Attributes:
        data: all of them, read-only; only what was required may be looked at.
        stable: whether bytes stay once they are there, so that parts of `data` may be kept.
        notes: for kernels that touch bytes: what is used of the object. None when all bytes always are here.
    """

    data: memoryview
    stable: bool
    notes: Notes | None

    @abstractmethod
    def require(self, starts: Places, ends: Places) -> None:
        """Make sure of the ranges [start, end): two numbers, or two arrays of numbers, within the object.

        Raises MissingBytesError.
        """

    @abstractmethod
    def require_parts(self, bounds: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        """The same for the ranges [bounds[n], bounds[n + 1]) of some numbers n."""

    @abstractmethod
    def has(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
        """Whether the ranges are here, which may reach past the object; if so they stay until the work ends."""

    @abstractmethod
    def digest(self, start: int, end: int) -> int:
        """The xxh3 of a range that was required."""

    @abstractmethod
    def on_arrival(self, arrived: Callable[[NDArray[np.int64]], None]) -> None:
        """Have a function told which blocks came, perhaps not for the first time: they have to be verified. Those
        that are known to be what they were before they were dropped are left out."""


class WholeView(ObjectView):
    """An object in memory, or mapped."""

    stable = True
    notes = None

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = memoryview(data).toreadonly()

    def require(self, starts: Places, ends: Places) -> None:
        pass

    def require_parts(self, bounds: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        pass

    def has(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:  # noqa: ARG002
        return True

    def digest(self, start: int, end: int) -> int:
        return xxh3_64_intdigest(self.data[start:end])

    def on_arrival(self, arrived: Callable[[NDArray[np.int64]], None]) -> None:
        pass


class Missing:
    """Collects what several pieces of work lack, so that it is fetched in one wave."""

    def __init__(self) -> None:
        self._wanted: list[Wanted] = []

    def __enter__(self) -> None:
        """Begin a piece of work."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Swallow a MissingBytesError, and note it."""
        if not isinstance(error, MissingBytesError):
            return False
        self._wanted += error.wanted
        return True

    @property
    def any(self) -> bool:
        """Whether anything was missing."""
        return bool(self._wanted)

    def raise_any(self) -> None:
        """Raises MissingBytesError when anything was missing."""
        if self._wanted:
            raise MissingBytesError(self._wanted)


def covering(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int = BLOCK) -> NDArray[np.int64]:
    """Numbers of the blocks of some size that hold the non-empty ranges; a block may come several times."""
    firsts = starts // size
    counts = (ends - 1) // size - firsts + 1
    if (counts == 1).all():
        return firsts
    counts = np.maximum(counts, 0)
    skipped = np.cumsum(counts) - counts
    blocks: NDArray[np.int64] = np.repeat(firsts - skipped, counts) + np.arange(counts.sum())
    return blocks
