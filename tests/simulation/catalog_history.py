"""What clients of the catalog asked and were told, as `catalog_judge` judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from simulation.checkers.history import UNKNOWN

if TYPE_CHECKING:
    from simulation.checkers.history import Operation

Name = tuple[str, str]


class Read(NamedTuple):
    """What was seen of the vectors of an index: values by key, of the keys in `scope`, at a commit."""

    call: float
    end: float
    name: Name
    scope: tuple[str, ...]
    values: dict[str, int]
    commit: int
    dimension: int | None


class Write(NamedTuple):
    """An acknowledged put."""

    call: float
    end: float
    name: Name
    keys: tuple[str, ...]
    value: int
    commit: int


class Creation(NamedTuple):
    """An acknowledged creation of an index, or a look at it that showed what it was created with."""

    call: float
    end: float
    name: Name
    attempt: int
    dimension: int
    created: bool


class Deletion(NamedTuple):
    """An acknowledged deletion of an index."""

    call: float
    end: float
    name: Name


class Misfit(NamedTuple):
    """A refusal because the vectors have another dimension than the index."""

    call: float
    end: float
    name: Name
    dimension: int


@dataclass
class CatalogHistory:
    """Registers are "bucket", "bucket/index" and "bucket/index/key"; one operation may tell of several.

    Attributes:
        refused_attempts, refused_values: of creations and puts that were refused, so that nobody may see them.
    """

    operations: list[Operation] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    creations: list[Creation] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    refused_attempts: list[int] = field(default_factory=list)
    refused_values: list[int] = field(default_factory=list)
    values: int = 0
    requests: int = 0
    unknown: int = 0

    def new_value(self) -> int:
        self.values += 1
        return self.values


@dataclass
class Asked:
    """A request, and how it ended: with `body` and `commit`, with `error`, or (both None) unknown."""

    call: float
    end: float = UNKNOWN
    body: dict[str, Any] | None = None
    commit: int | None = None
    error: Exception | None = None
