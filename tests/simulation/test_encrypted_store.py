"""The correct protocol over encrypting stores: no violation in any seed, though each attempt of a put differs."""

from __future__ import annotations

import pytest

from simulation import scenarios
from simulation.encrypted_world import EncryptedWorld
from simulation.scenarios import SCENARIOS

SEEDS = {"registers": 6, "engine": 3, "catalog": 6, "clones": 3}


@pytest.fixture(autouse=True)
def encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "World", EncryptedWorld)


def run(scenario: str, first: int, last: int) -> None:
    found = {seed: SCENARIOS[scenario](seed) for seed in range(first, last)}
    assert {seed: report.problem for seed, report in found.items() if report.problem is not None} == {}
    assert sum(report.checks["replayed snapshots"] for report in found.values()) > 5 * (last - first)


@pytest.mark.parametrize("scenario", SEEDS)
def test_no_seed_is_in_violation(scenario: str) -> None:
    run(scenario, 0, SEEDS[scenario])


@pytest.mark.soak
@pytest.mark.parametrize("scenario", SEEDS)
def test_no_seed_of_many_is_in_violation(scenario: str) -> None:
    run(scenario, 100, 100 + 20 * SEEDS[scenario])


def test_same_seed_same_run() -> None:
    first = [SCENARIOS["registers"](seed).digest for seed in range(3)]
    assert first == [SCENARIOS["registers"](seed).digest for seed in range(3)]
    assert len(set(first)) == 3
