"""How the benchmark of an index's life judges answers."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.life import Asked, History, shifted

NOWHERE = np.zeros(2, np.float32)


@pytest.fixture
def history():
    """Rows 0 to 19 at distances 1 to 20 from the origin; versions 20 and 21 put rows 0 and 20 at 0.5 and 0.25."""
    ids = np.array([*range(20), 0, 20])
    along = np.array([*range(1, 21), 0.5, 0.25], np.float32)
    made = History(ids, np.stack([along, np.zeros(22)], axis=1).astype(np.float32), "euclidean")
    made.put(range(20), -np.inf, -np.inf)
    return made


def asked(start, end, rows):
    ids, distances = zip(*rows, strict=True)
    return Asked("stage", 0, start, end, list(ids), np.array(distances, np.float32))


def ranked(*rows):
    return [(row, row + 1.0) for row in rows]


def test_a_right_answer_has_no_faults(history):
    one = asked(1, 2, ranked(*range(10)))
    assert history.faults(one, NOWHERE) == 0
    assert history.recall(one, NOWHERE) == 1.0


def test_a_row_at_a_distance_it_does_not_have_is_a_fault(history):
    assert history.faults(asked(1, 2, [(0, 1.0), (1, 2.5)]), NOWHERE) == 1


def test_a_row_that_is_there_twice_is_a_fault(history):
    assert history.faults(asked(1, 2, [(0, 1.0), (0, 1.0)]), NOWHERE) == 1


def test_a_row_that_never_was_is_a_fault(history):
    assert history.faults(asked(1, 2, [(99, 1.0)]), NOWHERE) == 1


@pytest.mark.parametrize(("start", "end", "faults"), [(1, 2, 0), (5.5, 6, 0), (4, 9, 0), (7.1, 9, 1)])
def test_a_deleted_row_may_be_returned_only_until_its_deletion_was_confirmed(history, start, end, faults):
    history.delete([3], sent=5, confirmed=7)
    assert history.faults(asked(start, end, [(3, 4.0)]), NOWHERE) == faults


@pytest.mark.parametrize(
    ("start", "end", "old", "new"), [(1, 4, 0, 1), (5.5, 6, 0, 0), (4, 9, 0, 0), (7.1, 9, 1, 0)]
)
def test_of_an_overwritten_row_the_old_or_the_new_version_may_be_returned(history, start, end, old, new):
    history.put(range(20, 21), sent=5, confirmed=7)
    assert history.faults(asked(start, end, [(0, 1.0)]), NOWHERE) == old
    assert history.faults(asked(start, end, [(0, 0.5)]), NOWHERE) == new


def test_a_new_row_must_be_found_once_it_was_confirmed(history):
    history.put(range(21, 22), sent=5, confirmed=7)
    without = ranked(*range(10))
    assert history.recall(asked(1, 4, without), NOWHERE) == 1.0
    assert history.recall(asked(6, 8, without), NOWHERE) == 1.0
    assert history.recall(asked(8, 9, without), NOWHERE) == pytest.approx(0.9)


def test_a_row_that_is_just_changing_takes_the_place_of_another(history):
    history.put(range(21, 22), sent=5, confirmed=7)
    assert history.recall(asked(6, 8, [(20, 0.25), *ranked(*range(9))]), NOWHERE) == 1.0
    assert history.recall(asked(6, 8, [(20, 0.25), *ranked(*range(8), 15)]), NOWHERE) == pytest.approx(8 / 9)


def test_what_is_alive_are_the_latest_versions(history):
    history.put(range(20, 22), sent=5, confirmed=7)
    history.delete([1, 2], sent=8, confirmed=9)
    assert history.alive() == [*range(3, 20), 20, 21]


def test_shifted_rows_lie_apart_from_the_others():
    rows = np.random.default_rng(1).normal(size=(400, 16)).astype(np.float32) * 0.01 + 1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    moved = shifted(rows, 100, "cosine", np.random.default_rng(2))
    assert moved.shape == (100, 16)
    assert np.allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    assert (moved @ rows.T).max() < 0.99
