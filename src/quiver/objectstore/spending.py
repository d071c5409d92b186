"""What one piece of work asks of object stores, in requests as stores bill them.

Counted is what the work asked for itself, and what tasks asked that it started. Requests that several pieces of
work share, such as the replay of a log, count for the one that started them.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@dataclass(slots=True)
class Spent:
    """What one piece of work asked of object stores, in requests as stores bill them.

    Attributes:
        puts, gets: requests, also those that failed. An upload in parts is one put for each part and two more.
        lists, deletes: requests for up to 1,000 keys each.
        sent, received: bytes to and from stores.
        table_writes, table_reads: request units of a commit table, as DynamoDB bills them.
    """

    puts: int = 0
    gets: int = 0
    lists: int = 0
    deletes: int = 0
    sent: int = 0
    received: int = 0
    table_writes: float = 0.0
    table_reads: float = 0.0

    @property
    def requests(self) -> int:
        """All of them to object stores."""
        return self.puts + self.gets + self.lists + self.deletes

    def add(self, other: Spent) -> None:
        """Take what another account has into this one."""
        for field in fields(Spent):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


_SPENT: ContextVar[Spent | None] = ContextVar("spent", default=None)


class _Metering:
    """See `metered`."""

    __slots__ = ("_token",)

    def __enter__(self) -> Spent:
        spent = Spent()
        self._token = _SPENT.set(spent)
        return spent

    def __exit__(self, *_: object) -> None:
        _SPENT.reset(self._token)


def metered() -> AbstractContextManager[Spent]:
    """Count what is asked of metered stores within, and by tasks started within as long as they run."""
    return _Metering()


def tell(more: Spent) -> None:
    """Tell whoever counts of requests that a call of a store makes beside those its caller knows of."""
    spent = _SPENT.get()
    if spent is not None:
        spent.add(more)


def spending() -> Spent | None:
    """The account of the work under way; None when nobody counts."""
    return _SPENT.get()
