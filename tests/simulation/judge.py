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

    from simulation.timeline import Timeline
    from simulation.workload import History, Snapshot

SEARCH_BUDGET = 200_000


def judge(history: History, timeline: Timeline) -> Counter[str]:
    """Check a history by itself and against what the log and the loads say.

    Returns how many checks of each sort were made, "undecided" for those whose search ran out of budget.
    """
    done = check_snapshots(history, timeline)
    # A load claims the commit of an entry before it, and is seen later: only the timeline can judge its keys.
    problem = witness.find_violation([each for each in history.operations if each.key not in history.loaded])
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


def check_snapshots(history: History, timeline: Timeline) -> Counter[str]:
    """No snapshot mixes batches (I3), and each equals the replayed log at its commit (I4, I9)."""
    done: Counter[str] = Counter()
    for snapshot in history.snapshots:
        values, commit = snapshot.answer
        if snapshot.value_class is None and snapshot.limit is None and set(GROUP) <= set(snapshot.scope):
            problem = snapshots.find_mixture(GROUP, values)
            if problem is not None:
                raise Violation(f"atomicity of a {snapshot.source} at commit {commit}: {problem}")
            done["atomic snapshots"] += 1
        possible = timeline.possible(commit, snapshot.call, snapshot.end)
        if not possible:
            raise Violation(f"a {snapshot.source} names commit {commit}, at which nothing can have been read")
        due = [in_scope(snapshot, state) for state in possible]
        if not any(answers(snapshot, each) for each in due):
            raise Violation(f"a {snapshot.source} at commit {commit} answers {dict(values)}, due is one of {due}")
        done["replayed snapshots"] += 1
        done["snapshots with loads"] += bool(timeline.loads and timeline.loads[0].time < snapshot.end)
        done["limited snapshots"] += snapshot.limit is not None
    return done


def in_scope(snapshot: Snapshot, state: Mapping[str, int]) -> dict[str, int]:
    """The part of a state that was asked for."""
    wanted = snapshot.value_class
    return {
        key: value
        for key, value in state.items()
        if key in snapshot.scope and (wanted is None or value % CLASSES == wanted)
    }


def answers(snapshot: Snapshot, due: Mapping[str, int]) -> bool:
    """Whether the answer is all that was due, or as many of it as were asked for."""
    values = snapshot.answer.values
    if snapshot.limit is None:
        return dict(values) == due
    return values.items() <= due.items() and len(values) == min(snapshot.limit, len(due))
