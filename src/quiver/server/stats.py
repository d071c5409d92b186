"""The document of /stats: the samples of all workers as one JSON object."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.metrics_core import Metric

_GAUGES = {
    "quiver_requests_in_flight": "requestsInFlight",
    "quiver_admitted_bytes": "admittedBytes",
}
_BY_TIER = {
    "quiver_cache_hits_total": "hits",
    "quiver_cache_evictions_total": "evictions",
    "quiver_cache_bytes": "bytes",
    "quiver_cache_budget_bytes": "budgetBytes",
}
_OF_CACHES = {
    "quiver_cache_misses_total": "misses",
    "quiver_cache_requests_total": "requests",
    "quiver_cache_fetched_bytes_total": "fetchedBytes",
    "quiver_cache_damaged_blocks_total": "damagedBlocks",
    "quiver_cache_disk_failures_total": "diskFailures",
}
_OF_PACE = {
    ("quiver_store_latency_seconds", None): "latencySeconds",
    ("quiver_store_bytes_per_second", "connection"): "connectionBytesPerSecond",
    ("quiver_store_bytes_per_second", "all"): "bytesPerSecond",
}
_OF_UPKEEP = {"quiver_maintenance_jobs_total", "quiver_maintenance_seconds_total"}
_DURATION = "quiver_request_duration_seconds"


def document(families: Iterable[Metric]) -> dict[str, Any]:
    """Requests by operation and code, their latency, the store's requests and pace, upkeep by job, and caches."""
    stats: dict[str, Any] = {"requests": {}, "latency": {}, "store": {}, "maintenance": {}}
    cache: dict[str, Any] = {}
    buckets: dict[str, list[tuple[float, float]]] = {}
    sums: dict[str, float] = {}
    samples = [sample for family in families for sample in family.samples]
    for sample in samples:
        labels, value = sample.labels, sample.value
        if sample.name == "quiver_requests_total":
            stats["requests"].setdefault(labels["operation"], {})[labels["code"]] = int(value)
        elif sample.name == f"{_DURATION}_bucket":
            buckets.setdefault(labels["operation"], []).append((float(labels["le"]), value))
        elif sample.name == f"{_DURATION}_sum":
            sums[labels["operation"]] = value
        elif sample.name.startswith("quiver_store_") and sample.name.endswith("_total"):
            measure = sample.name.removeprefix("quiver_store_").removesuffix("_total")
            stats["store"].setdefault(labels["operation"], {})[measure] = int(value)
        elif sample.name in _OF_UPKEEP:
            measure = labels.get("result", "seconds")
            upkeep = stats["maintenance"].setdefault(labels["job"], {})
            upkeep[measure] = round(value, 3) if measure == "seconds" else int(value)
        elif sample.name in _GAUGES:
            stats[_GAUGES[sample.name]] = int(value)
        elif sample.name in _BY_TIER:
            cache.setdefault(_BY_TIER[sample.name], {})[labels["tier"]] = int(value)
        elif sample.name in _OF_CACHES:
            cache[_OF_CACHES[sample.name]] = int(value)
    for operation, counts in buckets.items():
        stats["latency"][operation] = _latency(sorted(counts), sums.get(operation, 0.0))
    stats["pace"] = {
        name: round(sample.value, 6)
        for sample in samples
        if (name := _OF_PACE.get((sample.name, sample.labels.get("over"))))
    }
    if "budgetBytes" in cache:
        stats["cache"] = cache | {"hitRate": _hit_rate(cache)}
    return stats


def _latency(buckets: Sequence[tuple[float, float]], total: float) -> dict[str, float | None]:
    count = buckets[-1][1]
    quantiles = {f"p{percent}": quantile(buckets, percent / 100) for percent in (50, 99)}
    return {"mean": round(total / count, 6) if count else None, **quantiles}


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """A quantile as a histogram tells it, in seconds; None for none, or past the largest bound.

    Args:
        buckets: bounds, ascending, each with how many values are at most as large; the last is infinite.
        share: of the values, more than 0, at most 1.
    """
    sought = share * buckets[-1][1]
    if not sought:
        return None
    for (low, below), (high, up_to) in pairwise([(0.0, 0.0), *buckets]):
        if up_to >= sought:
            return (
                None if high == float("inf") else round(low + (high - low) * (sought - below) / (up_to - below), 6)
            )
    return None


def _hit_rate(cache: dict[str, Any]) -> float | None:
    """The part of the blocks that work needed and did not come from the store; None when it needed none."""
    hits = sum(cache.get("hits", {}).values())
    needed = hits + cache.get("misses", 0)
    return round(hits / needed, 6) if needed else None
