"""Token buckets against a naive model, and what a shared one promises to each of those who share it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.token_bucket import FEW, IDLE_SECONDS, SeparateBuckets, SharedBucket, TokenBucket

COSTS = st.integers(0, 60)
PAUSES = st.integers(0, 2000)  # milliseconds


class NaiveBucket:
    """Exact: counts thousandths of a token, and is refilled a millisecond at a time."""

    def __init__(self, rate: int, capacity: int) -> None:
        self.rate, self.capacity, self.tokens = rate, 1000 * capacity, 1000 * capacity

    def pass_time(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.tokens = min(self.capacity, self.tokens + self.rate)

    def wait(self, cost: int) -> float:
        return max(0, min(1000 * cost, self.capacity) - self.tokens) / self.rate / 1000


@given(st.integers(1, 50), st.integers(1, 40), st.lists(st.tuples(PAUSES, COSTS), max_size=30))
def test_a_bucket_agrees_with_a_naive_one(rate: int, capacity: int, asked: list[tuple[int, int]]) -> None:
    bucket, naive, now = TokenBucket(rate, capacity, capacity, 0.0), NaiveBucket(rate, capacity), 0
    for pause, cost in asked:
        now += pause
        naive.pass_time(pause)
        wait = bucket.wait(cost, now / 1000)
        assert wait == pytest.approx(naive.wait(cost), abs=1e-6)
        if wait < 1e-6:
            bucket.take(cost, now / 1000)
            naive.tokens -= 1000 * cost


def test_who_waits_as_long_as_told_is_served_and_not_sooner() -> None:
    bucket = TokenBucket(4, 10, 10, 0.0)
    bucket.take(10, 0.0)
    assert bucket.wait(6, 0.0) == 1.5
    assert bucket.wait(6, 1.25) == 0.25
    assert bucket.wait(6, 1.5) == 0


def test_a_cost_larger_than_the_bucket_is_paid_off_later() -> None:
    bucket = TokenBucket(10, 10, 10, 0.0)
    assert bucket.wait(100, 0.0) == 0
    bucket.take(100, 0.0)
    assert bucket.wait(1, 0.0) == pytest.approx(9.1)
    assert bucket.wait(100, 10.0) == 0


def test_a_clock_that_stands_or_goes_back_brings_nothing() -> None:
    bucket = TokenBucket(10, 10, 0, 5.0)
    assert bucket.wait(1, 3.0) == pytest.approx(0.1)
    assert bucket.wait(1, 5.05) == pytest.approx(0.05)


# ---- separate ones


def test_separate_buckets_do_not_know_of_each_other() -> None:
    buckets = SeparateBuckets(1, 2)
    assert buckets.wait("a", 2, 0.0) == 0
    buckets.take("a", 2, 0.0)
    assert buckets.wait("a", 1, 0.0) == 1
    assert buckets.wait("b", 2, 0.0) == 0
    assert (buckets.knows("a"), buckets.knows("c")) == (True, False)


def test_full_buckets_are_forgotten_and_empty_ones_are_not() -> None:
    buckets = SeparateBuckets(1, 1)
    buckets.wait("in use", 1, 0.0)
    buckets.take("in use", 1, 50_000.0)
    for n in range(50_000):
        buckets.wait(str(n), 1, float(n))
        buckets.take(str(n), 1, float(n))
    assert len(buckets) <= FEW + 1
    assert buckets.wait("in use", 1, 50_000.0) == 1


# ---- a shared one


def served(bucket: SharedBucket, takers: dict[str, float], seconds: float, cost: int = 1) -> dict[str, int]:
    """What each gets that asks again and again, so many times per second, whatever the answer."""
    got = dict.fromkeys(takers, 0)
    times = sorted((n / rate, taker) for taker, rate in takers.items() for n in range(int(rate * seconds)))
    for now, taker in times:
        if bucket.wait(taker, cost, now) == 0:
            bucket.take(taker, cost, now)
            got[taker] += 1
    return got


def test_who_is_alone_gets_everything() -> None:
    assert served(SharedBucket(10, 10, 0.0), {"a": 1000.0}, 10)["a"] in (109, 110)


def test_a_greedy_taker_leaves_a_modest_one_its_share() -> None:
    got = served(SharedBucket(10, 10, 0.0), {"greedy": 300.0, "modest": 4.0}, 60)
    assert got["modest"] >= 4 * 60 - 2
    assert 600 <= got["greedy"] + got["modest"] <= 610


def test_equally_greedy_takers_get_equal_parts() -> None:
    got = served(SharedBucket(12, 12, 0.0), {"a": 40.0, "b": 310.0, "c": 150.0}, 60)
    assert max(got.values()) - min(got.values()) <= 12
    assert 700 <= sum(got.values()) <= 732


def test_a_newcomer_is_served_although_a_greedy_taker_empties_the_bucket() -> None:
    bucket = SharedBucket(10, 10, 0.0)
    for millisecond in range(5000):
        if bucket.wait("greedy", 1, millisecond / 1000) == 0:
            bucket.take("greedy", 1, millisecond / 1000)
    wait = bucket.wait("new", 1, 5.0)
    assert 0 < wait <= 0.2
    for millisecond in range(5000, 5200):
        if bucket.wait("greedy", 1, millisecond / 1000) == 0:
            bucket.take("greedy", 1, millisecond / 1000)
    assert bucket.wait("new", 1, 5.2) == 0


def test_the_share_of_one_that_left_goes_to_the_others() -> None:
    bucket = SharedBucket(10, 10, 0.0)
    bucket.wait("gone", 1, 0.0)
    bucket.wait("here", 1, 1.0)
    bucket.take("here", 5, 1.0)
    assert bucket.wait("here", 5, 1.0) == 1.0  # its half comes at five per second
    assert bucket.wait("here", 10, 1.0 + IDLE_SECONDS) == 0
    bucket.take("here", 10, 1.0 + IDLE_SECONDS)
    assert not bucket.knows("gone")
    assert bucket.wait("here", 10, 1.0 + IDLE_SECONDS) == 1.0


def test_one_in_debt_does_not_lose_it_by_staying_away() -> None:
    bucket = SharedBucket(1, 1, 0.0)
    bucket.wait("a", 100, 0.0)
    bucket.take("a", 100, 0.0)
    bucket.wait("b", 1, 50.0)
    assert bucket.knows("a")
    assert bucket.wait("a", 1, 50.0) > 0


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000), COSTS), max_size=60),
)
def test_a_shared_bucket_never_gives_more_than_came_in(
    rate: int, capacity: int, asked: list[tuple[str, int, int]]
) -> None:
    bucket, now, given_away, largest = SharedBucket(rate, capacity, 0.0), 0, 0, 0
    for taker, pause, cost in asked:
        now += pause
        if bucket.wait(taker, cost, now / 1000) == 0:
            bucket.take(taker, cost, now / 1000)
            given_away += cost
            largest = max(largest, cost)
        debts = 3 * largest  # each may have gone into debt by one request
        assert given_away <= capacity + rate * now / 1000 + debts + 1e-6
    for taker in "abc":
        wait = bucket.wait(taker, 1, now / 1000)
        assert wait <= (3 * largest + capacity) * 3 / rate + 1e-6
