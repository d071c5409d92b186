"""`quiver clone` killed at each crash point: a clone is there whole or not at all, and nothing is lost or left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import quiver
from cli.running import environment
from cluster import upkeep
from cluster.crash_points import CLONE_POINTS
from quiver.cli.opening import opened

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.engine.upkeep import IndexSummary

POINTS = {
    "segment:written": False,
    "checkpoint:published": False,
    "clone:pinned": False,
    "clone:created": False,
    "log:before_put": False,
    "log:filled": True,
}
"""Where the process dies, and whether the clone has its name then."""


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "root")
    with quiver.connect(path) as db:
        index = db.create_bucket("demo").create_index("words", dimension=2)
        index.put(["a", "b"], [[1, 0], [2, 0]])
    return path


def kill(root: str, point: str) -> int:
    """The exit code of a `quiver clone` that dies at a crash point."""
    command = [sys.executable, "-m", "quiver.cli.main", "clone", "demo", "words", "demo", "copy", "--root", root]
    done = subprocess.run(command, env=environment(QUIVER_CRASH_AT=point), capture_output=True, check=False)
    return done.returncode


def indexes(root: str) -> dict[str, IndexSummary]:
    async def read() -> dict[str, IndexSummary]:
        async with opened(root) as open_root:
            return {stored.title: summary async for stored, summary in open_root.administration.inspect()}

    return asyncio.run(read())


def collect(root: str, age: float) -> None:
    async def work() -> None:
        async with opened(root) as open_root:
            async for _ in open_root.administration.collect(age):
                pass

    asyncio.run(work())


def test_every_crash_point_of_cloning_is_among_them() -> None:
    assert set(CLONE_POINTS) <= set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_clone_whose_maker_dies_is_whole_or_is_not_there(root: str, point: str) -> None:
    assert kill(root, point) != 0
    assert ("demo/copy" in indexes(root)) == POINTS[point]
    assert upkeep.findings(root) == []
    collect(root, 600)  # leaves a clone alone that may be in the making
    for _ in range(2):
        collect(root, 0)
    assert upkeep.findings(root) == []
    with quiver.connect(root) as db:
        bucket = db.bucket("demo")
        bucket.index("words").clone("demo", "again")
        found = {name: sorted(bucket.index(name)) for name in bucket.indexes()}
    assert found.pop("again") == found.pop("words") == ["a", "b"]
    assert found == ({"copy": ["a", "b"]} if POINTS[point] else {})
    assert len(indexes(root)["demo/words"].pins) == 1 + POINTS[point]
