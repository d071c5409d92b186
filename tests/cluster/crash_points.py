"""The named crash points of the product, in the order of a write's life."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "quiver"

CRASH_POINTS = (
    "log:before_put",
    "log:filled",
    "log:committed",
    "segment:reserved",
    "segment:rows_written",
    "segment:written",
    "checkpoint:published",
    "gc:chosen",
    "gc:log_deleted",
    "service:index_sealed",
)
"""Those that writes, deletions and upkeep come by: the crash loop kills at each."""

POINTS_ELSEWHERE = ("load:written", "load:published")
"""Those of bulk loads: tests/cluster/test_load_kills.py and the simulator kill there."""


def points_in_source() -> set[str]:
    """Every point that product code marks with `Runtime.reach`."""
    calls = [call for file in SOURCE.rglob("*.py") for call in re.findall(r"\.reach\(([^)]*)\)", file.read_text())]
    return {call.strip("\"'") for call in calls}
