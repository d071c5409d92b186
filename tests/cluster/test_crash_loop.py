"""Nothing acknowledged is lost by kill -9: at every named crash point, and at random moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.crash_loop import CrashLoop, schedule
from cluster.crash_points import (
    CLONE_POINTS,
    COMMIT_STORE_POINTS,
    CRASH_POINTS,
    OPENING_POINTS,
    points_in_source,
)

if TYPE_CHECKING:
    from pathlib import Path

RANDOM_KILLS = 3


def test_the_list_of_crash_points_is_complete() -> None:
    assert {*CRASH_POINTS, *CLONE_POINTS, *COMMIT_STORE_POINTS, *OPENING_POINTS} == points_in_source()


def test_a_schedule_has_every_crash_point() -> None:
    for cycles in (len(CRASH_POINTS), len(CRASH_POINTS) + 1, 100):
        plan = schedule(cycles)
        assert len(plan) == cycles
        assert set(CRASH_POINTS) <= set(plan)
    assert schedule(100).count("") > 50


@pytest.mark.slow
def test_acknowledged_writes_survive_kills(tmp_path: Path) -> None:
    plan = schedule(len(CRASH_POINTS) + RANDOM_KILLS)
    with CrashLoop(tmp_path, seed=1) as loop:
        for point in plan:
            loop.cycle(point)
        loop.finish()
    done = loop.totals
    assert all(done[f"kills at {point}"] == 1 for point in CRASH_POINTS)
    assert done["kills at a random moment"] == RANDOM_KILLS
    assert done["clean checks"] == len(plan) + 2
    assert done["undecided keys"] == done["undecided keys, index of loads"] == 0
    assert done["ok"] > 100
    assert done["refused"] > 0
    assert done["loads verified"] > len(plan) / 2
    assert done["loads ok"] > 2
    assert done["loads unknown"] > 2
    assert done["values verified"] >= 3 * 21 * (len(plan) + 3)
