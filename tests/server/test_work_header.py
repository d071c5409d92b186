"""The header that tells how a query was answered, and what a request cost."""

from __future__ import annotations

import pytest

from quiver.engine.engine import SourceWork
from quiver.objectstore.metered_store import Spent
from quiver.prices import load_prices
from quiver.server.work_header import describe_cost, describe_work


def test_sums_over_all_sources_are_told():
    work = [
        SourceWork("segment", "kmeans+rabitq", "probe", 20_000, 19_000, 283, 46, 3_301, 32, 388_608, "later"),
        SourceWork("tail", "rows", "scan", 100, 90, 1, 1, 0, 100, 1_000),
    ]
    assert describe_work(work) == (
        "plan=probe+scan; sources=2; rows=20100; matches=19090; partitions=47/284; codes=3301; vectors=132; "
        "bytes=389608; "
    )
    assert describe_work([]) == ""


def test_requests_bytes_and_dollars_are_told():
    prices = load_prices().stores
    spent = Spent(puts=1, gets=2, lists=3, deletes=0, sent=40, received=2**30)
    asked = "puts=1; gets=2; lists=3; sent=40; received=1073741824"
    assert describe_cost(spent, prices["s3-standard"]) == f"{asked}; usd=2.08e-05"
    assert describe_cost(spent, prices["s3-express"]).startswith(f"{asked}; usd=")
    assert describe_cost(spent, None) == asked
    dollars = float(describe_cost(spent, prices["s3-express"]).rpartition("=")[2])
    assert dollars == pytest.approx(4 * 1.13e-6 + 2 * 0.03e-6 + 40 / 2**30 * 0.0032 + 0.0006, rel=5e-3)
    assert describe_cost(spent, prices["own"]).endswith("; usd=0")


def test_request_units_of_a_table_are_told_where_there_are_any():
    spent = Spent(table_writes=1000, table_reads=2.5)
    told = "puts=0; gets=0; lists=0; sent=0; received=0; table_writes=1000; table_reads=2.5"
    assert describe_cost(spent, None) == told
    assert describe_cost(spent, load_prices().stores["s3-standard"]) == f"{told}; usd=0.000625"
