"""The simulator can fail: every known-bad mutant is caught, and the product under the same runs is not."""

from __future__ import annotations

import pytest

from simulation.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_a_known_bad_mutant_is_caught_and_the_product_passes_the_same_run(mutant):
    """Else a mutant could be caught for a fault of the harness."""
    report = mutant.first_caught()
    assert report is not None, f"{mutant.name} ({mutant.after}) survived {mutant.seeds} seeds"
    print(f"{mutant.name}: seed {report.seed}: {report.problem}")
    if mutant.is_patch:
        assert mutant.run(report.seed, mutant.bias).problem is None
