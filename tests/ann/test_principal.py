"""Tests of principal directions."""

from __future__ import annotations

import numpy as np
import pytest

from ann.samples import gaussian
from quiver.ann.partitioners import principal
from quiver.ann.partitioners.principal import principal_directions


def assert_orthonormal(directions: np.ndarray) -> None:
    assert np.allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-5)


def test_the_directions_of_largest_variance_are_found_in_their_order():
    scale = np.ones(60, np.float32)
    scale[[7, 31, 2]] = [90, 30, 10]
    directions = principal_directions(gaussian(3000, 60) * scale + np.float32(500), 3, 1)
    assert np.abs(directions).argmax(axis=1).tolist() == [7, 31, 2]
    assert (np.abs(directions).max(axis=1) > 0.99).all()
    assert_orthonormal(directions)


def test_directions_are_the_same_however_they_are_computed(monkeypatch):
    rows = gaussian(3000, 60) * np.geomspace(100, 1, 60, dtype=np.float32) + np.float32(50)
    found = [principal_directions(rows, 8, 1)]
    monkeypatch.setattr(principal, "_NARROW", 59)
    found.append(principal_directions(rows, 8, 1))
    assert np.allclose(np.abs(found[0] @ found[1].T), np.eye(8), atol=1e-3)


FLAT = {
    "one row": gaussian(1, 9),
    "four rows": gaussian(4, 9),
    "copies": np.ones((30, 9)),
    "large": gaussian(30, 9) * 1e8,
}


@pytest.mark.parametrize("rows", FLAT.values(), ids=FLAT.keys())
def test_directions_are_orthonormal_even_where_nothing_varies(rows):
    directions = principal_directions(rows.astype(np.float32), 32, 1)
    assert directions.shape == (9, 9)
    assert_orthonormal(directions)


def test_new_directions_are_orthogonal_to_known_ones():
    rows = gaussian(2000, 20) * np.array([100, 80, 60, 20, *[1] * 16], np.float32)
    known = principal_directions(rows, 3, 1)
    more = principal_directions(rows, 2, 1, apart_from=known)
    assert_orthonormal(np.concatenate([known, more]))
    assert abs(more[0, 3]) > 0.99


def test_no_more_directions_are_found_than_the_space_has_beside_the_known():
    rows = gaussian(50, 4)
    assert len(principal_directions(rows, 3, 1, apart_from=np.eye(4, dtype=np.float32)[:3])) == 1
