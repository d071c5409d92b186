"""The linearizability check of a register whose written values are unique: Gibbons and Korach's zones.

Each value with its readers is a cluster; its zone runs from the first end to the last call in it. A history
is linearizable when no two forward zones overlap and no backward zone lies inside a forward one. O(n log n).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

from simulation.checkers.history import UNKNOWN, Kind, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE_TIME = -1.0


def find_violation(operations: Sequence[Operation]) -> str | None:
    """Why the history of one key, which starts empty and sees puts and gets only, is not linearizable."""
    writes: dict[object, tuple[float, float]] = {None: (BEFORE_TIME, BEFORE_TIME)}
    for each in operations:
        if each.kind is Kind.PUT:
            assert each.value not in writes, f"value written twice: {each.value}"
            writes[each.value] = (each.call, each.end)
    zones: dict[object, list[float]] = {None: [BEFORE_TIME, BEFORE_TIME]}
    for each in operations:
        if each.kind is not Kind.GET or each.end == UNKNOWN:
            continue
        if each.value not in writes:
            return f"read of a value never written: {each.value}"
        call, end = writes[each.value]
        if each.end < call:
            return f"read that ended before its write began: {each.value}"
        zone = zones.setdefault(each.value, [end, call])
        zone[0] = min(zone[0], each.end)
        zone[1] = max(zone[1], each.call)
    for value, (call, end) in writes.items():
        if end != UNKNOWN:  # an unknown write nobody read never happened, as far as anybody can tell
            zone = zones.setdefault(value, [end, call])
            zone[0] = min(zone[0], end)
            zone[1] = max(zone[1], call)
    return conflict_of(zones)


def conflict_of(zones: dict[object, list[float]]) -> str | None:
    """The first conflict between zones given as value -> [first end, last call]."""
    forward = sorted((first, last, repr(value)) for value, (first, last) in zones.items() if first < last)
    for left, right in itertools.pairwise(forward):
        if right[0] < left[1]:
            return f"values {left[2]} and {right[2]} were each current while the other was"
    starts = [each[0] for each in forward]
    for value, (first, last) in zones.items():
        if first < last:
            continue
        i = bisect_right(starts, last) - 1
        if i >= 0 and forward[i][0] < last and first < forward[i][1]:
            return f"value {value!r} was written inside the time of {forward[i][2]}"
    return None
