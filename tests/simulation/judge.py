"""Passes judgement on a finished run with every checker; raises Violation."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from simulation.checkers import linearizability, snapshots, witness, zones
from simulation.checkers.history import Violation, by_key
from simulation.replica import CLASSES
from simulation.workload import GROUP, UNIQUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.workload import History

SEARCH_BUDGET = 200_000


def judge(history: History, states: Mapping[int, Mapping[str, int]]) -> Counter[str]:
    """Check a history by itself and against `states`, the replayed log: values by key at each commit.

    Returns how many checks of each sort were made, "undecided" for those whose search ran out of budget.
    """
    done = check_snapshots(history, states)
    problem = witness.find_violation(history.operations)
    if problem is not None:
        raise Violation(f"commit order: {problem}")
    for key, operations in by_key(history.operations).items():
        if key in UNIQUE:
            problem = zones.find_violation(operations)
            if problem is not None:
                raise Violation(f"linearizability of {key}: {problem}")
        verdict = linearizability.is_linearizable(operations, SEARCH_BUDGET)
        if verdict is False:
            raise Violation(f"linearizability of {key}: no order explains {len(operations)} operations")
        done["linearizable keys" if verdict else "undecided keys"] += 1
    return done


def check_snapshots(history: History, states: Mapping[int, Mapping[str, int]]) -> Counter[str]:
    """No snapshot mixes batches (I3), and each equals the replayed log at its commit (I4, I9)."""
    done: Counter[str] = Counter()
    for snapshot in history.snapshots:
        values, commit = snapshot.answer
        if snapshot.value_class is None and set(GROUP) <= set(snapshot.scope):
            problem = snapshots.find_mixture(GROUP, values)
            if problem is not None:
                raise Violation(f"atomicity of a {snapshot.source} at commit {commit}: {problem}")
            done["atomic snapshots"] += 1
        if commit not in states:
            raise Violation(f"a {snapshot.source} names commit {commit}, which the log never had")
        due = {
            key: value
            for key, value in states[commit].items()
            if key in snapshot.scope and (snapshot.value_class is None or value % CLASSES == snapshot.value_class)
        }
        if due != dict(values):
            raise Violation(f"a {snapshot.source} at commit {commit} answers {dict(values)}, the log says {due}")
        done["replayed snapshots"] += 1
    return done
