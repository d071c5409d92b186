"""Metrics of upkeep (what runs, what ended and how, how far the stages under way are) and of caches."""

from __future__ import annotations

import dataclasses

from quiver.engine.native.workshop import Job
from quiver.server.metrics import Metrics
from quiver.storage.cache.counts import CacheCounts, DiskCounts, PaceFigures


def test_upkeep_is_counted_by_job_and_result() -> None:
    metrics = Metrics()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"quiver_maintenance_{name}", labels)

    watcher = metrics.maintenance
    watcher.started(Job.FLUSH)
    watcher.started(Job.TIDY)
    watcher.progress("write", 10, 40)
    assert (value("running", job="flush"), value("running", job="tidy")) == (1, 1)
    assert value("rows", stage="write") == 10
    watcher.ended(Job.FLUSH, 1.5, done=True)
    watcher.ended(Job.TIDY, 2.0, done=False)
    assert (value("running", job="flush"), value("running", job="tidy")) == (0, 0)
    assert value("jobs_total", job="flush", result="done") == 1
    assert value("jobs_total", job="tidy", result="failed") == 1
    assert value("jobs_total", job="flush", result="failed") is None
    assert value("seconds_total", job="flush") == 1.5
    assert value("rows", stage="write") == 0


def test_caches_are_counted_by_tier_and_only_what_is_new() -> None:
    metrics = Metrics()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"quiver_cache_{name}", labels)

    metrics.observe_cache(None)
    assert value("hits_total", tier="memory") is None
    disk = DiskCounts(evicted=4, damaged=1, failures=2, nbytes=500, budget=1000)
    first = CacheCounts(10, 5, 2, 3, 3000, 1, 6, 70, 100, disk)
    for _ in range(2):
        metrics.observe_cache(first)
    more = dataclasses.replace(disk, evicted=9, damaged=2, nbytes=400)
    metrics.observe_cache(CacheCounts(11, 7, 5, 9, 9000, 4, 8, 60, 100, more))
    assert [value("hits_total", tier=tier) for tier in ("memory", "disk")] == [11, 7]
    assert [value("evictions_total", tier=tier) for tier in ("memory", "disk")] == [8, 9]
    assert [value("bytes", tier=tier) for tier in ("memory", "disk")] == [60, 400]
    assert [value("budget_bytes", tier=tier) for tier in ("memory", "disk")] == [100, 1000]
    names = ("misses", "requests", "fetched_bytes", "damaged_blocks", "disk_failures")
    assert [value(f"{name}_total") for name in names] == [5, 4, 9000, 2, 2]


def test_the_pace_of_the_store_is_told_as_far_as_it_was_measured() -> None:
    metrics = Metrics()

    def values() -> list[float | None]:
        value = metrics.registry.get_sample_value
        over = [{"operation": "get", "over": over} for over in ("connection", "all")]
        rates = [value("quiver_store_bytes_per_second", labels) for labels in over]
        return [value("quiver_store_latency_seconds", {"operation": "get"}), *rates]

    metrics.observe_cache(CacheCounts())
    assert values() == [None, None, None]
    metrics.observe_cache(CacheCounts(requests=1, pace=PaceFigures(0.02)))
    assert values() == [0.02, None, None]
    metrics.observe_cache(CacheCounts(requests=2, pace=PaceFigures(0.03, 4e6, 5e7)))
    assert values() == [0.03, 4e6, 5e7]
