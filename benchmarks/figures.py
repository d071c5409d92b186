"""What is computed from measurements: recall, its interval, speed at a recall, the exponent of growth."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Estimate(NamedTuple):
    """A mean, and half the width of its 95 % interval."""

    mean: float
    half: float


class Point(NamedTuple):
    """One setting of a contender: recall, and queries per second."""

    recall: float
    qps: float


def recall(found: Sequence[int], true_ids: np.ndarray, true_distances: np.ndarray, k: int) -> float:
    """The part of the true k nearest that was found; a row as near as the last true one counts as true.

    Args:
        found: ids as returned; what comes after the first k, and repeated ids, do not count.
        true_ids: nearest first; -1 where there are fewer matches.
        true_distances: theirs.

    1.0 when nothing matches.
    """
    matches = min(k, int((true_ids >= 0).sum()))
    if matches == 0:
        return 1.0
    limit = true_distances[matches - 1] + 1e-9 * max(1.0, abs(float(true_distances[matches - 1])))
    allowed = set(true_ids[(true_ids >= 0) & (true_distances <= limit)].tolist())
    return min(len(allowed.intersection(found[:k])), matches) / matches


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of per-query values, with the interval of the normal approximation over queries.

    Where all are equal, that has no width; then it is 3 / n (the rule of three), as one query in n may differ.
    """
    count = len(values)
    if count < 2:
        return Estimate(float(values[0]) if count else math.nan, math.nan)
    deviation = statistics.stdev(values)
    half = 1.96 * deviation / math.sqrt(count) if deviation else 3 / count
    return Estimate(statistics.fmean(values), half)


def best(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in both recall and speed, by rising recall and so by falling speed."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.recall, -p.qps)):
        if not kept or point.qps > kept[-1].qps:
            kept.append(point)
    return kept[::-1]


def qps_at(points: Iterable[Point], target: float) -> float | None:
    """Queries per second at a recall: between the two nearest of the best points, linear in log(qps).

    The fastest point counts for targets below its recall; None when no point reaches the target.
    """
    curve = best(points)
    above = [p for p in curve if p.recall >= target]
    if not above:
        return None
    upper = above[0]
    below = [p for p in curve if p.recall < target]
    if not below:
        return upper.qps
    lower = below[-1]
    part = (target - lower.recall) / (upper.recall - lower.recall)
    return math.exp((1 - part) * math.log(lower.qps) + part * math.log(upper.qps))


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of log(time) over log(size), by least squares: 1 is linear, 0.5 the square root."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
