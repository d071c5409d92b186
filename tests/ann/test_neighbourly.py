"""The order of centroids: every one once, and neighbours together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quiver.ann.partitioners.neighbourly import neighbourly

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5))


@given(arrays(np.float32, SHAPES, elements=st.floats(-1e9, 1e9, width=32)))
def test_every_point_comes_once(points):
    assert sorted(neighbourly(points).tolist()) == list(range(len(points)))


def test_points_on_a_line_come_in_the_order_of_the_line():
    places = np.random.default_rng(1).permutation(64)
    points = np.outer(places, [1, 2, -3]).astype(np.float32)
    assert np.abs(np.diff(places[neighbourly(points)])).tolist() == [1] * 63


def test_clusters_stay_together():
    rng = np.random.default_rng(2)
    owners = rng.permutation(np.repeat(np.arange(16), 8))
    points = (10 * rng.normal(size=(16, 32))[owners] + rng.normal(size=(128, 32))).astype(np.float32)
    assert np.count_nonzero(np.diff(owners[neighbourly(points)])) < 40  # of 127 in a random order about 119
