"""Linearizability of one key, for long histories: all states that the answers so far allow, carried through time.

Wing and Gong's search with Lowe's just-in-time order: an operation takes effect no earlier than some answer needs
it. Time grows with the length of a history, and with the power of how many operations are open at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.checkers.history import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BUDGET = 2_000_000
State = tuple[int | None, int]
"""A value, and the open operations, as bits, that have taken effect."""


class Step(NamedTuple):
    """One operation on the key. `value` is what it wrote, or showed; None is "not there".

    `end` is UNKNOWN for a write that may take effect any time after `call`, or never. `reads` tells reads from
    writes. A read that did not show the key, but would not have shown some values either, tells which: `hides`.
    """

    call: float
    end: float
    value: int | None
    reads: bool = False
    hides: Callable[[int], bool] | None = None

    def allows(self, value: int | None) -> bool:
        """Whether a read can have been answered so when the key held `value`."""
        if self.value == value:
            return True
        return self.value is None and value is not None and self.hides is not None and self.hides(value)


class Register:
    """What the key may hold. `work` counts candidates tried; beyond the budget answers mean nothing.

    Writes that never ended may take effect, or not, when a read needs it. They do not count as operations that are
    open: only so many deletions as there are may be used, but puts, whose values nobody saw, as often as you like.
    """

    def __init__(self, start: int | None, budget: int) -> None:
        self.work = 0
        self._budget = budget
        self._states: dict[State, int] = {(start, 0): 0}  # with the fewest spare deletions used so far
        self._spare_deletions = 0
        self._spare_puts: list[int] = []
        self._bits = 0
        self._reads: dict[int, Step] = {}
        self._writes: dict[int, Step] = {}

    def begin(self, step: Step) -> int:
        """The operation's bit, or 0 for a write that does not end."""
        if step.end == UNKNOWN:
            if step.value is None:
                self._spare_deletions += 1
            else:
                self._spare_puts.append(step.value)
            return 0
        bit = ~self._bits & (self._bits + 1)
        self._bits |= bit
        if step.reads:
            self._reads[bit] = step
            self._states = {self._with_reads(*state): used for state, used in self._states.items()}
        else:
            self._writes[bit] = step
        return bit

    def finish(self, bit: int) -> bool:
        """Whether the operation can have taken effect by now."""
        done = {state: used for state, used in self._states.items() if state[1] & bit}
        todo = [(state, used) for state, used in self._states.items() if not state[1] & bit]
        tried: dict[State, int] = {}
        while todo and self.work <= self._budget:
            state, used = todo.pop()
            for following, uses in self._following(state, used):
                self.work += 1
                known = done if following[1] & bit else tried
                if uses < known.get(following, self._spare_deletions + 1):
                    known[following] = uses
                    if known is tried:
                        todo.append((following, uses))
        self._bits &= ~bit
        self._reads.pop(bit, None)
        self._writes.pop(bit, None)
        self._states = {}
        for (value, mask), used in done.items():
            state = value, mask & ~bit
            self._states[state] = min(used, self._states.get(state, used))
        return bool(self._states)

    def _following(self, state: State, used: int) -> Iterable[tuple[State, int]]:
        """The states that one more write leads to."""
        value, mask = state
        for bit, step in self._writes.items():
            if not mask & bit:
                yield self._with_reads(step.value, mask | bit), used
        if used < self._spare_deletions and value is not None:
            following = self._with_reads(None, mask)
            if following[1] != mask:
                yield following, used + 1
        for unseen in self._spare_puts:
            following = self._with_reads(unseen, mask)
            if following[1] != mask:
                yield following, used

    def _with_reads(self, value: int | None, mask: int) -> State:
        """Reads that are possible take effect at once: that rules nothing out."""
        for bit, step in self._reads.items():
            if not mask & bit and step.allows(value):
                mask |= bit
        return value, mask


def is_linearizable(start: int | None, steps: Iterable[Step], budget: int = BUDGET) -> bool | None:
    """Whether some order explains the history of a key that held `start`; None when the budget ran out.

    The values of writes are unique, deletions aside.
    """
    given = list(bounded(list(steps)))
    events = [(step.call, 0, number) for number, step in enumerate(given)]
    events += [(step.end, 1, number) for number, step in enumerate(given) if step.end != UNKNOWN]
    bits: dict[int, int] = {}
    register = Register(start, budget)
    for _, ends, number in sorted(events):
        if not ends:
            bits[number] = register.begin(given[number])
            continue
        possible = register.finish(bits.pop(number))
        if register.work > budget:
            return None
        if not possible:
            return False
    return True


def bounded(steps: Sequence[Step]) -> Iterable[Step]:
    """The same history with what is known of puts of unknown outcome: when those that were seen had had an effect.

    Others constrain nothing and are left out, unless one of them can explain why a read did not show the key.
    """
    seen: dict[int | None, float] = {}
    for step in steps:
        if step.reads and step.value is not None:
            seen[step.value] = min(step.end, seen.get(step.value, UNKNOWN))
    hiding = [step for step in steps if step.hides is not None and step.value is None]
    for step in steps:
        if step.end != UNKNOWN or step.value is None:
            yield step
        elif step.value in seen:
            yield step._replace(end=max(step.call, seen[step.value]))
        elif any(read.end > step.call and read.hides(step.value) for read in hiding):
            yield step
