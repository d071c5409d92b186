"""What benchmarks make of a log of requests: counts, dollars, dependent rounds."""

from __future__ import annotations

import pytest
from benchmarks.request_log import Asked, Record, asked, between, dollars, rounds

from quiver.prices import load_prices


def record(start, end, kind="GET", client="one", received=0, sent=0):
    return Record(client, kind, "key", 200, received, sent, start, end, 0.0)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (0, 1), (0.5, 1.5)], 1),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 10), (0, 1), (2, 3), (4, 5)], 3),
        ([(4, 5), (0, 1), (2, 3), (0, 10)], 3),
        ([(0, 3), (1, 2), (2.5, 4), (3.5, 5)], 2),
    ],
)
def test_rounds_are_the_longest_chain_of_requests_that_waited_for_one_another(spans, expected):
    assert rounds([record(*span) for span in spans]) == expected


def test_requests_are_counted_as_stores_bill_them():
    log = [record(0, 1, kind, received=2, sent=10) for kind in ("GET", "HEAD", "LIST", "PUT", "PUT", "DELETE")]
    counted = asked(log)
    assert counted == Asked(puts=2, gets=2, lists=1, deletes=1, sent=12, received=60)
    assert counted.requests == 6


def test_dollars_are_those_of_the_price_table():
    log = [record(0, 1, kind) for kind in ("GET", "GET", "LIST")]
    prices = load_prices().stores["s3-standard"]
    assert dollars(prices, log) == pytest.approx((2 * prices.get_million + prices.list_million) / 1e6)


def test_a_stretch_of_time_has_what_a_client_began_in_it():
    log = [record(0, 5), record(1, 2), record(2, 9), record(3, 4), record(1.5, 2, client="two")]
    assert between(log, 1, 2, "one") == [log[1], log[2]]
    assert between(log, 1, 2) == [log[1], log[2], log[4]]
