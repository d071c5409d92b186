"""K-means partitions: a row belongs to its nearest centroid, a query probes the nearest centroids.

Rows of many dimensions are clustered along the directions in which they vary most; centroids are then means of
whole rows. What lies across those directions is averaged away in a mean, so that it hardly tells centroids apart:
on text embeddings and on images, inertia and the partitions that a recall takes came out as with whole rows.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.partitioner import Partitioner
from quiver.ann.partitioners.lloyd import (
    lloyd,
    means,
    nearest,
    nearest_points,
    neighbours,
    pick,
    pick_distinct,
    project,
    sketch,
    squared_distances,
)
from quiver.ann.partitioners.neighbourly import neighbourly
from quiver.ann.partitioners.principal import principal_directions
from quiver.ann.partitioners.state import StateReader
from quiver.ann.space import TAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.partitioners.lloyd import Sketch
    from quiver.model.types import Float32Matrix

# Recall of probing changes by less than its noise between 64 and 256 rows a partition and from 4 to 20
# iterations; inertia falls by another 1 % from 6 to 10. Three iterations over half of the rows and three over
# all do as well as six over all; with a quarter, text embeddings took 9 % more codes.
_ROWS_A_PARTITION = 64
_DIRECTIONS = 128
_DIRECTION_ROWS = 2048
_LEAST_ROWS = 16_384
_FEW = 32  # rows a partition
_COARSE_ITERATIONS = 3
_FINE_ITERATIONS = 3
_HALVING_ROWS = 4096
_HALVING_ITERATIONS = 8
_HEAVY = 4.0
"""Partitions over this many times the mean are divided."""
_ROUNDS = 4
_FAIR_SHARE = 1 / 8
"""Halves smaller than this bring the other half hardly nearer to the mean."""


class KMeans(Partitioner):
    """Balanced k-means. Rows and queries are tame (`space.is_tame`)."""

    name: ClassVar[str] = "kmeans"
    ranks_by_distance: ClassVar[bool] = True

    def __init__(self, origins: Float32Matrix) -> None:
        self.origins = origins

    @classmethod
    def train(cls, rows: Float32Matrix, count: int, seed: int, start: Float32Matrix | None = None) -> Self:
        rows = np.ascontiguousarray(pick(rows, max(_LEAST_ROWS, count * _ROWS_A_PARTITION), seed))
        warm = rows[:0] if start is None else _warm_start(start, count, seed)
        first = warm
        if len(warm) < count:
            first = np.concatenate([warm, pick_distinct(rows, count - len(warm), seed)])
        first = pick(first, len(rows), seed)
        known = len(warm) >= count / 2
        if rows.shape[1] < 2 * _DIRECTIONS:
            return cls._ordered(_clustered(rows, first, count, seed, known=known)[0])
        directions = principal_directions(pick(rows, _DIRECTION_ROWS, seed), _DIRECTIONS, seed)
        flat, first = project(rows, directions), project(first, directions)
        origins, assigned = _clustered(flat, first, count, seed, known=known)
        return cls._ordered(means(rows, assigned, len(origins)))

    @classmethod
    def _ordered(cls, origins: Float32Matrix) -> Self:
        return cls(origins[neighbourly(origins)].astype("<f4"))

    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        return nearest(rows, self.origins)

    def divide(self, partition: int, rows: Float32Matrix, seed: int) -> Self:
        rows = np.ascontiguousarray(pick(rows, _HALVING_ROWS, seed))
        first, second = _halves(rows, seed)
        divided = np.concatenate([self.origins, second[None]])
        divided[partition] = first
        return type(self)(divided.astype("<f4"))

    def side(self, first: int, second: int, rows: Float32Matrix) -> NDArray[np.bool_]:
        return np.equal(nearest(rows, self.origins[[first, second]]), 1)

    def rank(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Squared distances to the centroids."""
        return squared_distances(query, self.origins)

    def within(
        self, query: NDArray[np.float32], margin: float, usual: float = 0.0
    ) -> tuple[NDArray[np.int64], float]:
        numbers, least = nearest_points(query, self.origins, margin, usual, self._sketch)
        return numbers, math.sqrt(least)

    @cached_property
    def _sketch(self) -> Sketch | None:
        """Of the centroids, for queries: most are far away, and the bytes of many fit the processor's cache."""
        return sketch(self.origins)

    def encode(self) -> bytes:
        return np.array(self.origins.shape, "<i4").tobytes() + self.origins.tobytes()

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        reader = StateReader(state, cls.name)
        count, stored = reader.integers(2).tolist()
        if count < 1 or stored != dimension:
            raise reader.refusal(f"{count} centroids of dimension {stored}")
        origins = reader.floats(count, dimension)
        reader.end()
        return cls(origins)


def _warm_start(start: Float32Matrix, count: int, seed: int) -> Float32Matrix:
    """At most `count` first centroids from earlier ones: of too many, the centroids."""
    start = start[np.abs(start).max(axis=1) < TAME[1]]  # segments of wild rows have wild origins
    if len(start) > count:
        return lloyd(np.ascontiguousarray(start), pick_distinct(start, count, seed), _FINE_ITERATIONS)
    return start


def _clustered(
    rows: Float32Matrix, first: Float32Matrix, count: int, seed: int, *, known: bool
) -> tuple[Float32Matrix, NDArray[np.int32]]:
    """At most `count` balanced centroids from the first ones, and that of each row.

    Centroids move far in the first iterations, for which a part of the rows will do; not so if they are `known`.
    """
    if not known:
        first = lloyd(pick(rows, _FEW * count, seed), first, _COARSE_ITERATIONS)
    return _balanced(rows, lloyd(rows, first, _FINE_ITERATIONS), count, seed)


def _balanced(
    rows: Float32Matrix, origins: Float32Matrix, count: int, seed: int
) -> tuple[Float32Matrix, NDArray[np.int32]]:
    """At most `count` different centroids, all with rows: heavy ones divided, and others giving room to them.

    With the centroid of each row.
    """
    for _ in range(_ROUNDS):
        assigned = nearest(rows, origins)
        sizes = np.bincount(assigned, minlength=len(origins))
        mean = len(rows) / np.count_nonzero(sizes)
        kept, fresh = sizes > 0, [origins[:0]]
        for heavy in np.flatnonzero(sizes > _HEAVY * mean):
            parts = _parts(rows[assigned == heavy], int(sizes[heavy] / mean), seed)
            if len(parts) > 1:
                kept[heavy] = False
                fresh.append(parts)
        if len(fresh) == 1:
            return _those_with_rows(origins, assigned)
        room = max(0, count - sum(map(len, fresh)))
        origins = np.concatenate([_most_needed(origins[kept], sizes[kept], room), *fresh])
    return _those_with_rows(origins, nearest(rows, origins))


def _those_with_rows(
    origins: Float32Matrix, assigned: NDArray[np.int32]
) -> tuple[Float32Matrix, NDArray[np.int32]]:
    used, numbers = np.unique(assigned, return_inverse=True)
    return origins[used], numbers.astype(np.int32)


def _most_needed(origins: Float32Matrix, sizes: NDArray[np.int64], limit: int) -> Float32Matrix:
    """At most `limit` centroids: without those whose few rows are least far from another centroid."""
    if len(origins) <= limit:
        return origins
    farther = np.square(origins[neighbours(origins)] - origins).sum(axis=1, dtype=np.float64)
    needed: Float32Matrix = origins[np.sort(np.argsort(-farther * sizes, kind="stable")[:limit])]
    return needed


def _parts(rows: Float32Matrix, count: int, seed: int) -> Float32Matrix:
    """At most `count` centroids of some rows."""
    rows = np.ascontiguousarray(rows)
    return lloyd(rows, pick_distinct(rows, count, seed), _HALVING_ITERATIONS)


def _halves(rows: Float32Matrix, seed: int) -> Float32Matrix:
    """Two centroids, each with a fair share of the rows if some plane gives it; equal for equal rows."""
    pair = _parts(rows, 2, seed)
    if len(pair) < 2:
        return np.repeat(pair, 2, axis=0)
    share = _smaller_share(rows, pair)
    if share < _FAIR_SHARE:
        fairer = _medians(rows, pair)
        if _smaller_share(rows, fairer) > share:
            return fairer
    return pair


def _smaller_share(rows: Float32Matrix, pair: Float32Matrix) -> float:
    share = float(np.mean(nearest(rows, pair)))
    return min(share, 1 - share)


def _medians(rows: Float32Matrix, pair: Float32Matrix) -> Float32Matrix:
    """The middles of both halves of rows along the line between two centroids, outliers disregarded."""
    along = rows @ (pair[1] - pair[0])
    half = along > np.median(along)
    if not half.any():
        return pair
    return np.stack([np.median(rows[half == side], axis=0) for side in (False, True)]).astype(np.float32)
