"""Decides how the rows of a segment that a query may return are scored. A pure function of numbers.

Costs are in units of one row scanned in float32, in a row of memory. They were measured with
`python -m benchmarks plan_costs`, and only have to be right within a factor of two.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.record import Record

if TYPE_CHECKING:
    from quiver.ann.calibration import Calibration

_GATHER_COST = 1.5  # a row picked out singly, which memory hands out more slowly
_CODE_COST = 0.12  # codes are small, but computed rather than only read
_BLOCK_COST = 300  # rows of a partition, where they are scanned for want of codes, are a block of their own
_PROBE_COST = 500  # whatever is found
_FILTERED_PROBE_COST = 1500  # in two waves
_FILTERED_WIDTH = 2  # times as many partitions are within reach of what was found as calibration expects

REFINE_FROM = 200
"""Rows. Up to so many that are here, scoring them in float32 costs no more than sifting them by int8 first."""


class Method(StrEnum):
    """SCAN scores all rows exactly, GATHER picks single rows out and scores those, PROBE scores codes first."""

    NONE = "none"
    SCAN = "scan"
    GATHER = "gather"
    PROBE = "probe"


class Plan(NamedTuple):
    """How to search a segment.

    Attributes:
        partitions: how many partitions to probe, when the matches lie as the rows do; on average with a margin.
        margin: how far behind the first the partitions rank that are to be probed; None to go by their number.
        error: the bound of the codes' error (ann/calibration.py); None to go by the number of codes alone.
        depth: codes to keep.
        keep: of those, rows to score exactly after the int8 rows have been scored; None to score all exactly.
    """

    method: Method
    partitions: int = 0
    depth: int = 0
    keep: int | None = None
    margin: float | None = None
    error: float | None = None


class Shape(Record, frozen=True):
    """What a segment is like.

    Attributes:
        calibration: None when it can only be searched exactly.
        coded: it has codes.
        refined: it has int8 rows.
        remote: rows are fetched one by one, so that few of them are worth sifting for.
    """

    rows: int
    partitions: int
    calibration: Calibration | None
    coded: bool
    refined: bool
    remote: bool = False


@lru_cache(maxsize=1024)
def plan(shape: Shape, matches: int, limit: int, recall: float, *, filtered: bool) -> Plan:
    """How to find the `limit` nearest of `matches` rows of a segment.

    Args:
        recall: the share of them to find; 1 for all.
        filtered: a filter chose the matches, so that they need not lie as the rows do.
    """
    if not matches:
        return Plan(Method.NONE)
    exact = Plan(Method.GATHER if matches * _GATHER_COST < shape.rows else Method.SCAN)
    if shape.calibration is None or recall >= 1:
        return exact
    rank = limit * shape.rows / matches  # the nearest matches are as far as so many nearest rows
    probed = min(shape.partitions, shape.calibration.partitions_for(rank, recall))
    depth = shape.calibration.depth_for(limit, recall)
    keep = limit + limit // 2 + 4 if shape.remote else 2 * limit + 16
    if min(matches * _GATHER_COST, shape.rows) <= _cost(shape, probed, depth, filtered=filtered):
        return exact
    refine = shape.refined and depth > max(0 if shape.remote else REFINE_FROM, keep)
    margin = shape.calibration.margin_for(rank, recall)
    error = shape.calibration.error_for(limit, recall)
    return Plan(Method.PROBE, probed, depth, keep if refine else None, margin, error)


def _cost(shape: Shape, probed: int, depth: int, *, filtered: bool) -> float:
    """Of a probe."""
    probed = min(probed * _FILTERED_WIDTH, shape.partitions) if filtered else probed
    scored = shape.rows * probed / shape.partitions
    scan = scored * _CODE_COST if shape.coded else scored + probed * _BLOCK_COST
    return scan + depth * _GATHER_COST + (_FILTERED_PROBE_COST if filtered else _PROBE_COST)
