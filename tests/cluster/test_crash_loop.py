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
    from collections.abc import Iterator

RANDOM_KILLS = 3
PLAN = schedule(len(CRASH_POINTS) + RANDOM_KILLS)


def test_the_list_of_crash_points_is_complete() -> None:
    assert {*CRASH_POINTS, *CLONE_POINTS, *COMMIT_STORE_POINTS, *OPENING_POINTS} == points_in_source()


def test_a_schedule_has_every_crash_point() -> None:
    for cycles in (len(CRASH_POINTS), len(CRASH_POINTS) + 1, 100):
        plan = schedule(cycles)
        assert len(plan) == cycles
        assert set(CRASH_POINTS) <= set(plan)
    assert schedule(100).count("") > 50


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashLoop]:
    """One root for all kills of this process; what its life adds up to is checked in the end."""
    with CrashLoop(tmp_path_factory.mktemp("crashes"), seed=1) as loop:
        yield loop
        loop.finish(stops=1)
    done = loop.totals
    assert done["clean checks"] == done["cycles"] + 1
    assert done["undecided keys"] == done["undecided keys, index of loads"] == 0
    assert done["values verified"] >= 3 * 21 * (done["cycles"] + 2)
    if done["cycles"] == len(PLAN):  # none of them ran in another process
        assert done["ok"] > 100
        assert done["refused"] > 0
        assert done["loads verified"] > len(PLAN) / 2
        assert done["loads ok"] > 2
        assert done["loads unknown"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PLAN)), ids=lambda number: PLAN[number] or f"random moment {number}")
def test_acknowledged_writes_survive_a_kill(loop: CrashLoop, number: int) -> None:
    """Each test restarts what the one before it killed, and looks for all that was acknowledged."""
    kind = f"kills at {PLAN[number] or 'a random moment'}"
    before = loop.totals[kind]
    loop.cycle(PLAN[number])
    assert loop.totals[kind] == before + 1
