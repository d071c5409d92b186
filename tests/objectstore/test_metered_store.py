"""Tests of the counting wrapper."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore, OperationCounts, Spent, StoreCounts, metered
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreRefusedError

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime


class TestMeteredStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        store = MeteredStore(MemoryStore(runtime))
        return store, store


class BrokenStore(MemoryStore):
    async def put_new(self, key, parts):
        raise StoreRefusedError("full")

    async def list(self, prefix, after=""):
        raise StoreUnavailableError("down")


def test_counts_requests_bytes_and_items(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> None:
        await store.put_new("a/1", [b"12345", b"67"])
        await store.put_new("a/2", [b"abc"])
        await store.get("a/1")
        await store.get("a/1", 2, 3)
        await store.list("a/")
        await store.delete(["a/1", "a/2"])

    run(work())
    assert store.snapshot() == StoreCounts(
        put_new=OperationCounts(requests=2, bytes_in=10, items=2),
        get=OperationCounts(requests=2, bytes_out=10, items=2),
        list=OperationCounts(requests=1, items=2),
        delete=OperationCounts(requests=1, items=2),
    )


@pytest.mark.parametrize("resident", [True, False])
def test_asking_what_stands_counts_as_the_reads_it_stands_for(runtime: SystemRuntime, resident: bool) -> None:
    inner = MemoryStore(runtime)
    inner.resident = resident
    store = MeteredStore(inner)

    async def work() -> Spent:
        await inner.put_new("a", [b"12345"])
        with metered() as spent:
            assert await store.stands("a", b"123", ("b", "c"))
        return spent

    assert run(work()) == Spent(gets=3, received=3)
    assert store.snapshot() == StoreCounts(get=OperationCounts(requests=3, bytes_out=3, items=1))


def test_a_failure_to_say_what_stands_is_an_error(runtime: SystemRuntime) -> None:
    class Down(MemoryStore):
        async def get(self, key, start=0, length=None):
            raise StoreUnavailableError("down")

    store = MeteredStore(Down(runtime))
    with pytest.raises(StoreUnavailableError):
        run(store.stands("a", b"1", ()))
    assert store.snapshot() == StoreCounts(get=OperationCounts(requests=1, errors=1))


def test_a_large_put_of_a_store_that_tells_nothing_is_one_put(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> Spent:
        with metered() as spent:
            await store.put_large("a", [b"12", b"345"])
            with pytest.raises(ObjectExistsError):
                await store.put_large("a", [b"1"])
        return spent

    assert run(work()) == Spent(puts=2, sent=6)
    assert store.snapshot() == StoreCounts(put_new=OperationCounts(requests=2, bytes_in=6, items=1))


def test_a_taken_or_absent_key_is_an_answer_and_not_an_error(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> None:
        await store.put_new("a", [b"1"])
        with pytest.raises(ObjectExistsError):
            await store.put_new("a", [b"2"])
        with pytest.raises(ObjectNotFoundError):
            await store.get("b")

    run(work())
    assert store.snapshot().put_new == OperationCounts(requests=2, bytes_in=2, items=1)
    assert store.snapshot().get == OperationCounts(requests=1)


def test_failures_are_counted_as_errors(runtime: SystemRuntime) -> None:
    store = MeteredStore(BrokenStore(runtime))

    async def work() -> None:
        with suppress(StoreRefusedError):
            await store.put_new("a", [b"1"])
        with suppress(StoreUnavailableError):
            await store.list("")

    run(work())
    assert store.snapshot().put_new == OperationCounts(requests=1, errors=1, bytes_in=1)
    assert store.snapshot().list == OperationCounts(requests=1, errors=1)


def test_a_snapshot_stays_and_a_reset_starts_again(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))
    run(store.put_new("a", [b"1"]))
    before = store.snapshot()
    run(store.get("a"))
    assert before.get.requests == 0
    store.reset()
    assert store.snapshot() == StoreCounts()
    run(store.get("a"))
    assert store.snapshot() == StoreCounts(get=OperationCounts(requests=1, bytes_out=1, items=1))


# -------------------------------------------------------------------- for one piece of work


def test_work_is_told_what_it_asked_for_and_nothing_of_others(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def put(key: str, size: int) -> Spent:
        with metered() as spent:
            await store.put_new(key, [bytes(size)])
            await asyncio.sleep(0)
            await store.get(key, 0, 2)
            with suppress(ObjectNotFoundError):
                await store.get("none")
            await store.list("")
            await store.delete([key])
        await store.get("kept")
        return spent

    async def work() -> list[Spent]:
        await store.put_new("kept", [b"1"])
        return await asyncio.gather(*(put(f"k{size}", size) for size in (3, 4, 5)))

    spents = run(work())
    assert spents == [Spent(puts=1, gets=2, lists=1, deletes=1, sent=size, received=2) for size in (3, 4, 5)]
    assert spents[0].requests == 5
    assert store.snapshot().get.requests == 3 * 3


def test_work_within_other_work_counts_for_itself(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> tuple[Spent, Spent]:
        with metered() as outer:
            await store.list("a")
            with metered() as inner:
                await store.list("b")
                await store.list("c")
            await store.list("d")
        return outer, inner

    assert run(work()) == (Spent(lists=2), Spent(lists=2))


def test_requests_of_tasks_count_for_the_work_that_started_them(runtime: SystemRuntime) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> Spent:
        with metered() as spent:
            task = runtime.spawn(store.list("a"), "a task")
        await store.list("b")
        await task
        return spent

    assert run(work()) == Spent(lists=1)


@pytest.mark.parametrize(("keys", "pages"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_listings_and_deletions_count_by_the_thousand(runtime: SystemRuntime, keys: int, pages: int) -> None:
    store = MeteredStore(MemoryStore(runtime))

    async def work() -> Spent:
        names = [f"k{number}" for number in range(keys)]
        for name in names:
            await store.put_new(name, [b""])
        with metered() as spent:
            await store.list("k")
            await store.delete(names)
        return spent

    assert run(work()) == Spent(lists=pages, deletes=pages)


def test_what_fails_was_asked_for_all_the_same(runtime: SystemRuntime) -> None:
    store = MeteredStore(BrokenStore(runtime))

    async def work() -> Spent:
        with metered() as spent:
            with suppress(StoreRefusedError):
                await store.put_new("a", [b"12"])
            with suppress(StoreUnavailableError):
                await store.list("")
        return spent

    assert run(work()) == Spent(puts=1, lists=1, sent=2)
