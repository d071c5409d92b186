"""Tests of true neighbours: those of float64, in whatever parts the rows come."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quiver.ann.neighbours import find_neighbours


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 30), st.integers(0, 9))
def test_neighbours_are_those_of_brute_force_whatever_the_parts(rows, step, count, seed):
    data = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    own = np.random.default_rng(seed + 1).choice(rows, min(rows, 5), replace=False)
    count = min(count, max(rows - 1, 0))
    parts = [(start, data[start : start + step]) for start in range(0, rows, step)]
    found = find_neighbours(data[own], own, parts, count)
    assert found.rows.shape == found.squares.shape == (len(own), count)
    for query, near, squares in zip(own, found.rows, found.squares, strict=True):
        exact = np.square(data - data[query]).sum(axis=1)
        exact[query] = np.inf
        assert query not in near
        assert len(set(near.tolist())) == count
        np.testing.assert_allclose(squares, np.sort(exact)[:count], atol=1e-4)
        np.testing.assert_allclose(exact[near], squares, atol=1e-4)
