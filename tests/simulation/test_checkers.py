"""The history checkers: known histories, agreement with each other on random ones, and the snapshot check."""

from __future__ import annotations

import random
import time

import pytest

from simulation.checkers import linearizability, snapshots, witness, zones
from simulation.checkers.history import UNKNOWN, Kind, Operation

PUT, DELETE, GET = Kind.PUT, Kind.DELETE, Kind.GET
CREATE, DROP, EXISTS = Kind.CREATE, Kind.DROP, Kind.EXISTS


def random_history(random: random.Random, deletes: bool) -> list[Operation]:
    """A history of a true register, one time in two with a wrong answer, a lost write or a late read in it."""
    count, now, current, history = random.randrange(4, 24), 10.0, None, []
    for value in range(1, count):
        now += random.random()
        call, end = now - random.random() * 2, now + random.random() * 2
        draw = random.random()
        if draw < 0.45:
            takes_effect = random.random() > 0.15
            outcome = end if takes_effect and random.random() > 0.2 else UNKNOWN
            current = value if takes_effect else current
            history.append(Operation(call, outcome, PUT, value))
        elif draw < 0.6 and deletes:
            current = None
            history.append(Operation(call, end, DELETE))
        else:
            history.append(Operation(call, end, GET, current))
    reads = [i for i, each in enumerate(history) if each.kind is GET]
    if reads and random.random() < 0.9:
        i = random.choice(reads)
        values = [None] + [each.value for each in history if each.kind is PUT]
        history[i] = history[i]._replace(value=random.choice(values))
    random.shuffle(history)
    return history


def brute_force(history: list[Operation]) -> bool:
    """Try every order, every subset of the unknown operations: too slow for use, too plain to be wrong."""
    known = [each for each in history if not (each.kind in (GET, EXISTS) and each.end == UNKNOWN)]

    def place(rest: list[Operation], value: object) -> bool:
        if all(each.end == UNKNOWN for each in rest):
            return True
        first_end = min(each.end for each in rest)
        for each in rest:
            if each.call > first_end:
                continue
            if each.kind is GET and each.value != value:
                continue
            if (each.kind is CREATE and value is not None) or (each.kind in (DROP, EXISTS) and value is None):
                continue
            others = [other for other in rest if other is not each]
            if place(others, value if each.kind in (GET, EXISTS) else each.value):
                return True
        return False

    return place(known, None)


def test_the_two_checkers_agree_on_3000_random_histories():
    rng, bad = random.Random(1), 0
    for _ in range(3_000):
        history = random_history(rng, deletes=False)
        exact = linearizability.is_linearizable(history)
        assert exact is (zones.find_violation(history) is None), history
        bad += not exact
    assert 500 < bad < 2_500


def conditional_history(random: random.Random) -> list[Operation]:
    """Creations, drops and looks at one name, half of them of unknown outcome or plausible only."""
    now, there, history = 10.0, False, []
    for value in range(1, 9):
        now += random.random()
        call, end = now - random.random() * 1.5, now + random.random() * 1.5
        kind = random.choice([CREATE, DELETE] if not there else [DROP, EXISTS, DELETE, GET])
        if random.random() < 0.15:
            kind = random.choice([CREATE, DROP, EXISTS, GET])
        there = kind is CREATE or (there and kind in (EXISTS, GET))
        outcome = UNKNOWN if random.random() < 0.2 else end
        history.append(Operation(call, outcome, kind, value if kind is CREATE else None))
    return history


def test_the_exact_checker_agrees_with_brute_force_on_conditional_operations():
    rng, bad = random.Random(3), 0
    for _ in range(600):
        history = conditional_history(rng)
        expected = brute_force(history)
        assert linearizability.is_linearizable(history) is expected, history
        bad += not expected
    assert 60 < bad < 540


@pytest.mark.parametrize(
    "history",
    [
        [Operation(0, 1, CREATE, 1), Operation(0, 1, CREATE, 2)],
        [Operation(0, 1, CREATE, 1), Operation(2, 3, DROP), Operation(2, 3, DROP)],
        [Operation(0, 1, CREATE, 1), Operation(2, 3, GET), Operation(4, 5, EXISTS)],
    ],
    ids=["two winners of a creation", "two winners of a deletion", "not found, then in the way"],
)
def test_conditional_operations_have_one_winner(history):
    assert linearizability.is_linearizable(history) is False


def test_the_exact_checker_agrees_with_brute_force():
    rng, bad = random.Random(2), 0
    for _ in range(600):
        history = random_history(rng, deletes=True)[:8]
        expected = brute_force(history)
        assert linearizability.is_linearizable(history) is expected, history
        bad += not expected
    assert 60 < bad < 540


BAD = {
    "lost acknowledged write": [Operation(0, 1, PUT, "a"), Operation(2, 3, GET, None)],
    "stale read": [
        Operation(0, 1, PUT, "a"),
        Operation(2, 3, PUT, "b"),
        Operation(4, 5, GET, "a"),
    ],
    "value from nowhere": [Operation(0, 1, GET, "a")],
    "read before the write began": [Operation(0, 1, GET, "a"), Operation(2, 3, PUT, "a")],
    "flip-flop": [
        Operation(0, 10, PUT, "a"),
        Operation(0, 10, PUT, "b"),
        Operation(1, 2, GET, "a"),
        Operation(3, 4, GET, "b"),
        Operation(5, 6, GET, "a"),
    ],
    "an unknown write that comes and goes": [
        Operation(0, 1, PUT, "a"),
        Operation(2, UNKNOWN, PUT, "b"),
        Operation(3, 4, GET, "b"),
        Operation(5, 6, GET, "a"),
    ],
}
GOOD = {
    "nothing": [],
    "an unknown write may be seen late": [
        Operation(0, UNKNOWN, PUT, "a"),
        Operation(5, 6, GET, None),
        Operation(7, 8, GET, "a"),
    ],
    "an unknown write may never be seen": [Operation(0, UNKNOWN, PUT, "a"), Operation(5, 6, GET, None)],
    "overlapping writes in either order": [
        Operation(0, 10, PUT, "a"),
        Operation(1, 9, PUT, "b"),
        Operation(11, 12, GET, "a"),
    ],
    "a get without an answer": [Operation(0, 1, PUT, "a"), Operation(2, UNKNOWN, GET, None)],
}


@pytest.mark.parametrize("name", BAD)
def test_both_checkers_find(name):
    assert linearizability.is_linearizable(BAD[name]) is False
    assert zones.find_violation(BAD[name]) is not None


@pytest.mark.parametrize("name", GOOD)
def test_both_checkers_accept(name):
    assert linearizability.is_linearizable(GOOD[name]) is True
    assert zones.find_violation(GOOD[name]) is None


def test_deletes_are_told_from_lost_writes():
    history = [Operation(0, 1, PUT, "a"), Operation(2, 3, DELETE), Operation(4, 5, GET, None)]
    assert linearizability.is_linearizable(history) is True
    late = [Operation(0, 1, PUT, "a"), Operation(4, 5, GET, None), Operation(6, 7, DELETE)]
    assert linearizability.is_linearizable(late) is False
    maybe = [Operation(0, 1, PUT, "a"), Operation(2, UNKNOWN, DELETE), Operation(4, 5, GET, None)]
    assert linearizability.is_linearizable(maybe) is True


def test_the_exact_checker_gives_up_at_its_budget():
    history = [Operation(0, 100, PUT, i) for i in range(14)] + [Operation(101, 102, GET, "never")]
    assert linearizability.is_linearizable(history, budget=1_000) is None


def test_zones_check_a_long_history_quickly():
    history, started = [], time.process_time()
    for i in range(50_000):
        history.append(Operation(i, i + 0.9, PUT, i))
        history.append(Operation(i + 0.95, i + 0.99, GET, i))
    assert zones.find_violation(history) is None
    assert time.process_time() - started < 10


def test_snapshots_never_mix_batches():
    group = ["a", "b"]
    assert snapshots.find_mixture(group, {"a": 1, "b": 1, "c": 2}) is None
    assert snapshots.find_mixture(group, {}) is None
    assert "mixes" in snapshots.find_mixture(group, {"a": 1, "b": 2})
    assert "mixes" in snapshots.find_mixture(group, {"a": 1})


WITNESS_BAD = {
    "a later operation at an earlier commit": [
        Operation(0, 1, PUT, "a", "k", 5),
        Operation(2, 3, GET, "a", "l", 4),
    ],
    "a later write at the same commit": [
        Operation(0, 1, PUT, "a", "k", 5),
        Operation(2, 3, PUT, "b", "l", 5),
    ],
    "a read that misses a write at or before its commit": [
        Operation(0, 9, PUT, "a", "k", 5),
        Operation(0, 9, GET, None, "k", 6),
    ],
    "a read of an overwritten value": [
        Operation(0, 9, PUT, "a", "k", 5),
        Operation(0, 9, PUT, "b", "k", 6),
        Operation(0, 9, GET, "a", "k", 6),
    ],
    "a read of a value from the future": [
        Operation(0, 9, PUT, "a", "k", 5),
        Operation(0, 9, GET, "a", "k", 4),
    ],
    "a value nobody wrote": [Operation(0, 9, GET, "a", "k", 4)],
}
WITNESS_GOOD = [
    Operation(0, 1, PUT, "a", "k", 1),
    Operation(0, 1, PUT, "z", "l", 1),
    Operation(2, UNKNOWN, DELETE, None, "k"),
    Operation(2, UNKNOWN, PUT, "b", "l"),
    Operation(3, 4, GET, None, "k", 2),
    Operation(3, 4, GET, "b", "l", 3),
    Operation(5, 6, GET, "b", "l", 3),
    Operation(5, 6, PUT, "c", "l", 4),
]


@pytest.mark.parametrize("name", WITNESS_BAD)
def test_the_witness_check_finds(name):
    assert witness.find_violation(WITNESS_BAD[name]) is not None


def test_the_witness_check_accepts_a_history_its_numbers_explain():
    assert witness.find_violation(WITNESS_GOOD) is None
