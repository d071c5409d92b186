"""Tests of float32 scores and of the bound of their error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ann.samples import DIMENSIONS, METRICS, SAMPLES, gaussian
from quiver.ann.distance import distances, norms
from quiver.ann.exact import Bounds, bounds_at, score_bounds, score_of
from quiver.model.types import DistanceMetric


def bounds(query: np.ndarray, rows: np.ndarray, metric: DistanceMetric) -> Bounds:
    return score_bounds(query, float(norms(query[None, :])[0]), rows, norms(rows), metric)


def in_place(query: np.ndarray, rows: np.ndarray, metric: DistanceMetric) -> Bounds | None:
    """Of the rows where they stand, not at a multiple of four."""
    data, starts = memoryview(b"x" + rows.tobytes()), 1 + np.arange(len(rows)) * 4 * rows.shape[1]
    return bounds_at(query, float(norms(query[None, :])[0]), data, starts, metric)


def check(query: np.ndarray, rows: np.ndarray, metric: DistanceMetric) -> None:
    check_bounds(query, rows, metric, bounds(query, rows, metric))
    found = in_place(query, rows, metric)
    if found is not None:
        check_bounds(query, rows, metric, found)


def check_bounds(query: np.ndarray, rows: np.ndarray, metric: DistanceMetric, found: Bounds) -> None:
    low, high = found
    assert (low.shape, low.dtype) == (high.shape, high.dtype) == ((len(rows),), np.float32)
    assert not np.isnan(low).any()
    assert (low <= high).all()
    scores = np.array([score_of(each, metric) for each in distances(query, rows, metric).tolist()])
    # A distance is rounded once, to float32; its square carries that rounding twice.
    rounding = scores * 2.0**-22 + np.finfo(np.float32).smallest_subnormal
    holds = (low <= scores + rounding) & (scores - rounding <= high)
    assert holds.all(), (scores[~holds], low[~holds], high[~holds])


@METRICS
@SAMPLES
def test_bounds_hold_on_every_kind_of_rows(sample, metric):
    check(gaussian(1, sample.shape[1], seed=9)[0], sample, metric)
    check(sample[0], sample, metric)


@METRICS
@pytest.mark.parametrize("dimension", [*DIMENSIONS, 4096])
def test_bounds_hold_in_every_dimension(dimension, metric):
    rows = gaussian(40, dimension)
    check(gaussian(1, dimension, seed=3)[0], rows, metric)
    check(gaussian(1, dimension, seed=3)[0], rows + np.float32(100), metric)


@METRICS
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_bounds_hold_for_wild_rows(metric, data):
    dimension = data.draw(st.integers(1, 6))
    component = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
        [0.0, 1.0, -1.0, 3.4028234663852886e38, 1e-45, 1e-30, 1e19, 1.0000001192092896]
    )
    matrix = arrays.arrays(np.float32, st.tuples(st.integers(2, 9), st.just(dimension)), elements=component)
    drawn = data.draw(matrix)
    if metric is DistanceMetric.COSINE:
        drawn = drawn[norms(drawn) > 0]
        if len(drawn) < 2:
            return
    check(drawn[0], drawn[1:], metric)


@METRICS
@pytest.mark.parametrize("scale", [1, 1e-8, 1e8])
def test_bounds_are_narrow_enough_to_tell_rows_apart(metric, scale):
    rows = gaussian(1000, 128) * np.float32(scale)
    low, high = bounds(gaussian(1, 128, seed=2)[0] * np.float32(scale), rows, metric)
    assert (low <= np.sort(high)[9]).sum() < 30


@METRICS
def test_a_score_does_not_depend_on_the_norms_of_other_rows(metric):
    """Within the bounds; what lies together may choose another path of computation."""
    rows, query = gaussian(30, 8), gaussian(1, 8, seed=4)[0]
    tame = bounds(query, rows, metric)
    mixed = bounds(query, np.concatenate([rows, rows[:1] * np.float32(1e30)]), metric)
    assert (np.maximum(tame.low, mixed.low[:30]) <= np.minimum(tame.high, mixed.high[:30])).all()


@METRICS
def test_no_rows_have_no_scores(metric):
    low, high = bounds(gaussian(1, 8)[0], gaussian(0, 8), metric)
    assert (low.shape, high.shape) == ((0,), (0,))


@METRICS
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_bounds_of_rows_in_place_are_tight(dimension, metric):
    query, rows = gaussian(1, dimension, seed=3)[0], gaussian(40, dimension)
    low, high = in_place(query, rows, metric)
    scores = np.array([score_of(each, metric) for each in distances(query, rows, metric).tolist()])
    assert (high - low <= 4 * (dimension + 16) * 2.0**-24 * np.maximum(scores, 1)).all()


@METRICS
def test_rows_that_float32_says_nothing_of_may_be_anywhere(metric):
    query, good = gaussian(2, 40)
    rows = np.stack([good, good * np.float32(1e18), np.where(np.arange(40) == 7, np.nan, good)])
    low, high = in_place(query, rows.astype(np.float32), metric)
    assert np.isfinite([low[0], high[0]]).all()
    assert (low[1:] == -np.inf).all()
    assert (high[1:] == np.inf).all()
    assert in_place(query * np.float32(1e20), rows[:1], metric) is None
    vanishing = in_place(query, good[None] * np.float32(1e-16), DistanceMetric.COSINE)
    assert (vanishing.low[0], vanishing.high[0]) == (-np.inf, np.inf)
