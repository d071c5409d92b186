"""The contract of a commit table: a small, strongly consistent table of names with a conditional create.

It decides which objects of a `CommitStore` exist. Two spaces of names lie side by side: `OBJECTS`, what the store
holds, and `UPLOADS`, bodies on their way to the bucket that no object names yet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECTS = "objects"
UPLOADS = "uploads"


@dataclass(frozen=True, slots=True)
class Item:
    """One name that exists.

    Attributes:
        name: the object's key; of an upload, its token.
        token: 32 hexadecimal digits, new for each attempt to create: tells one's own item from another's.
        size: bytes of the body.
        modified: seconds since the epoch by the table's clock.
        body: the bytes, when they are kept in the table; None when they lie in the bucket, under the token.
        leaving: its removal has begun: it is not read any more, and its name is not free yet.
    """

    name: str
    token: str
    size: int
    modified: float
    body: bytes | None = None
    leaving: bool = False


class CommitTable(ABC):
    """Every answer reflects all changes that were answered before the call. Nothing ever expires.

    All methods raise StoreUnavailableError when it is not known whether the call was applied, and
    StoreRefusedError when it was not and never will be.
    """

    @abstractmethod
    async def now(self) -> float:
        """The table's clock, seconds since the epoch; what `Item.modified` is taken from."""

    @abstractmethod
    async def create(self, item: Item) -> Item | None:
        """Create an object's item if its name is free; None when it was, else the item that has the name."""

    @abstractmethod
    async def announce(self, upload: Item) -> None:
        """Create the item of an upload, in place of an earlier one of the same name."""

    @abstractmethod
    async def renew(self, upload: Item) -> bool:
        """Give the item of an upload a new time; False, and no change, when it is gone or leaving."""

    @abstractmethod
    async def publish(self, item: Item) -> Item | None:
        """In one step, create the object's item and remove the upload named after its token.

        Neither happens when the name is taken: the item that has it is the answer. Neither happens when the
        upload is gone or leaving. Raises StoreUnavailableError for that, too: what was uploaded is lost.
        """

    @abstractmethod
    async def read(self, name: str) -> Item | None:
        """An object's item with its body, also one that is leaving; None when there is none."""

    @abstractmethod
    async def list(self, space: str, prefix: str, after: str = "") -> Sequence[Item]:
        """Every item whose name starts with `prefix` and is greater than `after`, sorted by name; no bodies."""

    @abstractmethod
    async def begin_removal(self, space: str, name: str) -> Item | None:
        """Remove an item with its body in the table at once, or mark one whose body lies in the bucket as leaving.

        The marked item is the answer; None when nothing has the name any more.
        """

    @abstractmethod
    async def finish_removal(self, space: str, item: Item) -> None:
        """Remove an item, if its name still has the same token."""

    async def close(self) -> None:
        """Release connections."""
        return
