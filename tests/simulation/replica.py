"""What a scenario drives on each node: a small key-value face over the system under test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Answer(NamedTuple):
    """Values by key at one commit; keys that do not exist are left out."""

    values: Mapping[str, int]
    commit: int


class Replica(ABC):
    """One node's view. Values are batch ids: every key of a batch carries the id of its batch.

    Every method may raise what the engine contract names.
    """

    loads = False
    """Whether it can load."""
    lag: float | None = None
    """Seconds by which eventual reads may lag behind; None where there are none."""

    @abstractmethod
    async def put(self, keys: Sequence[str], value: int) -> int:
        """Write one batch; the commit number."""

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> int:
        """Remove keys; the commit number."""

    @abstractmethod
    async def get(self, keys: Sequence[str]) -> Answer:
        """Look keys up."""

    @abstractmethod
    async def list(self) -> Answer:
        """Everything, by listing."""

    @abstractmethod
    async def query(self, value_class: int | None, limit: int | None = None) -> Answer:
        """Everything (or all of one class, `value % CLASSES`), by a search whose ranking has been checked.

        With a limit, that many of them, or all when there are fewer.
        """

    async def glance(self, keys: Sequence[str], at_least: int) -> Answer:
        """Look keys up as of any commit within `lag`, but `at_least` or later. Only where `lag` is not None."""
        raise NotImplementedError

    async def load(self, keys: Sequence[str], value: int) -> None:
        """Write one batch without the log. Only where `loads` is true."""
        raise NotImplementedError

    async def put_absent(self, keys: Sequence[str], value: int) -> Mapping[str, int]:
        """Write the keys that do not exist; those, with the value. Only where there are conditional writes."""
        raise NotImplementedError

    async def rewrite(self, keys: Sequence[str], value: int) -> Mapping[str, int]:
        """Give the keys that exist another value; those, with the values that they had."""
        raise NotImplementedError

    @abstractmethod
    async def flush(self) -> None:
        """Move the log's tail into a checkpoint."""

    @abstractmethod
    async def compact(self) -> None:
        """Rewrite what is stored."""

    @abstractmethod
    async def collect_garbage(self) -> None:
        """Delete what nothing needs."""


CLASSES = 3
"""Queries filter by the class of a value: value % CLASSES."""
