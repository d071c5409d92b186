"""Tests of the store that repeats what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.retrying_store import RetryingStore

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime


class TestRetryingStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        inner = MemoryStore(runtime)
        return RetryingStore(inner, runtime), RetryingStore(inner, runtime)


class Failing(MemoryStore):
    """Fails so many calls. `large` counts large puts."""

    large_bytes = 5
    failures = 0
    large = 0

    async def get(self, key, start=0, length=None):
        self._fail()
        return await super().get(key, start, length)

    async def put_new(self, key, parts):
        self._fail()
        await super().put_new(key, parts)

    async def put_large(self, key, parts):
        self.large += 1
        await super().put_large(key, parts)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("down")


def test_reads_are_repeated_and_puts_never(runtime: SystemRuntime) -> None:
    inner = Failing(runtime)
    store = RetryingStore(inner, runtime, first_delay=0.001)

    async def work() -> None:
        await store.put_new("a", [b"1"])
        inner.failures = 3
        assert await store.get("a") == b"1"
        for put in (store.put_new, store.put_large):
            inner.failures = 1
            with pytest.raises(StoreUnavailableError):
                await put("b", [b"1"])
        assert inner.failures == 0

    run(work())


def test_a_large_put_stays_one(runtime: SystemRuntime) -> None:
    inner = Failing(runtime)
    store = RetryingStore(inner, runtime)
    run(store.put_large("a", [b"123456"]))
    assert (store.large_bytes, inner.large) == (5, 1)
