"""The judge of the cluster tests finds what it is there to find, and nothing in sound histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster import ledger
from cluster.judge import judge
from cluster.ledger import Ledger, Write
from cluster.lifecycle import Lifecycle, State
from cluster.requests import Answer, Outcome
from cluster.workload import EVERY_KEY, GROUP, Read, record, value_of
from simulation.checkers.history import UNKNOWN, Kind, Violation

if TYPE_CHECKING:
    from pathlib import Path

OK, REFUSED, LOST = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN


def put(call: float, value: int, *keys: str, outcome: Outcome = OK, commit: int | None = None) -> Write:
    return Write(
        call, UNKNOWN if outcome is LOST else call + 1, Kind.PUT, dict.fromkeys(keys, value), outcome, commit
    )


def delete(call: float, *keys: str, outcome: Outcome = OK) -> Write:
    return Write(call, UNKNOWN if outcome is LOST else call + 1, Kind.DELETE, dict.fromkeys(keys), outcome, None)


def rest(commit: int | None = None, **values: int) -> Read:
    """What is there at the end."""
    return Read(
        100, 101, EVERY_KEY, {name.replace("_", "-"): value for name, value in values.items()}, commit, "rest"
    )


def test_a_sound_period() -> None:
    writes = [put(1, 5, "key-1", "key-2"), delete(3, "key-1"), put(5, 6, "key-3", outcome=REFUSED)]
    done = judge({"key-4": 1}, writes, [], [rest(key_2=5, key_4=1)])
    assert (done["ok"], done["refused"], done["keys"], done["undecided keys"]) == (2, 1, len(EVERY_KEY), 0)


@pytest.mark.parametrize("end", [{"key_1": 5, "key_2": 5}, {}])
def test_a_write_of_unknown_outcome_may_be_there_or_not(end: dict[str, int]) -> None:
    judge({}, [put(1, 5, "key-1", "key-2", outcome=LOST)], [], [rest(**end)])


@pytest.mark.parametrize(
    ("start", "writes", "end"),
    [
        ({}, [put(1, 5, "key-1")], {}),
        ({"key-1": 1}, [], {}),
        ({"key-1": 1}, [put(1, 5, "key-1")], {"key_1": 1}),
        ({"key-1": 1}, [delete(1, "key-1")], {"key_1": 1}),
        ({}, [put(1, 5, "key-1", outcome=REFUSED)], {"key_1": 5}),
        ({}, [put(1, 5, "key-1", outcome=Outcome.NOT_SENT)], {"key_1": 5}),
        ({}, [], {"key_1": 5}),
        ({}, [put(1, 5, "key-1", "key-2", outcome=LOST)], {"key_1": 5}),
        ({}, [put(1, 5, *GROUP, outcome=LOST)], {"group_1": 5}),
    ],
    ids=[
        "lost",
        "lost start",
        "lost overwrite",
        "lost delete",
        "refused",
        "unsent",
        "invented",
        "torn",
        "torn group",
    ],
)
def test_what_cannot_be_is_found(start: dict[str, int], writes: list[Write], end: dict[str, int]) -> None:
    with pytest.raises(Violation):
        judge(start, writes, [], [rest(**end)])


def test_an_answer_from_the_past_is_found_by_its_commit_number_too() -> None:
    writes = [put(1, 5, "key-1", commit=1), put(3, 6, "key-1", commit=2)]
    with pytest.raises(Violation, match="commit order"):
        judge({}, writes, [], [rest(commit=1, key_1=5)])
    with pytest.raises(Violation, match="no order"):
        judge({}, writes, [], [rest(key_1=5)])


def test_a_ledger_cut_short_ends_with_an_unknown_outcome(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as pages:
        pages.record(Kind.PUT, {"a": 1}, lambda: Answer(OK, 200, {}, 7))
        pages.record(Kind.DELETE, {"a": None}, lambda: Answer(LOST))
    path.write_bytes(path.read_bytes() + b'{"call": 1.5, "kind": "put", "items": {"b": 2}}\n')
    first, second, third = ledger.read(path)
    assert (first.kind, first.items, first.outcome, first.commit) == (Kind.PUT, {"a": 1}, OK, 7)
    assert first.call <= first.end < UNKNOWN
    assert (second.kind, second.outcome, second.end) == (Kind.DELETE, LOST, UNKNOWN)
    assert third == Write(1.5, UNKNOWN, Kind.PUT, {"b": 2}, LOST, None)


def test_a_vector_of_two_writes_is_found() -> None:
    assert value_of(record("a", 123_456)) == 123_456
    with pytest.raises(Violation):
        value_of(record("a", 1) | {"metadata": {"value": 2}})


class Script:
    """A client that answers as it is told."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)

    def call(self, operation: str, **parameters: object) -> Answer:
        return self._answers.pop(0)


def test_the_states_an_index_may_be_in() -> None:
    lifecycle = Lifecycle([5, 6], "seed")
    lifecycle.possible = {None, State(1, (("k0", 5),))}
    assert not lifecycle.observe(Script(Answer(LOST, 503)))
    shown = {"vectors": [{"key": "k0", "data": {"float32": [5.0]}}]}
    assert lifecycle.observe(Script(Answer(OK, 200, shown)))
    assert lifecycle.possible == {State(1, (("k0", 5),))}
    with pytest.raises(Violation):
        lifecycle.observe(Script(Answer(REFUSED, 404)))
    with pytest.raises(Violation):
        lifecycle.observe(Script(Answer(OK, 200, {"vectors": []})))
