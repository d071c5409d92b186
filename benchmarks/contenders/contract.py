"""The contract of a contender: build an index in a folder, open it, search it with each of its settings.

Building and serving happen in different processes (`benchmarks.contender_process`), so everything that searches
needs is in the folder. Row numbers are the ids.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np

    from benchmarks.datasets import Dataset
    from benchmarks.filters import Columns, Filter

Knob: TypeAlias = dict[str, Any]
"""Settings of a search, or of an index where a contender fixes them there."""


Address: TypeAlias = dict[str, Any]
"""How a client in another process finds a running server and its index: plain values."""


class Client(ABC):
    """One client of a running server, for one thread.

    Attributes:
        size: rows in a batch.
    """

    size: int

    @abstractmethod
    def make(self, part: range) -> Any:
        """What is sent for a run of the data set's rows, or what its own client makes that from."""

    @abstractmethod
    def send(self, made: Any) -> None:
        """Add what `make` made; returns when it was confirmed."""

    @abstractmethod
    def query(self, query: np.ndarray, k: int) -> list[int]:
        """Row numbers, nearest first."""


Search: TypeAlias = "Callable[[np.ndarray, int, Filter | None], list[int]]"
"""Query vector, k and filter to row numbers, nearest first. Used by one thread."""


class Contender(ABC):
    """One way to search, with the settings its makers recommend."""

    filters: ClassVar[bool] = True
    """Whether it can search with a filter."""

    settings: ClassVar[str]
    """What was chosen where there was a choice, for the report."""

    def __init__(self, data: Dataset, folder: Path, columns: Columns | None = None) -> None:
        self.data = data
        self.folder = folder
        self.columns = columns

    @abstractmethod
    def build(self) -> None:
        """Store and index every row, with the columns where there are any; on disk at the end."""

    def prepare(self, knobs: list[Knob]) -> None:  # noqa: B027 - most need nothing
        """Make whatever else these knobs need. Not part of what building costs."""

    @abstractmethod
    def open(self) -> None:
        """Open what was built."""

    @abstractmethod
    def knobs(self, k: int) -> list[Knob]:
        """Settings that trace the curve of recall against speed, by rising recall. May be asked before `open`."""

    @abstractmethod
    def usual(self, k: int) -> Knob:
        """The one setting that its documentation recommends or has as default."""

    @abstractmethod
    def use(self, knob: Knob) -> None:
        """Search with this setting from now on."""

    @abstractmethod
    def searcher(self) -> Search:
        """A search function for one thread."""

    def serving(self) -> AbstractContextManager[Address]:
        """A server with an empty index in the folder; only servers have it."""
        raise NotImplementedError

    def client(self, address: Address, *, bodies: bool) -> Client:
        """A client of the server; only servers have it.

        Args:
            bodies: `make` makes whole requests, so that `send` costs next to nothing but the server's work;
                otherwise its makers' client makes them in `send`.
        """
        raise NotImplementedError

    def progress(self, address: Address) -> dict[str, float]:  # noqa: ARG002 - most have nothing to tell
        """What the server has done in the background so far, by name; `busy` is not 0 while it does something."""
        return {}

    def pids(self) -> list[int]:
        """The processes whose memory serves the index."""
        return [os.getpid()]

    def disk_folder(self) -> Path:
        """What counts as its bytes on disk."""
        return self.folder

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """Release everything; stops a server it started."""


def batches(count: int, size: int) -> list[range]:
    """Row numbers in runs of at most `size`."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
