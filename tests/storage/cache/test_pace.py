"""What a cache learns of its store from its requests: latency, and bytes per second, alone and together."""

from __future__ import annotations

import asyncio
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.storage.cache.counts import PaceFigures
from quiver.storage.cache.pace import Pace
from quiver.storage.cache.view import BLOCK

MIB = 1 << 20


class Line:
    """Answers requests on a clock of its own: each waits for its latency, then all share what the line carries."""

    def __init__(self, latency: float, alone: float = 1e18, total: float = 1e18) -> None:
        self.now = 0.0
        self.pace = Pace(lambda: self.now)
        self._latency, self._alone, self._total = latency, alone, total

    def wave(self, *sizes: int, latencies: list[float] | None = None) -> None:
        """Make requests of these sizes at once, and let all be answered."""

        async def run() -> None:
            answers = [asyncio.get_running_loop().create_future() for _ in sizes]
            requests = [
                asyncio.ensure_future(self.pace.timed(answer, size))
                for answer, size in zip(answers, sizes, strict=True)
            ]
            await asyncio.sleep(0)
            rate = min(self._alone, self._total / len(sizes))
            began = self.now
            ends = [
                began + (latencies[n] if latencies else self._latency) + size / rate
                for n, size in enumerate(sizes)
            ]
            for n in np.argsort(ends, kind="stable").tolist():
                self.now = ends[n]
                answers[n].set_result(bytes(sizes[n]))
                await requests[n]

        asyncio.run(run())


def test_it_begins_with_what_large_public_stores_do():
    pace = Pace(lambda: 0.0)
    assert (pace.seconds, pace.rate, pace.alone, pace.total) == (0.03, 85e6, 85e6, 1e9)
    assert (pace.gap, pace.narrow_gap) == (16, int(0.03 * 1e9 / 32 / BLOCK))
    assert pace.bandwidth(1) == 85e6
    assert pace.bandwidth(100) == 1e9
    assert pace.measured == PaceFigures()


def test_what_was_assumed_does_not_count_as_measured():
    line = Line(0.02, alone=50e6, total=200e6)
    line.wave(100)
    assert line.pace.measured == PaceFigures(line.pace.seconds)
    line.wave(*[4 * MIB] * 8)
    assert line.pace.measured == PaceFigures(line.pace.seconds, line.pace.rate, line.pace.total)
    free = Line(0.02, alone=80e6)
    free.wave(*[4 * MIB] * 8)
    assert free.pace.measured == PaceFigures(None, free.pace.rate, None)  # nothing was in the way of others


@pytest.mark.parametrize("latency", [0.001, 0.03, 0.2])
def test_latency_is_that_of_small_requests(latency):
    line = Line(latency)
    for _ in range(3):
        line.wave(1000)
    assert line.pace.seconds == pytest.approx(latency)


@pytest.mark.parametrize(("alone", "total"), [(20e6, 200e6), (85e6, 1e9), (200e6, 2e9)])
def test_connections_that_do_not_share_have_their_own_rate_each(alone, total):
    """Slow ones tell no more than what they get together; fast ones never speak against the line."""
    line = Line(0.03, alone=alone)
    for _ in range(4):
        line.wave(4 * MIB)
        line.wave(*[4 * MIB] * 10)
    assert line.pace.rate == pytest.approx(alone)
    assert line.pace.alone == pytest.approx(alone)
    assert line.pace.total == pytest.approx(total, rel=0.1)
    assert line.pace.bandwidth(5) == pytest.approx(5 * alone)


def test_two_connections_at_their_best_say_nothing_against_the_line():
    line = Line(0.03, alone=85e6)
    for _ in range(10):
        line.wave(4 * MIB, 3 * MIB)
    assert line.pace.total == 1e9


@pytest.mark.parametrize("total", [20e6, 100e6, 400e6])
def test_a_shared_line_carries_no_more_however_many_requests_there_are(total):
    line = Line(0.03, alone=500e6, total=total)
    for _ in range(4):
        line.wave(4 * MIB)
        line.wave(*[MIB] * 12)
    assert line.pace.total == pytest.approx(total, rel=0.15)
    assert line.pace.bandwidth(50) == line.pace.total
    assert line.pace.narrow_gap <= line.pace.gap


def test_two_pieces_of_an_opening_tell_a_slow_line_from_a_fast_one():
    """Of a node that has measured nothing else."""
    for total, low, high in ((50e6, 40e6, 60e6), (2e9, 5e8, 4e9)):
        line = Line(0.03, alone=total, total=total)
        line.wave(4 * MIB, 3 * MIB)
        assert low < line.pace.total < high


@given(st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 1 << 30), st.floats(1, 32)), max_size=60))
def test_figures_stay_positive_and_finite_whatever_is_measured(measured):
    pace = Pace(lambda: 0.0)
    for seconds, nbytes, abreast in measured:
        pace.note(seconds, nbytes, abreast)
    assert 0 <= pace.seconds < np.inf
    assert all(0 < each < np.inf for each in (pace.rate, pace.alone, pace.total, pace.bandwidth(4)))
    assert 0 <= pace.narrow_gap <= pace.gap <= 16


@given(st.lists(st.floats(0, 1e3), min_size=7, max_size=7), st.randoms(use_true_random=False))
def test_seven_wild_measurements_of_fifteen_do_not_move_a_figure_past_the_others(wild, random):
    pace, sound = Pace(lambda: 0.0), [0.02 + n / 1000 for n in range(8)]
    mixed = [*wild, *sound]
    random.shuffle(mixed)
    for seconds in mixed:
        pace.note(seconds, 1000)
    assert min(sound) <= pace.seconds <= max(sound)
    assert pace.seconds == median(mixed)


def test_what_was_long_ago_is_forgotten():
    line = Line(0.03, total=10e6)
    for _ in range(20):
        line.wave(*[MIB] * 4)
    line._total = 400e6
    for _ in range(2):
        line.wave(*[MIB] * 4)
    assert line.pace.total > 100e6


def test_requests_that_fail_teach_nothing_and_are_no_longer_in_flight():
    pace = Pace(lambda: 0.0)

    async def refuse() -> bytes:
        raise OSError("refused")

    async def run() -> None:
        for _ in range(20):
            with pytest.raises(OSError, match="refused"):
                await pace.timed(refuse(), MIB)

    asyncio.run(run())
    assert (pace.seconds, pace.rate, pace.total) == (0.03, 85e6, 1e9)
    moments = iter([0.0, 0.1])
    pace._clock = lambda: next(moments)
    noted: list[tuple[float, int, float]] = []
    pace.note = lambda *measured: noted.append(measured)

    async def answer() -> bytes:
        return bytes(MIB)

    asyncio.run(pace.timed(answer(), MIB))
    assert noted == [(0.1, MIB, pytest.approx(1.0))]
