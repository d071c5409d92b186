"""The order of centroids: every one once, and neighbours together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quiver.ann.partitioners import neighbourly as module
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


@given(arrays(np.float32, SHAPES, elements=st.floats(-1e9, 1e9, width=32)))
def test_every_point_comes_once_where_chains_go_through_parts(points):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHAINED", 5)
        assert sorted(neighbourly(points).tolist()) == list(range(len(points)))


def test_parts_follow_each_other_where_they_meet(monkeypatch):
    monkeypatch.setattr(module, "_CHAINED", 8)
    places = np.random.default_rng(1).permutation(64)
    points = np.outer(places, [1, 2, -3]).astype(np.float32)
    assert np.abs(np.diff(places[neighbourly(points)])).tolist() == [1] * 63


@pytest.mark.parametrize("chained", [4096, 128])
def test_what_queries_between_clusters_probe_lies_in_few_places(chained, monkeypatch):
    """Centroids of large clusters, several of each, and single ones between them, nearer to the middle."""
    monkeypatch.setattr(module, "_CHAINED", chained)
    rng = np.random.default_rng(3)
    clusters = np.repeat(rng.normal(size=(60, 64)), 5, axis=0) + 0.3 * rng.normal(size=(300, 64))
    points = np.concatenate([clusters, 0.6 * rng.normal(size=(60, 64))]).astype(np.float32)
    points = points[rng.permutation(len(points))]
    order, runs = neighbourly(points), []
    for query in 0.3 * rng.normal(size=(20, 64)):
        near = np.sort(np.argsort(np.square(points[order] - query).sum(axis=1))[:40])
        runs.append(1 + np.count_nonzero(np.diff(near) > 1))
    assert np.mean(runs) < 18  # in an order of halves alone, about 28
