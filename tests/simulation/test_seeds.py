"""The correct protocol under seeded faults: no violation in any seed; same seed, same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulation.scenarios import SCENARIOS

if TYPE_CHECKING:
    from simulation.scenarios import Report

SEEDS = 8  # `make soak` has thousands
FEWER = {"texts": 6}  # like others, but for the text field

KEY_VALUE_CHECKS = {"atomic snapshots": 10, "replayed snapshots": 15}
CATALOG_CHECKS = {"replayed snapshots": 15, "placed creations": 8, "placed writes": 3, "dropped indexes": 0.5}
CLONE_CHECKS = {
    "replayed snapshots": 10,
    "placed writes": 2,
    "taken": 0.2,
    "seen": 1.5,
    "missed": 4,
    "clones": 0.4,
}
"""More than so many checks a seed are made."""
CHECKS = {"catalog": CATALOG_CHECKS, "clones": CLONE_CHECKS}


@cache
def report_of(scenario: str, seed: int) -> Report:
    """Of the first run of a seed, which several tests look at."""
    return SCENARIOS[scenario](seed)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_seed_is_in_violation(scenario):
    checks, problems, seeds = Counter(), [], FEWER.get(scenario, SEEDS)
    for seed in range(seeds):
        report = report_of(scenario, seed)
        checks += report.checks
        if report.problem is not None:
            problems.append((seed, report.problem))
    assert problems == []
    for name, least in CHECKS.get(scenario, KEY_VALUE_CHECKS).items():
        assert checks[name] > least * seeds, name
    assert checks["undecided keys"] <= seeds // 20


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_run(scenario):
    first = [report_of(scenario, seed).digest for seed in range(2)]
    assert first == [SCENARIOS[scenario](seed).digest for seed in range(2)]
    assert len(set(first)) == 2


@pytest.fixture(scope="module")
def other_processes() -> list[dict[str, str]]:
    """The digest of each scenario's first seed in interpreters with hash seeds of their own."""
    program = (
        "import json\n"
        "from simulation.scenarios import SCENARIOS\n"
        "print(json.dumps({name: str(run(0).digest) for name, run in SCENARIOS.items()}))"
    )
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    found = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_run_whatever_the_hash_seed_of_the_interpreter(scenario, other_processes):
    """A failing seed must fail again in another process: nothing may depend on the order of a set of strings."""
    runs = [digests[scenario] for digests in other_processes]
    assert runs == [str(report_of(scenario, 0).digest)] * 2
    assert "-" in runs[0]
