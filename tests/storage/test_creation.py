"""Tests of creating objects: large bodies go the way of large bodies, until the object is known to exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynchronous import asynchronous
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore
from quiver.objectstore.read_only_store import ReadOnlyStore
from quiver.objectstore.retrying_store import RetryingStore
from quiver.objectstore.store import ObjectExistsError, StoreRefusedError
from quiver.storage.creation import create_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import SystemRuntime
    from quiver.objectstore.store import Buffer


class Limited(MemoryStore):
    """Takes ten bytes in one request. `fates` are those of the next large puts; `large` are the keys tried."""

    large_bytes = 10

    def __init__(self, runtime: SystemRuntime) -> None:
        super().__init__(runtime)
        self.large: list[str] = []
        self.fates: list[str] = []

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        assert sum(map(len, parts)) <= 10, "too large for one request"
        await super().put_new(key, parts)

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        self.large.append(key)
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "conflict":
            raise ObjectExistsError(key)
        if fate == "refused":
            raise StoreRefusedError("no permission")
        if fate != "failed":
            await MemoryStore.put_new(self, key, parts)
        if fate:
            raise StoreUnavailableError("timed out")


@asynchronous
async def test_only_what_is_too_large_for_one_request_goes_as_a_large_put(runtime: SystemRuntime) -> None:
    store = Limited(runtime)
    assert await create_object(store, runtime, "small", [b"12345", b"67890"])
    assert store.large == []
    assert await create_object(store, runtime, "large", [b"12345", b"678901"])
    assert store.large == ["large"]
    assert await store.get("large") == b"12345678901"


@asynchronous
async def test_wrappers_pass_the_limit_and_large_puts_on(runtime: SystemRuntime) -> None:
    inner = Limited(runtime)
    store = RetryingStore(MeteredStore(inner), runtime)
    assert await create_object(store, runtime, "large", [bytes(11)])
    assert inner.large == ["large"]
    with pytest.raises(StoreRefusedError):
        await create_object(ReadOnlyStore(store), runtime, "other", [bytes(11)])
    assert inner.large == ["large"]


@pytest.mark.parametrize(
    ("fates", "created"),
    [(["failed", "conflict"], True), (["lost"], False), (["failed", "lost"], False)],
    ids=["failures", "a lost answer", "both"],
)
@asynchronous
async def test_a_large_put_is_repeated_until_the_object_exists(
    runtime: SystemRuntime, fates: list[str], created: bool
) -> None:
    store = Limited(runtime)
    store.fates = list(fates)
    assert await create_object(store, runtime, "large", [bytes(range(20))]) is created
    assert await store.get("large") == bytes(range(20))
    assert len(store.large) == len(fates) + 1


@asynchronous
async def test_a_refused_large_put_is_not_repeated(runtime: SystemRuntime) -> None:
    store = Limited(runtime)
    store.fates = ["refused"]
    with pytest.raises(StoreRefusedError):
        await create_object(store, runtime, "large", [bytes(20)])
    assert store.large == ["large"]
