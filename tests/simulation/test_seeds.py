"""The correct protocol under seeded faults: no violation in any seed; same seed, same run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulation.scenarios import SCENARIOS

SEEDS = 20  # `make soak` has thousands

KEY_VALUE_CHECKS = {"atomic snapshots": 10, "replayed snapshots": 15}
CATALOG_CHECKS = {"replayed snapshots": 15, "placed creations": 8, "placed writes": 3, "dropped indexes": 0.5}
CLONE_CHECKS = {
    "replayed snapshots": 10,
    "placed writes": 3,
    "taken": 0.4,
    "seen": 1.5,
    "missed": 4,
    "clones": 0.4,
}
"""More than so many checks a seed are made."""
CHECKS = {"catalog": CATALOG_CHECKS, "clones": CLONE_CHECKS}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_seed_is_in_violation(scenario):
    checks, problems = Counter(), []
    for seed in range(SEEDS):
        report = SCENARIOS[scenario](seed)
        checks += report.checks
        if report.problem is not None:
            problems.append((seed, report.problem))
    assert problems == []
    for name, least in CHECKS.get(scenario, KEY_VALUE_CHECKS).items():
        assert checks[name] > least * SEEDS, name
    assert checks["undecided keys"] <= SEEDS // 20


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_run(scenario):
    first = [SCENARIOS[scenario](seed).digest for seed in range(2)]
    assert first == [SCENARIOS[scenario](seed).digest for seed in range(2)]
    assert len(set(first)) == 2


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_run_whatever_the_hash_seed_of_the_interpreter(scenario):
    """A failing seed must fail again in another process: nothing may depend on the order of a set of strings."""
    program = (
        "from simulation.scenarios import SCENARIOS\n"
        f"print([SCENARIOS[{scenario!r}](seed).digest for seed in range(2)])"
    )
    runs = set()
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path]),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        runs.add(done.stdout)
    assert len(runs) == 1
    assert "-" in runs.pop()
