"""Metrics of the HTTP face, in the Prometheus client's model, for one process or several.

With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported, every worker writes its values to that
directory and the admin listener adds them up.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from quiver.engine.native.workshop import Watcher
from quiver.objectstore.metered_store import StoreCounts
from quiver.storage.cache.counts import CacheCounts, DiskCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.engine.native.workshop import Job

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BYTES = tuple(float(4**power) for power in range(4, 13))
MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """What every request leaves behind.

    Args:
        registry: where the values are registered; a new one when None.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "quiver_requests", "Requests answered.", ["operation", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "quiver_request_duration_seconds",
            "From the head of the request to the end of the answer.",
            ["operation"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.request_bytes = Histogram(
            "quiver_request_body_bytes", "Request bodies.", ["operation"], buckets=BYTES, registry=self.registry
        )
        self.response_bytes = Histogram(
            "quiver_response_body_bytes", "Answers.", ["operation"], buckets=BYTES, registry=self.registry
        )
        self.throttled = Counter(
            "quiver_throttled_requests",
            "Requests refused because a rate was exceeded.",
            ["limit"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "quiver_requests_in_flight",
            "Requests being answered.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.admitted_bytes = Gauge(
            "quiver_admitted_bytes",
            "Memory set aside for request bodies under way.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )

        self.store_requests = self._store_counter("requests", "Requests to the object store.")
        self.store_errors = self._store_counter("errors", "Requests to the object store that failed.")
        self.store_sent = self._store_counter("sent_bytes", "Bytes sent to the object store.")
        self.store_received = self._store_counter("received_bytes", "Bytes received from the object store.")
        self._latency = Gauge(
            "quiver_store_latency_seconds",
            "What a request of next to no bytes takes, as the slowest process measures it.",
            ["operation"],
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self._pace = Gauge(
            "quiver_store_bytes_per_second",
            "How fast bytes come over one connection and over all, as the slowest process measures it.",
            ["operation", "over"],
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self._store_seen = StoreCounts()
        self.cache = CacheMetrics(self.registry)
        self.maintenance = MaintenanceMetrics(self.registry)

    def _store_counter(self, name: str, text: str) -> Counter:
        return Counter(f"quiver_store_{name}", text, ["operation"], registry=self.registry)

    def observe_store(self, now: StoreCounts) -> None:
        """Add what the object store was asked since the last call."""
        for field in fields(StoreCounts):
            counts, seen = getattr(now, field.name), getattr(self._store_seen, field.name)
            for counter, count in (
                (self.store_requests, counts.requests - seen.requests),
                (self.store_errors, counts.errors - seen.errors),
                (self.store_sent, counts.bytes_in - seen.bytes_in),
                (self.store_received, counts.bytes_out - seen.bytes_out),
            ):
                if count:
                    counter.labels(field.name).inc(count)
        self._store_seen = now

    def observe_cache(self, now: CacheCounts | None) -> None:
        """Add what the caches did since the last call, and the store's pace; nothing where there are none."""
        if now is None:
            return
        self.cache.observe(now)
        if now.pace.seconds is not None:
            self._latency.labels("get").set(now.pace.seconds)
        for over, rate in (("connection", now.pace.rate), ("all", now.pace.total)):
            if rate is not None:
                self._pace.labels("get", over).set(rate)

    def observe(self, operation: str, code: str, seconds: float, received: int, sent: int) -> None:
        """Count one answered request. `operation` and `code` come from fixed tables, never from the client."""
        self.requests.labels(operation, code).inc()
        self.seconds.labels(operation).observe(seconds)
        self.request_bytes.labels(operation).observe(received)
        self.response_bytes.labels(operation).observe(sent)


MEMORY, DISK = "memory", "disk"
_NO_DISK = DiskCounts()


class CacheMetrics:
    """What the caches of a remote root did, and what they hold."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"quiver_cache_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"quiver_cache_{name}", text, ["tier"], multiprocess_mode="livesum", registry=registry)

        self._hits = counter("hits", "Blocks that work needed and a tier had.", "tier")
        self._evictions = counter("evictions", "Blocks that went to make room.", "tier")
        self._misses = counter("misses", "Blocks that work needed and no tier had.")
        self._requests = counter("requests", "Requests to the object store for blocks.")
        self._bytes = counter("fetched_bytes", "Bytes of blocks from the object store.")
        self._damaged = counter("damaged_blocks", "Blocks on disk that were not what was written.")
        self._failures = counter("disk_failures", "Times that the disk did not take blocks.")
        self._held = gauge("bytes", "Bytes that the tier holds.")
        self._budget = gauge("budget_bytes", "Bytes that the tier may hold.")
        self._seen: CacheCounts | None = None

    def observe(self, now: CacheCounts) -> None:
        """Add what was done since the last call."""
        if now == self._seen:
            return
        seen = self._seen or CacheCounts()
        disk, before = now.disk or _NO_DISK, seen.disk or _NO_DISK
        for counter, more in (
            (self._hits.labels(MEMORY), now.found_in_memory - seen.found_in_memory),
            (self._hits.labels(DISK), now.found_on_disk - seen.found_on_disk),
            (self._evictions.labels(MEMORY), now.dropped - seen.dropped),
            (self._evictions.labels(DISK), disk.evicted - before.evicted),
            (self._misses, now.missed - seen.missed),
            (self._requests, now.requests - seen.requests),
            (self._bytes, now.fetched_bytes - seen.fetched_bytes),
            (self._damaged, disk.damaged - before.damaged),
            (self._failures, disk.failures - before.failures),
        ):
            if more:
                counter.inc(more)
        for gauge, tier, nbytes in (
            (self._held, MEMORY, now.nbytes),
            (self._held, DISK, disk.nbytes),
            (self._budget, MEMORY, now.budget),
            (self._budget, DISK, disk.budget),
        ):
            gauge.labels(tier).set(nbytes)
        self._seen = now


class MaintenanceMetrics(Watcher):
    """What upkeep leaves behind.

    Attributes:
        on_failure: is told the job, the index id and the error.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.on_failure: Callable[[Job, str, Exception], None] = lambda *_: None
        self._stages: set[str] = set()
        self.jobs = Counter(
            "quiver_maintenance_jobs", "Upkeep jobs that ended.", ["job", "result"], registry=registry
        )
        self.seconds = Counter(
            "quiver_maintenance_seconds", "Time that upkeep jobs took.", ["job"], registry=registry
        )
        self.running = Gauge(
            "quiver_maintenance_running",
            "Upkeep jobs under way.",
            ["job"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.rows = Gauge(
            "quiver_maintenance_rows",
            "Rows done of the stages under way.",
            ["stage"],
            multiprocess_mode="livesum",
            registry=registry,
        )

    def started(self, job: Job) -> None:
        self.running.labels(job.value).inc()

    def ended(self, job: Job, seconds: float, *, done: bool) -> None:
        self.running.labels(job.value).dec()
        self.jobs.labels(job.value, "done" if done else "failed").inc()
        self.seconds.labels(job.value).inc(seconds)
        for stage in self._stages.copy():
            self.rows.labels(stage).set(0)

    def failed(self, job: Job, index_id: str, error: Exception) -> None:
        self.on_failure(job, index_id, error)

    def progress(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002 - the total is no metric
        self._stages.add(stage)
        self.rows.labels(stage).set(done)
