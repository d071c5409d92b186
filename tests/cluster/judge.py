"""Judges what clients saw between two moments of rest: linearizable keys, whole batches, no refused write."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from cluster.requests import Outcome
from cluster.workload import GROUP
from simulation.checkers import linearizability, snapshots, witness
from simulation.checkers.history import UNKNOWN, Kind, Operation, Violation, by_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.ledger import Write
    from cluster.workload import Read

_EVER = (-2.0, -1.0)  # before every monotonic clock


def judge(
    start: Mapping[str, int], writes: Sequence[Write], under_way: Sequence[Read], at_rest: Sequence[Read]
) -> Counter[str]:
    """Check one period; raises Violation, else returns how much of each sort was checked.

    Args:
        start: what was there when the period began, with no write under way.
        writes: every batch that was sent since.
        under_way: every answer to a read since.
        at_rest: answers at the end of the period, when no write was under way any more, known or unknown.
    """
    reads = [*under_way, *at_rest]
    for read in reads:
        _check_group(read)
    sent = [write for write in writes if write.outcome in (Outcome.OK, Outcome.UNKNOWN)]
    done = Counter({each.value: 0 for each in Outcome}) + Counter(write.outcome.value for write in writes)
    done["reads"] += len(reads)
    problem = witness.find_violation(_history(start, sent, [write.end for write in sent], reads))
    if problem is not None:
        raise Violation(f"commit order: {problem}")
    history = _history(start, sent, last_moments(sent, under_way, at_rest), reads)
    done["operations"] += len(history)
    for key, operations in by_key(history).items():
        verdict = linearizability.is_linearizable(operations)
        if verdict is False:
            raise Violation(f"no order explains what was seen of {key}:\n{_story(operations)}")
        done["keys" if verdict else "undecided keys"] += 1
    return done


def _history(
    start: Mapping[str, int], writes: Sequence[Write], ends: Sequence[float], reads: Sequence[Read]
) -> list[Operation]:
    """One operation for each key of each batch and answer."""
    history = [Operation(*_EVER, Kind.PUT, value, key, 0) for key, value in start.items()]
    history += [
        Operation(write.call, end, write.kind, value, key, write.commit)
        for write, end in zip(writes, ends, strict=True)
        for key, value in write.items.items()
    ]
    history += [
        Operation(read.call, read.end, Kind.GET, read.values.get(key), key, read.commit)
        for read in reads
        for key in read.keys
    ]
    return history


def _check_group(read: Read) -> None:
    if set(GROUP) <= set(read.keys):
        problem = snapshots.find_mixture(GROUP, read.values)
        if problem is not None:
            raise Violation(f"{read.source} at commit {read.commit}: {problem}")


def last_moments(writes: Sequence[Write], under_way: Sequence[Read], at_rest: Sequence[Read]) -> list[float]:
    """When each batch had taken effect at the latest: when it was acknowledged, or any part of it was seen.

    So a batch of unknown outcome, one key of which was seen, must explain its other keys as well.
    """
    seen: dict[int, float] = {}
    for read, latest in [*((r, r.end) for r in under_way), *((r, math.nextafter(r.call, 0)) for r in at_rest)]:
        for value in read.values.values():
            seen[value] = min(seen.get(value, UNKNOWN), latest)
    return [min([write.end, *(seen.get(value, UNKNOWN) for value in write.items.values())]) for write in writes]


def _story(operations: Sequence[Operation]) -> str:
    return "\n".join(f"  {each}" for each in sorted(operations, key=lambda each: each.call)[-40:])
