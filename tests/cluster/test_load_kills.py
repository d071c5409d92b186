"""A bulk load killed at each crash point and at random moments: afterwards it is visible whole, or not at all."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

import quiver
from cli.running import environment
from cluster import upkeep

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DIMENSION = 10_500, 8  # just more rows than are put through the log instead
POINTS = {
    "segment:reserved": False,
    "segment:rows_written": False,
    "segment:written": False,
    "load:written": False,
    "load:closing": False,
    "load:published": True,
}
"""Where the loading process dies, and whether its rows are visible then."""
RANDOM_KILLS = 3
LOADER = f"""
import sys
import numpy as np
import quiver

rows = np.random.default_rng(2).normal(size=({ROWS}, {DIMENSION})).astype(np.float32)
with quiver.connect(sys.argv[1]) as connection:
    print("loading", flush=True)
    metadata = [{{"version": 2}}] * {ROWS}
    connection.bucket("demo").index("words").put_many(([f"k{{n}}" for n in range({ROWS})], rows, metadata))
    print("loaded", flush=True)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Rows in a segment, rows in the tail, and among both some that the load will replace."""
    path = tmp_path / "root"
    with quiver.connect(str(path)) as connection:
        connection.create_bucket("demo").create_index("words", dimension=DIMENSION)
    put(path, [f"k{n}" for n in range(60)] + [f"old{n}" for n in range(40)])
    upkeep.compact(path)
    put(path, [f"k{n}" for n in range(50, 90)] + ["newer"])
    return path


def put(root: Path, keys: list[str]) -> None:
    with quiver.connect(str(root)) as connection:
        rows = np.random.default_rng(1).normal(size=(len(keys), DIMENSION))
        connection.bucket("demo").index("words").put(keys, rows, [{"version": 1}] * len(keys))


def stored(root: Path) -> dict[str, int]:
    with quiver.connect(str(root)) as connection:
        rows = connection.bucket("demo").index("words").rows(metadata=True)
        return {row.key: row.metadata["version"] for row in rows}


def loading(root: Path, **changes: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADER, str(root)], stdout=subprocess.PIPE, text=True, env=environment(**changes)
    )
    assert process.stdout.readline() == "loading\n"
    return process


BEFORE = {f"k{n}": 1 for n in range(90)} | {f"old{n}": 1 for n in range(40)} | {"newer": 1}
AFTER = BEFORE | {f"k{n}": 2 for n in range(ROWS)}


def check(root: Path) -> bool:
    """Whether the load is visible, which it is whole or not at all; every byte of the root is sound."""
    found = stored(root)
    assert found in (BEFORE, AFTER)
    assert upkeep.findings(root) == []
    return found == AFTER


@pytest.mark.parametrize("point", POINTS)
def test_a_load_that_dies_at_a_crash_point_is_visible_whole_or_not_at_all(root: Path, point: str) -> None:
    with loading(root, QUIVER_CRASH_AT=point) as process:
        assert process.wait(180) == 137
    assert check(root) == POINTS[point]
    with loading(root) as process:
        assert process.wait(180) == 0
    assert check(root)


def test_loads_killed_at_any_moment_are_visible_whole_or_not_at_all(root: Path) -> None:
    chance = random.Random(5)
    for _ in range(RANDOM_KILLS):
        with loading(root) as process:
            time.sleep(chance.uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
        if check(root):
            put(root, [f"k{n}" for n in range(90)])  # something to replace again
            assert stored(root)["k89"] == 1
            break
    with loading(root) as process:
        assert process.wait(180) == 0
    assert check(root)
