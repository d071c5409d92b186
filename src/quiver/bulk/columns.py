"""Which columns of a table hold what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_COLUMNS = ("key", "id")
VECTOR_COLUMNS = ("vector", "data")
METADATA_COLUMN = "metadata"


class Chosen(NamedTuple):
    """Columns of one table: metadata are either one column of documents, or one column for each field.

    Without a key, rows are keyed by their numbers.
    """

    key: str | None
    vector: str
    metadata: str | None
    fields: tuple[str, ...]

    @property
    def used(self) -> list[str]:
        """The columns that are read."""
        others = [self.metadata] if self.metadata else self.fields
        return [name for name in (self.key, self.vector, *others) if name is not None]


@dataclass(frozen=True, slots=True)
class Columns:
    """What a user says about columns.

    Attributes:
        key: the column of keys; None for "key", else "id".
        vector: the column of vectors; None for "vector", else "data".
        metadata: the column of whole documents, or the columns that become metadata fields by their names; None
            for the column "metadata", and without one for every column that is neither key nor vector.
        numbered: rows are keyed by their numbers, as those of a matrix are, and need no column of keys.
    """

    key: str | None = None
    vector: str | None = None
    metadata: str | Sequence[str] | None = None
    numbered: bool = False

    def choose(self, names: Sequence[str], origin: str = "") -> Chosen:
        """The columns of a table with these names. Raises ValidationError: one is missing or there twice."""
        place = f"{origin}: " if origin else ""
        for name in names:
            if names.count(name) > 1:
                raise ValidationError(f"{place}there is more than one column {name!r}")
        key = self._key(names, place)
        vector = _one_of(names, VECTOR_COLUMNS if self.vector is None else (self.vector,), place)
        if isinstance(self.metadata, str):
            return Chosen(key, vector, _one_of(names, (self.metadata,), place), ())
        if self.metadata is not None:
            return Chosen(key, vector, None, tuple(_one_of(names, (name,), place) for name in self.metadata))
        if METADATA_COLUMN in names and METADATA_COLUMN not in (key, vector):
            return Chosen(key, vector, METADATA_COLUMN, ())
        return Chosen(key, vector, None, tuple(name for name in names if name not in (key, vector)))

    def _key(self, names: Sequence[str], place: str) -> str | None:
        if self.numbered:
            return None
        return _one_of(names, KEY_COLUMNS if self.key is None else (self.key,), place)


def _one_of(names: Sequence[str], wanted: Sequence[str], place: str) -> str:
    for name in wanted:
        if name in names:
            return name
    raise ValidationError(f"{place}there is no column {' or '.join(map(repr, wanted))}")
