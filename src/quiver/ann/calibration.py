"""Calibration: how far a segment has to be searched for a recall, measured on rows of its own.

Some rows are held out as queries, and their true neighbours found by brute force. Three things follow:

* how many partitions, in the order of probing, hold a share t of the true R nearest;
* how many of the best codes within them hold a share t of those;
* the reach: in high dimensions the partition of a neighbour at distance r from the query lies at a squared
  distance of about r^2 + rho^2 + 2 z r rho from it, where rho is the partition's radius and z, the cosine between
  the way to the neighbour and the way from the centre to it, stays below a bound for a share t of all neighbours.
  So from the distance of the k-th nearest row found so far follows which other partitions can still hold a nearer
  one.
  Unlike the first table this holds for any filter that does not push the matches away from the query: a filter
  that keeps one row in a hundred makes the ten nearest matches as far as the thousand nearest rows.

The loss a recall allows is shared between partitions (_PROBE_SHARE) and codes.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
import numpy as np

from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from quiver.ann.codec import Scanner
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import Float32Matrix

QUERIES = 128
RANKS = (1, 10, 100, 1000)
TARGETS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
REACH_RANK = 10
"""The reach is measured, and has to be used, with the distance of this neighbour or a farther one: the first may
be a copy of the query, at no distance at all."""
_PROBE_SHARE = 0.7
_DEPTH_LIMIT = 4  # codes kept per row asked for, beyond _DEPTH_FLOOR, when depth is measured
_DEPTH_FLOOR = 400
_KEPT_COLUMNS = 64


class Neighbours(NamedTuple):
    """The true neighbours of each query, the nearest first.

    Attributes:
        rows: row numbers, int64 of shape (queries, n).
        squares: squared distances, float32 of the same shape.
    """

    rows: NDArray[np.int64]
    squares: NDArray[np.float32]


class _Tables(msgspec.Struct, frozen=True):
    """The tables as they are stored.

    Attributes:
        ranks, targets: what the tables are for: the R nearest, a share t of them.
        partitions: partitions to probe, [rank][target].
        depth: codes to keep, [rank][target].
        reach: the bound of z, [target].
    """

    ranks: list[int]
    targets: list[float]
    partitions: list[list[int]]
    depth: list[list[int]]
    reach: list[float]

    def check(self) -> None:
        """Raises CorruptObjectError."""
        tables = (self.partitions, self.depth)
        widths = {len(row) for table in tables for row in table} | {len(self.reach)}
        consistent = (
            self.ranks
            and self.targets
            and all(len(table) == len(self.ranks) for table in tables)
            and widths == {len(self.targets)}
            and sorted(set(self.ranks)) == self.ranks
            and sorted(set(self.targets)) == self.targets
            and min(self.ranks[0], *(number for table in tables for row in table for number in row)) >= 1
            and 0 <= self.targets[0] <= self.targets[-1] < 1
            and np.isfinite(self.reach).all()
        )
        if not consistent:
            raise CorruptObjectError("inconsistent calibration")


class Calibration:
    """The tables, interpolated in the logarithms of rank and loss; their ends hold beyond them."""

    def __init__(self, tables: _Tables) -> None:
        self.tables = tables
        self._ranks = [math.log(rank) for rank in tables.ranks]
        self._losses = [_loss(target) for target in tables.targets]
        self._columns: dict[float, tuple[list[float], list[float], float]] = {}

    def partitions_for(self, rank: float, recall: float) -> int:
        """How many partitions hold the `rank` nearest rows."""
        partitions, _, _ = self._column(recall)
        return math.ceil(_interpolate(math.log(max(rank, 1.0)), self._ranks, partitions))

    def depth_for(self, rank: float, recall: float) -> int:
        """How many codes to keep for the `rank` nearest rows; at least as many as rows are asked for."""
        _, depth, _ = self._column(recall)
        beyond = max(1.0, rank / self.tables.ranks[-1])
        return math.ceil(max(_interpolate(math.log(max(rank, 1.0)), self._ranks, depth) * beyond, rank))

    def reach_for(self, recall: float) -> float:
        """The bound of z."""
        return self._column(recall)[2]

    def _column(self, recall: float) -> tuple[list[float], list[float], float]:
        """Partitions and depth for every rank, and the reach; kept, because queries mostly ask for one recall."""
        found = self._columns.get(recall)
        if found is None:
            found = (
                [self._at(recall, row) for row in self.tables.partitions],
                [self._at(recall, row) for row in self.tables.depth],
                self._at(recall, self.tables.reach),
            )
            if len(self._columns) < _KEPT_COLUMNS:
                self._columns[recall] = found
        return found

    def _at(self, recall: float, row: Sequence[float]) -> float:
        return _interpolate(_loss(recall), self._losses, row)

    def encode(self) -> bytes:
        """The stored form."""
        return msgspec.msgpack.encode(self.tables)

    @classmethod
    def decode(cls, state: memoryview) -> Self:
        """Raises CorruptObjectError."""
        try:
            tables = msgspec.msgpack.decode(state, type=_Tables)
        except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors, as is text not in UTF-8
            raise CorruptObjectError(f"unreadable calibration: {error}") from None
        tables.check()
        return cls(tables)


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """As numpy.interp, many times quicker for one number."""
    place = bisect.bisect_right(xs, x)
    if place == 0 or place == len(xs):
        return float(ys[min(place, len(xs) - 1)])
    share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
    return float(ys[place - 1] + share * (ys[place] - ys[place - 1]))


def _loss(recall: float) -> float:
    return -math.log(max(1.0 - recall, 1e-6))


def find_neighbours(
    queries: Float32Matrix, own: NDArray[np.int64], parts: Iterable[tuple[int, Float32Matrix]], count: int
) -> Neighbours:
    """The `count` nearest rows of each query, by brute force in float32, without the query's own row.

    Args:
        own: the row number of each query.
        parts: all rows in search space, as (first row, rows).
    """
    norms = np.einsum("ij,ij->i", queries, queries)
    rows = np.zeros((len(queries), 0), np.int64)
    squares = np.zeros((len(queries), 0), np.float32)
    for first, part in parts:
        found = np.einsum("ij,ij->i", part, part) - 2 * (queries @ part.T) + norms[:, None]
        inside = np.flatnonzero((own >= first) & (own < first + len(part)))
        found[inside, own[inside] - first] = np.inf
        nearest = np.argpartition(found, min(count, len(part)) - 1, axis=1)[:, :count]
        squares = np.concatenate([squares, np.take_along_axis(found, nearest, 1)], axis=1)
        rows = np.concatenate([rows, nearest + first], axis=1)
        order = np.argsort(squares, axis=1, kind="stable")[:, :count]
        rows, squares = np.take_along_axis(rows, order, 1), np.take_along_axis(squares, order, 1)
    return Neighbours(rows, np.maximum(squares, 0))


def calibrate(
    queries: Float32Matrix,
    own: NDArray[np.int64],
    neighbours: Neighbours,
    partitioner: Partitioner,
    ends: NDArray[np.int64],
    radii: NDArray[np.float32],
    scanner: Scanner | None,
) -> Calibration:
    """Measure the tables.

    Args:
        own: the row number of each query.
        neighbours: as `find_neighbours` gives them, finite distances only.
        ends: the row after the last of each partition.
        scanner: None when the rows themselves are scanned.
    """
    ranks = [rank for rank in RANKS if rank <= neighbours.rows.shape[1]] or [1]
    holders = np.searchsorted(ends, neighbours.rows, "right")
    orders = [np.argsort(partitioner.rank(query), kind="stable") for query in queries]
    places = np.empty_like(holders)
    for number, order in enumerate(orders):
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        places[number] = place[holders[number]]
    partitions = [
        [int(np.quantile(places[:, :rank], _probe_target(target), method="higher")) + 1 for target in TARGETS]
        for rank in ranks
    ]
    depth = [
        _depths(queries, own, neighbours.rows[:, :rank], orders, partitions[number], scanner)
        for number, rank in enumerate(ranks)
    ]
    reach = _reach(queries, neighbours, holders, partitioner.origins, radii, ranks)
    return Calibration(_Tables(ranks, list(TARGETS), partitions, depth, reach))


def _probe_target(target: float) -> float:
    return 1 - (1 - target) * _PROBE_SHARE


def _depths(
    queries: Float32Matrix,
    own: NDArray[np.int64],
    true: NDArray[np.int64],
    orders: list[NDArray[np.int64]],
    partitions: list[int],
    scanner: Scanner | None,
) -> list[int]:
    """How many codes to keep, for each target, within the partitions of the highest."""
    rank = true.shape[1]
    if scanner is None:
        return [rank] * len(TARGETS)
    limit = _DEPTH_FLOOR + _DEPTH_LIMIT * rank
    positions = []
    for number, query in enumerate(queries):
        found = scanner.scan(query, orders[number][: partitions[-1]], limit).rows
        found = found[found != own[number]]
        order = np.argsort(found, kind="stable")
        at = np.minimum(np.searchsorted(found, true[number], sorter=order), max(len(found) - 1, 0))
        if len(found):
            hit = found[order[at]] == true[number]
            positions.append(order[at][hit])
    # Neighbours in partitions that are not probed are the other share of the loss.
    seen = np.concatenate([np.zeros(0, np.int64), *positions])
    if not len(seen):
        return [limit] * len(TARGETS)  # copies of one row: their codes are in no order
    targets = [1 - (1 - target) * (1 - _PROBE_SHARE) for target in TARGETS]
    return [max(rank, int(np.quantile(seen, target, method="higher")) + 2) for target in targets]


def _reach(
    queries: Float32Matrix,
    neighbours: Neighbours,
    holders: NDArray[np.int64],
    origins: Float32Matrix,
    radii: NDArray[np.float32],
    ranks: list[int],
) -> list[float]:
    """The bound of z for each target: the greatest over all ranks, as a filter at random would make them."""
    bounds = np.full(len(TARGETS), -1.0)
    ranks = [rank for rank in ranks if rank >= REACH_RANK] or ranks[-1:]
    gaps = np.stack([np.square(origins - query).sum(axis=1, dtype=np.float64) for query in queries])
    for rank in ranks:
        holder = holders[:, :rank]
        square = neighbours.squares[:, rank - 1 : rank].astype(np.float64)
        gap = np.take_along_axis(gaps, holder, axis=1)
        rho = radii[holder].astype(np.float64)
        z = (gap - square - np.square(rho)) / np.maximum(2 * np.sqrt(square) * rho, 1e-30)
        bounds = np.maximum(bounds, np.quantile(z, [_probe_target(target) for target in TARGETS]))
    return [float(bound) for bound in np.clip(bounds, -1.0, 1.0)]
