"""What an index must hold at each commit: the log replayed, and the loads that stand between its entries.

A load is in no log entry. It stands just after the slot of the checkpoint that published it, but is seen only from
the moment that checkpoint was created: a read at a later commit that was answered before does not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Values = Mapping[str, int]


@dataclass(frozen=True)
class Load:
    """A published load: the slot it stands after, the virtual time of its publication, and its values by key."""

    slot: int
    time: float
    values: Values


class Timeline:
    """`entries` are the changes of slots 1, 2, ...; `loads` stand in the order of their publication."""

    def __init__(self, entries: Sequence[Callable[[Values], Values]], loads: Sequence[Load] = ()) -> None:
        self._entries = entries
        self.loads = loads
        self._states: dict[int, list[Values]] = {}

    def possible(self, commit: int, call: float, end: float) -> list[Values]:
        """The values that a read between `call` and `end` may be answered with at a commit; [] for none."""
        if commit > len(self._entries):
            return []
        seen = [each for each in self.loads if each.time < call]
        if any(each.slot > commit for each in seen):
            return []
        within = sum(each.time <= end for each in self.loads)
        return [self._state(count)[commit] for count in range(len(seen), within + 1)]

    def _state(self, loads: int) -> list[Values]:
        """The values at each commit when only the first so many loads exist."""
        if loads not in self._states:
            states: list[Values] = []
            values: Values = {}
            for slot in range(len(self._entries) + 1):
                if slot:
                    values = self._entries[slot - 1](values)
                for load in self.loads[:loads]:
                    if load.slot == slot:
                        values = {**values, **load.values}
                states.append(values)
            self._states[loads] = states
        return self._states[loads]
