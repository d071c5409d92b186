"""Decides how the rows of a segment that a query may return are scored. A pure function of their number."""

from __future__ import annotations

from enum import Enum

# Scoring a row picked out singly costs about this many times what it costs in a scan: it is copied first
# (benchmarks/exact_query.py: both plans take equally long at a fifth of the rows, with 384 and 784 dimensions).
_GATHER_COST = 5


class Plan(Enum):
    """SCAN scores every code of the probed partitions; GATHER picks single rows out and scores those."""

    SCAN = "scan"
    GATHER = "gather"


def plan(candidates: int, rows: int) -> Plan:
    """How to score `candidates` allowed rows of a segment with `rows` rows."""
    return Plan.GATHER if candidates * _GATHER_COST < rows else Plan.SCAN
