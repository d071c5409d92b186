"""The exact linearizability check of one register: Wing and Gong's search with Lowe's memory of failed states.

All kinds of operations; outcomes may be unknown. Exponential at worst in the operations that overlap, so keep
histories short (about 200 operations a key) and unknown outcomes few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.checkers.history import UNKNOWN, Kind, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_BUDGET = 300_000
CONDITIONAL = (Kind.CREATE, Kind.DROP, Kind.EXISTS, Kind.SWAP)


def is_linearizable(operations: Sequence[Operation], budget: int = DEFAULT_BUDGET) -> bool | None:
    """Whether some order explains the history of one key, which starts empty; None when the budget ran out.

    Args:
        operations: of one key; `end` UNKNOWN means the effect may come any time after `call`, or never.
        budget: how many candidate steps to try.
    """
    relevant = sorted(without_irrelevant(operations), key=lambda each: each.call)
    calls = [each.call for each in relevant]
    ends = [each.end for each in relevant]
    count = len(relevant)
    must = sum(1 << i for i in range(count) if ends[i] != UNKNOWN)
    seen: set[tuple[int, object]] = set()
    stack: list[tuple[int, object]] = [(0, None)]
    work = 0
    while stack:
        state = stack.pop()
        done, value = state
        if done & must == must:
            return True
        if state in seen:
            continue
        seen.add(state)
        deadline = earliest_end(done, calls, ends)
        following = []
        for i in range((~done & (done + 1)).bit_length() - 1, count):
            if done >> i & 1:
                continue
            if calls[i] > deadline:
                break
            work += 1
            operation = relevant[i]
            if operation.possible(value):
                following.append((done | 1 << i, value if operation.kind.reads else operation.value))
        stack.extend(reversed(following))
        if work > budget:
            return None
    return False


def earliest_end(done: int, calls: list[float], ends: list[float]) -> float:
    """The first end among operations not yet placed: only what was called before it may be placed next."""
    earliest = UNKNOWN
    for i in range((~done & (done + 1)).bit_length() - 1, len(calls)):
        if not done >> i & 1:
            if calls[i] > earliest:
                break
            earliest = min(earliest, ends[i])
    return earliest


def without_irrelevant(operations: Sequence[Operation]) -> list[Operation]:
    """Drop reads nobody answered, and unknown writes whose value nobody read: those constrain nothing.

    When anything was possible only because of what was there, then any write can have made it so.
    """
    read = {each.value for each in operations if each.kind is Kind.GET and each.end != UNKNOWN}
    conditional = any(each.kind in CONDITIONAL for each in operations)
    return [
        each
        for each in operations
        if each.end != UNKNOWN or (not each.kind.reads and (conditional or each.value in read))
    ]
