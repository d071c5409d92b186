"""Tests of the C kernels that choose the nearest, and tell what is marked and where rows of runs are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ann.samples import gaussian
from quiver.ann import _kernels

FEW = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
ALIKE = st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1e-40, 0.5, 1.0, 3e38, np.inf]), max_size=300)
DIFFERENT = st.lists(st.floats(-1e6, 1e6, width=32), max_size=300)


@given(values=ALIKE | DIFFERENT, wanted=st.integers(0, 310), floor=st.sampled_from([-np.inf, -2.0, 0.0, 0.5, 1e7]))
@FEW
def test_the_least_come_with_all_that_equal_the_last_of_them(values, wanted, floor):
    numbers = np.arange(len(values), dtype=np.int64)
    array = np.array(values, np.float32)
    eligible = np.sort(array[array >= floor])
    worst = np.inf if len(eligible) <= wanted else eligible[wanted - 1] if wanted else -np.inf
    due = np.flatnonzero((array >= floor) & (array <= worst))
    due = due[np.argsort(array[due], kind="stable")]
    assert _kernels.least(array, floor, wanted, numbers) == (len(due), len(set(array[due].tolist())) < len(due))
    assert numbers[: len(due)].tolist() == due.tolist()


@given(values=ALIKE | DIFFERENT, number=st.integers(1, 300))
@FEW
def test_the_least_values_are_told_by_the_greatest_of_them(values, number):
    array = np.array(values, np.float32)
    if number <= len(array):
        assert _kernels.least_of(array, number) == np.sort(array)[number - 1]
        assert _kernels.least_of(np.append(array, np.nan).astype(np.float32), len(array) + 1) == np.inf


@given(
    count=st.integers(0, 400),
    dimension=st.integers(1, 40),
    margin=st.floats(0, 1e3),
    limit=st.integers(0, 410),
    seed=SEEDS,
)
@FEW
def test_the_nearest_points_are_those_with_the_nearest_squares(count, dimension, margin, limit, seed):
    points, query = gaussian(count, dimension, seed), gaussian(1, dimension, seed + 1)[0]
    ranks, due, found = np.empty(count, np.float32), np.empty(limit, np.int64), np.full(limit, -7, np.int64)
    _kernels.squares(query, points, ranks)
    near, least = _kernels.nearest(ranks, margin, due), ranks.min(initial=np.inf)
    assert _kernels.nearest_points(query, points, margin, 0.0, found, None, None) == (near, least)
    assert found[:near].tolist() == due[:near].tolist()
    within = np.flatnonzero(ranks <= least + np.float32(margin))
    assert due[:near].tolist() == within[np.argsort(ranks[within], kind="stable")][:limit].tolist()
    assert (found[near:] == -7).all()


@given(margin=st.floats(0.1, 10), times=st.floats(0.1, 10), seed=SEEDS)
@FEW
def test_the_margin_grows_with_the_distance_from_the_usual_one_on(margin, times, seed):
    points, query, found = gaussian(200, 8, seed), 3 * gaussian(1, 8, seed + 1)[0], np.empty(200, np.int64)
    count, least = _kernels.nearest_points(
        query, points, margin, math.sqrt(least_square(query, points)) / times, found, None, None
    )
    same = np.empty(200, np.int64)
    near, _ = _kernels.nearest_points(query, points, margin * max(times, 1.0), 0.0, same, None, None)
    assert least == least_square(query, points)
    assert abs(count - near) <= 1  # the product is rounded
    assert found[: min(count, near)].tolist() == same[: min(count, near)].tolist()


@pytest.fixture(autouse=True)
def _usual_variant():
    yield
    _kernels.use_variant(_kernels.VARIANTS[-1])


def sketch_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels of points and what is known of them; None where there is no sketch."""
    levels = np.full((len(points), -(-points.shape[1] // 16) * 16), 7, np.uint8)
    known = np.full((len(points), 3), np.nan)
    return (levels, known) if _kernels.sketch_points(points, levels, known) else None


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 70)),
    scale=st.sampled_from([1e-30, 1e-18, 1e-6, 1.0, 1e6, 1e14]),
    skew=st.sampled_from([0.0, 3.0]),
    near=st.sampled_from([0.0, 1e-5, 1e-2, 1.0, 30.0]),
    share=st.sampled_from([0.0, 1e-7, 0.01, 0.3, 1.0]),
    times=st.sampled_from([0.0, 0.5, 2.0]),
    seed=SEEDS,
)
@settings(max_examples=120, deadline=None)
def test_a_sketch_changes_neither_the_nearest_points_nor_the_least_square(
    shape, scale, skew, near, share, times, seed
):
    """Points of unlike coordinates, and twins; queries on a point, beside it, and far away."""
    spread = np.exp(skew * gaussian(1, shape[1], seed + 2)[0])
    points = (gaussian(*shape, seed) * spread * scale).astype(np.float32)
    points[len(points) // 2] = points[0]
    query = (points[0] + near * scale * gaussian(1, shape[1], seed + 1)[0]).astype(np.float32)
    squares = np.empty(len(points), np.float32)
    _kernels.squares(query, points, squares)
    margin, usual = share * float(np.median(squares)), times * math.sqrt(squares.min())
    sketch = sketch_of(points)
    assert sketch is not None or np.abs(points).max() > 1e15
    for room in (len(points), 3):
        due, found = np.full(room, -7, np.int64), np.full(room, -7, np.int64)
        expected = _kernels.nearest_points(query, points, margin, usual, due, None, None)
        for variant in _kernels.VARIANTS:
            _kernels.use_variant(variant)
            found[:] = -7
            assert (
                _kernels.nearest_points(query, points, margin, usual, found, *(sketch or (None, None))) == expected
            )
            assert found.tolist() == due.tolist()


def test_what_a_sketch_knows_of_points_is_true():
    points = np.concatenate([gaussian(50, 37), 1e-20 * gaussian(5, 37), np.zeros((2, 37), np.float32)])
    levels, known = sketch_of(points)
    step, square, error = known.T
    stands = step[:, None] * levels.view(np.int8)[:, :37]
    assert not levels[:, 37:].any()
    assert np.allclose(np.square(stands).sum(axis=1), square, rtol=1e-12)
    assert (np.linalg.norm(points.astype(float) - stands, axis=1) <= error).all()
    assert (error[:50] < 0.01 * np.linalg.norm(points[:50], axis=1)).all()  # so that it tells something


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 2e15])
def test_wild_points_have_no_sketch_and_wild_queries_find_what_they_find_without(wild):
    points, found, due = gaussian(40, 20), np.zeros(40, np.int64), np.zeros(40, np.int64)
    levels, known = sketch_of(points)
    query = points[3].copy()
    query[-1] = wild
    expected = _kernels.nearest_points(query, points, 1.0, 0.0, due, None, None)
    assert _kernels.nearest_points(query, points, 1.0, 0.0, found, levels, known) == expected
    assert found.tolist() == due.tolist()
    points[7, 5] = wild
    assert sketch_of(points) is None


def test_a_sketch_that_is_not_of_the_points_is_refused():
    points, numbers = gaussian(3, 20), np.zeros(3, np.int64)
    levels, known = sketch_of(points)
    cases = (
        (levels[:2], known),
        (levels, known[:2]),
        (levels[:, :16].copy(), known),
        (levels, known[:, :2].copy()),
    )
    for some_levels, some_known in cases:
        with pytest.raises(ValueError, match="fit"):
            _kernels.nearest_points(points[0], points, 1.0, 0.0, numbers, some_levels, some_known)
        with pytest.raises(ValueError, match="fit"):
            _kernels.sketch_points(points, some_levels, some_known)
    with pytest.raises(TypeError):
        _kernels.nearest_points(points[0], points, 1.0, 0.0, numbers, levels, None)


def least_square(query: np.ndarray, points: np.ndarray) -> float:
    """The squared distance of the nearest point."""
    ranks = np.empty(len(points), np.float32)
    _kernels.squares(query, points, ranks)
    return float(ranks.min())


def test_choosing_refuses_what_does_not_fit():
    points, query, numbers = gaussian(3, 4), np.zeros(4, np.float32), np.zeros(3, np.int64)
    for function in (
        _kernels.least,
        _kernels.least_of,
        _kernels.nearest_points,
        _kernels.sketch_points,
        _kernels.all_marked,
        _kernels.run_places,
    ):
        with pytest.raises(TypeError, match="arguments"):
            function()
    with pytest.raises(ValueError, match="fit"):
        _kernels.nearest_points(query[:3], points, 1.0, 0.0, numbers, None, None)
    with pytest.raises(ValueError, match="dimensions"):
        _kernels.nearest_points(query, points[0], 1.0, 0.0, numbers, None, None)
    with pytest.raises(TypeError):
        _kernels.nearest_points(query, points, "far", 0.0, numbers, None, None)
    with pytest.raises(TypeError):
        _kernels.nearest_points(query, points, 1.0, "far", numbers, None, None)
    for number in (-1, 0, 5):
        with pytest.raises(ValueError, match="so many"):
            _kernels.least_of(query, number)
    for wanted, room in ((-1, 4), (2, 3), (2, 5)):
        with pytest.raises(ValueError, match="fit"):
            _kernels.least(query, 0.0, wanted, np.zeros(room, np.int64))
    with pytest.raises(TypeError):
        _kernels.least(query, 0.0, 1.5, np.zeros(4, np.int64))


@given(marks=st.lists(st.booleans(), min_size=1, max_size=40), data=st.data())
@FEW
def test_sizes_are_summed_where_all_are_marked(marks, data):
    numbers = np.array(data.draw(st.lists(st.integers(0, len(marks) - 1), max_size=20)), np.int64)
    flags, sizes = np.array(marks), np.arange(len(marks), dtype=np.int64) * 7
    due = int(sizes[numbers].sum()) if flags[numbers].all() else -1
    assert _kernels.all_marked(flags, sizes, numbers) == due


@pytest.mark.parametrize("number", [-1, 3, 2**62, -(2**63)])
def test_numbers_that_have_no_mark_are_refused(number):
    flags, sizes = np.ones(3, bool), np.ones(3, np.int64)
    assert _kernels.all_marked(flags, sizes, np.array([0, 2])) == 2
    with pytest.raises(ValueError, match="past"):
        _kernels.all_marked(flags, sizes, np.array([0, number]))
    with pytest.raises(ValueError, match="fit"):
        _kernels.all_marked(flags, sizes[:2], np.array([0]))


@given(
    runs=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=6),
    width=st.integers(1, 20),
    data=st.data(),
)
@FEW
def test_rows_of_runs_are_found(runs, width, data):
    starts, places, ends, at = [], [], [], 0
    for rows, gap in runs:
        at += gap
        starts.append(at - len(places) * width)
        places += range(at, at + rows * width, width)
        ends.append(len(places))
        at = places[-1] + width
    rows = np.array(data.draw(st.lists(st.integers(0, len(places) - 1), max_size=12)), np.int64)
    out = np.full(len(rows), -7, np.int64)
    _kernels.run_places(rows, np.array(ends), np.array(starts), width, out)
    assert out.tolist() == [places[row] for row in rows.tolist()]
    for row in (-1, len(places), 2**63 - 1):
        with pytest.raises(ValueError, match="past"):
            _kernels.run_places(np.array([row]), np.array(ends), np.array(starts), width, np.empty(1, np.int64))
    with pytest.raises(ValueError, match="fit"):
        _kernels.run_places(rows, np.array(ends), np.array([*starts, 0]), width, out)
    with pytest.raises(ValueError, match="fit"):
        _kernels.run_places(rows, np.array(ends), np.array(starts), width, np.empty(len(rows) + 1, np.int64))
