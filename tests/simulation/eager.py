"""A planner that probes whatever it can: segments of a simulation are so small that scanning them is cheaper."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import faiss

from quiver.engine.native import segment_search
from quiver.engine.native.planner import Method, Plan, Shape, plan

if TYPE_CHECKING:
    from collections.abc import Iterator


def eager_plan(shape: Shape, matches: int, limit: int, recall: float, *, filtered: bool) -> Plan:
    """Probe half of the partitions and keep few codes, as in a segment of very many rows."""
    if shape.calibration is None or recall >= 1 or not matches:
        return plan(shape, matches, limit, recall, filtered=filtered)
    keep = limit + 1 if shape.refined else None
    return Plan(Method.PROBE, max(1, shape.partitions // 2), 2 * limit + 1, keep)


@contextmanager
def probing() -> Iterator[None]:
    """Every segment that has codes or partitions is probed, unless an exact answer is asked for.

    faiss works in one thread meanwhile: to wake others takes longer than to train on a handful of rows.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        with patch.object(segment_search, "plan", eager_plan):
            yield
    finally:
        faiss.omp_set_num_threads(threads)
