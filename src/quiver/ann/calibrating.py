"""Measures how far a segment has to be searched for a recall, with rows of its own: see calibration.py."""

from __future__ import annotations

import math
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quiver.ann.calibration import REACH_RANK, Calibration, Tables
from quiver.model.threads import on_every_core

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quiver.ann.codec import Scanner
    from quiver.ann.neighbours import Neighbours
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import Float32Matrix

QUERIES = 128
RANKS = (1, 10, 100, 1000)
TARGETS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_PROBE_SHARE = 0.7  # of the loss that a recall allows
_DEPTH_LIMIT = 4  # codes kept per row asked for, beyond _DEPTH_FLOOR, when depth is measured
_DEPTH_FLOOR = 400
_DEEP = 100
_DEEP_QUERIES = 32  # are asked for more neighbours than that, when depth is measured: they have many each
_GROUP = 16  # queries that a thread measures one after the other
_TINY = 1e-30
_USUAL = 0.9


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
    holder = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))  # of each row
    holders = holder[neighbours.rows]
    behind = np.stack([partitioner.rank(query) for query in queries])
    orders = np.argsort(behind, axis=1, kind="stable")
    behind -= behind.min(axis=1, keepdims=True)
    margins = _margins(np.take_along_axis(behind, holders, axis=1), ranks)
    averages = [[math.ceil((behind <= margin).sum(axis=1).mean()) for margin in row] for row in margins]
    place = np.empty_like(orders)
    np.put_along_axis(place, orders, np.arange(orders.shape[1])[None], axis=1)
    places = np.take_along_axis(place, holders, axis=1)
    partitions = [[last + 1 for last in _higher(places[:, :rank], _probe_target)] for rank in ranks]
    ways = [_Way(*way) for way in zip(queries, own.tolist(), orders, place, strict=True)]
    gaps = _gaps(queries.astype(np.float64), partitioner.origins.astype(np.float64))
    away = np.sqrt(np.take_along_axis(gaps, orders[:, :1], axis=1)[:, 0])
    depth, errors = _depths(ways, neighbours, away, holder, partitions, scanner)
    reach = _reach(np.take_along_axis(gaps, holders, axis=1), neighbours.squares, radii[holders], ranks)
    most = 4.0 * float(radii.max())  # a product is at most that of two lengths
    errors = [[min(max(error, 0.0), most) for error in row] for row in errors]
    usual = float(np.quantile(away, _USUAL))
    return Calibration(Tables(ranks, list(TARGETS), averages, depth, reach, margins, errors, usual))


def _margins(behind: NDArray[np.float32], ranks: Sequence[int]) -> list[list[float]]:
    """The margins for each rank and target, where the neighbours' partitions rank so far behind the first."""
    return [_higher(behind[:, :rank], _probe_target) for rank in ranks]


def _higher(values: NDArray[np.number[Any]], share: Callable[[float], float]) -> list[Any]:
    """For each target, the least of the values that its share of them is not above; all targets at once."""
    found: list[Any] = np.quantile(values, [share(target) for target in TARGETS], method="higher").tolist()
    return found


def _probe_target(target: float) -> float:
    return 1 - (1 - target) * _PROBE_SHARE


def _depths(
    ways: Sequence[_Way],
    near: Neighbours,
    away: NDArray[np.float64],
    holder: NDArray[np.int32],
    partitions: list[list[int]],
    scanner: Scanner | None,
) -> tuple[list[list[int]], list[list[float]]]:
    """How many codes to keep, and their errors, for each rank and target, in the partitions of the highest target.

    The neighbours are of as many ranks as there are lists in `partitions`; the queries are so far `away` from the
    origins of the first partitions; `holder` is the partition of each row. Each query scans once, for all.
    """
    ranks = [min(rank, near.rows.shape[1]) for rank in RANKS[: len(partitions)]]
    if scanner is None:
        return [[rank] * len(TARGETS) for rank in ranks], []
    probed = [of_rank[-1] for of_rank in partitions]

    def seen(number: int, table: NDArray[np.int32]) -> list[_Seen]:
        """The true neighbours of one query among the codes, for each rank that it is asked for."""
        way, true = ways[number], near.rows[number]
        asked = [pair for pair in zip(ranks, probed, strict=True) if number < _DEEP_QUERIES or pair[0] <= _DEEP]
        limit = _limit(max(rank for rank, _ in asked))
        scanned = scanner.scan(way.query, way.order[: max(count for _, count in asked)], limit)
        others = scanned.rows != way.own
        scores, found = scanned.scores[others], scanned.rows[others]
        places = way.place[holder[found]]
        ranked = _ranks(found, true[: max(rank for rank, _ in asked)], table)
        some = []
        for rank, count in asked:
            inside = np.flatnonzero(places < count)[: _limit(rank)]
            positions = np.flatnonzero(ranked[inside] < rank)
            over = scores[inside[positions]].astype(np.float64) - near.squares[number, rank - 1]
            some.append(_Seen(positions, over / max(away[number], _TINY)))
        return some

    def of_group(numbers: Sequence[int]) -> list[list[_Seen]]:
        table = np.zeros(len(holder), np.int32)
        return [seen(number, table) for number in numbers]

    groups = [range(first, min(first + _GROUP, len(ways))) for first in range(0, len(ways), _GROUP)]
    measured = chain.from_iterable(on_every_core(of_group, groups))
    nothing = _Seen(np.zeros(0, np.int64), np.zeros(0))
    of_ranks = [
        _Seen(*map(np.concatenate, zip(*each, strict=True))) for each in zip_longest(*measured, fillvalue=nothing)
    ]
    depth = [_quantiles(found.positions, rank) for rank, found in zip(ranks, of_ranks, strict=True)]
    return depth, [_error_quantiles(found.errors) for found in of_ranks]


def _ranks(rows: NDArray[np.int64], near: NDArray[np.int64], table: NDArray[np.int32]) -> NDArray[np.int64]:
    """The place of each row among those near the query; their number for a row that is not there.

    Args:
        table: a number for each row of the segment, whatever it was used for before.
    """
    table[near] = np.arange(len(near))
    place = np.minimum(table[rows], len(near) - 1)
    return np.where(near[place] == rows, place, len(near))


def _limit(rank: int) -> int:
    """How many codes are looked through for the `rank` nearest."""
    return _DEPTH_FLOOR + _DEPTH_LIMIT * rank


def _quantiles(positions: NDArray[np.int64], rank: int) -> list[int]:
    """For each target, the codes that hold its share of neighbours found at these positions among them."""
    if not len(positions):
        return [_limit(rank)] * len(TARGETS)  # copies of one row: their codes are in no order
    return [max(rank, position + 2) for position in _higher(positions, _code_target)]


def _error_quantiles(errors: NDArray[np.float64]) -> list[float]:
    """For each target, the bound that its share of the errors is below."""
    if not len(errors):
        return [math.inf] * len(TARGETS)
    return _higher(errors, _code_target)


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
