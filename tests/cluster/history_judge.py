"""Judges one index's history between two moments of rest, however long: the nemesis' judge.

Four checks, each on its own: only values that were written and not refused are seen; batches are seen whole;
commit numbers explain every answer; and each key is linearizable, whatever the numbers say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from cluster.judge import last_moments
from cluster.registers import Step, is_linearizable
from cluster.requests import Outcome
from simulation.checkers import snapshots, witness
from simulation.checkers.history import UNKNOWN, Kind, Operation, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.ledger import Write
    from cluster.sights import Sight

POSSIBLE = (Outcome.OK, Outcome.UNKNOWN)
EVER = -1.0


class Period(NamedTuple):
    """What happened to one index. At its end no write was under way any more, known or unknown.

    Attributes:
        start: what was there before.
        writes, under_way: every batch that was sent, and every answer to a read.
        at_rest: answers at the end.
    """

    start: Mapping[str, int]
    writes: Sequence[Write]
    under_way: Sequence[Sight]
    at_rest: Sequence[Sight]


def judge(period: Period, group: Sequence[str] = ()) -> Counter[str]:
    """How much of each sort was checked. Raises Violation.

    Args:
        group: keys that are only ever written, or deleted, all in one batch.
    """
    history = History(period)
    sights = [*period.under_way, *period.at_rest]
    done = Counter(f"writes {write.outcome.value}" for write in period.writes)
    done.update(f"answers of {sight.source}" for sight in sights)
    for sight in sights:
        history.check_values(sight)
        history.check_batches(sight)
        if sight.hides is None and set(group) <= set(sight.keys) and (wrong := mixture(group, sight)):
            raise Violation(wrong)
    history.check_real_time(sights)
    for sight in sights:
        history.check_commit(sight)
    for key, steps in history.steps(sights).items():
        verdict = is_linearizable(period.start.get(key), steps)
        if verdict is False:
            raise Violation(f"no order explains what was seen of {key}:\n{story(period.start.get(key), steps)}")
        done["keys" if verdict else "undecided keys"] += 1
        done["steps"] += len(steps)
    return done


class History:
    """The batches of a period that may have had an effect, by what they wrote and by key."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._refused = {
            value
            for write in period.writes
            if write.outcome not in POSSIBLE
            for value in write.items.values()
            if value is not None
        }
        self._sent = [write for write in period.writes if write.outcome in POSSIBLE]
        self._by_value = {
            value: write for write in self._sent for value in write.items.values() if value is not None
        }
        self._by_key: dict[str, list[Write]] = defaultdict(list)
        for write in sorted(self._sent, key=lambda each: each.call):
            for key in write.items:
                self._by_key[key].append(write)
        self._calls = {key: [write.call for write in writes] for key, writes in self._by_key.items()}
        self._commits = {key: self._committed(key) for key in self._by_key}

    def _committed(self, key: str) -> tuple[list[int], list[list[Write]]]:
        """The acknowledged batches of a key by commit number; those of one commit may be in any order."""
        found: dict[int, list[Write]] = defaultdict(list)
        for write in self._by_key[key]:
            if write.outcome is Outcome.OK and write.commit is not None:
                found[write.commit].append(write)
        numbers = sorted(found)
        return numbers, [found[number] for number in numbers]

    # ---------------------------------------------------------------- values

    def check_values(self, sight: Sight) -> None:
        """Every value was there at the start, or a batch that was not refused wrote it to this very key before."""
        for key, value in sight.values.items():
            write = self._by_value.get(value)
            if write is None and self._period.start.get(key) == value:
                continue
            if value in self._refused:
                raise Violation(f"{told(sight)} shows {value} of {key}, which was refused")
            if write is None or key not in write.items:
                raise Violation(f"{told(sight)} shows {value} of {key}, which nobody wrote there")
            if write.call > sight.end:
                raise Violation(f"{told(sight)} shows {value} of {key}, which was written later")

    # ---------------------------------------------------------------- batches

    def check_batches(self, sight: Sight) -> None:
        """Where one key of a batch is seen, no other key shows what was there before the batch."""
        scope = set(sight.keys)
        for value in set(sight.values.values()):
            batch = self._by_value.get(value)
            if batch is not None and len(batch.items) > 1:
                for key in batch.items.keys() & scope:
                    if not self._may_follow(key, value, batch, sight):
                        raise Violation(f"{told(sight)} shows a part of a batch: {key} lacks {value} of {batch}")

    def _may_follow(self, key: str, value: int, batch: Write, sight: Sight) -> bool:
        """Whether what a sight tells of a key can be the batch's own value, or something newer."""
        shown = sight.values.get(key)
        if shown == value:
            return True
        if shown is not None:
            later = self._by_value.get(shown)
            return later is not None and later.end >= batch.call
        if sight.hides is not None and sight.hides(value):
            return True
        writes = self._by_key[key]
        for number in range(bisect_right(self._calls[key], sight.end) - 1, -1, -1):
            write = writes[number]
            if write is not batch and write.end >= batch.call and unseen(write.items[key], sight):
                return True
        return False

    # ---------------------------------------------------------------- commit numbers

    def check_real_time(self, sights: Sequence[Sight]) -> None:
        """Commit numbers of writes and answers grow as time goes on."""
        known = [Operation(w.call, w.end, w.kind, None, "", w.commit) for w in self._sent if w.end != UNKNOWN]
        known += [Operation(s.call, s.end, Kind.GET, None, "", s.commit) for s in sights]
        wrong = witness.against_real_time([each for each in known if each.commit is not None])
        if wrong is not None:
            raise Violation(f"commit order: {wrong}")

    def check_commit(self, sight: Sight) -> None:
        """Each key shows what the last acknowledged batch before the answer's commit wrote, or an unknown one."""
        if sight.commit is None:
            return
        for key in sight.keys:
            numbers, batches = self._commits.get(key, ((), ()))
            place = bisect_right(numbers, sight.commit) - 1
            last = batches[place] if place >= 0 else []
            shown = sight.values.get(key)
            if not self._explained(key, shown, last, sight):
                raise Violation(f"commit order: {told(sight)} shows {shown} of {key}, but the last is {last}")

    def _explained(self, key: str, shown: int | None, last: Sequence[Write], sight: Sight) -> bool:
        if shown is not None:
            write = self._by_value.get(shown)
            if write is not None and write.outcome is Outcome.UNKNOWN:
                return True
            return any(write is each for each in last) if last else write is None
        if not last and unseen(self._period.start.get(key), sight):
            return True
        if any(unseen(write.items[key], sight) for write in last):
            return True
        unknown = (write for write in self._by_key[key] if write.outcome is Outcome.UNKNOWN)
        return any(write.call < sight.end and unseen(write.items[key], sight) for write in unknown)

    # ---------------------------------------------------------------- keys

    def steps(self, sights: Sequence[Sight]) -> dict[str, list[Step]]:
        """The history of each key."""
        found: dict[str, list[Step]] = defaultdict(list)
        ends = last_moments(self._sent, self._period.under_way, self._period.at_rest)
        for write, end in zip(self._sent, ends, strict=True):
            for key, value in write.items.items():
                found[key].append(Step(write.call, end, value))
        for sight in sights:
            for key in sight.keys:
                found[key].append(Step(sight.call, sight.end, sight.values.get(key), True, sight.hides))
        return found


def unseen(value: int | None, sight: Sight) -> bool:
    """Whether an answer that does not show a key may be of a moment when it held this."""
    return value is None or (sight.hides is not None and sight.hides(value))


def mixture(group: Sequence[str], sight: Sight) -> str:
    """Why an answer about all of a group cannot be; "" when it can."""
    problem = snapshots.find_mixture(group, sight.values)
    return f"{told(sight)}: {problem}" if problem else ""


def told(sight: Sight) -> str:
    """An answer, in short."""
    return f"{sight.source} at commit {sight.commit} ({sight.call:.4f} to {sight.end:.4f})"


def story(start: int | None, steps: Sequence[Step]) -> str:
    """The history of a key up to the first answer that no order explains."""
    ordered = sorted(steps, key=lambda each: each.end)
    low, high = 0, len(ordered)
    while high - low > 1:
        middle = (low + high) // 2
        if is_linearizable(start, until(steps, ordered[middle - 1].end)) is False:
            high = middle
        else:
            low = middle
    moment = ordered[high - 1].end
    recent = sorted(until(steps, moment), key=lambda each: each.call)[-40:]
    return "\n".join(f"  {each}" for each in recent)


def until(steps: Sequence[Step], moment: float) -> list[Step]:
    """What had begun by then; writes that had not ended are of unknown outcome."""
    begun = [step for step in steps if step.call <= moment and (step.end <= moment or not step.reads)]
    return [step if step.end <= moment else step._replace(end=UNKNOWN) for step in begun]
