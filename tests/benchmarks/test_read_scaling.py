"""When a node that joins counts as warm."""

from __future__ import annotations

from benchmarks.read_scaling import WARM, WINDOW, warm_at


def answered(*seconds):
    return [(float(number), one) for number, one in enumerate(seconds)]


def test_a_node_is_warm_from_the_first_of_enough_usual_queries_in_a_row():
    times = answered(*[9.0] * WINDOW, *[1.0] * WINDOW)
    moment = warm_at(times, 1.0)
    assert moment == WINDOW - WINDOW // 2 + 1  # with that one more than half of the window is usual


def test_a_little_slower_than_usual_is_warm_and_more_is_not():
    assert warm_at(answered(*[WARM * 2.0] * WINDOW), 2.0) == 0.0
    assert warm_at(answered(*[WARM * 2.1] * WINDOW), 2.0) is None


def test_too_few_queries_tell_nothing():
    assert warm_at(answered(*[1.0] * (WINDOW - 1)), 1.0) is None
