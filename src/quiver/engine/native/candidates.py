"""Rows that may be among the nearest, with bounds of their scores, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class Source(Protocol):
    """Where candidate rows live: a segment, or a block of the tail."""

    def take_vectors(self, rows: NDArray[np.int64]) -> Float32Matrix: ...

    def key(self, row: int) -> str: ...

    def metadata_of(self, row: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Candidates:
    """Scored rows of one source.

    Attributes:
        rows: row numbers in the source, int64 of shape (n,).
        low, high: bounds of each row's score, float32 of shape (n,).
        taken: the vectors of the rows when they were read one by one, shape (n, dimension); None when they were
            scanned, so that few of them are worth keeping.
    """

    source: Source
    rows: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    taken: Float32Matrix | None = None

    @property
    def vectors(self) -> Float32Matrix:
        """The vectors of the rows, shape (n, dimension)."""
        return self.source.take_vectors(self.rows) if self.taken is None else self.taken

    def keep(self, mask: NDArray[np.bool_]) -> Candidates:
        """Those that the mask marks."""
        kept = np.flatnonzero(mask)  # found once, not once for each array
        taken = None if self.taken is None else self.taken[kept]
        return Candidates(self.source, self.rows[kept], self.low[kept], self.high[kept], taken)

    @staticmethod
    def join(parts: Sequence[Candidates]) -> Candidates:
        """All of one source; at least one part."""
        if len(parts) == 1:
            return parts[0]
        return Candidates(
            parts[0].source,
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.high for part in parts]),
        )
