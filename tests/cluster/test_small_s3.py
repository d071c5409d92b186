"""The small S3 of the cluster tests keeps the object store contract, and its doors do what they are told."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster.processes import Doors
from cluster.small_s3 import Request, SmallS3
from cluster.store_doors import OF_CREATIONS, STALLS, Connection, Door, Fault, Weather
from objectstore.contract import Connections, ObjectStoreContract, attempt
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.remote import RemoteStore
from quiver.objectstore.store import ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = itertools.count()
HOUR = 3600.0


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with Doors(2) as running:
        yield running


def open_store(doors: Doors, path: str, door: int = 0) -> RemoteStore:
    options = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
    return RemoteStore(f"s3://small/{path}", endpoint=f"http://127.0.0.1:{doors.ports[door]}", options=options)


class TestSmallS3(ObjectStoreContract):
    @pytest.fixture
    def connections(self, doors: Doors) -> Connections:
        path = f"contract-{next(PATHS)}"
        return open_store(doors, path), open_store(doors, path, 1)


def test_its_clock_is_its_own() -> None:
    async def work() -> float:
        with Doors(1, clock_offset=HOUR) as ahead:
            store = open_store(ahead, "clock")
            await store.put_new("x", [b"1"])
            return (await store.list(""))[0].modified

    assert asyncio.run(work()) == pytest.approx(time.time() + HOUR, abs=60)


def test_a_closed_door_is_closed_and_the_others_are_not(doors: Doors) -> None:
    inside, outside = open_store(doors, "closed"), open_store(doors, "closed", 1)

    async def work() -> bytes:
        with pytest.raises(StoreUnavailableError):
            await outside.put_new("x", [b"outside"])
        await inside.put_new("x", [b"inside"])
        return bytes(await inside.get("x"))

    doors.rule(1, closed=True)
    try:
        assert asyncio.run(work()) == b"inside"
    finally:
        doors.rule(1)
    assert asyncio.run(attempt(outside, "x", b"outside")) == ObjectExistsError.__name__


@pytest.mark.slow
def test_a_bad_door_shows_every_fault_and_lets_no_creator_of_a_key_win_twice(doors: Doors) -> None:
    store, sound = open_store(doors, "bad", 1), open_store(doors, "bad")

    async def work() -> list[list[str]]:
        keys = [f"k{n}" for n in range(150)]
        return [await asyncio.gather(*(attempt(store, key, b"%d" % n) for key in keys)) for n in range(2)]

    doors.rule(1, rate=0.8)
    first, second = asyncio.run(work())
    doors.rule(1)
    assert not any(pair == ("created", "created") for pair in zip(first, second, strict=True))
    assert "created" in first
    seen = doors.counts()["doors"][1]
    assert all(seen.get(f"PUT {fault.name}") for fault in (*OF_CREATIONS, Fault.STALL)), seen
    give_up = time.monotonic() + STALLS[1] + 5
    while doors.counts()["late"]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    there = {info.key for info in asyncio.run(sound.list(""))}
    assert there >= {f"k{n}" for n in range(150) if "created" in (first[n], second[n])}


class Recorder(Connection):
    """Takes what a door answers, without a socket."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.cuts: list[tuple[bytes, bool]] = []

    def answer(self, answer: Any) -> None:
        self.statuses.append(answer.status)

    def cut(self, sent: bytes = b"", *, reset: bool = False) -> None:
        self.cuts.append((sent, reset))


@pytest.mark.parametrize(
    ("fault", "applied", "statuses", "cuts"),
    [
        (Fault.NONE, True, {200}, 0),
        (Fault.CUT_BEFORE, False, set(), 1),
        (Fault.CUT_AFTER, True, set(), 1),
        (Fault.CUT_WITHIN, True, set(), 1),
        (Fault.RESET_BEFORE, False, set(), 1),
        (Fault.RESET_AFTER, True, set(), 1),
        (Fault.ERROR_BEFORE, False, {500, 503}, 0),
        (Fault.ERROR_AFTER, True, {500, 503}, 0),
        (Fault.CONFLICT_BEFORE, False, {409}, 0),
        (Fault.TWICE, True, {412}, 0),
    ],
)
def test_what_a_fault_does(
    fault: Fault, applied: bool, statuses: set[int], cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recorder = SmallS3(), Recorder()
    door = Door(store, "seed")
    monkeypatch.setattr(door, "_choose", lambda _: fault)
    door.serve(Request("PUT", "b", "k", {}, {"if-none-match": "*"}, b"body"), recorder)
    assert store.keys("b") == (["k"] if applied else [])
    assert set(recorder.statuses) <= statuses
    assert (len(recorder.statuses), len(recorder.cuts)) == (1 - cuts, cuts)
    assert door.seen == {("PUT", fault.name): 1}


@pytest.mark.parametrize(
    ("fault", "answered", "at_once"), [(Fault.DELAY, 1, False), (Fault.STALL, 1, True), (Fault.LATE, 0, False)]
)
def test_what_comes_late(fault: Fault, answered: int, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store, recorder = SmallS3(), Recorder()
    door = Door(store, "seed")
    monkeypatch.setattr(door, "_choose", lambda _: fault)
    monkeypatch.setattr("cluster.store_doors.STALLS", (0.01, 0.02))

    async def work() -> tuple[list[str], int]:
        door.serve(Request("PUT", "b", "k", {}, {"if-none-match": "*"}, b"body"), recorder)
        before, late = store.keys("b"), len(door.late)
        while door.late:
            await asyncio.sleep(0.01)
        return before, late

    assert asyncio.run(work()) == (["k"] if at_once else [], 1)
    assert store.keys("b") == ["k"]
    assert len(recorder.statuses) == answered


def test_a_good_door_has_no_faults() -> None:
    door = Door(SmallS3(), "seed")
    for weather in (Weather(), Weather(rate=0.0)):
        door.weather = weather
        for n in range(200):
            door.serve(Request("PUT", "b", f"k{n}", {}, {}, b""), Recorder())
    assert door.seen == {("PUT", Fault.NONE.name): 400}
