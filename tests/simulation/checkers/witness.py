"""The commit order check (R10): do the commit numbers the system claims explain every answer? Linear time.

It trusts the numbers only as far as they are consistent: the claimed order must respect real time, and every
read at commit c must return the newest write at or before c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.checkers.history import UNKNOWN, Kind, Operation, by_key

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_violation(history: Sequence[Operation]) -> str | None:
    """Why the claimed commit numbers of a history (any number of keys, unique put values) cannot be true."""
    known = [each for each in history if each.end != UNKNOWN and each.commit is not None]
    problem = against_real_time(known)
    if problem is not None:
        return problem
    for key, operations in by_key(list(history)).items():
        problem = unexplained_read(key, operations)
        if problem is not None:
            return problem
    return None


def against_real_time(known: Sequence[Operation]) -> str | None:
    """What begins after another ended has no smaller commit; a write that does has a greater one."""
    ended = sorted(known, key=lambda each: each.end)
    newest: Operation | None = None
    i = 0
    for operation in sorted(known, key=lambda each: each.call):
        while i < len(ended) and ended[i].end < operation.call:
            if newest is None or ended[i].commit > newest.commit:
                newest = ended[i]
            i += 1
        if newest is None:
            continue
        behind = operation.commit < newest.commit
        if operation.kind is not Kind.GET and operation.commit == newest.commit:
            behind = True
        if behind:
            return f"{operation} comes after {newest} but claims no later commit"
    return None


def unexplained_read(key: str, operations: Sequence[Operation]) -> str | None:
    """Whether each read's value was written at or before its commit with no acknowledged write in between."""
    writes = [each for each in operations if each.kind is not Kind.GET]
    source = {each.value: each for each in writes if each.kind is Kind.PUT}
    acknowledged = [each for each in writes if each.end != UNKNOWN]
    for read in operations:
        if read.kind is not Kind.GET or read.end == UNKNOWN or read.commit is None:
            continue
        last = max((each.commit for each in acknowledged if each.commit <= read.commit), default=0)
        if read.value is None:
            if last and all(each.kind is Kind.PUT for each in acknowledged if each.commit == last):
                unknown_delete = any(each.end == UNKNOWN and each.kind is Kind.DELETE for each in writes)
                if not unknown_delete:
                    return f"{read} misses the put of {key} at commit {last}"
            continue
        write = source.get(read.value)
        if write is None:
            return f"{read} returns a value nobody wrote to {key}"
        if write.end == UNKNOWN:
            continue
        if not last <= write.commit <= read.commit:
            return f"{read} returns the write at {write.commit}, but commit {last} is newer"
    return None
