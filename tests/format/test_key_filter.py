"""Tests of the key filter: it never denies a key, seldom passes another, and refuses what is no filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format.key_filter import KeyFilter, build
from quiver.format.keys import key_hashes
from quiver.model.errors import CorruptObjectError

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**64 - 1]), max_size=300)


@given(HASHES, HASHES)
def test_no_key_is_denied(hashes, others):
    held = np.array(hashes, np.uint64)
    words = build(held)
    assert KeyFilter(words).may_hold(held).all()
    asked = np.array([*others, *hashes], np.uint64)
    passed = KeyFilter(words).may_hold(asked)
    assert len(passed) == len(asked)
    assert passed[len(others) :].all()


@pytest.mark.parametrize("count", [1, 21, 1000, 50_000])
def test_about_one_absent_key_in_two_hundred_passes(count):
    stored = KeyFilter(build(key_hashes(f"key-{number}" for number in range(count))))
    absent = key_hashes(f"absent-{number}" for number in range(100_000))
    assert stored.may_hold(absent).mean() < 0.008


def test_hashes_that_share_half_their_bits_are_told_apart():
    """The block comes from the upper half of a hash and the bits in it from the lower."""
    rng = np.random.default_rng(0)
    upper = rng.integers(0, 2**32, 1000, np.uint64) << np.uint64(32)
    lower = rng.integers(0, 2**32, 1000, np.uint64)
    stored = KeyFilter(build(upper | lower))
    assert stored.may_hold(upper | (lower ^ np.uint64(0x5A5A5A5A))).mean() < 0.03
    assert stored.may_hold((upper ^ np.uint64(0x5A5A5A5A << 32)) | lower).mean() < 0.03


def test_a_filter_takes_about_twelve_bits_a_key():
    assert build(np.zeros(0, np.uint64)).nbytes == 32
    assert 1.5 <= build(np.arange(100_000, dtype=np.uint64)).nbytes / 100_000 < 1.51


def test_an_empty_filter_denies_everything():
    hashes = np.random.default_rng(0).integers(0, 2**64 - 1, 1000, np.uint64)
    assert not KeyFilter(build(np.zeros(0, np.uint64))).may_hold(hashes).any()
    assert KeyFilter(build(hashes)).may_hold(np.zeros(0, np.uint64)).shape == (0,)


def test_the_stored_words_never_change():
    """They are in segments."""
    words = build(key_hashes(["a", "b", "\u00e9"]))
    assert words.dtype == np.dtype("<u4")
    stored = [2685403136, 134217856, 402718720, 71319552, 49152, 4358144, 805310464, 67112961]
    assert words.tolist() == stored


@pytest.mark.parametrize("count", [0, 1, 7, 9, 15])
def test_words_that_are_no_whole_blocks_are_refused(count):
    with pytest.raises(CorruptObjectError):
        KeyFilter(np.zeros(count, np.uint32))


@given(st.binary(min_size=32, max_size=320).map(lambda data: data[: len(data) // 32 * 32]), HASHES)
def test_any_whole_blocks_give_an_answer(data, hashes):
    asked = np.array(hashes, np.uint64)
    assert KeyFilter(np.frombuffer(data, "<u4")).may_hold(asked).shape == asked.shape
