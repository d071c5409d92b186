"""What the crash loop sees of loads: one that is there in part is found."""

from __future__ import annotations

import pytest

from cluster.judge import judge
from cluster.ledger import Write
from cluster.loads import MANY, REGISTERS, REST, SHARED, read_every, registers, stream
from cluster.requests import Answer, Outcome
from cluster.workload import Read, record
from quiver.bulk.arrow_stream import open_arrow_stream
from quiver.bulk.columns import Columns
from quiver.service.bulk_operations import SMALL_ROWS
from simulation.checkers.history import UNKNOWN, Kind, Violation

SOME = MANY[:3]


def load(call: float, value: int, outcome: Outcome = Outcome.OK) -> Write:
    end = UNKNOWN if outcome is Outcome.UNKNOWN else call + 1
    return Write(call, end, Kind.PUT, dict.fromkeys(REGISTERS, value), outcome, None)


def put(call: float, value: int) -> Write:
    return Write(call, call + 1, Kind.PUT, {SHARED[0]: value}, Outcome.OK, None)


def rest(**values: int) -> Read:
    return Read(100, 101, REGISTERS, values, None, "rest")


def everything(value: int) -> dict[str, int]:
    return dict.fromkeys(REGISTERS, value)


def test_the_rows_that_only_loads_write_are_one_register() -> None:
    assert registers([record(key, 7) for key in (*SHARED, *SOME)], SOME) == dict.fromkeys(REGISTERS, 7)
    assert registers([record(SHARED[0], 5)], SOME) == {SHARED[0]: 5}
    assert registers([], SOME) == {}


@pytest.mark.parametrize(
    "shown",
    [
        [record(key, 7) for key in SOME[:2]],
        [record(SOME[0], 7), record(SOME[1], 6), record(SOME[2], 7)],
        [record(SOME[0], 7)] * 3,
        [record("stranger", 7)],
    ],
    ids=["a row is missing", "a row is of another load", "a row is there twice", "a row that nobody loaded"],
)
def test_a_load_that_is_there_in_part_is_found(shown: list[dict[str, object]]) -> None:
    with pytest.raises(Violation):
        registers(shown, SOME)


def test_every_row_is_read_page_by_page() -> None:
    class Pages:
        def call(self, operation: str, **parameters: object) -> Answer:
            first = 0 if "nextToken" not in parameters else int(str(parameters["nextToken"]))
            more = {"nextToken": str(first + 4000)} if first + 4000 < len(MANY) else {}
            return Answer(
                Outcome.OK, 200, {"vectors": [record(key, 3) for key in MANY[first : first + 4000]], **more}
            )

    assert read_every(Pages()).values == {REST: 3}


@pytest.mark.parametrize(
    ("writes", "end"),
    [
        ([load(1, 5, Outcome.REFUSED)], {}),
        ([load(1, 5, Outcome.UNKNOWN)], {}),
        ([load(1, 5, Outcome.UNKNOWN)], everything(5)),
        ([load(1, 5), put(3, 6)], everything(5) | {SHARED[0]: 6}),
        ([load(1, 5), put(1.5, 6)], everything(5) | {SHARED[0]: 6}),
        ([load(1, 5), load(1.5, 6)], everything(6)),
    ],
)
def test_what_may_be(writes: list[Write], end: dict[str, int]) -> None:
    judge({}, writes, [], [rest(**end)])


@pytest.mark.parametrize(
    ("writes", "end"),
    [
        ([load(1, 5)], {}),
        ([load(1, 5, Outcome.REFUSED)], everything(5)),
        ([load(1, 5, Outcome.UNKNOWN)], {REST: 5}),
        ([load(1, 5, Outcome.UNKNOWN)], {SHARED[0]: 5}),
        ([load(1, 5), put(3, 6)], everything(5)),
        ([load(1, 5), load(1.5, 6)], everything(6) | {SHARED[0]: 5, REST: 6, SHARED[1]: 7}),
    ],
)
def test_what_cannot_be(writes: list[Write], end: dict[str, int]) -> None:
    with pytest.raises(Violation):
        judge({}, writes, [], [rest(**end)])


def test_a_load_is_too_large_for_the_log_and_a_broken_one_is_wrong_in_its_last_row_only() -> None:
    for broken in (False, True):
        rows = list(open_arrow_stream(stream(4097, broken=broken), Columns()).batches(100_000))
        keys = [key for batch in rows for key in batch.keys]
        numbers = [row for batch in rows for row in batch.vectors.tolist()]
        assert len(keys) > SMALL_ROWS
        assert keys == [*SHARED, *MANY]
        assert numbers[:-1] == [[1.0, 1.0]] * (len(keys) - 1)
        assert (numbers[-1] == [1.0, 1.0]) is not broken
