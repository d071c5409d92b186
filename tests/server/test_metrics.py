"""Metrics of upkeep: what runs, what ended and how, and how far the stages under way are."""

from __future__ import annotations

from quiver.engine.native.workshop import Job
from quiver.server.metrics import Metrics


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
