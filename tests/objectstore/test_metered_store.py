"""Tests of the counting wrapper."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore, OperationCounts, StoreCounts
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
