"""The nemesis' judge finds each kind of broken promise that is planted in a sound history, and nothing else."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster import sights
from cluster.history_judge import Period, judge
from cluster.ledger import Write
from cluster.nemesis_clients import EVERY_KEY, GROUP, LASTING, SINGLES
from cluster.requests import Outcome
from cluster.sights import PARTS, Sight
from simulation.checkers.history import UNKNOWN, Kind, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

OK, REFUSED, LOST = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN
AB = ("a", "b")


def put(call: float, value: int, *keys: str, outcome: Outcome = OK, commit: int | None = None) -> Write:
    end = UNKNOWN if outcome is LOST else call + 1
    return Write(call, end, Kind.PUT, dict.fromkeys(keys, value), outcome, commit)


def delete(call: float, *keys: str, outcome: Outcome = OK, commit: int | None = None) -> Write:
    end = UNKNOWN if outcome is LOST else call + 1
    return Write(call, end, Kind.DELETE, dict.fromkeys(keys), outcome, commit)


def saw(
    call: float,
    commit: int | None = None,
    hides: Callable[[int], bool] | None = None,
    keys: tuple[str, ...] = AB,
    **values: int,
) -> Sight:
    return Sight(call, call + 1, keys, values, commit, "GetVectors", hides)


def odd(value: int) -> bool:
    return value % 2 == 1


SOUND: dict[str, Period] = {
    "acknowledged": Period({}, [put(1, 5, "a")], [], [saw(9, a=5)]),
    "overwritten": Period({"a": 1}, [put(1, 5, "a"), put(3, 6, "a")], [saw(2.5, a=5)], [saw(9, a=6)]),
    "deleted": Period({"a": 1}, [delete(1, "a")], [], [saw(9)]),
    "refused": Period({"a": 1}, [put(1, 5, "a", outcome=REFUSED)], [], [saw(9, a=1)]),
    "unknown, there": Period({}, [put(1, 5, *AB, outcome=LOST)], [], [saw(9, a=5, b=5)]),
    "unknown, not there": Period({}, [put(1, 5, *AB, outcome=LOST)], [], [saw(9)]),
    "unknown, late": Period({}, [put(1, 5, *AB, outcome=LOST)], [saw(3), saw(5, a=5, b=5)], [saw(9, a=5, b=5)]),
    "unknown deletion, late": Period({"a": 1}, [delete(1, "a", outcome=LOST)], [saw(3, a=1)], [saw(9)]),
    "at the same time": Period({}, [put(1, 5, "a"), put(1.5, 6, "a")], [], [saw(9, a=5)]),
    "while it is written": Period({}, [put(1, 5, *AB)], [saw(1.2), saw(1.5, a=5, b=5)], [saw(9, a=5, b=5)]),
    "hidden": Period({"a": 1}, [put(1, 7, "b")], [saw(3, hides=odd)], [saw(9, a=1, b=7)]),
    "hidden part of a batch": Period(
        {}, [put(1, 4, *AB), put(1.5, 7, "b")], [saw(3, hides=odd, a=4)], [saw(9, a=4, b=7)]
    ),
    "one commit": Period({}, [put(1, 5, *AB, commit=3), put(1, 6, "a", commit=3)], [], [saw(9, 3, a=5, b=5)]),
    "older commit of an answer": Period(
        {}, [put(1, 5, "a", commit=1), put(3, 6, "a", commit=2)], [saw(3.5, 1, a=5)], [saw(9, 2, a=6)]
    ),
}  # fmt: skip
BROKEN: dict[str, tuple[Period, str]] = {
    "lost": (Period({}, [put(1, 5, "a")], [], [saw(9)]), "no order"),
    "lost start": (Period({"a": 1}, [], [], [saw(9)]), "no order"),
    "lost overwrite": (Period({"a": 1}, [put(1, 5, "a")], [], [saw(9, a=1)]), "no order"),
    "lost deletion": (Period({"a": 1}, [delete(1, "a")], [], [saw(9, a=1)]), "no order"),
    "lost, then there again": (Period({}, [put(1, 5, "a")], [saw(3), saw(5, a=5)], [saw(9, a=5)]), "no order"),
    "stale": (Period({}, [put(1, 5, "a"), put(3, 6, "a")], [saw(5, a=5)], [saw(9, a=6)]), "no order"),
    "deleted row in a query": (Period({"a": 1}, [delete(1, "a")], [saw(3, hides=odd, a=1)], [saw(9)]), "no order"),
    "hidden without reason": (Period({"a": 2}, [], [saw(3, hides=odd)], [saw(9, a=2)]), "no order"),
    "there, gone, and there": (
        Period({}, [put(1, 5, "a", outcome=LOST)], [saw(3, a=5), saw(5)], [saw(9, a=5)]), "no order",
    ),
    "one unknown deletion twice": (
        Period({"a": 1}, [delete(1, "a", outcome=LOST), put(4, 2, "a")], [saw(2), saw(6, a=2)], [saw(9)]),
        "no order",
    ),
    "refused": (Period({}, [put(1, 5, "a", outcome=REFUSED)], [], [saw(9, a=5)]), "refused"),
    "not sent": (Period({}, [put(1, 5, "a", outcome=Outcome.NOT_SENT)], [], [saw(9, a=5)]), "refused"),
    "invented": (Period({}, [], [], [saw(9, a=5)]), "nobody wrote"),
    "of another key": (Period({}, [put(1, 5, "a")], [], [saw(9, a=5, b=5)]), "nobody wrote"),
    "from the future": (Period({}, [put(5, 5, "a")], [saw(1, a=5)], [saw(9, a=5)]), "written later"),
    "back from an earlier period": (Period({"a": 7}, [], [], [saw(9, a=3)]), "nobody wrote"),
    "torn": (Period({}, [put(1, 5, *AB)], [saw(1.2, a=5)], [saw(9, a=5, b=5)]), "part of a batch"),
    "torn overwrite": (
        Period({"b": 1}, [put(1, 5, *AB)], [saw(1.2, a=5, b=1)], [saw(9, a=5, b=5)]), "part of a batch",
    ),
    "torn, unknown": (Period({}, [put(1, 5, *AB, outcome=LOST)], [], [saw(9, a=5)]), "part of a batch"),
    "torn, in two answers": (
        Period(
            {}, [put(1, 5, *AB, outcome=LOST)], [saw(3, keys=("a",), a=5), saw(5, keys=("b",))], [saw(9, a=5, b=5)]
        ),
        "no order",
    ),
    "torn group": (
        Period({}, [put(1, 5, *GROUP), delete(1, *GROUP)], [saw(1.5, keys=GROUP, **{GROUP[0]: 5})], []), "mixes",
    ),
    "commit of the past": (
        Period({}, [put(1, 5, "a", commit=1), put(3, 6, "a", commit=2)], [], [saw(9, 1, a=5)]), "commit order",
    ),
    "older than its commit": (
        Period({}, [put(1, 5, "a", commit=1), put(3, 6, "a", commit=2)], [saw(3.5, 2, a=5)], [saw(9, 2, a=6)]),
        "commit order",
    ),
    "absent at its commit": (
        Period({}, [put(1, 5, "a", commit=1)], [saw(1.5, 1)], [saw(9, 1, a=5)]), "commit order",
    ),
    "acknowledged twice at one commit": (
        Period({}, [put(1, 5, "a", commit=1), put(3, 6, "b", commit=1)], [], [saw(9, 1, a=5, b=6)]),
        "commit order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_history(name: str) -> None:
    done = judge(SOUND[name])
    assert done["undecided keys"] == 0
    assert done["keys"] >= 1


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str) -> None:
    period, message = BROKEN[name]
    with pytest.raises(Violation, match=message):
        judge(period, GROUP)


class Model:
    """A sound index with two clients at a time: its history, to be made unsound."""

    def __init__(self, seed: int, operations: int) -> None:
        self.chance = random.Random(seed)
        self.writes: list[Write] = []
        self.sights: list[Sight] = []
        self._state: dict[str, int] = {}
        values = itertools.count(1)
        for commit in range(1, operations + 1):
            call, end = commit - self.chance.random() * 2, commit + self.chance.random() * 2
            if self.chance.random() < 0.45:
                self._write(call, end, commit, next(values))
            else:
                self._read(call, end, commit)
        self.last = Sight(end + 5, end + 6, EVERY_KEY, dict(self._state), commit, "rest")

    def _write(self, call: float, end: float, commit: int, value: int) -> None:
        kind = Kind.PUT if self.chance.random() < 0.7 else Kind.DELETE
        keys = self.chance.sample((*LASTING, *SINGLES) if kind is Kind.PUT else SINGLES, self.chance.randint(1, 6))
        items = dict.fromkeys(keys if self.chance.random() < 0.8 else GROUP, value if kind is Kind.PUT else None)
        lost, applied = self.chance.random() < 0.05, self.chance.random() < 0.5
        outcome = LOST if lost else OK
        self.writes.append(Write(call, UNKNOWN if lost else end, kind, items, outcome, None if lost else commit))
        if applied or not lost:
            self._state = {**self._state, **items}
            self._state = {key: held for key, held in self._state.items() if held is not None}

    def _read(self, call: float, end: float, commit: int) -> None:
        draw = self.chance.random()
        keys = EVERY_KEY if draw < 0.3 else tuple(self.chance.sample(EVERY_KEY, 8))
        values, hides = {key: self._state[key] for key in keys if key in self._state}, None
        if draw < 0.1:
            values = {key: value for key, value in values.items() if value % PARTS == 1}
            hides = lambda value: value % PARTS != 1  # noqa: E731
        self.sights.append(Sight(call, end, keys, values, commit, "read", hides))

    def judged(self) -> Any:
        return judge(Period({}, self.writes, self.sights, [self.last]), GROUP)


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_of_a_sound_index_are_sound(seed: int) -> None:
    done = Model(seed, 400).judged()
    assert done["undecided keys"] == 0
    assert done["keys"] == len(EVERY_KEY)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("numbers", [True, False], ids=["with commit numbers", "without"])
def test_a_stale_value_in_one_answer_is_found(seed: int, numbers: bool) -> None:
    model = Model(seed, 300)
    if not numbers:
        model.sights = [sight._replace(commit=None) for sight in model.sights]
    key = model.chance.choice(LASTING)
    written = [write for write in model.writes if key in write.items and write.outcome is OK]
    old, newer = written[len(written) // 2 :][:2]
    late = [i for i, sight in enumerate(model.sights) if key in sight.values and sight.call > newer.end]
    place = model.chance.choice(late)
    sight = model.sights[place]
    model.sights[place] = sight._replace(values={**sight.values, key: old.items[key]}, hides=None)
    with pytest.raises(Violation):
        model.judged()


@pytest.mark.parametrize("seed", range(20))
def test_an_acknowledged_write_that_is_lost_is_found(seed: int) -> None:
    model = Model(seed, 300)
    key = model.chance.choice([key for key in LASTING if key in model.last.values])
    held = {other: value for other, value in model.last.values.items() if other != key}
    model.last = model.last._replace(values=held, commit=None)
    with pytest.raises(Violation):
        model.judged()


def test_a_long_history_is_judged_in_good_time() -> None:
    model = Model(1, 8_000)
    began = time.monotonic()
    assert model.judged()["undecided keys"] == 0
    assert time.monotonic() - began < 60


def shown(key: str, value: int, **more: float) -> dict[str, Any]:
    made = sights.vector(key, value)
    return {"key": key, "metadata": made["metadata"], **more}


def test_what_a_filtered_answer_hides() -> None:
    question = sights.query_all(("a", "b", "c"), part=1)
    sight = question.sight(1, 2, [shown("a", 4)], 7)
    assert (sight.values, sight.commit) == ({"a": 4}, 7)
    assert [value for value in range(6) if sight.hides(value)] == [0, 2, 3, 5]
    with pytest.raises(Violation, match="filtered"):
        question.sight(1, 2, [shown("a", 5)], 7)


def test_what_an_answer_about_the_nearest_hides() -> None:
    question = sights.query_near(("a", "b", "c"), (0, 10), limit=2)
    sight = question.sight(1, 2, [shown("a", 11, distance=1.0), shown("b", 13, distance=3.0)], None)
    assert [value for value in (5, 6, 7, 8, 12, 13, 14, 20) if sight.hides(value)] == [5, 6, 7, 13, 14, 20]
    assert question.sight(1, 2, [shown("a", 11, distance=1.0)], None).hides is None
    for wrong in (
        [shown("a", 11, distance=1.1)],
        [shown("b", 13, distance=3.0), shown("a", 11, distance=1.0)],
        [shown(key, 11, distance=1.0) for key in ("a", "b", "c")],
    ):
        with pytest.raises(Violation, match=r"distances|at most 2"):
            question.sight(1, 2, wrong, None)


def test_keys_shown_twice_or_unasked_are_found() -> None:
    question = sights.query_all(AB)
    for wrong in ([shown("a", 1), shown("a", 1)], [shown("z", 1)]):
        with pytest.raises(Violation, match="twice"):
            question.sight(1, 2, wrong, None)
