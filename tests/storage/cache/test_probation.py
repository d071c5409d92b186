"""Tests of the probation: what is offered again soon is known, what a scan brings is not."""

from __future__ import annotations

import numpy as np
import pytest

from quiver.storage.cache.probation import Probation

KEYS = np.random.default_rng(0).integers(0, 1 << 63, 200_000).astype(np.uint64)


def test_a_key_is_known_the_second_time_and_then_starts_anew():
    probation = Probation(1000)
    first, others = KEYS[:300], KEYS[300:600]
    assert not probation.known(first).any()
    assert not probation.known(others).any()
    second = probation.known(first)
    assert second.mean() > 0.8
    assert not (probation.known(first) & second).any()


def test_keys_that_share_a_place_are_known_in_turn():
    """None keeps the others out for ever: what got in is not offered again."""
    keys = np.array([1 << 40, 2 << 40, 3 << 40], np.uint64)
    probation = Probation(1000)
    for _ in range(8):
        keys = keys[~probation.known(keys)]
    assert not len(keys)


@pytest.mark.parametrize("length", [1300, 2560, 10_000, 32_000, 64_000])
def test_a_scan_longer_than_the_window_is_never_known(length):
    probation = Probation(1000)
    for _ in range(6):
        known = [probation.known(KEYS[at : at + 50]) for at in range(0, length, 50)]
        assert np.concatenate(known).mean() < 0.001


def test_half_a_cache_of_blocks_is_known_again_although_others_came_in_between():
    probation = Probation(10_000)
    probation.known(KEYS[:5000])
    probation.known(KEYS[5000:7000])
    assert probation.known(KEYS[:5000]).mean() > 0.8


def test_no_keys_and_no_cache():
    assert Probation(0).known(KEYS[:0]).shape == (0,)
    assert not Probation(0).known(KEYS[:10]).any()
