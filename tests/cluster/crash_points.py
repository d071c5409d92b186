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
    "load:written",
    "load:closing",
    "load:published",
    "checkpoint:published",
    "gc:chosen",
    "gc:checkpoint_deleted",
    "gc:log_deleted",
    "service:index_sealed",
)

CLONE_POINTS = ("clone:pinned", "clone:created")
"""Those that only cloning comes by, which has no HTTP operation: tests/cluster/test_clone_kills.py kills there."""


COMMIT_STORE_POINTS = tuple(
    f"commit_store:{point}" for point in ("announced", "uploaded", "decided", "leaving", "bodies_removed")
)
"""Those of a root whose creations a table decides: tests/objectstore/test_commit_store.py dies there."""


OPENING_POINTS = ("log:guessed", "opening:deleted", "opening:created")
"""Those of openings, which only remote stores have: the simulator's nodes die there (tests/simulation/)."""


def points_in_source() -> set[str]:
    """Every point that product code marks with `Runtime.reach`."""
    calls = [call for file in SOURCE.rglob("*.py") for call in re.findall(r"\.reach\(([^)]*)\)", file.read_text())]
    return {call.strip("\"'") for call in calls}
