"""What goes wrong in one simulated run, and how often: swarm testing draws a random subset per seed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True)
class Faults:
    """Probabilities per request (the store), per second (nodes), or per crash point reached.

    Attributes:
        slow: the request takes 0.5-5 s instead of tens of milliseconds.
        fail_before: an error, and the request was not applied.
        fail_after: an error, although the request was applied.
        zombie: the client gives up after 2 s and the request lands 2-20 s later.
        conflict: 409, reported as an error; nothing was applied.
        conflict_as_exists: 409, reported as "exists" although no object has the key.
        exists_after_own: applied, but a retry inside the client library reports "exists".
        refuse: the store says that it did not and will not apply the request.
        ignore_condition: a put-if-absent overwrites (a store that breaks its promise; never in a correct run).
        crash, stall: a node dies, or stands still for 1-60 s, at a crash point it reaches.
        stall_upkeep: the same stall, at crash points of flush, compaction and garbage collection only.
        kill, pause, partition, clock_jump: expected events per minute and node.
    """

    slow: float = 0.0
    fail_before: float = 0.0
    fail_after: float = 0.0
    zombie: float = 0.0
    conflict: float = 0.0
    conflict_as_exists: float = 0.0
    exists_after_own: float = 0.0
    refuse: float = 0.0
    ignore_condition: float = 0.0
    crash: float = 0.0
    stall: float = 0.0
    stall_upkeep: float = 0.0
    kill: float = 0.0
    pause: float = 0.0
    partition: float = 0.0
    clock_jump: float = 0.0

    @classmethod
    def draw(cls, random: Random) -> Faults:
        """Each fault is off in half of all runs, else at a random part of its greatest intensity."""
        chosen = {
            name: greatest * random.uniform(0.1, 1.0)
            for name, greatest in GREATEST.items()
            if random.random() < 0.5
        }
        return cls(**chosen)

    def but(self, **changes: float) -> Faults:
        """These faults with some of them changed."""
        return replace(self, **changes)

    def active(self) -> dict[str, float]:
        """The faults that are on, for reports."""
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}


GREATEST = {
    "slow": 0.05,
    "fail_before": 0.1,
    "fail_after": 0.1,
    "zombie": 0.06,
    "conflict": 0.05,
    "conflict_as_exists": 0.05,
    "exists_after_own": 0.08,
    "refuse": 0.03,
    "crash": 0.02,
    "stall": 0.05,
    "stall_upkeep": 0.3,
    "kill": 2.0,
    "pause": 2.0,
    "partition": 2.0,
    "clock_jump": 3.0,
}

NONE = Faults()
