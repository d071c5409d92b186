"""The linearizability check for long histories agrees with the exact one, and is quick enough for long ones."""

from __future__ import annotations

import random
import time

import pytest

from cluster.registers import Step, is_linearizable
from simulation.checkers import linearizability
from simulation.checkers.history import UNKNOWN, Kind, Operation


def random_history(chance: random.Random) -> list[Operation]:
    """Of a true register with deletions and unknown outcomes; most have one answer or one outcome changed."""
    now, current, history = 10.0, None, []
    for value in range(1, chance.randrange(4, 22)):
        now += chance.random()
        call, end = now - chance.random() * 2, now + chance.random() * 2
        draw = chance.random()
        kind = Kind.PUT if draw < 0.35 else Kind.DELETE if draw < 0.55 else Kind.GET
        if kind is Kind.GET:
            history.append(Operation(call, end, kind, current))
            continue
        written = value if kind is Kind.PUT else None
        takes_effect = chance.random() > 0.15
        known = takes_effect and chance.random() > 0.25
        current = written if takes_effect else current
        history.append(Operation(call, end if known else UNKNOWN, kind, written))
    reads = [i for i, each in enumerate(history) if each.kind is Kind.GET]
    if reads and chance.random() < 0.8:
        i = chance.choice(reads)
        history[i] = history[i]._replace(value=chance.choice([None, *(each.value for each in history)]))
    return history


def steps(history: list[Operation]) -> list[Step]:
    return [Step(each.call, each.end, each.value, each.kind is Kind.GET) for each in history]


def test_it_agrees_with_the_exact_check_on_3000_random_histories() -> None:
    chance, bad = random.Random(5), 0
    for _ in range(3_000):
        history = random_history(chance)
        exact = linearizability.is_linearizable(history)
        assert is_linearizable(None, steps(history)) is exact, history
        bad += not exact
    assert 300 < bad < 2_700


@pytest.mark.parametrize(
    ("value", "sound"), [(4, True), (6, True), (5, False), (None, True)], ids=["even", "even too", "odd", "absent"]
)
def test_a_read_that_shows_odd_values_only(value: int | None, sound: bool) -> None:
    """It did not show the key, so the key held an even value, or none."""
    read = Step(3, 4, None, reads=True, hides=lambda held: held % 2 == 0)
    written = [Step(1, 2, value)] if value is not None else []
    assert is_linearizable(None, [*written, read]) is sound


def test_a_put_of_unknown_outcome_may_be_what_a_read_did_not_show() -> None:
    read = Step(5, 6, None, reads=True, hides=lambda held: held % 2 == 0)
    acknowledged = Step(1, 2, 1)
    assert is_linearizable(None, [acknowledged, read]) is False
    assert is_linearizable(None, [acknowledged, Step(3, UNKNOWN, 4), read]) is True
    assert is_linearizable(None, [acknowledged, Step(3, UNKNOWN, 3), read]) is False
    assert is_linearizable(None, [acknowledged, Step(7, UNKNOWN, 4), read]) is False
    later = Step(7, 8, 1, reads=True)
    assert is_linearizable(None, [acknowledged, Step(3, UNKNOWN, 4), read, later]) is False


@pytest.mark.parametrize("shown", [1, None])
def test_what_was_there_at_the_start(shown: int | None) -> None:
    read = Step(1, 2, shown, reads=True)
    assert is_linearizable(1, [read]) is (shown == 1)
    assert is_linearizable(None, [read]) is (shown is None)
    assert is_linearizable(1, [Step(0, UNKNOWN, None), read]) is True


def test_a_deletion_of_unknown_outcome_happens_once_at_most() -> None:
    history = [Step(0, UNKNOWN, None), Step(1, 2, 7), Step(3, 4, None, reads=True)]
    assert is_linearizable(None, history) is True
    again = [*history, Step(5, 6, 8), Step(7, 8, None, reads=True)]
    assert is_linearizable(None, again) is False
    assert is_linearizable(None, [Step(0, UNKNOWN, None), *again]) is True


def test_fifty_thousand_operations_with_one_stale_read_among_them() -> None:
    chance, history, now, current = random.Random(1), [], 0.0, None
    for value in range(50_000):
        now += 1
        call, end = now - chance.random() * 3, now + chance.random() * 3
        draw = chance.random()
        if draw < 0.3:
            current = value if draw < 0.2 else None
            history.append(Step(call, UNKNOWN if chance.random() < 0.001 else end, current))
        else:
            history.append(Step(call, end, current, reads=True))
    began = time.monotonic()
    assert is_linearizable(None, history) is True
    puts = [i for i, step in enumerate(history) if not step.reads and step.value is not None]
    last = next(i for i in range(len(history) - 1, 0, -1) if history[i].reads)
    history[last] = history[last]._replace(value=history[puts[500]].value)
    assert is_linearizable(None, history) is False
    assert time.monotonic() - began < 60


def test_a_search_that_gets_too_long_is_undecided() -> None:
    writes = [Step(0, 100, value) for value in range(16)]
    assert is_linearizable(None, [*writes, Step(50, 60, 99, reads=True)], budget=1000) is None
