"""Calibration: how far a segment has to be searched for a recall, measured on rows of its own.

Some rows are held out as queries, and their true neighbours found by brute force. Three things follow:

* the margin: a share t of the true R nearest is in partitions that rank at most so much behind the first. An easy
  query has few of those and a hard one many, so that fewer are probed than if each query probed equally many;
* how many of the best codes within them hold a share t of those;
* the reach: in high dimensions the partition of a neighbour at distance r from the query lies at a squared
  distance of about r^2 + rho^2 + 2 z r rho from it, where rho is the partition's radius and z, the cosine between
  the way to the neighbour and the way from the centre to it, stays below a bound for a share t of all neighbours.
  So from the distance of the k-th nearest row found so far follows which other partitions can still hold a nearer
  one.
  Unlike the margin this holds for any filter that does not push the matches away from the query: a filter
  that keeps one row in a hundred makes the ten nearest matches as far as the thousand nearest rows;
* the error: by how much codes overestimate the squared distance of a neighbour, compared with that of the k-th
  nearest, in units of the query's distance from the nearest origin. A share t of all neighbours stays below a
  bound. Rows ask from where rows are, and users often from elsewhere. The estimate of an offset's product with a
  row errs in proportion to the offset, so the bound holds there as well, where the number of codes does not. For
  the same reason the margin grows with the distance, from where it is longer than nine in ten of the rows' are.

The loss a recall allows is shared between partitions (_PROBE_SHARE) and codes.
"""

from __future__ import annotations

import bisect
import math
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
import numpy as np

from quiver.model.errors import CorruptObjectError
from quiver.model.threads import on_every_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
_DEEP = 100
_DEEP_QUERIES = 32  # are asked for more neighbours than that, when depth is measured: they have many each
_KEPT_COLUMNS = 64
_BLOCK_BYTES = 1 << 20  # of rows: what is computed from so many stays near the processor
_GROUPS = 2  # of queries, which are looked after at once
_TINY = 1e-30
_USUAL = 0.9


class Neighbours(NamedTuple):
    """The true neighbours of each query, the nearest first.

    Attributes:
        rows: row numbers, int64 of shape (queries, n).
        squares: squared distances, float32 of the same shape.
    """

    rows: NDArray[np.int64]
    squares: NDArray[np.float32]


class _Way(NamedTuple):
    """A query and the way it probes: `order` of the partitions, and the `place` of each in it.

    Attributes:
        own: the query's own row number.
    """

    query: NDArray[np.float32]
    own: int
    order: NDArray[np.int64]
    place: NDArray[np.int64]


class _Seen(NamedTuple):
    """Neighbours among the codes of a scan: at which place each is, and the error of its code."""

    positions: NDArray[np.int64]
    errors: NDArray[np.float64]


class _Tables(msgspec.Struct, frozen=True):
    """The tables as they are stored.

    Attributes:
        ranks, targets: what the tables are for: the R nearest, a share t of them.
        partitions: partitions to probe, [rank][target]: on average, where there are margins.
        depth: codes to keep, [rank][target].
        reach: the bound of z, [target].
        margins: how far behind the first a partition may rank, [rank][target]; none in older segments.
        errors: the bound of the codes' error, [rank][target]; none in older segments, or where rows are scanned.
        away: how far nine in ten queries are from the nearest origin, at most; 0 in older segments.
    """

    ranks: list[int]
    targets: list[float]
    partitions: list[list[int]]
    depth: list[list[int]]
    reach: list[float]
    margins: list[list[float]] = []
    errors: list[list[float]] = []
    away: float = 0.0

    def check(self) -> None:
        """Raises CorruptObjectError."""
        counts: list[Sequence[Sequence[float]]] = [self.partitions, self.depth]
        tables = [*counts, *(table for table in (self.margins, self.errors) if table)]
        widths = {len(row) for table in tables for row in table} | {len(self.reach)}
        consistent = (
            self.ranks
            and self.targets
            and all(len(table) == len(self.ranks) for table in tables)
            and widths == {len(self.targets)}
            and sorted(set(self.ranks)) == self.ranks
            and sorted(set(self.targets)) == self.targets
            and min(self.ranks[0], *(number for table in counts for row in table for number in row)) >= 1
            and 0 <= self.targets[0] <= self.targets[-1] < 1
            and np.isfinite(self.reach).all()
            and all(np.isfinite(row).all() and min(row) >= 0 for row in (*self.margins, *self.errors, [self.away]))
        )
        if not consistent:
            raise CorruptObjectError("inconsistent calibration")


class _Column(NamedTuple):
    """What the tables say for one target: partitions, depth, margins and errors by rank, and the reach."""

    partitions: list[float]
    depth: list[float]
    margins: list[float]
    errors: list[float]
    reach: float


class Calibration:
    """The tables, interpolated in the logarithms of rank and loss; their ends hold beyond them."""

    def __init__(self, tables: _Tables) -> None:
        self.tables = tables
        self._ranks = [math.log(rank) for rank in tables.ranks]
        self._losses = [_loss(target) for target in tables.targets]
        self._columns: dict[float, _Column] = {}

    def partitions_for(self, rank: float, recall: float) -> int:
        """How many partitions hold the `rank` nearest rows, on average."""
        partitions = self._column(recall).partitions
        return math.ceil(_interpolate(math.log(max(rank, 1.0)), self._ranks, partitions))

    @property
    def usual(self) -> float:
        """How far from the nearest origin queries are that are as calibration's own; 0 if not measured."""
        return self.tables.away

    def margin_for(self, rank: float, recall: float) -> float | None:
        """How far behind the first the partitions rank that hold the `rank` nearest rows; None if not measured."""
        margins = self._column(recall).margins
        return _interpolate(math.log(max(rank, 1.0)), self._ranks, margins) if margins else None

    def depth_for(self, rank: float, recall: float) -> int:
        """How many codes to keep for the `rank` nearest rows; at least as many as rows are asked for."""
        depth = self._column(recall).depth
        beyond = max(1.0, rank / self.tables.ranks[-1])
        return math.ceil(max(_interpolate(math.log(max(rank, 1.0)), self._ranks, depth) * beyond, rank))

    def reach_for(self, recall: float) -> float:
        """The bound of z."""
        return self._column(recall).reach

    def error_for(self, rank: float, recall: float) -> float | None:
        """The bound of the codes' error for the `rank` nearest rows, a length; None if not measured."""
        errors = self._column(recall).errors
        return _interpolate(math.log(max(rank, 1.0)), self._ranks, errors) if errors else None

    def _column(self, recall: float) -> _Column:
        """What the tables say for one recall; kept, because queries mostly ask for the same."""
        found = self._columns.get(recall)
        if found is None:
            found = _Column(
                [self._at(recall, row) for row in self.tables.partitions],
                [self._at(recall, row) for row in self.tables.depth],
                [self._at(recall, row) for row in self.tables.margins],
                [self._at(recall, row) for row in self.tables.errors],
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
    queries: Float32Matrix,
    own: NDArray[np.int64],
    parts: Iterable[tuple[int, Float32Matrix]],
    count: int,
    place: Callable[[int, Float32Matrix], Float32Matrix] = lambda _, rows: rows,
) -> Neighbours:
    """The `count` nearest rows of each query, by brute force in float32, without the query's own row.

    Args:
        own: the row number of each query.
        parts: all rows, as (first row, rows).
        place: gives rows in search space, from the number of the first of them on; called by several threads.
    """
    some = np.array_split(np.arange(len(queries)), min(_GROUPS, len(queries)))
    none = [Neighbours(np.zeros((len(each), 0), np.int64), np.zeros((len(each), 0), np.float32)) for each in some]
    found = list(zip(some, none, strict=True))
    for first, part in parts:
        squares = _squares_from(queries, first, part, place)
        inside = np.flatnonzero((own >= first) & (own < first + len(part)))
        squares[inside, own[inside] - first] = np.inf
        found = list(on_every_core(partial(_look, squares, first, count), found))
    ranked = on_every_core(_ranked, [near for _, near in found])
    rows, kept = (np.concatenate(each) for each in zip(*ranked, strict=True))
    return Neighbours(rows, np.maximum(kept + np.einsum("ij,ij->i", queries, queries)[:, None], 0))


def _squares_from(
    queries: Float32Matrix, first: int, part: Float32Matrix, place: Callable[[int, Float32Matrix], Float32Matrix]
) -> Float32Matrix:
    """Squared distances, shape (queries, len(part)), less the squares of the queries."""
    found = np.empty((len(queries), len(part)), np.float32)
    step = max(1, _BLOCK_BYTES // (part.itemsize * part.shape[1]))
    doubled = -2 * queries

    def of_block(start: int) -> None:
        rows = place(first + start, part[start : start + step])
        products = doubled @ rows.T
        np.add(products, np.einsum("ij,ij->i", rows, rows), out=found[:, start : start + len(rows)])

    for _ in on_every_core(of_block, range(0, len(part), step)):
        pass
    return found


def _ranked(near: Neighbours) -> Neighbours:
    order = np.argsort(near.squares, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(near.rows, order, 1), np.take_along_axis(near.squares, order, 1))


def _look(
    squares: Float32Matrix, first: int, count: int, known: tuple[NDArray[np.int64], Neighbours]
) -> tuple[NDArray[np.int64], Neighbours]:
    """Some of the queries, by number, and their nearest among what was `known` and one more part."""
    some, near = known
    return some, _nearer(near, first, squares[some[0] : some[-1] + 1], count)


def _nearer(known: Neighbours, first: int, squares: Float32Matrix, count: int) -> Neighbours:
    """The `count` nearest of those known and of the rows from number `first` on, in no order."""
    rows, found = [], []
    bounds = (
        known.squares.max(axis=1, initial=-np.inf)
        if known.squares.shape[1] == count
        else np.full(len(squares), np.inf)
    )
    for number, bound in enumerate(bounds):
        near = np.flatnonzero(squares[number] <= bound)
        both = np.concatenate([known.squares[number], squares[number, near]])
        kept = np.argpartition(both, count - 1)[:count] if len(both) > count else np.arange(len(both))
        found.append(both[kept])
        rows.append(np.concatenate([known.rows[number], near + first])[kept])
    return Neighbours(np.stack(rows), np.stack(found))


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
    behind = np.stack([partitioner.rank(query) for query in queries])
    orders = np.argsort(behind, axis=1, kind="stable")
    behind -= behind.min(axis=1, keepdims=True)
    margins = _margins(np.take_along_axis(behind, holders, axis=1), ranks)
    averages = [[math.ceil((behind <= margin).sum(axis=1).mean()) for margin in row] for row in margins]
    place = np.empty_like(orders)
    np.put_along_axis(place, orders, np.arange(orders.shape[1])[None], axis=1)
    places = np.take_along_axis(place, holders, axis=1)
    partitions = [
        [int(np.quantile(places[:, :rank], _probe_target(target), method="higher")) + 1 for target in TARGETS]
        for rank in ranks
    ]
    ways = [_Way(*way) for way in zip(queries, own.tolist(), orders, place, strict=True)]
    gaps = _gaps(queries.astype(np.float64), partitioner.origins.astype(np.float64))
    away = np.sqrt(np.take_along_axis(gaps, orders[:, :1], axis=1)[:, 0])
    depth, errors = _depths(ways, neighbours, away, ends, partitions, scanner)
    reach = _reach(np.take_along_axis(gaps, holders, axis=1), neighbours.squares, radii[holders], ranks)
    most = 4.0 * float(radii.max())  # a product is at most that of two lengths
    errors = [[min(max(error, 0.0), most) for error in row] for row in errors]
    usual = float(np.quantile(away, _USUAL))
    return Calibration(_Tables(ranks, list(TARGETS), averages, depth, reach, margins, errors, usual))


def _margins(behind: NDArray[np.float32], ranks: Sequence[int]) -> list[list[float]]:
    """The margins for each rank and target, where the neighbours' partitions rank so far behind the first."""
    targets = [_probe_target(target) for target in TARGETS]
    return [np.quantile(behind[:, :rank], targets, method="higher").tolist() for rank in ranks]


def _probe_target(target: float) -> float:
    return 1 - (1 - target) * _PROBE_SHARE


def _depths(
    ways: Sequence[_Way],
    near: Neighbours,
    away: NDArray[np.float64],
    ends: NDArray[np.int64],
    partitions: list[list[int]],
    scanner: Scanner | None,
) -> tuple[list[list[int]], list[list[float]]]:
    """How many codes to keep, and their errors, for each rank and target, in the partitions of the highest target.

    The neighbours are of as many ranks as there are lists in `partitions`; the queries are so far `away` from the
    origins of the first partitions. Each query scans once, for all.
    """
    ranks = [min(rank, near.rows.shape[1]) for rank in RANKS[: len(partitions)]]
    if scanner is None:
        return [[rank] * len(TARGETS) for rank in ranks], []
    probed = [of_rank[-1] for of_rank in partitions]

    def seen(number: int) -> list[_Seen]:
        """The true neighbours of one query among the codes, for each rank that it is asked for."""
        way, true = ways[number], near.rows[number]
        asked = [pair for pair in zip(ranks, probed, strict=True) if number < _DEEP_QUERIES or pair[0] <= _DEEP]
        limit = _limit(max(rank for rank, _ in asked))
        found, scores = scanner.scan(way.query, way.order[: max(count for _, count in asked)], limit)
        scores, found = scores[found != way.own], found[found != way.own]
        places = way.place[np.searchsorted(ends, found, "right")]
        ranked = _ranks(found, true[: max(rank for rank, _ in asked)])
        some = []
        for rank, count in asked:
            inside = np.flatnonzero(places < count)[: _limit(rank)]
            positions = np.flatnonzero(ranked[inside] < rank)
            over = scores[inside[positions]].astype(np.float64) - near.squares[number, rank - 1]
            some.append(_Seen(positions, over / max(away[number], _TINY)))
        return some

    measured = on_every_core(seen, range(len(ways)))
    nothing = _Seen(np.zeros(0, np.int64), np.zeros(0))
    of_ranks = [
        _Seen(*map(np.concatenate, zip(*each, strict=True))) for each in zip_longest(*measured, fillvalue=nothing)
    ]
    depth = [_quantiles(found.positions, rank) for rank, found in zip(ranks, of_ranks, strict=True)]
    return depth, [_error_quantiles(found.errors) for found in of_ranks]


def _ranks(rows: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each row among those near the query; their number for a row that is not there."""
    order = np.argsort(near)
    place = np.minimum(np.searchsorted(near, rows, sorter=order), len(near) - 1)
    return np.where(near[order[place]] == rows, order[place], len(near))


def _limit(rank: int) -> int:
    """How many codes are looked through for the `rank` nearest."""
    return _DEPTH_FLOOR + _DEPTH_LIMIT * rank


def _quantiles(positions: NDArray[np.int64], rank: int) -> list[int]:
    """For each target, the codes that hold its share of neighbours found at these positions among them."""
    if not len(positions):
        return [_limit(rank)] * len(TARGETS)  # copies of one row: their codes are in no order
    return [
        max(rank, int(np.quantile(positions, _code_target(target), method="higher")) + 2) for target in TARGETS
    ]


def _error_quantiles(errors: NDArray[np.float64]) -> list[float]:
    """For each target, the bound that its share of the errors is below."""
    if not len(errors):
        return [math.inf] * len(TARGETS)
    return [float(np.quantile(errors, _code_target(target), method="higher")) for target in TARGETS]


def _code_target(target: float) -> float:
    """Neighbours in partitions that are not probed are the other share of the loss."""
    return 1 - (1 - target) * (1 - _PROBE_SHARE)


def _reach(
    gaps: NDArray[np.float64], squares: NDArray[np.float32], radii: NDArray[np.float32], ranks: list[int]
) -> list[float]:
    """The bound of z for each target: the greatest over all ranks, as a filter at random would make them.

    Args:
        gaps: squared distances of the origins of the neighbours' partitions; `radii` are those of the partitions.
        squares: squared distances of the neighbours.
    """
    bounds = np.full(len(TARGETS), -1.0)
    ranks = [rank for rank in ranks if rank >= REACH_RANK] or ranks[-1:]
    for rank in ranks:
        square = squares[:, rank - 1 : rank].astype(np.float64)
        rho = radii[:, :rank].astype(np.float64)
        z = (gaps[:, :rank] - square - np.square(rho)) / np.maximum(2 * np.sqrt(square) * rho, _TINY)
        bounds = np.maximum(bounds, np.quantile(z, [_probe_target(target) for target in TARGETS]))
    return [float(bound) for bound in np.clip(bounds, -1.0, 1.0)]


def _gaps(queries: NDArray[np.float64], origins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances, shape (queries, origins)."""
    squares = np.einsum("ij,ij->i", queries, queries)[:, None] + np.einsum("ij,ij->i", origins, origins)
    gaps: NDArray[np.float64] = np.maximum(squares - 2 * (queries @ origins.T), 0)
    return gaps
