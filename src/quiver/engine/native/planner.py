"""Decides how the rows of a segment that a query may return are scored. A pure function of their number."""

from __future__ import annotations

from enum import Enum

# Scoring a row picked out singly costs about this many times what it costs in a scan: it is copied and widened
# to float64 (benchmarks/exact_query.py).
_GATHER_COST = 8


class Plan(Enum):
    """SCAN scores every code of the probed partitions; GATHER computes exact distances of single rows."""

    SCAN = "scan"
    GATHER = "gather"


def plan(candidates: int, rows: int) -> Plan:
    """How to score `candidates` allowed rows of a segment with `rows` rows."""
    return Plan.GATHER if candidates * _GATHER_COST < rows else Plan.SCAN
