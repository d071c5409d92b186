"""One client operation on one key, as the checkers see it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

UNKNOWN = float("inf")
"""The end of an operation whose outcome its client never learned: it may take effect any time later, or never."""


class Kind(Enum):
    """What an operation does to its register."""

    PUT = "put"
    DELETE = "delete"
    GET = "get"
    CREATE = "create"
    """A put that was possible only because nothing was there."""
    DROP = "drop"
    """A delete that was possible only because something was there."""
    SWAP = "swap"
    """A put that was possible only because just that was there which its client was told."""
    EXISTS = "exists"
    """A look that tells that something is there, but not what."""

    @property
    def reads(self) -> bool:
        """Whether it leaves its register as it is."""
        return self in (Kind.GET, Kind.EXISTS)

    def possible(self, value: object, found: object) -> bool:
        """Whether the operation can take place on a register that holds `found`."""
        match self:
            case Kind.GET:
                return value == found
            case Kind.CREATE:
                return found is None
            case Kind.DROP | Kind.EXISTS | Kind.SWAP:
                return found is not None
            case _:
                return True


ANYTHING = object()
"""What a swap found whose client never learned it."""


class Operation(NamedTuple):
    """`value` is what a put wrote or a get returned; None is "not there".

    `commit` is the commit number the system claims the operation took place at; None where unknown. `found` is
    what a swap took the place of.
    """

    call: float
    end: float
    kind: Kind
    value: object = None
    key: str = ""
    commit: int | None = None
    found: object = None

    def possible(self, found: object) -> bool:
        """Whether it can take place on a register that holds `found`."""
        if self.kind is Kind.SWAP and self.found is not ANYTHING:
            return found == self.found
        return self.kind.possible(self.value, found)


class Violation(AssertionError):
    """A history, or a final state, that no correct system could have produced."""


def by_key(history: list[Operation]) -> dict[str, list[Operation]]:
    """The operations of each key; linearizability is a property of each key alone (Herlihy and Wing 1990)."""
    grouped: dict[str, list[Operation]] = {}
    for operation in history:
        grouped.setdefault(operation.key, []).append(operation)
    return grouped
