"""Tests of random rotations."""

from __future__ import annotations

import numpy as np
import pytest

from ann.samples import gaussian
from quiver.ann.rotation import Rotation

MANY = [*range(1, 131), 300, 384, 768, 784, 960, 997, 1531, 1536]


def test_rotations_are_orthogonal_in_every_dimension():
    for dimension in MANY:
        turned = Rotation(dimension, 5).rows(np.eye(dimension, dtype=np.float32))
        assert turned.dtype == np.float32
        assert np.abs(turned @ turned.T - np.eye(dimension)).max() < 1e-5, dimension


def test_a_row_alone_is_rotated_as_among_others():
    for dimension in MANY:
        rotation, rows = Rotation(dimension, 5), gaussian(5, dimension)
        before = rows.tobytes()
        turned = rotation.rows(rows)
        for row, wanted in zip(rows, turned, strict=True):
            np.testing.assert_allclose(rotation.row(row), wanted, atol=2e-5)
        assert rows.tobytes() == before
        assert rotation.rows(rows[:0]).shape == (0, dimension)


@pytest.mark.parametrize("dimension", [64, 131, 300, 384, 784, 997])
def test_every_coordinate_is_spread_over_all(dimension):
    """As by a dense random rotation, whose entries are nearly normal with a variance of 1 / dimension."""
    entries = Rotation(dimension, 2).rows(np.eye(dimension, dtype=np.float32)) * np.sqrt(dimension)
    assert np.abs(entries).max() < 7
    assert np.mean(entries**4) < 3.5
    assert np.mean(np.abs(entries) < 0.1) < 0.13


def test_the_seed_decides():
    rows = gaussian(4, 96)
    assert Rotation(96, 1).rows(rows).tobytes() == Rotation(96, 1).rows(rows).tobytes()
    assert np.abs(Rotation(96, 1).rows(rows) - Rotation(96, 2).rows(rows)).max() > 1


@pytest.mark.parametrize(
    "wanted",
    [
        [0.9721, 5.9219, 0.2064, 0.9721, 1.1616, 7.256],
        [-5.0158, -2.0633, 0.9732, -0.3405, -5.9144, 5.3609, 6.7678],
    ],
    ids=len,
)
def test_stored_codes_keep_their_meaning(wanted):
    """The rotation of a seed never changes, whatever the platform and the versions of the libraries."""
    row = np.arange(1, len(wanted) + 1, dtype=np.float32)
    np.testing.assert_allclose(Rotation(len(wanted), 1).row(row), wanted, atol=1e-4)
