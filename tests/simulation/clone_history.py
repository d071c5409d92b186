"""What clients asked of snapshots and clones, and were told, as `clone_judge` judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from simulation.catalog_history import CatalogHistory

if TYPE_CHECKING:
    from simulation.catalog_history import Name


class Taken(NamedTuple):
    """An acknowledged snapshot."""

    call: float
    end: float
    name: Name
    snapshot: str
    commit: int


class Seen(NamedTuple):
    """Whether a snapshot was there, as an answer between `call` and `end` told; `gone_then` after a deletion."""

    call: float
    end: float
    name: Name
    snapshot: str
    there: bool
    gone_then: bool = False


class Missed(NamedTuple):
    """An answer between `call` and `end` that there is no index of a name."""

    call: float
    end: float
    name: Name


class Cloned(NamedTuple):
    """An acknowledged clone."""

    call: float
    end: float
    name: Name
    snapshot: str | None
    target: Name
    commit: int


@dataclass
class CloneHistory(CatalogHistory):
    """The same, with snapshots and clones."""

    taken: list[Taken] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    clones: list[Cloned] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
