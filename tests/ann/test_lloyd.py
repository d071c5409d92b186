"""Tests of the k-means iterations and of the choices they start from."""

from __future__ import annotations

import numpy as np
import pytest

from ann.samples import clustered, gaussian
from quiver.ann import _kernels
from quiver.ann.partitioners.lloyd import (
    inner_products,
    lloyd,
    means,
    nearest,
    neighbours,
    pick,
    pick_distinct,
    project,
    squared_distances,
)


def test_a_choice_has_different_rows_of_the_sample_in_their_order():
    rows = np.arange(100, dtype=np.float32)[:, None]
    chosen = pick(rows, 10, 1)[:, 0]
    assert len(chosen) == 10
    assert (np.diff(chosen) > 0).all()
    assert pick(rows, 10, 2)[:, 0].tolist() != chosen.tolist()
    assert pick(rows, 100, 1) is rows


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (4, 4), (5, 5), (50, 5)])
def test_a_choice_of_distinct_rows_finds_them_among_copies(limit, expected):
    rows = np.concatenate([np.repeat(gaussian(1, 8, seed=1), 5000, axis=0), gaussian(4, 8)])
    chosen = pick_distinct(rows, limit, 1)
    assert len(np.unique(chosen, axis=0)) == len(chosen) == expected


def test_zeros_of_either_sign_are_one_row():
    assert len(pick_distinct(np.array([[0.0], [-0.0]], np.float32), 2, 1)) == 1


def test_iterations_move_centroids_to_the_means_of_their_rows():
    rows = clustered(2000, 8, 5)
    first = pick_distinct(rows, 5, 1)
    once = lloyd(rows, first, 1)
    belongs = nearest(rows, first)
    means = np.stack([rows[belongs == number].mean(axis=0) for number in range(5)])
    assert np.allclose(once, means, atol=1e-5)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rows = clustered(9000, 24, 40, seed=2)
    found = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.add(lloyd(rows, pick_distinct(rows, 200, 1), 4).tobytes())
    assert len(found) == 1


def test_rows_belong_to_the_first_of_the_nearest_centroids():
    rows, centroids = gaussian(3000, 16), gaussian(700, 16, seed=4)  # several blocks of rows
    squares = np.square(rows[:, None].astype(np.float64) - centroids).sum(axis=2)
    found = nearest(rows, centroids)
    assert (found.dtype, found.shape) == (np.int32, (3000,))
    np.testing.assert_allclose(squares[np.arange(3000), found], squares.min(axis=1), rtol=1e-5)
    assert nearest(centroids, np.repeat(centroids, 2, axis=0)).tolist() == list(range(0, 1400, 2))
    assert nearest(rows[:0], centroids).tolist() == []


def test_a_centroid_without_rows_takes_half_of_those_of_the_heaviest():
    rows = np.concatenate([gaussian(60, 8), gaussian(20, 8) + np.float32(50)])
    first = np.stack([np.full(8, where, np.float32) for where in (0, 50, -1000)])
    found = lloyd(rows, first, 6)
    sizes = np.bincount(nearest(rows, found), minlength=3)
    assert sizes[1] == 20
    assert min(sizes[0], sizes[2]) >= 10


def test_centroids_for_as_many_rows_or_fewer_stay():
    rows = gaussian(5, 8)
    assert lloyd(rows, rows[::-1], 5).tolist() == rows[::-1].tolist()


def test_neighbours_are_the_nearest_others():
    centroids = np.array([[0], [1], [5], [7], [7]], np.float32)
    assert neighbours(centroids).tolist() == [1, 0, 3, 4, 3]
    assert neighbours(centroids[:1]).tolist() == [0]


def test_distances_and_products_are_those_of_every_point():
    query, points = gaussian(1, 30, seed=3)[0], gaussian(50, 30)
    expected = np.square(points.astype(float) - query).sum(axis=1)
    assert np.allclose(squared_distances(query, points), expected, rtol=1e-5)
    assert np.allclose(inner_products(query, points), points.astype(float) @ query, atol=1e-5)
    apart = np.repeat(points, 2, axis=1)[:, ::2]
    assert squared_distances(np.repeat(query, 2)[::2], apart).tolist() == squared_distances(query, points).tolist()


def test_distances_of_wild_queries_are_infinite_rather_than_nan():
    assert squared_distances(np.full(8, 1e30, np.float32), gaussian(3, 8)).tolist() == [np.inf] * 3


@pytest.mark.parametrize("size", [0, 29, 31])
def test_a_query_of_another_dimension_is_refused(size):
    with pytest.raises(ValueError, match="do not fit"):
        squared_distances(np.zeros(size, np.float32), gaussian(50, 30))
    with pytest.raises(ValueError, match="a query of shape"):
        inner_products(np.zeros(size, np.float32), gaussian(50, 30))


def test_projections_are_coordinates_along_directions():
    rows, directions = gaussian(50, 12), gaussian(5, 12, seed=1)
    np.testing.assert_allclose(project(rows, directions), rows @ directions.T, atol=1e-5)


def test_means_are_of_the_rows_of_each_centroid():
    rows = np.array([[1, 2], [3, 4], [10, 20], [5, 9]], np.float32)
    found = means(rows, np.array([1, 1, 0, 1], np.int32), 3)
    assert (found.dtype, found.tolist()) == (np.float32, [[10, 20], [3, 5], [0, 0]])


@pytest.mark.parametrize(("rows", "dimension", "count"), [(1000, 128, 37), (60, 3, 90), (50, 7, 1)])
def test_means_are_those_of_numpy_in_float64(rows, dimension, count):
    """To the last bit: the rows of a centroid are summed in their order."""
    points = gaussian(rows, dimension)
    assigned = np.random.default_rng(4).integers(0, count, rows).astype(np.int32)
    wanted = np.zeros((count, dimension), np.float32)
    for number in np.unique(assigned):
        wanted[number] = points[assigned == number].mean(axis=0, dtype=np.float64)
    assert means(points, assigned, count).tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("order", "starts", "shape"),
    [
        ([0, 3], [0, 2], (1, 4)),
        ([0, -1], [0, 2], (1, 4)),
        ([0, 1], [0, 3], (1, 4)),
        ([0, 1], [1, 0], (1, 4)),
        ([0, 1], [-1, 2], (1, 4)),
        ([0, 1], [0, 2], (2, 4)),
        ([0, 1], [0, 2], (1, 5)),
        ([0, 1], [], (0, 4)),
    ],
)
def test_means_outside_the_rows_are_refused(order, starts, shape):
    rows, order, starts = np.ones((3, 4), np.float32), np.array(order, np.int64), np.array(starts, np.int64)
    with pytest.raises(ValueError, match="do not fit"):
        _kernels.means(rows, order, starts, np.zeros(shape, np.float32))
