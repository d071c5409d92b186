"""Calibration: how far a segment has to be searched for a recall, measured on rows of its own.

Some rows are held out as queries, and their true neighbours found by brute force. Four things follow:

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

The loss a recall allows is shared between partitions and codes. ann/calibrating.py measures all that.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
import numpy as np

from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

REACH_RANK = 10
"""The reach is measured, and has to be used, with the distance of this neighbour or a farther one: the first may
be a copy of the query, at no distance at all."""
_KEPT_COLUMNS = 64


class Tables(msgspec.Struct, frozen=True):
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

    def __init__(self, tables: Tables) -> None:
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
            tables = msgspec.msgpack.decode(state, type=Tables)
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
