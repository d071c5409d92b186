"""Rows that may be among the nearest, with bounds of their scores, and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from quiver.model.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import DistanceMetric, Float32Matrix


class Source(Protocol):
    """Where candidate rows live: a segment, or a block of the tail."""

    def take_vectors(self, rows: NDArray[np.int64]) -> Float32Matrix: ...

    def distances(
        self, rows: NDArray[np.int64], query: NDArray[np.float32], metric: DistanceMetric
    ) -> NDArray[np.float32]: ...

    def keys_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]: ...

    def metadata_of(self, rows: Sequence[int]) -> list[bytes]: ...


class Candidates(Record, frozen=True):
    """Scored rows of one source.

    Attributes:
        rows: row numbers in the source, int64 of shape (n,).
        low, high: bounds of each row's score, float32 of shape (n,).
        exact: the distance of each row, float32 of shape (n,), where so few were scored that it was computed at
            once; or None.
    """

    source: Source
    rows: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    exact: NDArray[np.float32] | None = None

    def distances(self, query: NDArray[np.float32], metric: DistanceMetric) -> NDArray[np.float32]:
        """The distance of each row to the query, float32 of shape (n,)."""
        if self.exact is not None:
            return self.exact
        return self.source.distances(self.rows, query, metric)

    def keep(self, mask: NDArray[np.bool_]) -> Candidates:
        """Those that the mask marks."""
        kept = np.flatnonzero(mask)  # found once, not once for each array
        exact = None if self.exact is None else self.exact[kept]
        return Candidates(self.source, self.rows[kept], self.low[kept], self.high[kept], exact)

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
