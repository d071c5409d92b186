"""The interval of a measured recall: what it is of some counts, and how often it holds the true share."""

from __future__ import annotations

import numpy as np
import pytest

from quiver.engine.native.recall import wilson

TENS = np.full(50, 10)


def test_of_neighbours_that_are_found_one_by_one_it_is_wilsons():
    """By the formula, of 90 in 100: (0.9 + z2 / 200 -+ z sqrt(0.09 / 100 + z2 / 40000)) / (1 + z2 / 100)."""
    found = np.array([8, 10, 9, 8, 10, 10, 9, 8, 9, 9])  # varies less than chance would
    share, low, high = wilson(found, TENS[:10])
    assert share == 0.9
    assert (low, high) == (pytest.approx(0.82563, abs=1e-5), pytest.approx(0.94477, abs=1e-5))


def test_that_all_are_found_does_not_make_it_certain():
    assert wilson(TENS, TENS) == (1.0, pytest.approx(1 / (1 + 1.96**2 / 500)), 1.0)
    assert wilson(0 * TENS, TENS) == (0.0, 0.0, pytest.approx(1 - 1 / (1 + 1.96**2 / 500)))


def test_queries_that_find_all_or_nothing_count_as_one_neighbour_each():
    found = np.array([10] * 45 + [0] * 5)
    once = np.array([1] * 45 + [0] * 5)
    assert wilson(found, TENS) == pytest.approx(wilson(once, np.ones(50, int)), abs=2e-3)


def test_queries_with_fewer_neighbours_count_for_fewer():
    assert wilson(np.array([10, 0]), np.array([10, 2]))[0] == pytest.approx(10 / 12)


@pytest.mark.parametrize("count", [0, 1])
def test_one_query_says_nothing_of_others(count):
    assert wilson(TENS[:count], TENS[:count]) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("together", [0.0, 0.1, 0.5], ids=["independent", "a little", "much"])
def test_it_holds_the_true_share_about_19_times_in_20_also_where_queries_differ(together):
    """Of 200 queries whose own shares have a beta distribution with this correlation between their neighbours."""
    rng, share, held, trials = np.random.default_rng(3), 0.9, 0, 1000
    for _ in range(trials):
        odds = (1 - together) / together if together else 0.0
        shares = rng.beta(share * odds, (1 - share) * odds, 200) if together else np.full(200, share)
        _, low, high = wilson(rng.binomial(10, shares), np.full(200, 10))
        held += low <= share <= high
    assert 0.925 <= held / trials <= 0.975
