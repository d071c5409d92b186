"""The correct protocol over a commit store: no violation in any seed, and its mutants are caught."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from quiver.objectstore import commit_store
from quiver.objectstore.commit_store import CommitStore
from quiver.objectstore.commit_table import UPLOADS
from simulation import scenarios
from simulation.commit_world import CommitWorld, SimulatedTable
from simulation.scenarios import NO_BIAS, SCENARIOS, Bias, run_registers

if TYPE_CHECKING:
    from quiver.objectstore.commit_table import Item

SEEDS = 8


@pytest.fixture(autouse=True)
def small_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything through a commit store, half of the bodies in the bucket, and sweeps all the time."""
    monkeypatch.setattr(scenarios, "World", CommitWorld)
    monkeypatch.setattr(commit_store, "INLINE_BYTES", 300)
    monkeypatch.setattr(commit_store, "ABANDONED_SECONDS", 5.0)
    monkeypatch.setattr(commit_store, "_SWEEP_SECONDS", 2.0)


@pytest.mark.parametrize("scenario", ["registers", "engine", "catalog"])
def test_no_seed_is_in_violation(scenario: str) -> None:
    problems, reached = [], Counter()
    for seed in range(SEEDS):
        report = SCENARIOS[scenario](seed)
        reached += report.reached
        if report.problem is not None:
            problems.append((seed, report.problem))
    assert problems == []
    for point in ("announced", "uploaded", "decided", "leaving", "bodies_removed"):
        assert reached[f"commit_store:{point}"] > SEEDS, point


def test_same_seed_same_run() -> None:
    first = [SCENARIOS["registers"](seed).digest for seed in range(10)]
    assert first == [SCENARIOS["registers"](seed).digest for seed in range(10)]
    assert len(set(first)) == 10


def caught(bias: Bias, seeds: int = 100) -> bool:
    for seed in range(seeds):
        try:
            if run_registers(seed, bias).problem is not None:
                return True
        except Exception:
            return True
    return False


LATE = Bias(faults=lambda faults: faults.but(zombie=0.2), min_age=0.0)
"""Many requests land late, and everything is collected at once."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_store, "ABANDONED_SECONDS", 2.0)
    monkeypatch.setattr(commit_store, "_SWEEP_SECONDS", 0.5)


@pytest.mark.usefixtures("hurried")
def test_late_publications_do_no_harm() -> None:
    assert not caught(LATE, 40)


@pytest.mark.usefixtures("hurried")
def test_publishing_without_an_announcement_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a late publication is accepted although a sweep removed the body meanwhile."""

    def publish(self: SimulatedTable, item: Item) -> object:
        found = self._world.bucket.objects.get(commit_store.body_key(item.token))
        self._world.items.pop((UPLOADS, item.token), None)
        return self._create(item, found.body if found else b"")

    monkeypatch.setattr(SimulatedTable, "_publish", publish)
    assert caught(LATE)


def test_taking_a_lost_decision_for_ones_own_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: whose token the table answers with is not looked at."""
    decide = CommitStore._decide

    async def careless(self: CommitStore, item: Item) -> str:
        await decide(self, item)
        return item.token

    monkeypatch.setattr(CommitStore, "_decide", careless)
    assert caught(NO_BIAS)
