"""The simulator can fail: every known-bad mutant is caught, and the product under the same runs is not."""

from __future__ import annotations

import pytest

from simulation.mutants import MUTANTS

SEEDS_WITHOUT_THE_MUTATION = 2


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_a_known_bad_mutant_is_caught(mutant):
    report = mutant.first_caught()
    assert report is not None, f"{mutant.name} ({mutant.after}) survived {mutant.seeds} seeds"
    print(f"{mutant.name}: seed {report.seed}: {report.problem}")


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.is_patch], ids=lambda each: each.name)
def test_the_product_passes_the_runs_that_catch_a_mutant(mutant):
    """Else a mutant could be caught for a fault of the harness."""
    for seed in range(SEEDS_WITHOUT_THE_MUTATION):
        assert mutant.run(seed, mutant.bias).problem is None
