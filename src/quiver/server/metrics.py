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

if TYPE_CHECKING:
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
        self._store_seen = StoreCounts()
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

    def observe(self, operation: str, code: str, seconds: float, received: int, sent: int) -> None:
        """Count one answered request. `operation` and `code` come from fixed tables, never from the client."""
        self.requests.labels(operation, code).inc()
        self.seconds.labels(operation).observe(seconds)
        self.request_bytes.labels(operation).observe(received)
        self.response_bytes.labels(operation).observe(sent)


class MaintenanceMetrics(Watcher):
    """What upkeep leaves behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
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

    def progress(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002 - the total is no metric
        self._stages.add(stage)
        self.rows.labels(stage).set(done)
