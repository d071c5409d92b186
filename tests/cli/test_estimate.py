"""The arithmetic of a monthly bill."""

from __future__ import annotations

import pytest
from msgspec.structs import astuple, replace

from quiver.cli.estimate import Facts, Operations, Usage, Workload, monthly_usage, store_bill, vectors_bill
from quiver.prices import GB, load_prices

FACTS = Facts(
    stored=3 * GB,
    vectors=250_000,
    vector_bytes=4096.0,
    key_bytes=174.0,
    metadata_bytes=2048.0,
    filterable_bytes=1024.0,
    amplification=2.5,
)
OPERATIONS = Operations(
    cold_query=Usage(gets=20, lists=2, received=1e6),
    warm_query=Usage(gets=1, lists=1),
    put=Usage(puts=1, lists=1, sent=77),
    upkeep=Usage(puts=4, gets=10, lists=6, deletes=2, sent=77, received=77),
    entries=50,
)
WORKLOAD = Workload(queries=1000, cold_share=0.1, top_k=10, writes=50_000, batch=100)


def test_usage_follows_from_the_workload():
    usage = monthly_usage(FACTS, WORKLOAD, OPERATIONS)
    accepted = 50_000 * (4096 + 174 + 2048)
    assert astuple(usage) == pytest.approx(
        (
            500 + 10 * 4,
            100 * 20 + 900 * 1 + 10 * 10 + 500,  # the last: upkeep reads each entry
            100 * 2 + 900 * 1 + 500 + 10 * 6,
            10 * 2,
            2.5 * accepted,
            100 * 1e6 + 2.5 * accepted,
            0,
            0,
        )
    )


def test_the_bill_of_a_store_adds_up():
    prices = load_prices().stores["s3-express"]
    usage = Usage(puts=1e6, gets=2e6, lists=3e6, deletes=5, sent=GB, received=2 * GB)
    lines = {line.what: line.usd for line in store_bill(FACTS, usage, prices)}
    assert lines.pop("total") == pytest.approx(sum(lines.values()))
    assert lines == pytest.approx(
        {
            "storage": 0.33,
            "PUT": 1.13,
            "LIST": 3.39,
            "GET": 0.06,
            "DELETE": 0.0,
            "bytes in": 0.0032,
            "bytes out": 0.0012,
        }
    )


def test_the_published_example_of_the_managed_service_comes_out():
    """10 million vectors in 40 indexes, a sixth of them put anew, a million queries: 11.38 dollars a month."""
    workload = Workload(queries=25_000, cold_share=0, top_k=10, writes=250_000 / 6, batch=500)
    lines = {line.what: 40 * line.usd for line in vectors_bill(FACTS, workload, load_prices().vectors)}
    assert lines["storage"] == pytest.approx(3.54, abs=0.02)
    assert lines["PUT"] == pytest.approx(1.97, abs=0.02)
    assert lines["queries"] + lines["processed"] == pytest.approx(5.87, abs=0.05)
    assert lines["total"] == pytest.approx(11.38, abs=0.08)


def test_small_puts_pages_and_large_answers_are_charged_for():
    prices = load_prices().vectors
    one = Workload(queries=1000, cold_share=0, top_k=1, writes=1000, batch=1)
    lines = {line.what: line for line in vectors_bill(FACTS, one, prices)}
    assert lines["PUT"].usd == pytest.approx(1000 * 128 * 1024 / GB * 0.20)
    assert (lines["queries"].amount, lines["returned"].usd) == (1000, 0)
    many = {line.what: line for line in vectors_bill(FACTS, replace(one, top_k=950), prices)}
    assert many["queries"].amount == 10_000
    assert many["returned"].usd == pytest.approx(1000 * (950 * 2222 - 512 * 1024) / GB * 0.01)
