"""Tests of the arithmetic of blocks, and of what goes first when there is too little room."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quiver.storage.cache.blocks import extents_of, least_worth, runs
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
