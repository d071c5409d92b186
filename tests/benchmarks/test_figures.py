"""What benchmarks compute from measurements: recall, its interval, speed at a recall, exponents."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.figures import Point, best, estimate, exponent, percentile, qps_at, recall

IDS = np.array([7, 3, 9, 4, 5])
DISTANCES = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("found", "k", "expected"),
    [
        ([7, 3, 9], 3, 1.0),
        ([9, 7, 3], 3, 1.0),
        ([7, 3], 3, 2 / 3),
        ([7, 1, 9], 3, 2 / 3),
        ([1, 2, 6], 3, 0.0),
        ([], 3, 0.0),
        ([7, 7, 7], 3, 1 / 3),
        ([1, 2, 6, 7, 3, 9], 3, 0.0),
    ],
)
def test_recall_is_the_part_of_the_true_neighbours_among_the_first_k(found, k, expected):
    assert recall(found, IDS, DISTANCES, k) == pytest.approx(expected)


def test_a_row_as_near_as_the_last_true_one_counts_as_true():
    tied = np.array([0.1, 0.2, 0.3, 0.3, 0.5])
    assert recall([7, 3, 4], IDS, tied, 3) == 1.0
    assert recall([7, 3, 9, 4], IDS, tied, 3) == 1.0
    assert recall([7, 3, 5], IDS, tied, 3) == pytest.approx(2 / 3)


def test_recall_of_fewer_matches_than_k_is_of_those_matches():
    ids, distances = np.array([7, 3, -1, -1]), np.array([0.1, 0.2, np.inf, np.inf])
    assert recall([3, 7], ids, distances, 4) == 1.0
    assert recall([3], ids, distances, 4) == 0.5
    assert recall([3, -1], ids, distances, 4) == 0.5


def test_recall_without_any_match_is_one():
    assert recall([], np.array([-1, -1]), np.array([np.inf, np.inf]), 2) == 1.0


def test_the_interval_is_that_of_the_normal_approximation():
    values = [1.0] * 90 + [0.0] * 10
    found = estimate(values)
    assert found.mean == pytest.approx(0.9)
    assert found.half == pytest.approx(1.96 * np.std(values, ddof=1) / 10)


def test_the_interval_of_equal_values_is_not_empty():
    assert estimate([1.0] * 100) == (1.0, 0.03)


def test_the_interval_holds_the_true_mean_about_19_times_in_20():
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        found = estimate(generator.binomial(10, 0.9, 100) / 10)
        held += abs(found.mean - 0.9) <= found.half
    assert 920 <= held <= 980


def test_the_interval_of_too_few_values_is_unknown():
    assert math.isnan(estimate([]).mean)
    one = estimate([0.5])
    assert one.mean == 0.5
    assert math.isnan(one.half)


def test_best_points_are_those_that_no_other_beats_in_both():
    points = [Point(0.9, 100), Point(0.95, 120), Point(0.99, 50), Point(0.97, 40), Point(0.8, 500)]
    assert best(points) == [Point(0.8, 500), Point(0.95, 120), Point(0.99, 50)]


def test_speed_at_a_recall_lies_between_the_two_nearest_points():
    curve = [Point(0.9, 1000), Point(1.0, 10)]
    assert qps_at(curve, 0.95) == pytest.approx(100)
    assert qps_at(curve, 0.9) == pytest.approx(1000)
    assert qps_at(curve, 1.0) == pytest.approx(10)


def test_speed_at_a_recall_below_every_point_is_that_of_the_fastest():
    assert qps_at([Point(0.97, 80), Point(0.99, 50)], 0.95) == 80


def test_speed_at_a_recall_that_is_never_reached_is_unknown():
    assert qps_at([Point(0.9, 80)], 0.95) is None
    assert qps_at([], 0.95) is None


def test_the_exponent_of_a_power_law_is_its_power():
    sizes = [10_000, 100_000, 1_000_000]
    assert exponent(sizes, [3 * size**0.5 for size in sizes]) == pytest.approx(0.5)
    assert exponent(sizes, [7.0] * 3) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.95, 95), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_value_that_this_part_does_not_exceed(part, expected):
    assert percentile(list(range(100, 0, -1)), part) == expected
