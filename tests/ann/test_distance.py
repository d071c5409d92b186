"""Tests of distances against exact arithmetic, and of what paging relies on: the same pair, the same number."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ann.samples import METRICS, gaussian
from quiver.ann.distance import FLOAT32_MAX, distances, norms
from quiver.model.types import DistanceMetric

COMPONENT = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, 1.0, -1.0, FLOAT32_MAX, -FLOAT32_MAX, 1e-45, 1e-30, 1.0000001192092896]
)
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(2, 6), st.integers(1, 8)), elements=COMPONENT)


def exact(query: np.ndarray, row: np.ndarray, metric: DistanceMetric) -> float:
    """In rational arithmetic up to the roots, which are rounded once."""
    pairs = [(Fraction(float(x)), Fraction(float(q))) for x, q in zip(row, query, strict=True)]
    if metric is DistanceMetric.EUCLIDEAN:
        return min(root(sum((x - q) ** 2 for x, q in pairs)), FLOAT32_MAX)
    dot, squares = sum(x * q for x, q in pairs), sum(x * x for x, _ in pairs) * sum(q * q for _, q in pairs)
    cosine = math.copysign(root(dot * dot / squares), dot)
    return min(max(1 - cosine, 0.0), 2.0)


def root(square: Fraction) -> float:
    """The square root of any rational number, whose square a float may not hold."""
    shift = (square.numerator.bit_length() - square.denominator.bit_length()) // 2 * 2 if square else 0
    return math.ldexp(math.sqrt(square / Fraction(2) ** shift), shift // 2)


@METRICS
@given(matrix=MATRICES)
@settings(max_examples=150, deadline=None)
def test_distances_are_those_of_exact_arithmetic_rounded_once(metric, matrix):
    query, rows = matrix[0], matrix[1:]
    if metric is DistanceMetric.COSINE:
        assume(query.any())
        rows = rows[rows.any(axis=1)]
    found = distances(query, rows, metric)
    assert found.dtype == np.float32
    for row, distance in zip(rows, found.tolist(), strict=True):
        wanted = exact(query, row, metric)
        rounding = 2.0**-46 if metric is DistanceMetric.COSINE else 0
        assert abs(distance - wanted) <= 2.0**-24 * wanted * (1 + 1e-6) + rounding + 2.0**-150
        assert math.isfinite(distance)


@METRICS
@pytest.mark.parametrize("dimension", [1, 2, 3, 16, 17, 384, 4096])
def test_distances_of_ordinary_vectors(metric, dimension):
    rows, query = gaussian(50 if dimension < 100 else 6, dimension), gaussian(1, dimension, seed=8)[0]
    wanted = [exact(query, row, metric) for row in rows]
    np.testing.assert_allclose(distances(query, rows, metric), wanted, rtol=6.1e-8, atol=2.0**-46)


@METRICS
@pytest.mark.parametrize("dimension", [1, 2, 5, 8, 33, 100, 1000])
def test_a_distance_does_not_depend_on_the_rows_beside_or_the_memory_below(metric, dimension):
    rows, query = gaussian(70, dimension), gaussian(1, dimension, seed=8)[0]
    together = distances(query, rows, metric).tolist()
    assert [float(distances(query, rows[n : n + 1], metric)[0]) for n in range(70)] == together
    assert distances(query, rows[::-1], metric).tolist()[::-1] == together
    shifted = np.frombuffer(b"x" + rows.tobytes(), np.float32, rows.size, 1).reshape(rows.shape)
    assert distances(query, shifted, metric).tolist() == together
    shifted = np.frombuffer(b"xyz" + query.tobytes(), np.float32, dimension, 3)
    assert distances(shifted, rows, metric).tolist() == together
    assert distances(query, np.tile(rows, (100, 1)), metric).tolist() == together * 100


@METRICS
def test_a_vector_is_at_distance_zero_from_itself_and_distances_are_symmetric(metric):
    rows = gaussian(100, 24) * np.logspace(-30, 30, 100, dtype=np.float32)[:, None]
    for row, other in zip(rows, rows[::-1], strict=True):
        assert distances(row, row[None], metric).tolist() == [0]
        assert distances(row, other[None], metric) == distances(other, row[None], metric)


def test_cosine_is_between_zero_and_two_and_ignores_length():
    base = np.array([3, -4, 12], np.float32)
    scaled = np.stack([base * np.float32(2.0**power) for power in range(-100, 100)])
    assert distances(base, scaled, DistanceMetric.COSINE).tolist() == [0] * 200
    assert distances(-base, scaled, DistanceMetric.COSINE).tolist() == [2] * 200
    query = np.array([1, 2, 0.5], np.float32)
    assert len(set(distances(query, scaled, DistanceMetric.COSINE).tolist())) == 1


def test_euclidean_distances_too_large_for_float32_are_the_largest_float32():
    top = np.float32(FLOAT32_MAX)
    rows = np.array([[top, top], [-top, -top], [top, -top], [0, 0]], np.float32)
    assert distances(rows[0], rows, DistanceMetric.EUCLIDEAN).tolist() == [0, top, top, top]


def test_norms_are_those_of_exact_arithmetic_capped_at_the_largest_float32():
    rows = np.array([[3, 4], [1e-45, 0], [3e-30, 4e-30], [0, 0], [3e38, 1e38], [3e38, 3e38]], np.float32)
    wanted = np.array([5, 1e-45, 5e-30, 0, math.hypot(3e38, 1e38), FLOAT32_MAX], np.float32)
    np.testing.assert_array_max_ulp(norms(rows), wanted, 1)
    assert norms(rows[:0]).shape == (0,)
    assert norms(gaussian(9000, 2)).tolist() == [float(norms(row[None])[0]) for row in gaussian(9000, 2)]
