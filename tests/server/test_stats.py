"""The document of /stats: what it makes of the samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.engine.native.workshop import Job
from quiver.server.metrics import SECONDS, Metrics
from quiver.server.stats import document, quantile
from quiver.storage.cache.counts import CacheCounts, DiskCounts, PaceFigures


def test_requests_latency_and_the_store_without_caches() -> None:
    metrics = Metrics()
    metrics.observe("QueryVectors", "OK", 0.002, 10, 20)
    metrics.observe("QueryVectors", "OK", 0.004, 10, 20)
    metrics.observe("QueryVectors", "NotFoundException", 60.0, 10, 20)
    found = document(metrics.registry.collect())
    assert found["requests"] == {"QueryVectors": {"OK": 2, "NotFoundException": 1}}
    latency = found["latency"]["QueryVectors"]
    assert latency["mean"] == pytest.approx(60.006 / 3)
    assert 0.0025 < latency["p50"] <= 0.005
    assert latency["p99"] is None  # beyond the largest bound
    assert "cache" not in found
    assert found["requestsInFlight"] == 0


def test_upkeep_by_job() -> None:
    metrics = Metrics()
    metrics.maintenance.started(Job.FLUSH)
    metrics.maintenance.ended(Job.FLUSH, 1.5, done=True)
    metrics.maintenance.started(Job.FLUSH)
    metrics.maintenance.ended(Job.FLUSH, 0.25, done=False)
    assert document(metrics.registry.collect())["maintenance"] == {
        "flush": {"done": 1, "failed": 1, "seconds": 1.75}
    }


def test_caches() -> None:
    metrics = Metrics()
    disk = DiskCounts(evicted=3, damaged=1, failures=2, nbytes=20, budget=200)
    metrics.observe_cache(CacheCounts(6, 3, 1, 4, 4000, 2, 5, 10, 100, disk))
    assert document(metrics.registry.collect())["cache"] == {
        "hits": {"memory": 6, "disk": 3},
        "evictions": {"memory": 5, "disk": 3},
        "bytes": {"memory": 10, "disk": 20},
        "budgetBytes": {"memory": 100, "disk": 200},
        "misses": 1,
        "requests": 2,
        "fetchedBytes": 4000,
        "damagedBlocks": 1,
        "diskFailures": 2,
        "hitRate": 0.9,
    }


def test_caches_that_nobody_needed_have_no_hit_rate() -> None:
    metrics = Metrics()
    metrics.observe_cache(CacheCounts(budget=100))
    assert document(metrics.registry.collect())["cache"]["hitRate"] is None


def test_the_pace_of_the_store_as_far_as_it_was_measured() -> None:
    metrics = Metrics()
    metrics.observe_cache(CacheCounts())
    assert document(metrics.registry.collect())["pace"] == {}
    metrics.observe_cache(CacheCounts(requests=1, pace=PaceFigures(0.03, None, 5e7)))
    assert document(metrics.registry.collect())["pace"] == {"latencySeconds": 0.03, "bytesPerSecond": 5e7}


@given(st.lists(st.floats(0.0001, 29.0), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = (*SECONDS, float("inf"))
    buckets = [(bound, float(sum(value <= bound for value in values))) for bound in bounds]
    exact = next(value for n, value in enumerate(sorted(values), 1) if n >= share * len(values))
    found = quantile(buckets, share)
    assert found is not None
    above = next(bound for bound in bounds if exact <= bound)
    below = max((bound for bound in bounds if bound < exact), default=0.0)
    assert below - 1e-6 <= found <= above + 1e-6


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile([(1.0, 0.0), (float("inf"), 0.0)], 0.5) is None
