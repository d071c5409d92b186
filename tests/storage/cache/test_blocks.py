"""Tests of the arithmetic of blocks, and of what goes first when there is too little room."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quiver.storage.cache.blocks import Wave, extents_of, joined, least_worth, runs
from quiver.storage.cache.view import BLOCK


class Holder(NamedTuple):
    used: np.ndarray
    hot: np.ndarray

    def sizes(self, blocks: np.ndarray) -> np.ndarray:
        return np.full(len(blocks), 10)


def test_runs_join_across_gaps_and_are_cut_at_the_longest():
    assert runs(np.array([1, 2, 5, 9, 10])) == [(1, 3), (5, 6), (9, 11)]
    assert runs(np.array([1, 2, 5, 9, 10]), gap=2) == [(1, 6), (9, 11)]
    assert runs(np.arange(7), longest=3) == [(0, 3), (3, 6), (6, 7)]
    assert runs(np.zeros(0, np.int64)) == []


def test_gaps_are_closed_from_the_smallest_on_until_the_requests_do():
    blocks = np.array([0, 1, 10, 14, 40, 47])
    wave = Wave(most=6, gap=2, longest=64, along=100, line=10)
    assert joined(blocks, wave) == [(0, 2), (10, 11), (14, 15), (40, 41), (47, 48)]
    assert joined(blocks, wave._replace(most=4)) == [(0, 2), (10, 15), (40, 41), (47, 48)]
    assert joined(blocks, wave._replace(most=2)) == [(0, 15), (40, 48)]
    assert joined(blocks, wave._replace(most=1)) == [(0, 48)]


def test_of_equal_gaps_only_as_many_are_closed_as_need_be():
    wave = Wave(most=3, gap=2, longest=64, along=9, line=10)
    assert joined(np.arange(0, 25, 6), wave._replace(along=10)) == [(0, 13), (18, 19), (24, 25)]
    assert joined(np.arange(0, 25, 6), wave) == runs(np.arange(0, 25, 6), 2, 64), "ten blocks would come along"


def test_where_the_gaps_hold_too_much_none_is_closed():
    blocks = np.array([0, 10, 1000, 2000])
    assert joined(blocks, Wave(2, gap=2, longest=64, along=500, line=10)) == runs(blocks, 2, 64)


def test_long_ranges_are_cut_evenly_into_the_requests_that_there_are():
    wave = Wave(most=4, gap=0, longest=64, along=100, line=10)
    assert joined(np.arange(1000), wave) == [(0, 250), (250, 500), (500, 750), (750, 1000)]
    apart = np.r_[np.arange(600), np.arange(605, 700)]
    assert joined(apart, wave) == [(0, 175), (175, 350), (350, 525), (525, 700)], "sooner than 600 in three"
    assert joined(np.arange(200), wave) == [(0, 64), (64, 128), (128, 192), (192, 200)]


def test_few_bytes_are_not_cut_only_because_there_are_requests_left():
    assert joined(np.array([0, 5, 10, 15]), Wave(3, gap=0, longest=64, along=100, line=10)) == [
        (0, 6),
        (10, 11),
        (15, 16),
    ]


NUMBERS = st.sets(st.integers(0, 400), max_size=60).map(sorted)
WAVES = st.builds(
    Wave, st.integers(1, 12), st.integers(0, 8), st.integers(1, 30), st.integers(0, 300), st.integers(1, 10)
)


@given(NUMBERS, WAVES)
def test_joined_ranges_hold_every_block_and_keep_to_the_requests_where_that_is_worth_it(numbers, wave):
    blocks = np.array(numbers, np.int64)
    found = joined(blocks, wave)
    plain = runs(blocks, wave.gap, wave.longest)
    held = [block for first, last in found for block in range(first, last)]
    assert sorted(set(held)) == held, "ascending, and no block twice"
    assert set(numbers) <= set(held)
    wide = sorted(gap for gap in (np.diff(blocks) - 1).tolist() if gap > wave.gap)
    needed = sum(wide[: max(0, len(wide) + 1 - wave.most)])
    if len(plain) <= wave.most or needed > wave.along:
        assert found == plain
    else:
        assert len(found) <= wave.most
        assert len(held) <= sum(last - first for first, last in plain) + wave.along


def test_the_last_block_is_as_long_as_what_is_left():
    assert extents_of(np.array([0, 2]), 2 * BLOCK + 5).tolist() == [BLOCK, 5]


def test_what_was_used_once_goes_first_then_what_was_used_longest_ago():
    first = Holder(np.array([5, 1, 9]), np.array([True, False, False]))
    second = Holder(np.array([4, 2]), np.array([True, False]))
    every = [np.arange(3), np.arange(2)]

    def going(excess: int, protected: float = 1e9) -> list[list[int]]:
        return [part.tolist() for part in least_worth([first, second], every, excess, protected)]

    assert going(1) == [[1], []]
    assert going(20) == [[1], [1]]
    assert going(21) == [[1, 2], [1]]
    assert going(31) == [[1, 2], [0, 1]]
    assert going(999) == [[0, 1, 2], [0, 1]]
    assert going(31, protected=BLOCK) == [[0, 1], [0, 1]], "too many count as used again"
    assert [part.tolist() for part in least_worth([first, second], [np.array([0]), np.array([1])], 1, 1e9)] == [
        [],
        [1],
    ]


def test_where_nothing_may_go_nothing_goes():
    holder = Holder(np.array([1]), np.array([False]))
    assert [len(part) for part in least_worth([holder], [np.zeros(0, np.int64)], 100, 0)] == [0]
    assert least_worth([], [], 100, 0) == []


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=5), max_size=4), st.integers(1, 150)
)
def test_enough_goes_and_no_block_too_many(holdings, excess):
    holders = [
        Holder(np.array([n for n, _ in each], int), np.array([h for _, h in each], bool)) for each in holdings
    ]
    gone = least_worth(holders, [np.arange(len(each)) for each in holdings], excess, 1e9)
    total, count = sum(map(len, holdings)), sum(map(len, gone))
    assert count == min(total, -(-excess // 10))
    assert all((np.diff(part) > 0).all() for part in gone)
